// Package webhook delivers events and actions to the endpoints of others, at
// least once, signed.
//
//	pending ──claim, attempt──► succeeded   2xx
//	   ▲                  ├───► pending     anything else, later: Config.Schedule
//	   └──────────────────┤
//	                      └───► dead        after the schedule, or 410 Gone; a person can replay it
//
// A delivery keeps its id and its body, byte for byte, over all attempts; each
// attempt is signed anew. All state is in SQL. After a crash, or where an
// attempt's end can not be written, the claim's lease runs out and the
// delivery is made again under the same id, so that a receiver who keeps the
// ids sees each once.
package webhook

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/gateway"
)

// leaseMargin is what a claim's lease has beyond the attempt's timeout, to
// write down how it ended.
const leaseMargin = 15 * time.Second

// maxRetryAfter is the longest that an endpoint may put us off.
const maxRetryAfter = 24 * time.Hour

// Config sets how deliveries are made.
type Config struct {
	Concurrency    int             // attempts at once
	PerWebhook     int             // attempts at once to one endpoint, lest a slow one takes all the slots
	Timeout        time.Duration   // of one attempt, from the lookup of the name to the end of the answer
	AllowAddresses []netip.Prefix  // reached although they are private, loopback and the like
	Schedule       []time.Duration // the waits between attempts, each ±20 %; empty: one attempt
	Drain          time.Duration   // how long attempts in hand may go on after a shutdown began
	// Dial connects to an endpoint; nil: TCP to public addresses and to
	// AllowAddresses. Another one is responsible for what it reaches.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Defaults returns the configuration of an installation that sets nothing. Its
// schedule begins fast, since somebody may be waiting in a chat, and ends
// after some 21 hours.
func Defaults() Config {
	return Config{
		Concurrency: 64,
		PerWebhook:  8,
		Timeout:     10 * time.Second,
		Schedule: []time.Duration{
			time.Second, 5 * time.Second, 30 * time.Second,
			2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
			2 * time.Hour, 6 * time.Hour, 12 * time.Hour,
		},
		Drain: 25 * time.Second,
	}
}

// Validate reports the first field that is out of range.
func (c Config) Validate() error {
	switch {
	case c.Concurrency < 1:
		return fmt.Errorf("concurrency must be positive, not %d", c.Concurrency)
	case c.PerWebhook < 1:
		return fmt.Errorf("per webhook must be positive, not %d", c.PerWebhook)
	case c.Timeout <= 0:
		return fmt.Errorf("timeout must be positive, not %v", c.Timeout)
	case c.Drain < 0:
		return fmt.Errorf("drain must not be negative, not %v", c.Drain)
	case slices.ContainsFunc(c.Schedule, func(d time.Duration) bool { return d <= 0 || d > maxRetryAfter }):
		return fmt.Errorf("schedule must hold waits of more than 0 and at most %v", maxRetryAfter)
	case slices.ContainsFunc(c.AllowAddresses, func(p netip.Prefix) bool { return !p.IsValid() }):
		return fmt.Errorf("allow addresses must be valid prefixes")
	}
	return nil
}

// Store keeps deliveries and the webhooks that they go to.
type Store interface {
	// ClaimDeliveries takes at most limit pending deliveries that are due and
	// under no lease, so that at most perWebhook of one webhook are in hand.
	// next is when another falls due; zero if none waits. It raises
	// Delivery.Attempt, which is then the number of the attempt to be made and
	// the fence of settling it.
	ClaimDeliveries(ctx context.Context, limit, perWebhook int, lease time.Duration) (due []gateway.Delivery, next time.Time, err error)
	// Webhook returns a webhook, or an Error of kind NotFound.
	Webhook(ctx context.Context, id int64) (gateway.Webhook, error)
	// SettleDelivery records an attempt and, of its delivery, State and NextAt,
	// and ends the lease. Conflict: another claim came, or the delivery ended.
	SettleDelivery(ctx context.Context, d *gateway.Delivery, a gateway.Attempt) error
	// DisableWebhook turns a webhook off until a person turns it on again.
	DisableWebhook(ctx context.Context, id int64, reason string) error
}

// A Deliverer makes the deliveries that are due.
type Deliverer struct {
	store   Store
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	client  *http.Client
	loop    gateway.Loop[gateway.Delivery]
}

// New returns a Deliverer. It starts nothing; where cfg is invalid Run says so.
func New(store Store, cfg Config, log *slog.Logger, reg prometheus.Registerer) *Deliverer {
	d := &Deliverer{store: store, cfg: cfg, log: log, metrics: newMetrics(reg), client: newClient(cfg)}
	d.loop = gateway.Loop[gateway.Delivery]{
		Name: "deliveries", Slots: cfg.Concurrency, Drain: cfg.Drain, Log: log,
		Claim: func(ctx context.Context, limit int) ([]gateway.Delivery, time.Time, error) {
			return store.ClaimDeliveries(ctx, limit, cfg.PerWebhook, cfg.Timeout+leaseMargin)
		},
		Work: d.deliver,
	}
	return d
}

// Run delivers until ctx is done, then lets attempts in hand finish for at
// most Config.Drain, and returns nil. Its error is an invalid Config's. It may
// be called once.
func (d *Deliverer) Run(ctx context.Context) error {
	if err := d.cfg.Validate(); err != nil {
		return fmt.Errorf("webhook delivery: %w", err)
	}
	defer d.client.CloseIdleConnections()
	return d.loop.Run(ctx)
}

// Wake tells the deliverer that a delivery was added. It never blocks.
func (d *Deliverer) Wake() { d.loop.Wake() }

// deliver makes one attempt and writes down how it ended.
func (d *Deliverer) deliver(ctx context.Context, del gateway.Delivery) {
	hook, err := d.store.Webhook(ctx, del.Webhook)
	if err != nil && gateway.KindOf(err) != gateway.NotFound {
		d.log.WarnContext(ctx, "delivery left to its lease", "delivery", del.ID, "webhook", del.Webhook, "err", err)
		return
	}
	a := gateway.Attempt{Delivery: del.ID, Number: del.Attempt, At: time.Now()}
	var r result
	switch {
	case err != nil:
		r = result{how: outcomeDisabled, text: "the webhook was deleted"}
	case !hook.Active || hook.Disabled != "":
		r = result{how: outcomeDisabled, text: "the webhook is turned off"}
	default:
		r = d.attempt(ctx, &hook, &del, a.At)
		a.Latency = time.Since(a.At)
		if r.text != "" && ctx.Err() != nil {
			// The shutdown's doing, not the endpoint's: another process makes
			// this attempt when the lease is over.
			d.log.InfoContext(ctx, "delivery attempt cut by shutdown", "delivery", del.ID, "webhook", del.Webhook)
			return
		}
		d.metrics.attempt.WithLabelValues(r.kind()).Observe(a.Latency.Seconds())
	}
	a.StatusCode, a.Error, a.Answer = r.status, r.text, r.answer
	outcome := d.judge(&del, &r, time.Now())
	d.settle(ctx, &hook, &del, a, outcome)
}

// judge turns an attempt's result into the delivery's next state.
func (d *Deliverer) judge(del *gateway.Delivery, r *result, now time.Time) string {
	switch {
	case r.ok():
		del.State = gateway.DeliverySucceeded
		return outcomeSucceeded
	case r.how == outcomeDisabled || r.status == http.StatusGone:
		del.State = gateway.DeliveryDead
		return outcomeDisabled
	case del.Attempt > len(d.cfg.Schedule):
		del.State = gateway.DeliveryDead
		return outcomeDead
	}
	del.State = gateway.DeliveryPending
	wait := jitter(d.cfg.Schedule[max(del.Attempt, 1)-1])
	del.NextAt = now.Add(max(wait, min(r.retryAfter, maxRetryAfter)))
	return outcomeRetried
}

// jitter spreads a wait by ±20 %, so that what failed together does not come
// back together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// settle writes the attempt down: past a shutdown's drain too, but within the
// lease.
func (d *Deliverer) settle(ctx context.Context, hook *gateway.Webhook, del *gateway.Delivery, a gateway.Attempt, outcome string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseMargin/3)
	defer cancel()
	if a.StatusCode == http.StatusGone {
		if err := d.store.DisableWebhook(ctx, hook.ID, "the endpoint answered 410 Gone"); err != nil {
			d.log.ErrorContext(ctx, "disable webhook", "webhook", hook.ID, "err", err)
			return // tried again after the lease, as a whole
		}
	}
	err := d.store.SettleDelivery(ctx, del, a)
	if gateway.KindOf(err) == gateway.Conflict {
		d.log.InfoContext(ctx, "delivery is in other hands", "delivery", del.ID, "webhook", del.Webhook, "attempt", a.Number)
		return
	}
	if err != nil {
		d.log.ErrorContext(ctx, "settle delivery", "delivery", del.ID, "webhook", del.Webhook, "outcome", outcome, "err", err)
		return
	}
	d.metrics.deliveries.WithLabelValues(outcome).Inc()
	if outcome == outcomeSucceeded {
		d.metrics.delivery.Observe(time.Since(del.CreatedAt).Seconds())
	}
	level := slog.LevelInfo
	if del.State == gateway.DeliveryDead {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.String("delivery", string(del.ID)), slog.Int64("webhook", del.Webhook), slog.String("host", hostOf(hook.URL)),
		slog.String("event", del.Event), slog.String("run", string(del.Run)), slog.String("conversation", string(del.Conversation)),
		slog.Int("attempt", a.Number), slog.String("outcome", outcome), slog.Int("status", a.StatusCode),
		slog.Duration("latency", a.Latency), slog.String("reason", a.Error),
	}
	if del.State == gateway.DeliveryPending {
		attrs = append(attrs, slog.Time("next_at", del.NextAt))
	}
	d.log.LogAttrs(ctx, level, "delivery attempt", attrs...)
}
