package webhook

import (
	"math/rand/v2"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"wagent/dispatch/webhook/post"
	"wagent/gateway"
)

// An endpoint is a webhook of ours, as the courier knows it.
type endpoint struct {
	id   int64
	hook gateway.Webhook // its ID is 0 while it is not known

	queue   []gateway.Delivery          // to be sent, the first first
	held    map[gateway.DeliveryID]bool // in the queue, in flight or not settled yet
	flying  int                         // attempts
	dirty   bool                        // SQL may have more
	waiting bool                        // it stands in the ring
	asksAt  time.Time                   // not before is it looked at again, which takes long
	wakeAt  time.Time                   // when to look at it again; zero: when something happens

	limit     *rate.Limiter // nil: as fast as it goes
	perMinute int           // of limit
	notBefore time.Time     // no attempt before: it rests, or asked us to wait

	off      bool      // we turned it off
	offSince time.Time // that is on record; zero: not yet

	failures     int       // in a row
	failingSince time.Time // the first of them
	resting      bool      // too many; what is sent now is a probe
	rest         time.Duration
}

// know takes over what the webhook was when somebody looked.
func (e *endpoint) know(h *gateway.Webhook, at time.Time) {
	on := func(h *gateway.Webhook) bool { return h.ID != 0 && h.Active && h.Disabled == "" }
	switch {
	case e.off && h.Disabled == "" && (e.offSince.IsZero() || at.Before(e.offSince)):
		return // they looked before we turned it off
	case !on(&e.hook), h.URL != e.hook.URL: // it is new to us, or begins anew: SQL knows better
		e.failures, e.rest, e.failingSince, e.notBefore = 0, 0, h.FailingSince, h.RestsUntil
		e.resting = !h.RestsUntil.IsZero()
	}
	e.hook, e.off = *h, false
	if h.PerMinute == e.perMinute {
		return
	}
	e.perMinute, e.limit = h.PerMinute, nil
	if h.PerMinute > 0 {
		e.limit = rate.NewLimiter(rate.Limit(float64(h.PerMinute)/60), max(1, h.PerMinute/60))
	}
}

// takes reports whether anything is to be delivered to it now.
func (e *endpoint) takes() bool {
	return e.hook.ID != 0 && e.hook.Active && e.hook.Disabled == "" && !e.hook.Paused
}

// atOnce is how many attempts may be in flight.
func (e *endpoint) atOnce(usual int) int {
	switch {
	case e.resting:
		return 1
	case e.hook.Concurrency > 0:
		return e.hook.Concurrency
	default:
		return usual
	}
}

// mayStart reports whether an attempt may begin, of which so many are still free
// in all; if it may not, and only for a while, until when.
//
// One endpoint has at most as many in flight as are free: a single one that hangs
// takes half of them, two take two thirds. The last quarter is for those that have
// none in flight, and did not fail.
func (e *endpoint) mayStart(now time.Time, free int, cfg *Config) (bool, time.Time) {
	switch {
	case !e.takes(), e.flying >= e.atOnce(cfg.PerWebhook), e.flying > 0 && e.flying >= free:
		return false, time.Time{}
	case free <= cfg.Concurrency/4 && (e.flying > 0 || e.failures > 0):
		return false, time.Time{}
	case now.Before(e.notBefore):
		return false, e.notBefore
	case e.limit == nil:
		return true, time.Time{}
	}
	r := e.limit.ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return false, now.Add(wait)
	}
	return true, time.Time{}
}

// longestHold is how long an endpoint is left alone that asks for it; the delivery
// that it asked at may have to wait for longer.
const longestHold = 5 * time.Minute

// learn draws from how an attempt ended what it says of the endpoint, and reports
// whether that is to be written down.
func (e *endpoint) learn(a *post.Answer, probe bool, cfg *Config, now time.Time) (changed bool) {
	if a.OK() {
		changed = !e.failingSince.IsZero() || e.resting || !e.hook.FailingSince.IsZero() || !e.hook.RestsUntil.IsZero()
		if e.resting {
			e.notBefore = time.Time{}
		}
		e.hook.FailingSince, e.hook.RestsUntil = time.Time{}, time.Time{} // as SQL will have it
		e.failures, e.failingSince, e.resting, e.rest = 0, time.Time{}, false, 0
		return changed
	}
	e.failures++
	if e.failingSince.IsZero() {
		e.failingSince, changed = now, true
	}
	if a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable {
		if until := now.Add(min(a.RetryAfter, longestHold)); until.After(e.notBefore) {
			e.notBefore = until
		}
	}
	switch {
	case e.resting && probe:
		e.rest = min(max(2*e.rest, cfg.Rest), cfg.LongestRest)
	case !e.resting && e.failures >= cfg.BreakAfter:
		e.resting, e.rest = true, cfg.Rest
	default: // one of those that were in flight when it began to rest
		return changed
	}
	if until := now.Add(jitter(e.rest)); until.After(e.notBefore) {
		e.notBefore = until
	}
	return true
}

// restsUntil is until when the endpoint rests; zero: it does not.
func (e *endpoint) restsUntil() time.Time {
	if !e.resting {
		return time.Time{}
	}
	return e.notBefore
}

// jitter spreads a wait by ±20 %, so that what failed together does not come
// back together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}
