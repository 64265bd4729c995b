package debounce

import (
	"context"
	"errors"
	"slices"
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

// ErrRecalled is the cause of a handler's cancelled context when a newer item
// called its batch back; see [Window]. A handler that had finished by then may
// return nil all the same: the item then comes in a batch of its own.
//
// One that learned of a newer item by other ways may return ErrRecalled itself,
// which is no failure, once it has added the item: an Add that comes later finds
// the batch waiting for another attempt by itself.
var ErrRecalled = errors.New("debounce: a newer item came")

// A keeper keeps the leases of the batches in hand.
type keeper struct {
	*Debouncer
	wake     chan struct{} // holds a token when a lease is to be renewed earlier than run knows
	renewing sync.WaitGroup
	mu       sync.Mutex
	kept     map[hand]*kept
	next     time.Time // when run looks again
	early    [64]hand  // called back before they were kept, or somebody else's: the last ones
	heard    int       // so many in all
}

// A hand names a batch in hand: generations are a shard's.
type hand struct {
	shard      string
	generation int64
}

type kept struct {
	c      *claimed
	cancel context.CancelCauseFunc
	renew  time.Time // when to renew; zero while that is under way or not worth while
	until  time.Time // when the lease is over; zero: never, as Redis has lost it
}

func (k *keeper) keep(c *claimed, cancel context.CancelCauseFunc) {
	renew := c.until.Add(k.cfg.Lease/3 - k.cfg.Lease)
	k.mu.Lock()
	defer k.mu.Unlock()
	h := hand{c.shard.name, c.Generation}
	k.kept[h] = &kept{c, cancel, renew, c.until}
	if !c.until.After(time.Now()) { // the claim was long on its way, or this process stood still
		cancel(ErrLeaseLost)
	} else if k.heard > 0 && slices.Contains(k.early[:], h) {
		cancel(ErrRecalled)
	}
	if renew.Before(k.next) { // a batch that is younger than others has time
		k.look()
	}
}

// look has run look again. It never blocks.
func (k *keeper) look() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) release(c *claimed) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.kept, hand{c.shard.name, c.Generation})
}

// recall cancels the handler of a batch, if it is ours.
func (k *keeper) recall(h hand) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if b := k.kept[h]; b != nil {
		b.cancel(ErrRecalled)
		return
	}
	// The claim may be on its way to us.
	k.early[k.heard%len(k.early)] = h
	k.heard++
}

// run renews each lease when a third of it is over, and cancels what was lost,
// until ctx is done.
func (k *keeper) run(ctx context.Context) {
	defer k.renewing.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-k.wake:
		}
		due, next := k.due(time.Now())
		for s, batches := range due {
			for len(batches) > 0 {
				n := min(len(batches), settleMost)
				part := batches[:n]
				batches = batches[n:]
				k.renewing.Go(func() { k.extend(ctx, s, part) })
			}
		}
		timer.Reset(time.Until(next))
	}
}

// due returns what is to be renewed now, and when to look again. What is nearly
// due goes along.
func (k *keeper) due(now time.Time) (due map[*shard][]*kept, next time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next = now.Add(time.Hour)
	soon := time.Time{}
	for _, b := range k.kept {
		switch {
		case b.until.IsZero():
		case !b.until.After(now):
			b.cancel(ErrLeaseLost)
			b.until, b.renew = time.Time{}, time.Time{}
		case !b.renew.IsZero() && !b.renew.After(now):
			soon = now.Add(k.cfg.Lease / 30)
		}
	}
	due = map[*shard][]*kept{}
	for _, b := range k.kept {
		if !b.renew.IsZero() && b.renew.Before(soon) {
			due[b.c.shard] = append(due[b.c.shard], b)
			b.renew = time.Time{}
		}
		for _, t := range []time.Time{b.renew, b.until} {
			if !t.IsZero() && t.Before(next) {
				next = t
			}
		}
	}
	k.next = next
	return due, next
}

// extend renews leases of one shard. An attempt may hang for longer than they
// last.
func (k *keeper) extend(ctx context.Context, s *shard, batches []*kept) {
	sent := time.Now()
	cs := make([]*claimed, len(batches))
	for i, b := range batches {
		cs[i] = b.c
	}
	holds, err := k.renew(ctx, s, cs...)
	if err != nil {
		k.trouble(ctx, s, err)
	} else {
		k.outage.OK(ctx, s.name)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, b := range batches {
		switch {
		case b.until.IsZero(): // lost meanwhile
		case err != nil:
			b.renew = time.Now().Add(min(k.cfg.Lease/10, retryMost))
		case holds[i] == lost:
			b.cancel(ErrLeaseLost)
			b.until = time.Time{}
		case holds[i] == gone:
			b.until = time.Time{} // see ErrLeaseLost
		default:
			if holds[i] == recalled { // the notification was lost
				b.cancel(ErrRecalled)
			}
			b.until, b.renew = sent.Add(k.cfg.Lease), sent.Add(k.cfg.Lease/3)
		}
	}
	k.look()
}

// settle tells Redis what became of a batch until it has answered. It gives up
// after the length of a lease, or when Run must return: then the lease ends by
// itself, and the batch comes again.
func (r *runner) settle(ctx context.Context, c *claimed, what string, delay time.Duration) {
	giveUp := time.NewTimer(r.cfg.Lease)
	defer giveUp.Stop()
	for n := 0; ; n++ {
		h, err := r.settleOnce(ctx, c, what, delay)
		if err == nil {
			r.outage.OK(ctx, c.shard.name)
			if h == lost { // or go-redis sent it twice, since it had no answer to the first
				r.log.WarnContext(ctx, "batch is another claim's, or was settled already", "batch", c.ID, "attempt", c.Attempt)
			}
			return
		}
		r.trouble(ctx, c.shard, err)
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
