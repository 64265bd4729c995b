// Package pace spreads in time what would otherwise happen at the same moment:
// connections after a start, tries after a failure. State ends with the process.
package pace

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Jitter spreads what would happen at the same moment: d, more or less a half.
func Jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d)
}

// A Line lets callers through one after another, Mean apart. It is safe for
// concurrent use.
type Line struct {
	Mean time.Duration

	mu   sync.Mutex
	next time.Time
}

// Wait returns when it is the caller's turn, or when ctx is done.
func (p *Line) Wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	turn := p.next
	p.next = p.next.Add(Jitter(p.Mean))
	p.mu.Unlock()
	return Sleep(ctx, time.Until(turn))
}

// Sleep returns after d, or earlier with ctx's error.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// A Backoff grows from First to Most, each step drawn from around its mean. One
// goroutine owns it.
type Backoff struct {
	First, Most time.Duration

	next time.Duration
}

// Step returns the next wait.
func (b *Backoff) Step() time.Duration {
	b.next = min(max(2*b.next, b.First), b.Most)
	return Jitter(b.next)
}

// Reset begins anew with First.
func (b *Backoff) Reset() { b.next = 0 }
