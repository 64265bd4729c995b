package whatsapp

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// jitter spreads what would happen at the same moment: d, more or less a half.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d)
}

// A pacer lets callers through one after another, mean apart.
type pacer struct {
	mean time.Duration

	mu   sync.Mutex
	next time.Time
}

// wait returns when it is the caller's turn, or when ctx is done.
func (p *pacer) wait(ctx context.Context) error {
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	turn := p.next
	p.next = p.next.Add(jitter(p.mean))
	p.mu.Unlock()
	return sleep(ctx, time.Until(turn))
}

// sleep returns after d, or earlier with ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
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

// A backoff grows from first to most, each step drawn from around its mean.
type backoff struct {
	first, most, next time.Duration
}

func (b *backoff) step() time.Duration {
	b.next = min(max(2*b.next, b.first), b.most)
	return jitter(b.next)
}

func (b *backoff) reset() { b.next = 0 }
