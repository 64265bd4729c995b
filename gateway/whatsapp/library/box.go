package library

import (
	"context"
	"errors"
	"sync"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"wagent/gateway"
	"wagent/gateway/whatsapp/devices"
)

// A Box is an account's view of the library's database, and the life of
// whatever is made of it: once the database failed, the library may remember
// what was never written, and all of it is made anew.
type Box struct {
	*devices.Account
	Life context.Context
	End  context.CancelCauseFunc
}

// Open returns a view, whose life ends with ctx at the latest. failed is told of
// an error of the database, after the life ended and before the library learns
// of it: what it could not decrypt it would acknowledge otherwise. The fence
// needs no Broke. The caller must call Shut.
func Open(ctx context.Context, db *devices.Store, f devices.Fence, failed func(error)) *Box {
	b := &Box{}
	b.Life, b.End = context.WithCancelCause(ctx)
	f.Broke = func(err error) {
		b.End(err)
		if !errors.Is(err, devices.ErrClosed) && ctx.Err() == nil {
			failed(err)
		}
	}
	b.Account = db.Account(f)
	return b
}

// Shut ends the view and what was made of it.
func (b *Box) Shut() {
	b.End(context.Canceled)
	_ = b.Close()
}

// mostPairs bounds the pairs that wait. One that is forgotten is seen again
// with the next message of that person, which names both.
const mostPairs = 10_000

// Pairs keeps the pairs of numbers and LIDs that the library learned, until
// somebody has time for them. The zero Pairs is empty; it is safe for
// concurrent use.
type Pairs struct {
	mu    sync.Mutex
	pairs []gateway.Address
}

// Add keeps pairs.
func (p *Pairs) Add(pairs ...store.LIDMapping) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range pairs {
		if len(p.pairs) < mostPairs && x.LID.Server == types.HiddenUserServer && x.PN.Server == types.DefaultUserServer {
			p.pairs = append(p.pairs, gateway.Address{Phone: "+" + x.PN.User, LID: x.LID.User})
		}
	}
}

// Take takes at most n pairs out.
func (p *Pairs) Take(n int) []gateway.Address {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = min(n, len(p.pairs))
	some := p.pairs[:n:n]
	p.pairs = p.pairs[n:]
	return some
}
