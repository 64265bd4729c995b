//go:build watest

package watest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.mau.fi/whatsmeow/proto/waCompanionReg"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/hkdfutil"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"
)

// passkey is where a connection stands in a pairing that requires one.
type passkey struct {
	options   []byte // WebAuthn's, as JSON
	challenge []byte
	handoff   []byte // proves that who answers is who showed the QR code
	ref       string
	companion *waCompanionReg.CompanionEphemeralIdentity
	identity  []byte // companion, as it was committed to
	hash      []byte // the commitment
	ours      *keys.KeyPair
	nonce     []byte
	code      string
}

// base32Code is the alphabet of the codes that people compare.
var base32Code = base32.NewEncoding("123456789ABCDEFGHJKLMNPQRSTVWXYZ")

const relyingParty = "web.whatsapp.com"

// RequirePasskey makes the phone ask for a passkey before it links a device
// that was scanned from now on.
func (p *Phone) RequirePasskey() {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.needsPasskey = true
	if p.authenticator == nil {
		_, p.authenticator, _ = ed25519.GenerateKey(rand.Reader) // it never fails
	}
}

// Authenticate answers WebAuthn options as the phone's passkey does in a
// browser on web.whatsapp.com. An error says that the options are not of that
// site, or that the phone has no passkey.
func (p *Phone) Authenticate(options *types.WebAuthnPublicKey) (*types.WebAuthnResponse, error) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if p.authenticator == nil || options.RelyingPartID != relyingParty {
		return nil, fmt.Errorf("authenticate for %s: there is no such passkey", options.RelyingPartID)
	}
	client, err := json.Marshal(map[string]string{
		"type": "webauthn.get", "origin": "https://" + relyingParty, "challenge": base64.RawURLEncoding.EncodeToString(options.Challenge),
	})
	if err != nil {
		return nil, fmt.Errorf("authenticate: %w", err)
	}
	site := sha256.Sum256([]byte(relyingParty))
	data := append(site[:], 5, 0, 0, 0, 1) // user present and verified, used once
	sum := sha256.Sum256(client)
	id := []byte("passkey of " + p.pn.User)
	return &types.WebAuthnResponse{
		ID: base64.RawURLEncoding.EncodeToString(id), RawID: id, Type: "public-key",
		Response: types.WebAuthnResponseData{
			ClientDataJSON: client, AuthenticatorData: data, Signature: ed25519.Sign(p.authenticator, append(data, sum[:]...)),
		},
	}, nil
}

// PasskeyCode returns the code that the phone shows for comparison with the
// client's, once the client has answered with its passkey.
func (p *Phone) PasskeyCode(ctx context.Context, d *Device) (string, error) {
	var code string
	err := p.s.await(ctx, "the passkey's code", func() bool {
		for _, c := range p.s.pairing {
			if c.link.device == d {
				code = c.link.passkey.code
			}
		}
		return code != ""
	})
	return code, err
}

// askPasskey puts the passkey between the scan and the pairing. The caller
// holds mu.
func (c *conn) askPasskey(adv []byte) {
	k := &c.link.passkey
	k.challenge = make([]byte, 32)
	_, _ = rand.Read(k.challenge)
	k.handoff = hkdfutil.SHA256(adv, nil, []byte("shortcake-passkey-handoff-v1"), 32)
	options, err := json.Marshal(types.WebAuthnPublicKey{
		Challenge: k.challenge, Timeout: 60_000, RelyingPartID: relyingParty, UserVerification: "required",
	})
	if err != nil {
		panic(err) // of our own making
	}
	k.options = options
	c.notify("passkey_prologue_request", node{Tag: "passkey_request_options", Content: options})
}

func (c *conn) passkeyRef(n *node) {
	k := &c.link.passkey
	k.ref = "passkey " + c.s.newID()
	c.result(n, node{Tag: "ref", Content: []byte(k.ref)})
}

// passkeyPrologue takes the assertion and what the client commits to, and
// answers with the phone's ephemeral key.
func (c *conn) passkeyPrologue(n, prologue *node) {
	if err := c.checkPrologue(prologue); err != nil {
		c.refuseIQ(n, "400", "bad-request") // unverified: what WhatsApp says; another assertion may follow
		return
	}
	k := &c.link.passkey
	k.ours, k.nonce = keys.NewKeyPair(), make([]byte, 32)
	_, _ = rand.Read(k.nonce)
	c.result(n)
	c.notify("crsc_continuation", node{Tag: "primary_ephemeral_identity", Content: marshal(
		&waCompanionReg.PrimaryEphemeralIdentity{PublicKey: k.ours.Pub[:], Nonce: k.nonce})})
}

func (c *conn) checkPrologue(prologue *node) error {
	if c.link.device == nil || c.link.passkey.challenge == nil {
		return errors.New("no passkey was asked for")
	}
	k, payload := &c.link.passkey, bytesOf(child(prologue, "prologue_payload"))
	if err := c.checkAssertion(bytesOf(child(prologue, "webauthn_assertion"))); err != nil {
		return err
	}
	if proof := child(prologue, "pairing_handoff_proof"); proof.Tag != "" {
		mac := hmac.New(sha256.New, k.handoff)
		mac.Write(payload)
		if !hmac.Equal(mac.Sum(nil), bytesOf(proof)) {
			return errors.New("the handoff proof is wrong")
		}
	}
	var p waCompanionReg.ProloguePayload
	if err := proto.Unmarshal(payload, &p); err != nil {
		return err
	}
	k.companion, k.identity, k.hash = &waCompanionReg.CompanionEphemeralIdentity{}, p.GetCompanionEphemeralIdentity(), p.GetCommitment().GetHash()
	if err := proto.Unmarshal(k.identity, k.companion); err != nil {
		return err
	}
	if k.companion.GetRef() != k.ref {
		return errors.New("the reference is another")
	}
	return nil
}

func (c *conn) checkAssertion(assertion []byte) error {
	var response types.WebAuthnResponse
	if err := json.Unmarshal(assertion, &response); err != nil {
		return err
	}
	var client struct{ Type, Challenge, Origin string }
	if err := json.Unmarshal(response.Response.ClientDataJSON, &client); err != nil {
		return err
	}
	sum := sha256.Sum256(response.Response.ClientDataJSON)
	public, _ := c.link.device.phone.authenticator.Public().(ed25519.PublicKey)
	if client.Challenge != base64.RawURLEncoding.EncodeToString(c.link.passkey.challenge) ||
		!ed25519.Verify(public, slices.Concat(response.Response.AuthenticatorData, sum[:]), response.Response.Signature) {
		return errors.New("the assertion does not answer the challenge")
	}
	return nil
}

// passkeyNonce opens the client's commitment, so that neither side can choose
// its key to fit the code.
func (c *conn) passkeyNonce(n, nonce *node) {
	k := &c.link.passkey
	theirs := bytesOf(nonce)
	sum := sha256.Sum256(slices.Concat(k.identity, theirs))
	if k.ours == nil || !bytes.Equal(sum[:], k.hash) {
		c.refusePairing(n)
		return
	}
	digest, code := sha256.Sum256(slices.Concat(theirs, k.ours.Pub[:])), make([]byte, 5)
	for i := range code {
		code[i] = k.nonce[i] ^ digest[i]
	}
	text := base32Code.EncodeToString(code)
	k.code = text[:4] + "-" + text[4:]
	c.result(n)
}

// passkeyRequest takes the client's keys and its new ADV secret, and pairs.
func (c *conn) passkeyRequest(n, request *node) {
	k := &c.link.passkey
	var wrapped waCompanionReg.EncryptedPairingRequest
	var pairing waCompanionReg.PairingRequest
	err := proto.Unmarshal(bytesOf(request), &wrapped)
	if err == nil && (k.code == "" || len(wrapped.GetIV()) != 12) {
		err = errors.New("a step is missing")
	}
	var shared, plain []byte
	if err == nil {
		shared, err = agree(k.ours.Priv, k.companion.GetPublicKey())
	}
	if err == nil {
		salt := fmt.Sprintf("Companion Pairing %d with ref %s", k.companion.GetDeviceType(), k.ref)
		key := hkdfutil.SHA256(shared, []byte(salt), []byte("Pairing Information Encryption Key"), 32)
		plain, err = gcm(key).Open(nil, wrapped.GetIV(), wrapped.GetEncryptedPayload(), nil)
	}
	if err == nil {
		err = proto.Unmarshal(plain, &pairing)
	}
	if err != nil || len(pairing.GetCompanionIdentityKey()) != 32 || !bytes.Equal(pairing.GetCompanionPublicKey(), c.static[:]) {
		c.refusePairing(n)
		return
	}
	c.link.identity = [32]byte(pairing.GetCompanionIdentityKey())
	c.result(n)
	c.pairSuccess(pairing.GetAdvSecret())
}
