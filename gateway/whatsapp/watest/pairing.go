//go:build watest

package watest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// linking is where a connection stands in its pairing.
type linking struct {
	device   *Device // what it is to become
	identity [32]byte
	details  []byte
	code     phoneCode
	passkey  passkey
}

// offerPairing hands out the references of which the client makes QR codes.
// The caller holds mu.
func (c *conn) offerPairing() {
	refs := make([]node, 6)
	for i := range refs {
		ref := "2@" + c.s.newID()
		c.s.pairing[ref] = c
		refs[i] = node{Tag: "ref", Content: []byte(ref)}
	}
	c.send(node{
		Tag:     "iq",
		Attrs:   attrs{"from": types.ServerJID, "type": "set", "id": c.s.newID(), "xmlns": "md"},
		Content: []node{{Tag: "pair-device", Content: refs}},
	})
}

// Link scans a QR code with the phone's camera. The device that it returns is
// linked once it is Ready; on a phone that requires a passkey, that takes the
// passkey's steps first. An error says that the code is none, or not of a
// client that is connected.
func (p *Phone) Link(qr string) (*Device, error) {
	_, fragment, ok := strings.Cut(qr, "#")
	if !ok {
		fragment = qr // the form before May 2026
	}
	parts := strings.Split(fragment, ",")
	if len(parts) < 4 {
		return nil, fmt.Errorf("scan QR code: it has %d parts", len(parts))
	}
	var decoded [3][]byte // noise key, identity key, ADV secret
	for i := range decoded {
		b, err := base64.StdEncoding.DecodeString(parts[1+i])
		if err == nil && len(b) != 32 {
			err = fmt.Errorf("%d bytes", len(b))
		}
		if err != nil {
			return nil, fmt.Errorf("scan QR code: part %d: %w", i+1, err)
		}
		decoded[i] = b
	}
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.pairing[parts[0]]
	switch {
	case c == nil:
		return nil, errors.New("scan QR code: no connected client shows it")
	case c.static != [32]byte(decoded[0]):
		return nil, errors.New("scan QR code: its noise key is not that of the client that shows it")
	}
	d := c.becomes(p, [32]byte(decoded[1]))
	if p.needsPasskey {
		c.askPasskey(decoded[2])
	} else {
		c.pairSuccess(decoded[2])
	}
	s.touch()
	return d, nil
}

// becomes makes the device that the client is to be. The caller holds mu.
func (c *conn) becomes(p *Phone, identity [32]byte) *Device {
	p.lastDevice++
	jid, lid := p.pn, p.lid
	jid.Device, lid.Device = p.lastDevice, p.lastDevice
	c.link.device = &Device{s: c.s, phone: p, jid: jid, lid: lid, noise: c.static, ignored: map[string]bool{}}
	c.link.identity = identity
	return c.link.device
}

// pairSuccess signs the client's identity with the account's key and tells the
// client who it is. adv is the secret that only the phone and the client know.
// The caller holds mu.
func (c *conn) pairSuccess(adv []byte) {
	d := c.link.device
	account := d.phone.keys.identity
	c.link.details = marshal(&waAdv.ADVDeviceIdentity{
		RawID: proto.Uint32(1), Timestamp: new(uint64(time.Now().Unix())), KeyIndex: new(uint32(d.jid.Device)),
	})
	signed := marshal(&waAdv.ADVSignedDeviceIdentity{
		Details: c.link.details, AccountSignatureKey: account.Pub[:],
		AccountSignature: sign(account, slices.Concat(whatsmeow.AdvAccountSignaturePrefix, c.link.details, c.link.identity[:])),
	})
	mac := hmac.New(sha256.New, adv)
	mac.Write(signed)
	identity := marshal(&waAdv.ADVSignedDeviceIdentityHMAC{Details: signed, HMAC: mac.Sum(nil)})
	c.send(node{
		Tag:   "iq",
		Attrs: attrs{"from": types.ServerJID, "type": "set", "id": c.s.newID(), "xmlns": "md", "t": time.Now().Unix()},
		Content: []node{{Tag: "pair-success", Content: []node{
			{Tag: "device-identity", Content: identity},
			{Tag: "device", Attrs: attrs{"jid": d.jid, "lid": d.lid}},
			{Tag: "platform", Attrs: attrs{"name": "android"}},
		}}},
	})
}

// signed takes the client's answer to pair-success: its own signature. From
// here on the device is linked, and the client has to log in as it.
func (c *conn) signed(n *node) {
	d := c.link.device
	defer c.failPairing()
	var identity waAdv.ADVSignedDeviceIdentity
	if d == nil || proto.Unmarshal(bytesOf(child(n, "device-identity")), &identity) != nil || len(identity.GetDeviceSignature()) != 64 {
		c.drop()
		return
	}
	message := slices.Concat(whatsmeow.AdvDeviceSignaturePrefix, c.link.details, c.link.identity[:], d.phone.keys.identity.Pub[:])
	if !ecc.VerifySignature(ecc.NewDjbECPublicKey(c.link.identity), message, [64]byte(identity.GetDeviceSignature())) {
		c.drop()
		return
	}
	c.s.devices[key(d.jid)], c.s.devices[key(d.lid)] = d, d
	d.phone.devices = append(d.phone.devices, d)
	c.dismiss(node{Tag: "stream:error", Attrs: attrs{"code": "515"}})
}

// failPairing says that the client does not become the device it was to be.
func (c *conn) failPairing() {
	if d := c.link.device; d != nil && c.s.devices[key(d.jid)] == nil {
		d.removed = true
	}
}

// pairingQuery answers what a client asks while it pairs, and its farewell.
func (c *conn) pairingQuery(n, first *node) {
	switch first.Tag {
	case "link_code_companion_reg":
		c.linkCode(n, first)
	case "ref":
		c.passkeyRef(n)
	case "passkey_request_options":
		c.result(n, node{Tag: "passkey_request_options", Content: c.link.passkey.options})
	case "passkey_prologue":
		c.passkeyPrologue(n, first)
	case "companion_nonce":
		c.passkeyNonce(n, first)
	case "encrypted_pairing_request":
		c.passkeyRequest(n, first)
	case "remove-companion-device":
		c.result(n)
		if c.dev != nil {
			c.dev.unlink()
		}
	default:
		c.result(n)
	}
}

// unlink forgets a device. The caller holds mu.
func (d *Device) unlink() {
	d.removed = true
	d.queue, d.unkeyed = nil, nil
	d.phone.devices = slices.DeleteFunc(d.phone.devices, func(other *Device) bool { return other == d })
}
