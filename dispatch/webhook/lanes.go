package webhook

import (
	"context"
	"maps"
	"slices"
	"time"

	"wagent/gateway"
)

// A kept is what became of our lanes.
type kept struct {
	began   time.Time
	leaving bool
	hold    gateway.LaneHold
	err     error
}

// A surveyed is what there is to know of webhooks.
type surveyed struct {
	began time.Time
	hooks []gateway.Webhook
	first map[int64]time.Time // when something is due to a webhook
	err   error
}

// attend keeps our lanes, of which idle ones are given to others, and then reads
// what there is to know of their webhooks.
func (c *courier) attend(idle []int64, leaving bool) {
	k := kept{began: time.Now(), leaving: leaving}
	ctx, cancel := context.WithTimeout(c.work, c.cfg.Lease/3)
	if k.err = c.store.ReleaseLanes(ctx, c.owner, idle); k.err == nil {
		k.hold, k.err = c.store.HoldLanes(ctx, c.owner, c.cfg.Lease, leaving)
	}
	cancel()
	c.kept <- k
	s := surveyed{began: time.Now(), err: k.err}
	if s.err == nil && !leaving {
		if s.hooks, s.err = c.store.Webhooks(c.work); s.err == nil {
			s.first, s.err = c.store.FirstDue(c.work, slices.Concat(k.hold.Kept, k.hold.Taken))
		}
	}
	c.surveyed <- s
}

// bury gives up what is for webhooks that take nothing any more, some at a time.
func (c *courier) bury(lanes []int64) {
	var err error
	for more := true; more && err == nil && c.ctx.Err() == nil; {
		more, err = c.store.BuryDeliveries(c.work, lanes)
	}
	if err != nil && c.work.Err() == nil {
		c.log.WarnContext(c.work, "give up what is for webhooks that are off", "err", err)
	}
	c.buried <- struct{}{}
}

// keep takes over which lanes are ours.
func (c *courier) keep(k *kept) {
	if k.err != nil {
		return // we have them until their lease is over, and maybe again
	}
	c.left = k.leaving
	c.until = k.began.Add(c.cfg.Lease)
	kept := slices.Sorted(slices.Values(k.hold.Kept))
	before := c.lanes
	c.lanes, c.leaving = map[int64]bool{}, map[int64]bool{}
	for i, lane := range slices.Concat(k.hold.Taken, kept) {
		if i < k.hold.Share && !c.stopping {
			c.lanes[lane] = true
		} else {
			c.leaving[lane] = true
		}
	}
	c.holds(c.lanes)
	c.metrics.lanes.Set(float64(len(c.lanes)))
	for id, e := range c.endpoints {
		switch lane := id % gateway.Lanes; {
		case slices.Contains(k.hold.Taken, lane): // others may have delivered what we have
			c.drop(e)
			e.hook.ID, e.dirty, c.stale = 0, true, true
			c.known = nil
		case !c.lanes[lane]:
			c.drop(e)
			c.stale = c.stale || before[lane]
		}
	}
	if len(c.leaving) > 0 && len(c.idleLanes()) > 0 {
		c.tendAt = time.Time{}
	}
}

// survey takes over what the webhooks are.
func (c *courier) survey(s *surveyed) {
	c.tending = false
	if c.stopping {
		return
	}
	if s.err != nil {
		if c.work.Err() == nil {
			c.log.WarnContext(c.work, "look after the webhooks", "err", s.err)
		}
		c.tendAt = time.Now().Add(min(again, c.cfg.Lease/3))
		return
	}
	known := make(map[int64]*gateway.Webhook, len(s.hooks))
	for i := range s.hooks {
		known[s.hooks[i].ID] = &s.hooks[i]
	}
	c.known, c.knownAt = known, s.began
	if !c.changed { // again
		c.unsure = time.Time{}
	}
	for id := range c.missed {
		if c.lanes[id%gateway.Lanes] {
			c.wake(id)
		}
	}
	clear(c.missed)
	for id, e := range c.endpoints {
		c.review(id, e, known[id], s.began)
	}
	for id, at := range s.first {
		h := known[id]
		if h == nil || !c.lanes[id%gateway.Lanes] {
			continue
		}
		e := c.endpoint(id)
		e.know(h, s.began)
		if at.After(time.Now()) {
			c.later(e, at)
		} else {
			e.dirty = true
		}
	}
	if !c.burying {
		c.burying = true
		go c.bury(ours(c.lanes))
	}
}

// review takes over what an endpoint's webhook is, nil if it was deleted, and forgets
// endpoints that we have nothing to do with.
func (c *courier) review(id int64, e *endpoint, h *gateway.Webhook, at time.Time) {
	mine := c.lanes[id%gateway.Lanes]
	if h == nil || !mine {
		fresh := h == nil && mine && e.hook.ID == 0 && e.dirty && c.tendAt.IsZero() // it was made since
		if len(e.held) == len(e.queue) && !fresh {
			c.drop(e)
			delete(c.endpoints, id)
		}
		e.hook.Active = false
		return
	}
	ordered := e.hook.Ordered
	e.know(h, at)
	if ordered != e.hook.Ordered || !e.takes() {
		c.drop(e)
		e.dirty, c.stale = true, true
	}
	if forgets := e.off && h.Disabled == ""; !e.takes() && len(e.held) == 0 && !forgets {
		delete(c.endpoints, id)
	}
}

// idleLanes returns the lanes that others are to have and that nothing is in hand
// of any more.
func (c *courier) idleLanes() []int64 {
	busy := map[int64]bool{}
	for id, e := range c.endpoints {
		if len(e.held) > 0 {
			busy[id%gateway.Lanes] = true
		}
	}
	return slices.DeleteFunc(ours(c.leaving), func(lane int64) bool { return busy[lane] })
}

// ours are lanes in their order.
func ours(lanes map[int64]bool) []int64 { return slices.Sorted(maps.Keys(lanes)) }
