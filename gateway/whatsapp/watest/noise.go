//go:build watest

package watest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCert"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/util/keys"
	"google.golang.org/protobuf/proto"
)

// rootSeed makes the root key. It is no secret: whoever trusts this root
// trusts everybody. A test looks for these words in the release binary.
const rootSeed = "wagent watest root: never in a release build"

var rootKey = sync.OnceValue(func() *keys.KeyPair {
	return keys.NewKeyPairFromPrivateKey(sha256.Sum256([]byte(rootSeed)))
})

// trust puts the test root in the place of WhatsApp's, once: the variable is
// the process's, and clients read it without a lock.
var trust = sync.OnceFunc(func() { whatsmeow.WACertPubKey = *rootKey().Pub })

// sign makes an XEdDSA signature, which is what Signal and the certificates use.
func sign(key *keys.KeyPair, data []byte) []byte {
	sig := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*key.Priv), data)
	return sig[:]
}

// certify makes the chain root → intermediate → the server's static key.
func certify(static *keys.KeyPair) []byte {
	const intermediateSerial, leafSerial = 1, 2
	from, until := uint64(time.Now().Add(-time.Hour).Unix()), uint64(time.Now().Add(240*time.Hour).Unix())
	details := func(serial, issuer uint32, key *[32]byte) []byte {
		return marshal(&waCert.CertChain_NoiseCertificate_Details{
			Serial: &serial, IssuerSerial: &issuer, Key: key[:], NotBefore: &from, NotAfter: &until,
		})
	}
	intermediate := keys.NewKeyPair()
	middle := details(intermediateSerial, whatsmeow.WACertIssuerSerial, intermediate.Pub)
	leaf := details(leafSerial, intermediateSerial, static.Pub)
	return marshal(&waCert.CertChain{
		Intermediate: &waCert.CertChain_NoiseCertificate{Details: middle, Signature: sign(rootKey(), middle)},
		Leaf:         &waCert.CertChain_NoiseCertificate{Details: leaf, Signature: sign(intermediate, leaf)},
	})
}

// noise is the responder of Noise_XX_25519_AESGCM_SHA256. See the Noise
// Protocol Framework, revision 34, sections 5 and 7.5.
type noise struct {
	hash, chain []byte
	aead        cipher.AEAD
	n           uint32
}

func newNoise(prologue []byte) *noise {
	s := &noise{hash: []byte(socket.NoiseStartPattern), chain: []byte(socket.NoiseStartPattern)}
	s.aead = gcm(s.hash)
	s.mixHash(prologue)
	return s
}

// gcm panics on a key of the wrong length, which no peer can cause: keys come
// out of HKDF.
func gcm(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}

// agree is X25519. The public key comes from the peer.
func agree(private *[32]byte, public []byte) ([]byte, error) {
	ours, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		return nil, err
	}
	theirs, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	return ours.ECDH(theirs)
}

func nonce(n uint32) []byte {
	return binary.BigEndian.AppendUint32(make([]byte, 8, 12), n)
}

func (s *noise) mixHash(data []byte) {
	sum := sha256.Sum256(append(slices.Clip(s.hash), data...))
	s.hash = sum[:]
}

func (s *noise) expand(secret []byte) (first, second []byte) {
	out, err := hkdf.Key(sha256.New, secret, s.chain, "", 64)
	if err != nil {
		panic(err) // 64 bytes are always there
	}
	return out[:32], out[32:]
}

func (s *noise) mixKey(private *[32]byte, public []byte) error {
	shared, err := agree(private, public)
	if err != nil {
		return err
	}
	var key []byte
	s.chain, key = s.expand(shared)
	s.aead, s.n = gcm(key), 0
	return nil
}

func (s *noise) seal(plain []byte) []byte {
	sealed := s.aead.Seal(nil, nonce(s.n), plain, s.hash)
	s.n++
	s.mixHash(sealed)
	return sealed
}

func (s *noise) open(sealed []byte) ([]byte, error) {
	plain, err := s.aead.Open(nil, nonce(s.n), sealed, s.hash)
	s.n++
	s.mixHash(sealed)
	return plain, err
}

// A greeting is what the handshake tells: who the client says that it is, the
// key that it proved to have, and the two ciphers of the session.
type greeting struct {
	payload     *waWa6.ClientPayload
	static      [32]byte
	read, write cipher.AEAD
}

// handshake answers the client's hello. read and write move whole frames.
func (s *Server) handshake(read func() ([]byte, error), write func([]byte) error) (*greeting, error) {
	ns := newNoise(socket.WAConnHeader)
	var hello, finish waWa6.HandshakeMessage
	if err := readProto(read, &hello); err != nil {
		return nil, fmt.Errorf("read client hello: %w", err)
	}
	theirs, ours := hello.GetClientHello().GetEphemeral(), keys.NewKeyPair()
	ns.mixHash(theirs)
	ns.mixHash(ours.Pub[:])
	if err := ns.mixKey(ours.Priv, theirs); err != nil {
		return nil, fmt.Errorf("mix ephemeral keys: %w", err)
	}
	static := ns.seal(s.static.Pub[:])
	if err := ns.mixKey(s.static.Priv, theirs); err != nil {
		return nil, fmt.Errorf("mix the static key: %w", err)
	}
	answer := &waWa6.HandshakeMessage_ServerHello{Ephemeral: ours.Pub[:], Static: static, Payload: ns.seal(s.certificate)}
	if err := write(marshal(&waWa6.HandshakeMessage{ServerHello: answer})); err != nil {
		return nil, fmt.Errorf("write server hello: %w", err)
	}
	if err := readProto(read, &finish); err != nil {
		return nil, fmt.Errorf("read client finish: %w", err)
	}
	clientStatic, err := ns.open(finish.GetClientFinish().GetStatic())
	if err == nil && len(clientStatic) != 32 {
		err = errors.New("not 32 bytes")
	}
	if err != nil {
		return nil, fmt.Errorf("open the client's static key: %w", err)
	}
	if err = ns.mixKey(ours.Priv, clientStatic); err != nil {
		return nil, fmt.Errorf("mix the client's static key: %w", err)
	}
	plain, err := ns.open(finish.GetClientFinish().GetPayload())
	if err != nil {
		return nil, fmt.Errorf("open the client's payload: %w", err)
	}
	g := &greeting{payload: &waWa6.ClientPayload{}, static: [32]byte(clientStatic)}
	if err = proto.Unmarshal(plain, g.payload); err != nil {
		return nil, fmt.Errorf("parse the client's payload: %w", err)
	}
	r, w := ns.expand(nil)
	g.read, g.write = gcm(r), gcm(w)
	return g, nil
}

func readProto(read func() ([]byte, error), into proto.Message) error {
	frame, err := read()
	if err != nil {
		return err
	}
	return proto.Unmarshal(frame, into)
}

// marshal panics where a required field is missing: our mistake, not a peer's.
func marshal(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}
