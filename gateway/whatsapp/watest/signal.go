//go:build watest

package watest

import (
	"context"
	"errors"
	"fmt"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/libsignal/groups"
	"go.mau.fi/libsignal/keys/identity"
	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/protocol"
	"go.mau.fi/libsignal/session"
	"go.mau.fi/libsignal/util/optional"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"google.golang.org/protobuf/proto"
)

// never is for libsignal, whose store here is memory: nothing can block.
var never = context.Background()

// seal encrypts msg for d, opening a session where there is none, and returns
// its <enc>. It panics where libsignal refuses: what d uploaded was checked, so
// that is our mistake. The caller holds mu.
func (p *Person) seal(d *Device, msg *waE2E.Message) node {
	address := d.lid.SignalAddress()
	if p.keys.sessions[address.String()] == nil {
		p.openSession(d, d.take())
	}
	builder := session.NewBuilderFromSignal(p.keys, address, serializer)
	sealed, err := session.NewCipher(builder, address).Encrypt(never, pad(msg))
	if err != nil {
		panic(fmt.Errorf("encrypt for %s: %w", d.jid, err))
	}
	kind := "msg"
	if sealed.Type() == protocol.PREKEY_TYPE {
		kind = "pkmsg"
	}
	return node{Tag: "enc", Attrs: attrs{"v": "2", "type": kind}, Content: sealed.Serialize()}
}

// openSession replaces p's session with d by a new one under b.
func (p *Person) openSession(d *Device, b *bundle) {
	address := d.lid.SignalAddress()
	delete(p.keys.sessions, address.String())
	id, once := optional.NewEmptyUint32(), ecc.ECPublicKeyable(nil)
	if b.once != nil {
		id, once = optional.NewOptionalUint32(b.once.KeyID), ecc.NewDjbECPublicKey(*b.once.Pub)
	}
	err := session.NewBuilderFromSignal(p.keys, address, serializer).ProcessBundle(never, prekey.NewBundle(
		b.registration, uint32(d.lid.Device), id, b.signed.KeyID, once, ecc.NewDjbECPublicKey(*b.signed.Pub),
		*b.signed.Signature, identity.NewKey(ecc.NewDjbECPublicKey(b.identity)),
	))
	if err != nil {
		panic(fmt.Errorf("open a session with %s: %w", d.jid, err))
	}
}

// pad appends one byte, as Signal pads: every byte says how many there are.
func pad(msg *waE2E.Message) []byte { return append(marshal(msg), 1) }

func unpad(plain []byte) (*waE2E.Message, error) {
	if len(plain) == 0 || int(plain[len(plain)-1]) > len(plain) {
		return nil, errors.New("padding is wrong")
	}
	msg := &waE2E.Message{}
	return msg, proto.Unmarshal(plain[:len(plain)-int(plain[len(plain)-1])], msg)
}

// open decrypts what from wrote to p. The caller holds mu.
func (p *Person) open(from *Device, enc *node) (*waE2E.Message, error) {
	address := from.lid.SignalAddress()
	cipher := session.NewCipher(session.NewBuilderFromSignal(p.keys, address, serializer), address)
	var plain []byte
	if attr(enc, "type") == "pkmsg" {
		m, err := protocol.NewPreKeySignalMessageFromBytes(bytesOf(enc), serializer.PreKeySignalMessage, serializer.SignalMessage)
		if err != nil {
			return nil, err
		}
		if plain, err = cipher.DecryptMessage(never, m); err != nil {
			return nil, err
		}
		return unpad(plain)
	}
	if p.keys.sessions[address.String()] == nil {
		return nil, errors.New("no session")
	}
	m, err := protocol.NewSignalMessageFromBytes(bytesOf(enc), serializer.SignalMessage)
	if err != nil {
		return nil, err
	}
	if plain, err = cipher.Decrypt(never, m); err != nil {
		return nil, err
	}
	return unpad(plain)
}

// sealGroup encrypts msg with p's sender key of g, and returns the message that
// hands that key out. The caller holds mu.
func (p *Person) sealGroup(g *Group, msg *waE2E.Message) (handOut *waE2E.Message, enc node) {
	builder := groups.NewGroupSessionBuilder(p.keys, serializer)
	name := protocol.NewSenderKeyName(g.jid.String(), p.lid.SignalAddress())
	distribution, err := builder.Create(never, name)
	if err != nil {
		panic(fmt.Errorf("make a sender key for %s: %w", g.jid, err))
	}
	sealed, err := groups.NewGroupCipher(builder, name, p.keys).Encrypt(never, pad(msg))
	if err != nil {
		panic(fmt.Errorf("encrypt for %s: %w", g.jid, err))
	}
	return &waE2E.Message{SenderKeyDistributionMessage: &waE2E.SenderKeyDistributionMessage{
		GroupID: new(g.jid.String()), AxolotlSenderKeyDistributionMessage: distribution.Serialize(),
	}}, node{Tag: "enc", Attrs: attrs{"v": "2", "type": "skmsg"}, Content: sealed.SignedSerialize()}
}

// openGroup decrypts what from wrote to the group with the key that it handed
// to p. The caller holds mu.
func (p *Person) openGroup(group string, from *Device, handedOut *waE2E.SenderKeyDistributionMessage, enc *node) (*waE2E.Message, error) {
	builder := groups.NewGroupSessionBuilder(p.keys, serializer)
	name := protocol.NewSenderKeyName(group, from.lid.SignalAddress())
	distribution, err := protocol.NewSenderKeyDistributionMessageFromBytes(handedOut.GetAxolotlSenderKeyDistributionMessage(), serializer.SenderKeyDistributionMessage)
	if err != nil {
		return nil, err
	}
	if err = builder.Process(never, name, distribution); err != nil {
		return nil, err
	}
	m, err := protocol.NewSenderKeyMessageFromBytes(bytesOf(enc), serializer.SenderKeyMessage)
	if err != nil {
		return nil, err
	}
	plain, err := groups.NewGroupCipher(builder, name, p.keys).Decrypt(never, m)
	if err != nil {
		return nil, err
	}
	return unpad(plain)
}
