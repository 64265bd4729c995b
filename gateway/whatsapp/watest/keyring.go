//go:build watest

package watest

import (
	"context"
	"math/rand/v2"

	"go.mau.fi/libsignal/ecc"
	grouprecord "go.mau.fi/libsignal/groups/state/record"
	"go.mau.fi/libsignal/keys/identity"
	"go.mau.fi/libsignal/protocol"
	"go.mau.fi/libsignal/state/record"
	signalstore "go.mau.fi/libsignal/state/store"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/util/keys"
)

// serializer is the one that whatsmeow's own store uses.
var serializer = store.SignalProtobufSerializer

// A keyring is a person's Signal state, in memory. Sessions are kept as bytes,
// so that an attempt that fails leaves no trace. The server's mu guards it.
type keyring struct {
	identity     *keys.KeyPair
	registration uint32
	signed       *keys.PreKey
	once         map[uint32]*keys.PreKey
	lastOnce     uint32
	sessions     map[string][]byte
	senderKeys   map[string][]byte
}

var _ signalstore.SignalProtocol = (*keyring)(nil)

func newKeyring() *keyring {
	pair := keys.NewKeyPair()
	return &keyring{
		identity: pair, registration: rand.Uint32N(16380) + 1, signed: pair.CreateSignedPreKey(1),
		once: map[uint32]*keys.PreKey{}, sessions: map[string][]byte{}, senderKeys: map[string][]byte{},
	}
}

// offer makes a bundle with a new one-time key.
func (k *keyring) offer() *bundle {
	k.lastOnce++
	once := keys.NewPreKey(k.lastOnce)
	k.once[once.KeyID] = once
	return &bundle{registration: k.registration, identity: *k.identity.Pub, signed: k.signed, once: once}
}

func (k *keyring) pair(p *keys.KeyPair) *ecc.ECKeyPair {
	return ecc.NewECKeyPair(ecc.NewDjbECPublicKey(*p.Pub), ecc.NewDjbECPrivateKey(*p.Priv))
}

// GetIdentityKeyPair implements libsignal's store, as do the methods below.
func (k *keyring) GetIdentityKeyPair() *identity.KeyPair {
	return identity.NewKeyPair(identity.NewKey(ecc.NewDjbECPublicKey(*k.identity.Pub)), ecc.NewDjbECPrivateKey(*k.identity.Priv))
}

func (k *keyring) GetLocalRegistrationID() uint32 { return k.registration }

func (k *keyring) SaveIdentity(context.Context, *protocol.SignalAddress, *identity.Key) error {
	return nil
}

func (k *keyring) IsTrustedIdentity(context.Context, *protocol.SignalAddress, *identity.Key) (bool, error) {
	return true, nil // people in tests trust everybody
}

func (k *keyring) LoadPreKey(_ context.Context, id uint32) (*record.PreKey, error) {
	p := k.once[id]
	if p == nil {
		return nil, nil // there is none
	}
	return record.NewPreKey(id, k.pair(&p.KeyPair), nil), nil
}

func (k *keyring) StorePreKey(context.Context, uint32, *record.PreKey) error { return nil }

func (k *keyring) ContainsPreKey(_ context.Context, id uint32) (bool, error) {
	return k.once[id] != nil, nil
}

func (k *keyring) RemovePreKey(_ context.Context, id uint32) error {
	delete(k.once, id)
	return nil
}

func (k *keyring) LoadSession(_ context.Context, address *protocol.SignalAddress) (*record.Session, error) {
	if b := k.sessions[address.String()]; b != nil {
		return record.NewSessionFromBytes(b, serializer.Session, serializer.State)
	}
	return record.NewSession(serializer.Session, serializer.State), nil
}

func (k *keyring) GetSubDeviceSessions(context.Context, string) ([]uint32, error) { return nil, nil }

func (k *keyring) StoreSession(_ context.Context, address *protocol.SignalAddress, r *record.Session) error {
	k.sessions[address.String()] = r.Serialize()
	return nil
}

func (k *keyring) ContainsSession(_ context.Context, address *protocol.SignalAddress) (bool, error) {
	return k.sessions[address.String()] != nil, nil
}

func (k *keyring) DeleteSession(_ context.Context, address *protocol.SignalAddress) error {
	delete(k.sessions, address.String())
	return nil
}

func (k *keyring) DeleteAllSessions(context.Context) error {
	clear(k.sessions)
	return nil
}

func (k *keyring) LoadSignedPreKey(_ context.Context, id uint32) (*record.SignedPreKey, error) {
	if id != k.signed.KeyID {
		return nil, nil // there is none
	}
	return record.NewSignedPreKey(id, 0, k.pair(&k.signed.KeyPair), *k.signed.Signature, nil), nil
}

func (k *keyring) LoadSignedPreKeys(context.Context) ([]*record.SignedPreKey, error) { return nil, nil }

func (k *keyring) StoreSignedPreKey(context.Context, uint32, *record.SignedPreKey) error { return nil }

func (k *keyring) ContainsSignedPreKey(_ context.Context, id uint32) (bool, error) {
	return id == k.signed.KeyID, nil
}

func (k *keyring) RemoveSignedPreKey(context.Context, uint32) error { return nil }

func (k *keyring) StoreSenderKey(_ context.Context, name *protocol.SenderKeyName, r *grouprecord.SenderKey) error {
	k.senderKeys[name.GroupID()+" "+name.Sender().String()] = r.Serialize()
	return nil
}

func (k *keyring) LoadSenderKey(_ context.Context, name *protocol.SenderKeyName) (*grouprecord.SenderKey, error) {
	if b := k.senderKeys[name.GroupID()+" "+name.Sender().String()]; b != nil {
		return grouprecord.NewSenderKeyFromBytes(b, serializer.SenderKeyRecord, serializer.SenderKeyState)
	}
	return grouprecord.NewSenderKey(serializer.SenderKeyRecord, serializer.SenderKeyState), nil
}
