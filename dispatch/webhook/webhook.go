// Package webhook delivers events and actions to the endpoints of others, at
// least once, signed.
//
//	pending ──attempt──► succeeded   2xx
//	   ▲          ├────► pending     anything else, later: Config.Schedule
//	   └──────────┤
//	              └────► dead        after the schedule, or 410 Gone; a person can replay it
//
// All state is in SQL. Webhooks are in lanes, each of which one process holds by a
// lease, so that one process alone delivers to a webhook: what is in hand there,
// how fast it may go, in which order and whether it rests is known without asking
// anybody. A process that dies loses its lanes to the others when its lease is
// over, and with them what it had not written down, which is delivered again.
//
// A delivery keeps its id and its body, byte for byte, over all attempts; each
// attempt is signed anew. A receiver who keeps the ids sees each once.
//
// A webhook whose attempts fail one after the other rests (the circuit breaker):
// its deliveries wait, and use up no attempts, until one of them succeeds as a
// probe. It never stops the others: an endpoint gets no more of the attempts at
// once than are still free.
//
// What an endpoint answers to an action counts: of a 2xx whose body is a JSON object,
// result is kept beside the action for the agent's next run, and reply, a text, goes
// to the customer. It is on record before the delivery has succeeded, so that a crash
// in between asks the endpoint again, under the same id, and says nothing twice.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/dispatch/webhook/post"
	"wagent/gateway"
)

// longestWait is the longest between two attempts that a schedule may have.
const longestWait = 24 * time.Hour

// Config sets how deliveries are made.
type Config struct {
	Concurrency    int             // attempts at once
	PerWebhook     int             // attempts at once to a webhook that says nothing else
	Timeout        time.Duration   // of one attempt, from the lookup of the name to the end of the answer
	AllowAddresses []netip.Prefix  // reached although they are private, loopback and the like
	Schedule       []time.Duration // the waits between attempts, each ±20 %; empty: one attempt
	BreakAfter     int             // so many failures in a row, and a webhook rests
	Rest           time.Duration   // how long it rests first; twice as long whenever the probe fails
	LongestRest    time.Duration
	DisableAfter   time.Duration // a webhook whose attempts only fail for so long is turned off; 0: never
	Lease          time.Duration // of the lanes: how long after its death others take over from a process
	Drain          time.Duration // how long attempts in hand may go on after a shutdown began
	// Tell tells the other processes to look at webhooks, or, without any, at all.
	// It must not block. Nil: there are none, or they look by themselves, within a
	// third of the lease.
	Tell func(webhooks ...int64)
	// Replied is told that replies of endpoints wait to be sent. It must not block, and
	// may be nil.
	Replied func()
	// Dial connects to an endpoint; nil: TCP to public addresses and to
	// AllowAddresses. Another one is responsible for what it reaches.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Defaults returns the configuration of an installation that sets nothing. Its
// schedule begins fast, since somebody may be waiting in a chat, and ends
// after some 21 hours.
func Defaults() Config {
	return Config{
		Concurrency: 256,
		PerWebhook:  16,
		Timeout:     10 * time.Second,
		Schedule: []time.Duration{
			time.Second, 5 * time.Second, 30 * time.Second,
			2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
			2 * time.Hour, 6 * time.Hour, 12 * time.Hour,
		},
		BreakAfter:   10,
		Rest:         5 * time.Second,
		LongestRest:  5 * time.Minute,
		DisableAfter: 5 * 24 * time.Hour,
		Lease:        9 * time.Second,
		Drain:        25 * time.Second,
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
	case c.BreakAfter < 1:
		return fmt.Errorf("break after must be positive, not %d", c.BreakAfter)
	case c.Rest <= 0 || c.LongestRest < c.Rest:
		return fmt.Errorf("rest must be positive, and the longest no shorter: not %v and %v", c.Rest, c.LongestRest)
	case c.DisableAfter < 0:
		return fmt.Errorf("disable after must not be negative, not %v", c.DisableAfter)
	case c.Lease < time.Second:
		return fmt.Errorf("lease must be at least 1s, not %v", c.Lease)
	case c.Drain < 0:
		return fmt.Errorf("drain must not be negative, not %v", c.Drain)
	case slices.ContainsFunc(c.Schedule, func(d time.Duration) bool { return d <= 0 || d > longestWait }):
		return fmt.Errorf("schedule must hold waits of more than 0 and at most %v", longestWait)
	case slices.ContainsFunc(c.AllowAddresses, func(p netip.Prefix) bool { return !p.IsValid() }):
		return errors.New("allow addresses must be valid prefixes")
	}
	return nil
}

// Store keeps deliveries and the webhooks that they go to.
type Store interface {
	Lanes
	Queue
	Webhooks
	Answers
}

// Lanes are shared out among the processes that deliver.
type Lanes interface {
	// HoldLanes keeps what owner holds for another lease, and takes free lanes up
	// to its share; none, and it has no share, if it is leaving.
	HoldLanes(ctx context.Context, owner string, lease time.Duration, leaving bool) (gateway.LaneHold, error)
	// ReleaseLanes gives some of them to others.
	ReleaseLanes(ctx context.Context, owner string, lanes []int64) error
}

// Queue is what is to be delivered.
type Queue interface {
	// FirstDue returns when the first delivery to each webhook of some lanes is
	// due, of those that take deliveries and have some.
	FirstDue(ctx context.Context, lanes []int64) (map[int64]time.Time, error)
	// DueDeliveries returns the first that are due to webhooks, also what is in
	// hand.
	DueDeliveries(ctx context.Context, asks []gateway.DeliveryAsk) ([]gateway.Delivery, error)
	// SettleDeliveries records attempts and how webhooks fare, if owner holds their
	// lanes; all of it or nothing. It reports which attempts stand: others ended
	// otherwise, or in other hands. It may be repeated.
	SettleDeliveries(ctx context.Context, owner string, settled []gateway.Settlement, health []gateway.WebhookHealth) (stand []bool, err error)
	// BuryDeliveries gives some up that are for webhooks of some lanes which are
	// deleted or turned off, and reports whether there may be more.
	BuryDeliveries(ctx context.Context, lanes []int64) (more bool, err error)
}

// Answers keeps what endpoints answer to actions.
type Answers interface {
	// AnswerActions keeps results, and queues replies, each action's first one; it
	// reports whether there are some to send. It may be repeated.
	AnswerActions(ctx context.Context, answers []gateway.ActionAnswer) (replies bool, err error)
}

// Webhooks are all that there are.
type Webhooks interface {
	Webhooks(ctx context.Context) ([]gateway.Webhook, error)
	// DisableWebhook turns a webhook off that is at a URL still, until a person
	// turns it on again. NotFound: it is not.
	DisableWebhook(ctx context.Context, id int64, url, reason string) error
}

// A Deliverer makes the deliveries that are due.
type Deliverer struct {
	store   Store
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	client  *post.Client

	mu    sync.Mutex
	woken map[int64]bool
	all   bool           // look at everything
	ours  map[int64]bool // the lanes that we deliver
	some  chan struct{}  // something was woken
}

// New returns a Deliverer. It starts nothing; where cfg is invalid Run says so.
func New(store Store, cfg Config, log *slog.Logger, reg prometheus.Registerer) *Deliverer {
	return &Deliverer{
		store: store, cfg: cfg, log: log, metrics: newMetrics(reg), client: post.New(post.Config{
			AtOnce: cfg.Concurrency, Timeout: cfg.Timeout, AllowAddresses: cfg.AllowAddresses, Dial: cfg.Dial,
		}),
		woken: map[int64]bool{}, some: make(chan struct{}, 1),
	}
}

// Run delivers until ctx is done, then lets attempts in hand finish for at
// most Config.Drain, and returns nil. Its error is an invalid Config's. It may
// be called once.
func (d *Deliverer) Run(ctx context.Context) error {
	if err := d.cfg.Validate(); err != nil {
		return fmt.Errorf("webhook delivery: %w", err)
	}
	defer d.client.Close()
	newCourier(d).run(ctx)
	return nil
}

// Wake tells whoever delivers that something is to be delivered to these webhooks,
// or, without any, that webhooks changed. It never blocks, and may be called at any
// time, before Run too.
func (d *Deliverer) Wake(webhooks ...int64) {
	d.Hear(webhooks...)
	if d.cfg.Tell == nil {
		return
	}
	d.mu.Lock()
	others := slices.DeleteFunc(slices.Clone(webhooks), func(id int64) bool { return d.ours[id%gateway.Lanes] })
	d.mu.Unlock()
	if len(others) > 0 || len(webhooks) == 0 {
		d.cfg.Tell(others...)
	}
}

// Hear is Wake by another process, whose Config.Tell said so.
func (d *Deliverer) Hear(webhooks ...int64) {
	d.mu.Lock()
	d.all = d.all || len(webhooks) == 0
	for _, id := range webhooks {
		d.woken[id] = true
	}
	d.mu.Unlock()
	select {
	case d.some <- struct{}{}:
	default:
	}
}

// takeWoken returns who was woken since it was asked last.
func (d *Deliverer) takeWoken() (webhooks map[int64]bool, all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	webhooks, all = d.woken, d.all
	d.woken, d.all = map[int64]bool{}, false
	return webhooks, all
}

// holds takes note of the lanes that we deliver.
func (d *Deliverer) holds(lanes map[int64]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ours = maps.Clone(lanes)
}
