//go:build watest

package watest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mau.fi/whatsmeow/util/hkdfutil"
	"go.mau.fi/whatsmeow/util/keys"
)

// phoneCode is where a connection stands in pairing by a code that the owner
// types into the phone.
type phoneCode struct {
	ref     []byte
	wrapped []byte // the client's ephemeral key under the code
	shared  []byte // by both ephemeral keys
}

// rounds of PBKDF2, as whatsmeow's pair-code.go has them.
const rounds = 2 << 16

// underCode encrypts and decrypts an ephemeral key with the code.
func underCode(code string, salt, iv, data []byte) []byte {
	key, err := pbkdf2.Key(sha256.New, code, salt, rounds, 32)
	if err != nil {
		panic(err) // 32 bytes are always there
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // and are a key
	}
	out := make([]byte, len(data))
	cipher.NewCTR(block, iv).XORKeyStream(out, data)
	return out
}

// linkCode answers the client's two steps: its hello, and its keys once the
// owner has typed the code.
func (c *conn) linkCode(n, step *node) {
	l := &c.link.code
	if attr(step, "stage") == "companion_hello" {
		wrapped := bytesOf(child(step, "link_code_pairing_wrapped_companion_ephemeral_pub"))
		if len(wrapped) != 80 || !bytes.Equal(bytesOf(child(step, "companion_server_auth_key_pub")), c.static[:]) ||
			!strings.Contains(string(bytesOf(child(step, "companion_platform_display"))), " (") {
			c.refuseIQ(n, "400", "bad-request")
			return
		}
		l.ref, l.wrapped = []byte("code "+c.s.newID()), wrapped
		c.s.pairing["code "+jidOf(step, "jid").User] = c
		c.result(n, node{
			Tag: "link_code_companion_reg", Attrs: attrs{"stage": "companion_hello"},
			Content: []node{{Tag: "link_code_pairing_ref", Content: l.ref}},
		})
		return
	}
	adv, identity, err := c.codeSecret(step)
	if err != nil {
		c.refusePairing(n)
		return
	}
	c.link.identity = identity
	c.result(n)
	c.pairSuccess(adv)
}

// codeSecret opens the client's key bundle and derives the ADV secret.
func (c *conn) codeSecret(step *node) (adv []byte, identity [32]byte, err error) {
	w, theirs := bytesOf(child(step, "link_code_pairing_wrapped_key_bundle")), bytesOf(child(step, "companion_identity_public"))
	if c.link.code.shared == nil || len(w) < 44 || len(theirs) != 32 {
		return nil, identity, errors.New("a step is missing")
	}
	key := hkdfutil.SHA256(c.link.code.shared, w[:32], []byte("link_code_pairing_key_bundle_encryption_key"), 32)
	plain, err := gcm(key).Open(nil, w[32:44], w[44:], nil)
	if err != nil {
		return nil, identity, err
	}
	if len(plain) != 96 { // the client's identity, the phone's, and a random part
		return nil, identity, errors.New("the key bundle has another length")
	}
	both, err := agree(c.link.device.phone.keys.identity.Priv, theirs)
	if err != nil {
		return nil, identity, err
	}
	return hkdfutil.SHA256(slices.Concat(c.link.code.shared, both, plain[64:]), nil, []byte("adv_secret"), 32), [32]byte(theirs), nil
}

// EnterCode types the code that the client shows, with or without its dash.
// The client must have asked for this phone's number. A wrong code is no error
// here: the phone cannot know it yet, and Ready tells.
func (p *Phone) EnterCode(code string) (*Device, error) {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.pairing["code "+p.pn.User]
	if c == nil {
		return nil, errors.New("enter pairing code: no connected client asked for this number")
	}
	code = strings.ReplaceAll(code, "-", "")
	l, ours := &c.link.code, keys.NewKeyPair()
	var err error
	if l.shared, err = agree(ours.Priv, underCode(code, l.wrapped[:32], l.wrapped[32:48], l.wrapped[48:])); err != nil {
		return nil, fmt.Errorf("enter pairing code: %w", err)
	}
	d := c.becomes(p, [32]byte{})
	head := make([]byte, 48) // salt and IV
	_, _ = rand.Read(head)   // it never fails
	c.notify("link_code_companion_reg", node{
		Tag: "link_code_companion_reg", Attrs: attrs{"stage": "primary_hello"}, Content: []node{
			{Tag: "link_code_pairing_ref", Content: l.ref},
			{Tag: "link_code_pairing_wrapped_primary_ephemeral_pub", Content: append(head, underCode(code, head[:32], head[32:], ours.Pub[:])...)},
			{Tag: "primary_identity_pub", Content: p.keys.identity.Pub[:]},
		},
	})
	s.touch()
	return d, nil
}
