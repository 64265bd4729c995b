package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// An AuditEntry is a change that somebody made, or tried to make, over the API.
// It has no part of a request's body or query.
type AuditEntry struct {
	Seq     int64 // in the order in which they were written; set by the store
	At      time.Time
	Who     string // the key's name, or what the log calls whoever needs none
	Action  string // method and route, as POST /api/v1/agents/:agent/runs
	Subject string // the path as it was asked for, without keys and whole phone numbers
	Status  int    // of the answer: below 400 it was done; after 5xx, or 499 (the client had gone), it may have been
	Request string // its id, as in the log
}

// NewKeyID returns an id of an [APIKey] that nobody else has.
func NewKeyID() string { return newID("key") }

// KeyIDOf is [RunIDOf] for an [APIKey].
func KeyIDOf(request string) string { return "key_" + request }

// NewKeySecret returns a key of 130 random bits, which is to be shown once and
// kept nowhere.
func NewKeySecret(test bool) Secret {
	prefix := "wrb_live_"
	if test {
		prefix = "wrb_test_"
	}
	return Secret(prefix + strings.ToLower(rand.Text()))
}

// digest is what a [KeyDigest] begins with. No id and no name does.
const digest = "sha256:"

// KeyDigest names a key to whoever knows its hash: sha256: and 64 hex digits. It
// opens nothing, so it may stand where the key itself must not.
func KeyDigest(secret Secret) string {
	sum := sha256.Sum256([]byte(secret))
	return digest + hex.EncodeToString(sum[:])
}

// ParseKeyDigest returns the hash in what [KeyDigest] made, or false for anything
// else.
func ParseKeyDigest(s string) (hash [32]byte, ok bool) {
	s, ok = strings.CutPrefix(s, digest)
	b, err := hex.DecodeString(s)
	if !ok || err != nil || len(b) != len(hash) {
		return [32]byte{}, false
	}
	return [32]byte(b), true
}

// Limited reports whether the key reaches only some accounts. What is bound to
// none is then out of its reach.
func (k *APIKey) Limited() bool { return k.Test || len(k.Accounts) > 0 }

// May reports whether the scope includes another.
func (s KeyScope) May(other KeyScope) bool { return s.rank() >= other.rank() && s.rank() > 0 }

func (s KeyScope) rank() int {
	switch s {
	case ScopeRead:
		return 1
	case ScopeWrite:
		return 2
	case ScopeAdmin:
		return 3
	default:
		return 0
	}
}
