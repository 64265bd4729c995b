package cloudapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"wagent/gateway"
)

const (
	signatureHeader = "X-Hub-Signature-256"

	// bookAge is how old the snapshot of the accounts may be, missAge how old
	// where it lacks what a request names: strangers cause one query a second.
	bookAge = 5 * time.Second
	missAge = time.Second
	// lookTimeout bounds one query, which others wait for.
	lookTimeout = 5 * time.Second
)

// A directory keeps a recent snapshot of the Cloud API accounts.
type directory struct {
	accounts Accounts
	book     atomic.Pointer[book]
	slot     chan struct{} // who holds it queries
}

func newDirectory(accounts Accounts) *directory {
	return &directory{accounts: accounts, slot: make(chan struct{}, 1)}
}

// look returns a snapshot that is at most maxAge old.
func (d *directory) look(ctx context.Context, maxAge time.Duration) (*book, error) {
	if b := d.book.Load(); b.fresh(maxAge) {
		return b, b.err
	}
	select {
	case d.slot <- struct{}{}:
		defer func() { <-d.slot }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for accounts: %w", context.Cause(ctx))
	}
	if b := d.book.Load(); b.fresh(maxAge) {
		return b, b.err
	}
	query, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	accounts, err := d.accounts.Accounts(query)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("list accounts: %w", context.Cause(ctx))
	}
	b := newBook(accounts, err)
	d.book.Store(b)
	return b, b.err
}

// A book is a snapshot of the Cloud API accounts, or of why there is none.
type book struct {
	at         time.Time
	err        error
	numbers    map[string][]gateway.Account // by Meta's phone number id
	businesses map[string][]gateway.Account // by the id of the WhatsApp business account
	secrets    []gateway.Secret             // distinct, none empty
	tokens     []gateway.Secret             // verify tokens, none empty
}

func newBook(accounts []gateway.Account, err error) *book {
	b := &book{at: time.Now(), numbers: map[string][]gateway.Account{}, businesses: map[string][]gateway.Account{}}
	if err != nil {
		b.err = fmt.Errorf("list accounts: %w", err)
		return b
	}
	seen := map[gateway.Secret]bool{"": true}
	for i := range accounts {
		a := &accounts[i]
		if a.Kind != gateway.CloudAPI {
			continue
		}
		if a.Cloud.PhoneNumberID != "" {
			b.numbers[a.Cloud.PhoneNumberID] = append(b.numbers[a.Cloud.PhoneNumberID], *a)
		}
		if a.Cloud.WABAID != "" {
			b.businesses[a.Cloud.WABAID] = append(b.businesses[a.Cloud.WABAID], *a)
		}
		if !seen[a.Cloud.AppSecret] {
			seen[a.Cloud.AppSecret] = true
			b.secrets = append(b.secrets, a.Cloud.AppSecret)
		}
		if a.Cloud.VerifyToken != "" {
			b.tokens = append(b.tokens, a.Cloud.VerifyToken)
		}
	}
	return b
}

// fresh reports whether b may still be used. A failure is remembered for
// missAge at most, so that a database that came back is seen at once, and one
// that is away is not asked by every request.
func (b *book) fresh(maxAge time.Duration) bool {
	if b == nil {
		return false
	}
	if b.err != nil {
		maxAge = min(maxAge, missAge)
	}
	return time.Since(b.at) < maxAge
}

// signers returns those of the secrets under which mac is the body's.
func (b *book) signers(mac, body []byte) map[gateway.Secret]bool {
	out := map[gateway.Secret]bool{}
	for _, s := range b.secrets {
		h := hmac.New(sha256.New, []byte(s))
		h.Write(body)
		if hmac.Equal(h.Sum(nil), mac) {
			out[s] = true
		}
	}
	return out
}

// An owner is the account that a number belongs to, as far as the signature
// bears it out.
type owner struct {
	state   ownership
	account gateway.Account // of unknown: only its kind
}

type ownership uint8

const (
	unknown ownership = iota // no account has the number
	foreign                  // another account's secret signed
	owned
)

func (b *book) account(number string, signers map[gateway.Secret]bool) owner {
	for _, a := range b.numbers[number] {
		if signers[a.Cloud.AppSecret] {
			return owner{owned, a}
		}
	}
	if as := b.numbers[number]; len(as) > 0 {
		return owner{foreign, as[0]}
	}
	return owner{unknown, gateway.Account{Kind: gateway.CloudAPI}}
}

// parseSignature reads the header in which Meta sends the body's HMAC-SHA256.
func parseSignature(header string) (mac []byte, ok bool) {
	digits, ok := strings.CutPrefix(header, "sha256=")
	if !ok {
		return nil, false
	}
	mac, err := hex.DecodeString(digits)
	return mac, err == nil && len(mac) == sha256.Size
}
