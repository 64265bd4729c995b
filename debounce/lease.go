package debounce

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrLeaseLost is the cause of a handler's cancelled context when another
// process may have its batch: another claim took it, or Redis could not be
// reached until the lease was over.
//
// A Redis that lost its data cancels nothing. There the lease is not another's
// but nobody's, and the handler's work may be finished by whoever fences it
// outside of Redis.
var ErrLeaseLost = errors.New("debounce: lease lost")

// handleUnderLease calls handle and keeps the batch's lease until it returns.
func (r *runner) handleUnderLease(hands, settling context.Context, c *claimed) error {
	ctx, cancel := context.WithCancelCause(hands)
	defer cancel(nil)
	renewing, stop := context.WithCancel(settling)
	var keeper sync.WaitGroup
	defer keeper.Wait()
	defer stop()
	keeper.Go(func() { r.keep(renewing, c, cancel) })
	return r.call(ctx, c.Batch)
}

// keep renews a lease every third of its length until ctx is done, and calls
// cancel if it is lost.
func (r *runner) keep(ctx context.Context, c *claimed, cancel context.CancelCauseFunc) {
	lease := r.cfg.Lease
	// A timer of its own, since a renewal may hang for longer than the lease.
	end := time.AfterFunc(time.Until(c.until), func() { cancel(ErrLeaseLost) })
	defer end.Stop()
	timer := time.NewTimer(time.Until(c.until.Add(-lease).Add(lease / 3)))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		sent := time.Now()
		h, err := r.renew(ctx, c)
		if err != nil {
			r.outage.failed(ctx, c.shard.n, err)
			timer.Reset(min(lease/10, retryMost))
			continue
		}
		r.outage.ok(ctx, c.shard.n)
		switch h {
		case lost:
			cancel(ErrLeaseLost)
			return
		case gone:
			return // see ErrLeaseLost
		default:
			end.Reset(time.Until(sent.Add(lease)))
			timer.Reset(time.Until(sent.Add(lease / 3)))
		}
	}
}

// settle does done or nack until Redis has answered. It gives up after the
// length of a lease, or when Run must return: then the lease ends by itself,
// and the batch comes again.
func (r *runner) settle(ctx context.Context, c *claimed, do func() (hold, error)) {
	giveUp := time.NewTimer(r.cfg.Lease)
	defer giveUp.Stop()
	for n := 0; ; n++ {
		h, err := do()
		if err == nil {
			r.outage.ok(ctx, c.shard.n)
			if h == lost { // or go-redis sent it twice, since it had no answer to the first
				r.log.WarnContext(ctx, "batch was settled by another claim", "batch", c.ID, "attempt", c.Attempt)
			}
			return
		}
		r.outage.failed(ctx, c.shard.n, err)
		pause := time.NewTimer(doubled(retryFirst, n, retryMost))
		select {
		case <-pause.C:
			continue
		case <-giveUp.C:
		case <-ctx.Done():
		}
		pause.Stop()
		r.log.WarnContext(ctx, "batch is left to the end of its lease", "batch", c.ID, "err", err)
		return
	}
}
