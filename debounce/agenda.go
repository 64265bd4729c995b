package debounce

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// An agenda knows when to look at each shard next.
type agenda struct {
	wake chan struct{} // holds a token when a time was brought forward

	mu sync.Mutex
	at []time.Time // zero: no reason to look
}

func newAgenda(shards int) *agenda {
	a := &agenda{wake: make(chan struct{}, 1), at: make([]time.Time, shards)}
	return a
}

// plan has a shard looked at by t, or earlier if that was planned. A shard that
// is not there is ignored.
func (a *agenda) plan(shard int, t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if shard < 0 || shard >= len(a.at) {
		return
	}
	if at := a.at[shard]; !at.IsZero() && !t.Before(at) {
		return
	}
	a.at[shard] = t
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// planAll has every shard looked at by t.
func (a *agenda) planAll(t time.Time) {
	for i := range a.at {
		a.plan(i, t)
	}
}

// take reports whether it is time to look at a shard, and if so forgets that
// time. What is planned from now on belongs to the next look: a claim's answer
// must never hide an Add that came after the claim.
func (a *agenda) take(shard int, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := a.at[shard]
	if at.IsZero() || at.After(now) {
		return false
	}
	a.at[shard] = time.Time{}
	return true
}

// next returns when the first shard is to be looked at, or no later than limit.
func (a *agenda) next(limit time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.at {
		if !at.IsZero() && at.Before(limit) {
			limit = at
		}
	}
	return limit
}

// An outage logs once when Redis can not be used, and once when it can again.
type outage struct {
	log *slog.Logger

	mu    sync.Mutex
	down  map[int]bool // shards that could not be used when last tried
	since time.Time
}

func (o *outage) failed(ctx context.Context, shard int, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return // we gave up, not Redis
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.down) == 0 {
		o.since = time.Now()
		o.log.WarnContext(ctx, "redis can not be used, windows wait", "err", err)
	}
	o.down[shard] = true
}

func (o *outage) ok(ctx context.Context, shard int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.down[shard] {
		return
	}
	delete(o.down, shard)
	if len(o.down) == 0 {
		o.log.InfoContext(ctx, "redis can be used again", "after", time.Since(o.since))
	}
}
