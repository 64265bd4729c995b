package webhook

import (
	"time"

	"wagent/gateway"
)

// Deliveries that are read ahead: of one endpoint, and of all together. So many
// endpoints are asked for at once.
const (
	aheadOfOne = 128
	aheadOfAll = 8192
	askedFor   = 256
)

// ask reads what is due to endpoints of which we have little in hand.
func (c *courier) ask(now time.Time) {
	if c.looking {
		return
	}
	held := 0
	for _, e := range c.endpoints {
		held += len(e.held)
	}
	var asks []gateway.DeliveryAsk
	ahead := min(aheadOfOne, aheadOfAll/max(1, len(c.endpoints)))
	for id, e := range c.endpoints {
		if !e.dirty || !e.takes() || !c.lanes[id%gateway.Lanes] {
			continue
		}
		if at := laterOf(e.notBefore, e.asksAt); now.Before(at) {
			c.later(e, at)
			continue
		}
		limit := 1
		if !e.resting {
			limit = max(ahead, 2*e.atOnce(c.cfg.PerWebhook))
		}
		if len(e.held) > limit/2 || len(e.held) > 0 && held > aheadOfAll {
			continue // once some of them are settled
		}
		e.dirty = false
		asks = append(asks, gateway.DeliveryAsk{Webhook: id, Ordered: e.hook.Ordered, Limit: limit})
		if held += limit; len(asks) == askedFor {
			break
		}
	}
	if len(asks) > 0 {
		c.looking, c.stale = true, false
		go c.lookUp(asks, now)
	}
}

// A looked is the answer to asks.
type looked struct {
	asks []gateway.DeliveryAsk
	due  []gateway.Delivery
	took time.Duration
	err  error
}

func (c *courier) lookUp(asks []gateway.DeliveryAsk, began time.Time) {
	ds, err := c.store.DueDeliveries(c.work, asks)
	c.looked <- looked{asks, ds, time.Since(began), err}
}

// A look at what is due in order has to pass what waits for its turn. One that took
// this long, among a large backlog, is not repeated at once.
const (
	slowLook = 20 * time.Millisecond
	slowRest = 4 // times as long as it took
)

// again is the pause after SQL failed.
const again = time.Second

// look puts what is due in the queues.
func (c *courier) look(l *looked) {
	c.looking = false
	got := map[int64]int{}
	for i := range l.due {
		d := &l.due[i]
		got[d.Webhook]++
		e := c.endpoint(d.Webhook)
		if c.stale || c.stopping || e.held[d.ID] || c.recent[d.ID] || !c.lanes[d.Webhook%gateway.Lanes] {
			continue
		}
		e.held[d.ID] = true
		e.queue = append(e.queue, *d)
		c.enqueue(e)
	}
	clear(c.recent)
	for _, a := range l.asks {
		e := c.endpoint(a.Webhook)
		if a.Ordered && l.took > slowLook {
			e.asksAt = time.Now().Add(slowRest * l.took)
		}
		switch {
		case l.err != nil:
			c.later(e, time.Now().Add(again))
		case c.stale || got[a.Webhook] >= a.Limit:
			e.dirty = true
		}
	}
	if l.err != nil && c.work.Err() == nil {
		c.log.WarnContext(c.work, "read what is due to webhooks", "err", l.err)
	}
}
