package webhook

import (
	"container/heap"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"wagent/dispatch/webhook/post"
	"wagent/gateway"
)

// A courier is what a running Deliverer knows. All of it belongs to the goroutine
// of run, which never waits for SQL or an endpoint: what does so is a goroutine of
// its own, and reports. There is at most one of each kind beside the attempts, so
// that what happens meanwhile is done together the next time.
type courier struct {
	*Deliverer
	owner string
	ctx   context.Context // Run's
	work  context.Context // of what is in hand

	lanes     map[int64]bool // that we hold, and deliver
	leaving   map[int64]bool // that we hold, and others are to have
	until     time.Time      // we hold them
	endpoints map[int64]*endpoint
	ring      []*endpoint // that may have something to send, whose turn it is first
	timers    timers
	free      int // attempts that may begin
	stopping  bool
	left      bool      // the others know that we do
	lastCall  time.Time // stop then, if there is no end of what is to be sent; zero: nobody said stop

	known   map[int64]*gateway.Webhook // as of knownAt
	knownAt time.Time
	changed bool           // a webhook was, since somebody began to look
	unsure  time.Time      // since when; nothing is sent before we know; zero: we know
	missed  map[int64]bool // woken in lanes that we did not have, while somebody looked

	unsettled []*flight
	recent    map[gateway.DeliveryID]bool // settled during a look, which may not know

	stale  bool      // what a look under way finds is not to be sent
	tendAt time.Time // when to look after the lanes

	tending, looking, settling, burying bool
	kept                                chan kept
	surveyed                            chan surveyed
	buried                              chan struct{}
	looked                              chan looked
	settled                             chan settled
	landed                              chan *flight
}

// A flight is an attempt on its way, or one that ended.
type flight struct {
	endpoint *endpoint
	hook     gateway.Webhook
	delivery gateway.Delivery
	at       time.Time
	probe    bool // of an endpoint that rests
	answer   post.Answer
	said     gateway.ActionAnswer // what it means; without Result and Reply: nothing
	kept     bool                 // that is on record
	attempt  gateway.Attempt
	outcome  string
	// What is to be written down of the endpoint with it; nil and empty: nothing.
	health  *gateway.WebhookHealth
	disable string // why it is turned off
	off     bool   // it is
	stands  bool
}

func newCourier(d *Deliverer) *courier {
	return &courier{
		Deliverer: d, owner: rand.Text(), free: d.cfg.Concurrency,
		lanes: map[int64]bool{}, leaving: map[int64]bool{}, endpoints: map[int64]*endpoint{}, missed: map[int64]bool{}, recent: map[gateway.DeliveryID]bool{},
		kept: make(chan kept, 1), surveyed: make(chan surveyed, 1), buried: make(chan struct{}, 1),
		looked: make(chan looked, 1), settled: make(chan settled, 1), landed: make(chan *flight, d.cfg.Concurrency),
	}
}

// run delivers until ctx is done, and ends when nothing is in hand any more.
func (c *courier) run(ctx context.Context) {
	work, cancel := gateway.Grace(ctx, c.cfg.Drain)
	defer cancel()
	c.ctx, c.work = ctx, work
	timer := time.NewTimer(0)
	defer timer.Stop()
	done := ctx.Done()
	for !c.stopping || c.busy() {
		select {
		case <-done:
			done, c.lastCall = nil, time.Now().Add(lastCall)
		case <-c.some:
			c.hear()
		case k := <-c.kept:
			c.keep(&k)
		case s := <-c.surveyed:
			select {
			case k := <-c.kept: // it was sent before
				c.keep(&k)
			default:
			}
			c.survey(&s)
		case <-c.buried:
			c.burying = false
		case l := <-c.looked:
			c.look(&l)
		case s := <-c.settled:
			c.close(&s)
		case f := <-c.landed:
			c.land(f)
		case <-timer.C:
		}
		c.next() //nolint:contextcheck // what it begins outlives ctx, in c.work
		timer.Reset(c.pause())
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), settlePatience)
	defer cancel()
	var hold gateway.LaneHold
	var err error
	if !c.left { // without a drain there was no time: others would share the lanes with us until our lease is over
		hold, err = c.store.HoldLanes(ctx, c.owner, c.cfg.Lease, true)
	}
	lanes := slices.Concat(ours(c.lanes), ours(c.leaving), hold.Kept)
	if err := errors.Join(err, c.store.ReleaseLanes(ctx, c.owner, lanes)); err != nil {
		c.log.WarnContext(ctx, "leave lanes of webhooks to others; they have them when the lease is over", "err", err)
	}
}

// stop begins to leave the lanes to others: at once where nothing is in hand.
func (c *courier) stop() {
	c.stopping, c.stale = true, true
	for _, e := range c.endpoints {
		c.drop(e)
	}
	for lane := range c.lanes {
		c.leaving[lane] = true
	}
	clear(c.lanes)
	c.holds(nil)
	c.tendAt = time.Time{}
}

// busy reports whether something is still to be waited for.
func (c *courier) busy() bool {
	return c.tending || c.looking || c.settling || c.burying || len(c.unsettled) > 0 || c.free < c.cfg.Concurrency || c.tendAt.IsZero()
}

// next begins whatever can begin now.
func (c *courier) next() {
	now := time.Now()
	for len(c.timers) > 0 && !c.timers[0].at.After(now) {
		t := heap.Pop(&c.timers).(timer)
		e := t.endpoint
		e.dirty = true
		if e.wakeAt.Equal(t.at) {
			e.wakeAt = time.Time{}
		}
		c.enqueue(e)
	}
	c.writeDown()
	if !c.tending && !now.Before(c.tendAt) {
		c.tending, c.tendAt, c.changed = true, now.Add(c.cfg.Lease/3), false
		go c.attend(c.idleLanes(), c.stopping)
	}
	sure := c.unsure.IsZero() || now.Sub(c.unsure) >= unsureFor
	if now.Before(c.until) && !c.stopping && sure {
		c.send(now)
		c.ask(now)
	}
	if !c.lastCall.IsZero() && !c.stopping && (!now.Before(c.lastCall) || len(c.ring) == 0 && !c.looking && sure && len(c.some) == 0) {
		c.stop()
		c.next()
	}
}

// unsureFor is how long nothing is sent since webhooks were changed: where changes do
// not end, or SQL is away, as we knew them.
const unsureFor = time.Second

// lastCall is for how long after the order to stop attempts begin still: what runs
// made that ended just before goes out with them.
const lastCall = time.Second

// pause is how long to sleep if nothing happens.
func (c *courier) pause() time.Duration {
	at := c.tendAt
	if c.tending {
		at = time.Now().Add(c.cfg.Lease)
	}
	if len(c.timers) > 0 && c.timers[0].at.Before(at) {
		at = c.timers[0].at
	}
	if !c.lastCall.IsZero() && !c.stopping && c.lastCall.Before(at) {
		at = c.lastCall
	}
	if end := c.unsure.Add(unsureFor); end.After(time.Now()) && end.Before(at) {
		at = end
	}
	return max(time.Until(at), 0)
}

// hear takes note of who was woken.
func (c *courier) hear() {
	woken, all := c.takeWoken()
	if all {
		c.tendAt, c.changed = time.Time{}, true
		if c.unsure.IsZero() {
			c.unsure = time.Now()
		}
	}
	for id := range woken {
		switch {
		case c.lanes[id%gateway.Lanes]:
			c.wake(id)
		case c.tending: // it may be taking that lane
			c.missed[id] = true
		}
	}
}

// skew is by how much clocks may differ before what others made due waits for the
// next look at everything.
const skew = 250 * time.Millisecond

// wake has it looked what is due to a webhook of ours.
func (c *courier) wake(id int64) {
	e := c.endpoint(id)
	e.dirty = true
	if c.cfg.Tell != nil { // whoever made the delivery due may have a clock ahead of ours
		c.later(e, time.Now().Add(skew))
	}
	if h := c.known[id]; e.hook.ID == 0 && h != nil {
		e.know(h, c.knownAt)
	} else if e.hook.ID == 0 { // a new one
		c.tendAt = time.Time{}
	}
}

func (c *courier) endpoint(id int64) *endpoint {
	e := c.endpoints[id]
	if e == nil {
		e = &endpoint{id: id, held: map[gateway.DeliveryID]bool{}}
		c.endpoints[id] = e
	}
	return e
}

// enqueue has an endpoint take its turn.
func (c *courier) enqueue(e *endpoint) {
	if !e.waiting && len(e.queue) > 0 {
		e.waiting = true
		c.ring = append(c.ring, e)
	}
}

// later has an endpoint looked at again at a time, if not before.
func (c *courier) later(e *endpoint, at time.Time) {
	if e.wakeAt.IsZero() || at.Before(e.wakeAt) {
		e.wakeAt = at
		heap.Push(&c.timers, timer{at, e})
	}
}

// soon is how far ahead retries are remembered one by one. What is due later is found
// as it comes near, not much later than it is due (Queue.FirstDue).
const soon = time.Minute

// retry has what is due to an endpoint at a time found then.
func (c *courier) retry(e *endpoint, at time.Time) {
	if time.Until(at) < max(soon, c.cfg.Lease) {
		heap.Push(&c.timers, timer{at, e})
	}
}

// send begins attempts, one of each endpoint in turn, while there is one that may.
func (c *courier) send(now time.Time) {
	for passed := 0; c.free > 0 && passed < len(c.ring); {
		e := c.ring[0]
		c.ring = c.ring[1:]
		if len(e.queue) == 0 || !c.lanes[e.id%gateway.Lanes] {
			e.waiting = false
			continue
		}
		ok, at := e.mayStart(now, c.free, &c.cfg)
		if !at.IsZero() {
			e.waiting = false
			c.later(e, at)
			continue
		}
		c.ring = append(c.ring, e)
		if !ok {
			passed++
			continue
		}
		passed = 0
		f := &flight{endpoint: e, hook: e.hook, delivery: e.queue[0], at: now, probe: e.resting}
		e.queue = e.queue[1:]
		e.flying++
		c.free--
		go func() {
			c.fly(c.work, f)
			c.landed <- f
		}()
	}
}

// A timer has an endpoint looked at.
type timer struct {
	at       time.Time
	endpoint *endpoint
}

// timers are a heap (container/heap).
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push satisfies heap.Interface.
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) }

// Pop satisfies heap.Interface.
func (t *timers) Pop() any {
	last := len(*t) - 1
	x := (*t)[last]
	(*t)[last] = timer{}
	*t = (*t)[:last]
	return x
}
