package debounce

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/debounce/nap"
)

const (
	lookEvery    = 10 * time.Second // who has a shard looks at it, in case a notification was lost
	lookAround   = time.Minute      // and so does everybody else
	retryFirst   = 50 * time.Millisecond
	retryMost    = time.Second
	backoffFirst = time.Second
	backoffMost  = 30 * time.Second
	settleGrace  = 2 * time.Second // for telling Redis what became of the last batches
)

var errDrained = errors.New("debounce: the time to drain is over")

// Run hands batches that are due to handle, at most Config.Concurrency at once,
// until ctx is done, and then returns nil. Redis being away does not end it. A
// Debouncer has at most one Run at a time; another returns an error at once.
//
// When handle returns nil the batch is forgotten. When it returns an error or
// panics, the batch comes again, after 1 s, doubled with each attempt up to
// 30 s, and in the meantime nothing else of its key does.
//
// The context given to handle is cancelled with [ErrLeaseLost] as its cause when
// another process may have the batch, and with [ErrRecalled] when a newer item
// calls it back. It outlives ctx by Config.Drain; what is not finished then is
// given back for others to take. Run waits until handle has returned.
func (d *Debouncer) Run(ctx context.Context, handle func(context.Context, Batch) error) error {
	if !d.running.CompareAndSwap(false, true) {
		return errors.New("debounce: Run is at work already")
	}
	defer d.running.Store(false)

	var background sync.WaitGroup
	defer background.Wait()
	hands, stopHands := outlive(ctx, &background, d.cfg.Drain)
	defer stopHands(nil)
	settling, stopSettling := outlive(ctx, &background, d.cfg.Drain+settleGrace)
	defer stopSettling(nil)
	k := &keeper{Debouncer: d, wake: make(chan struct{}, 1), kept: map[hand]*kept{}}
	background.Go(func() { k.run(settling) })
	notices := d.rdb.Subscribe(ctx) // to nothing yet, lest it dial here
	defer func() { _ = notices.Close() }()
	background.Go(func() { d.listen(ctx, notices, k) })
	background.Go(func() { d.attend(ctx) })

	r := &runner{
		Debouncer: d, keeper: k, handle: handle,
		freed: make(chan struct{}, d.cfg.Concurrency), answers: make(chan answer, d.cfg.Concurrency),
	}
	r.start = func(c *claimed) {
		r.inHand.Go(func() {
			defer func() { r.freed <- struct{}{} }()
			r.work(ctx, hands, settling, c)
		})
	}
	r.loop(ctx)
	r.inHand.Wait()
	return nil
}

// outlive returns a context that ends after ctx did.
func outlive(ctx context.Context, wg *sync.WaitGroup, after time.Duration) (context.Context, context.CancelCauseFunc) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	wg.Go(func() {
		select {
		case <-ctx.Done():
		case <-out.Done():
			return
		}
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(errDrained)
		case <-out.Done():
		}
	})
	return out, cancel
}

// listen heeds what other processes say until notices is closed.
func (d *Debouncer) listen(ctx context.Context, notices *redis.PubSub, k *keeper) {
	// A first failure is made good: the channel below subscribes again.
	_ = notices.Subscribe(ctx, d.channel())
	heard := notices.ChannelWithSubscriptions()
	silent := time.NewTimer(lookEvery)
	defer silent.Stop()
	for {
		select {
		case <-silent.C: // go-redis tries on, and says nothing: a right may be missing
			d.outage.Failed(ctx, "notices", errors.New("debounce: no subscription is confirmed, so notifications are lost"))
		case m, ok := <-heard:
			if !ok {
				return
			}
			switch m := m.(type) {
			case *redis.Subscription: // what was said before it is lost
				silent.Stop()
				d.outage.OK(ctx, "notices")
				if b := d.layouts.board.Load(); b != nil {
					d.planAll(b.shards)
				}
				d.news()
			case *redis.Message:
				d.heed(m.Payload, k)
			}
		}
	}
}

// heed takes in what a script said: "due <shard> <microseconds>", "recall
// <shard> <generation>" or "beat".
func (d *Debouncer) heed(said string, k *keeper) {
	what, about, _ := strings.Cut(said, " ")
	name, number, _ := strings.Cut(about, " ")
	if what == "beat" {
		d.news()
		return
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return
	}
	b := d.layouts.board.Load()
	switch {
	case what == "recall":
		k.recall(hand{name, n})
	case b == nil || b.byName[name] == nil: // of a layout that we do not know yet
		d.news()
	default:
		d.plan(b.byName[name], n)
	}
}

// A runner is one Run. Its loop owns busy, asked and first.
type runner struct {
	*Debouncer
	keeper  *keeper
	handle  func(context.Context, Batch) error
	start   func(*claimed) // begins to work on a batch
	inHand  sync.WaitGroup
	freed   chan struct{}
	answers chan answer // of the nodes of a cluster
	busy    int         // handlers that are at work, or kept for what was asked for
	asked   int         // answers to come
	first   int         // the shard to look at first
}

// An answer is to a claim, for which handlers were kept.
type answer struct {
	claim
	s    *shard
	kept int
}

func (r *runner) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		var shards []*shard
		if b := r.layouts.board.Load(); b != nil {
			shards = b.shards
		}
		r.look(ctx, shards)
		var due <-chan time.Time // never, while no handler is free
		if r.busy < r.cfg.Concurrency {
			timer.Reset(nap.Toward(r.next(shards)))
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-due:
		case <-r.agenda.Wake:
		case a := <-r.answers:
			r.answered(ctx, &a)
		case <-r.freed:
			r.busy--
		}
		for len(r.freed) > 0 {
			<-r.freed
			r.busy--
		}
	}
	for r.asked > 0 { // what was claimed meanwhile is given back
		a := <-r.answers
		r.answered(ctx, &a)
	}
}

// next returns when a shard is to be looked at.
func (r *runner) next(shards []*shard) time.Time {
	at := time.Now().Add(lookEvery)
	for _, s := range shards {
		at = r.agenda.Soonest(at, &s.Entry)
	}
	return at
}

// look claims from the shards that may have something due, as far as handlers
// are free. The next look begins with the shard after the last of them. Shards
// that are known to have much are not all asked: much from a few is less work
// than little from many.
func (r *runner) look(ctx context.Context, shards []*shard) {
	free := r.cfg.Concurrency - r.busy
	var due []*shard
	for i, much := 0, 0; i < len(shards); i++ {
		n := (r.first + i) % len(shards)
		if len(due) == free || much >= free || ctx.Err() != nil {
			r.first = n
			break
		}
		if r.agenda.Take(&shards[n].Entry, time.Now()) {
			due = append(due, shards[n])
			if shards[n].more && !r.cluster {
				much += claimChunk
			}
		}
	}
	if len(due) == 0 {
		return
	}
	limit := min(free/len(due), claimChunk)
	if r.cluster {
		// A shard of a node that hangs keeps its share of the handlers only.
		r.ask(ctx, min(limit, max(1, r.cfg.Concurrency/len(shards))), due)
		return
	}
	// An answer that is on its way when ctx ends is still read: the client
	// looks at ctx before it sends. Were it not, the lease would have to end.
	for i, c := range r.claim(ctx, limit, due...) {
		r.took(ctx, due[i], &c)
	}
}

// ask claims from shards that may be on different nodes, each by itself: a node
// that is slow holds up nobody else's, and go-redis, which repeats a pipeline if
// its first command was refused, does not repeat the claims of others. One whose
// answer got lost with its connection it does repeat: what the first took comes again
// when its leases end.
func (r *runner) ask(ctx context.Context, limit int, shards []*shard) {
	for _, s := range shards {
		r.busy += limit
		r.asked++
		go func() { r.answers <- answer{r.claim(ctx, limit, s)[0], s, limit} }()
	}
}

func (r *runner) answered(ctx context.Context, a *answer) {
	r.asked--
	r.busy -= a.kept
	r.took(ctx, a.s, &a.claim)
}

// took plans the next look at a shard and starts the handlers of what it gave.
func (r *runner) took(ctx context.Context, s *shard, c *claim) {
	if c.err != nil {
		r.trouble(ctx, s, c.err)
		r.agenda.Set(&s.Entry, time.Now().Add(doubled(retryFirst, s.failures, retryMost)))
		s.failures++
		return
	}
	r.outage.OK(ctx, s.name)
	s.failures, s.more = 0, c.next == 0
	wait := lookAround
	if s.Mine.Load() {
		wait = lookEvery
	}
	if c.next >= 0 {
		wait = min(wait, c.next)
	}
	r.agenda.Plan(&s.Entry, time.Now().Add(wait))
	r.metrics.Expired.Add(float64(c.expired))
	for i := range c.batches {
		r.busy++
		r.start(&c.batches[i])
	}
}

// work handles one batch and tells Redis what became of it. It begins nothing
// when run has ended; hands bounds the handler, settling what Redis is told.
func (r *runner) work(run, hands, settling context.Context, c *claimed) {
	if run.Err() != nil { // it ended while the claim was on its way
		r.settle(settling, c, opAgain, 0)
		return
	}
	r.measure(c)
	ctx, cancel := context.WithCancelCause(hands)
	defer cancel(nil)
	r.keeper.keep(c, cancel)
	defer r.keeper.release(c)
	if errors.Is(context.Cause(ctx), ErrLeaseLost) {
		r.log.WarnContext(hands, "batch was claimed too long ago and is given back", "batch", c.ID, "items", len(c.Items), "attempt", c.Attempt)
		r.settle(settling, c, opAgain, 0)
		return
	}
	err := r.call(ctx, c.Batch)
	if err == nil {
		r.settle(settling, c, opDone, 0)
		return
	}
	delay := doubled(backoffFirst, c.Attempt-1, backoffMost)
	switch {
	case errors.Is(context.Cause(ctx), ErrRecalled), errors.Is(err, ErrRecalled):
		r.metrics.Recalled.Inc()
		r.log.DebugContext(hands, "batch was called back", "batch", c.ID, "items", len(c.Items), "recalls", c.Recalls)
	case hands.Err() != nil:
		delay = 0 // it was us who cut it short
		fallthrough
	default:
		r.log.WarnContext(hands, "batch failed and will come again", "batch", c.ID, "items", len(c.Items),
			"attempt", c.Attempt, "retry_in", delay, "err", err)
	}
	r.settle(settling, c, opAgain, delay)
}

// call runs handle and turns its panic into an error.
func (r *runner) call(ctx context.Context, b Batch) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.log.ErrorContext(ctx, "handler panicked", "batch", b.ID, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("handler panicked: %v", p)
		}
	}()
	return r.handle(ctx, b)
}

// doubled returns first·2ⁿ, at most limit.
func doubled(first time.Duration, n int, limit time.Duration) time.Duration {
	if n > 16 {
		return limit
	}
	return min(first<<n, limit)
}
