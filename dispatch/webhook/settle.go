package webhook

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"wagent/gateway"
)

// land takes note of how an attempt ended.
func (c *courier) land(f *flight) {
	e := f.endpoint
	c.free++
	e.flying--
	c.enqueue(e)
	if f.answer.Failure != "" && c.work.Err() != nil {
		// The shutdown's doing, not the endpoint's: whoever has the lane next makes
		// this attempt.
		delete(e.held, f.delivery.ID)
		c.log.InfoContext(c.work, "delivery attempt cut by shutdown", "delivery", f.delivery.ID, "webhook", f.hook.ID)
		return
	}
	now := time.Now()
	moved := f.hook.URL != e.hook.URL
	c.judge(f, moved, now)
	if moved { // it says nothing of where the webhook is now
		c.unsettled = append(c.unsettled, f)
		return
	}
	if e.learn(&f.answer, f.probe, &c.cfg, now) {
		f.health = &gateway.WebhookHealth{Webhook: e.id, FailingSince: e.failingSince, RestsUntil: e.restsUntil()}
	}
	switch {
	case f.answer.Status == http.StatusGone:
		f.disable = "the endpoint answered 410 Gone"
	case c.cfg.DisableAfter > 0 && e.failures >= c.cfg.BreakAfter && now.Sub(e.failingSince) >= c.cfg.DisableAfter:
		f.disable = "no attempt has succeeded since " + e.failingSince.UTC().Format(time.RFC3339)
	}
	if f.disable != "" {
		e.hook.Disabled, e.off, e.offSince = f.disable, true, time.Time{}
		c.drop(e)
	}
	c.unsettled = append(c.unsettled, f)
}

// settledAtOnce is how many attempts are written down together, at most.
const settledAtOnce = 256

// writeDown has what has landed settled.
func (c *courier) writeDown() {
	if len(c.unsettled) == 0 || c.settling {
		return
	}
	c.settling = true
	n := min(len(c.unsettled), settledAtOnce)
	fs := slices.Clone(c.unsettled[:n])
	c.unsettled = slices.Delete(c.unsettled, 0, n)
	go c.settle(fs)
}

// A settled is what was written down, or could not be.
type settled struct {
	flights []*flight
	err     error // of the last try, where there is none any more
}

// close takes note that attempts are on record.
func (c *courier) close(s *settled) {
	c.settling = false
	if s.err != nil { // past the drain: the others are not tried
		c.unsettled = nil
	}
	now := time.Now()
	for _, f := range s.flights {
		e, d := f.endpoint, &f.delivery
		delete(e.held, d.ID)
		if c.looking {
			c.recent[d.ID] = true
		}
		if f.disable != "" {
			e.offSince = now
		}
		// What comes next in its conversation, or what others made of it.
		e.dirty = e.dirty || e.hook.Ordered || !f.stands
		if d.State == gateway.DeliveryPending {
			c.retry(e, laterOf(d.NextAt, now))
		}
	}
	if len(c.leaving) > 0 && len(c.idleLanes()) > 0 {
		c.tendAt = time.Time{}
	}
}

// laterOf returns the later of two times.
func laterOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// drop forgets what is in the queue: it stays pending in SQL.
func (c *courier) drop(e *endpoint) {
	for i := range e.queue {
		delete(e.held, e.queue[i].ID)
	}
	e.queue = nil
}

// settlePatience is how long one try to write attempts down may take.
const settlePatience = 5 * time.Second

// settle writes attempts down, again and again while that fails: what an endpoint
// took must not be sent twice because the database was away for a moment. It ends
// past a shutdown's drain after one more try; then another process makes these
// attempts again.
func (c *courier) settle(fs []*flight) {
	for wait := again / 10; ; wait = min(2*wait, settlePatience) {
		last := c.work.Err() != nil
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.work), settlePatience)
		err := c.record(ctx, fs)
		cancel()
		if err != nil {
			c.log.ErrorContext(c.work, "settle deliveries", "deliveries", len(fs), "err", err)
		}
		if err == nil || last {
			c.settled <- settled{fs, err}
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.work.Done():
		}
		timer.Stop()
	}
}

// record writes attempts down, with how their webhooks fare.
func (c *courier) record(ctx context.Context, fs []*flight) error {
	settlements := make([]gateway.Settlement, len(fs))
	fare := map[int64]gateway.WebhookHealth{} // the last that is known
	for i, f := range fs {
		settlements[i] = gateway.Settlement{Delivery: f.delivery, Attempt: f.attempt, Ordered: f.hook.Ordered}
		if f.health != nil {
			fare[f.hook.ID] = *f.health
		}
		if f.disable == "" || f.off {
			continue
		}
		if err := c.store.DisableWebhook(ctx, f.hook.ID, f.hook.URL, f.disable); err != nil && gateway.KindOf(err) != gateway.NotFound {
			return err
		}
		f.off = true
	}
	if err := c.keepAnswers(ctx, fs); err != nil {
		return err
	}
	health := make([]gateway.WebhookHealth, 0, len(fare))
	for _, h := range fare {
		health = append(health, h)
	}
	slices.SortFunc(health, func(a, b gateway.WebhookHealth) int { return cmp.Compare(a.Webhook, b.Webhook) })
	stand, err := c.store.SettleDeliveries(ctx, c.owner, settlements, health)
	if err != nil {
		return err
	}
	if len(stand) != len(fs) {
		return errors.New("the store settled other deliveries than it was asked to")
	}
	for i, f := range fs {
		f.stands = stand[i]
		c.report(ctx, f)
	}
	return nil
}
