package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"wagent/gateway"
)

// A sealer keeps secrets unreadable in the database. A sealed text is bound to
// its row and column: copied elsewhere it does not open.
type sealer struct{ aead cipher.AEAD }

func newSealer(key [32]byte) (sealer, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return sealer{}, fmt.Errorf("use secret_key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return sealer{}, fmt.Errorf("use secret_key: %w", err)
	}
	return sealer{aead}, nil
}

// seal returns text for a column; the empty secret stays empty.
func (s sealer) seal(secret gateway.Secret, table, id, column string) string {
	if secret == "" {
		return ""
	}
	sealed := s.aead.Seal(nil, nil, []byte(secret), place(table, id, column))
	return base64.RawStdEncoding.EncodeToString(sealed)
}

// open reads what seal returned for the same place.
func (s sealer) open(sealed, table, id, column string) (gateway.Secret, error) {
	if sealed == "" {
		return "", nil
	}
	b, err := base64.RawStdEncoding.DecodeString(sealed)
	if err == nil {
		b, err = s.aead.Open(nil, nil, b, place(table, id, column))
	}
	if err != nil {
		return "", fmt.Errorf("open %s of %s %s, which secret_key did not seal: %w", column, table, id, err)
	}
	return gateway.Secret(b), nil
}

func place(table, id, column string) []byte {
	return []byte(table + "\x00" + id + "\x00" + column)
}

// checkKey compares the key with the one that the database was made with.
func (s *Store) checkKey(ctx context.Context) error {
	const table, id, column, known = "seal_check", "1", "sealed", "wagent"
	// Of replicas that start at once, one writes and both read.
	if _, err := s.q.exec(ctx, `INSERT INTO seal_check (id, sealed) VALUES (1, $1) ON CONFLICT (id) DO NOTHING`,
		s.key.seal(known, table, id, column)); err != nil {
		return s.fail(err, "check secret_key")
	}
	sealed, err := one(ctx, s.q, scanText[string], `SELECT sealed FROM seal_check WHERE id = 1`)
	if err != nil {
		return s.fail(err, "check secret_key")
	}
	if _, err := s.key.open(sealed, table, id, column); err != nil {
		return &gateway.Error{Kind: gateway.Invalid, Msg: "secret_key is not the one that this database's secrets were sealed with", Err: err}
	}
	sum := sha256.Sum256([]byte(sealed)) // which no other database has: it begins with a random nonce
	s.installation = hex.EncodeToString(sum[:6])
	return nil
}

// Installation names this database among all others: the same in every
// process that opens it, at any time.
func (s *Store) Installation() string { return s.installation }
