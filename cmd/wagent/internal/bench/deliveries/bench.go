// Package deliveries measures what wagent makes of deliveries to webhooks, for wagent
// bench dispatch.
//
// A [Bench] opens a store as serve does, on a PostgreSQL or on SQLite, and delivers
// from it to a receiver in this process, over the loopback interface. Who wants
// something delivered commits it in the store's own transactions, some deliveries in
// each, meanwhile. What it measures:
//
//   - how many deliveries a second come from the beginning of the first commit to the
//     record of the last 2xx, with 1, 10 and 1,000 endpoints, which are paths of one
//     receiver, beside what a bare loop that posts the same signed bodies to it reaches
//     in the same minute, and beside 64 such loops at once, which is the ceiling;
//   - at a steady rate, how long a delivery takes from the end of its commit until the
//     receiver has its request, which is a little more than until its first byte is
//     sent; once more beside an endpoint that hangs and one that refuses;
//   - the same of single deliveries beside a backlog to an endpoint that is away.
//
// State lives in a schema, or in a directory, of its own; both are removed at the end,
// also when ctx ends. If the process is killed they stay.
package deliveries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/cmd/wagent/internal/bench/schema"
	"wagent/dispatch/webhook"
	"wagent/gateway"
	"wagent/gateway/store"
)

// A Bench says what to measure. There are no defaults; all must be set, but for
// Database and Pending.
type Bench struct {
	Database   string // postgres://…, with nothing else to do; empty: SQLite in Dir
	Dir        string // where SQLite's directory is made
	Endpoints  []int  // of the throughputs
	Deliveries int    // of each throughput
	Rate       int    // deliveries a second, where it is measured how long they take
	Measured   time.Duration
	Pending    int           // how many are in the backlog; 0: none is made. Only PostgreSQL can
	Hang       time.Duration // of the endpoint that hangs
	Log        *slog.Logger
}

// Validate reports the first field that is out of range.
func (b *Bench) Validate() error {
	switch {
	case b.Deliveries < 1 || b.Deliveries > 1_000_000:
		return errors.New("deliveries must be between 1 and 1000000")
	case len(b.Endpoints) == 0 || slices.ContainsFunc(b.Endpoints, func(n int) bool { return n < 1 || n > 10_000 }):
		return errors.New("endpoints must be between 1 and 10000")
	case b.Rate < 1 || b.Rate > 100_000:
		return errors.New("rate must be between 1 and 100000")
	case b.Measured <= 0 || b.Measured > time.Hour:
		return errors.New("seconds must be positive, and at most an hour")
	case b.Pending < 0 || b.Pending > 10_000_000:
		return errors.New("pending must be between 0 and 10000000")
	case b.Pending > 0 && b.Database == "":
		return errors.New("pending needs a database: SQLite is not filled")
	}
	return nil
}

// A place is a store that is measured with.
type place struct {
	*store.Store
	room *schema.Schema // nil: it is SQLite's
	name string
	give func(ctx context.Context) error

	phase   int
	prefix  string // of the ids of what is measured now
	mu      sync.Mutex
	all     int           // deliveries that are to succeed: those with the first numbers
	left    int           // of them
	last    time.Time     // when the last of them did
	arrived chan struct{} // closed then
}

func (b *Bench) open(ctx context.Context) (_ *place, err error) {
	cfg := store.Config{Key: [32]byte{1}}
	p := &place{name: "SQLite"}
	if b.Database != "" {
		if p.room, err = schema.Make(ctx, b.Database); err != nil {
			return nil, err
		}
		cfg.URL, p.name, p.give = p.room.URL, "PostgreSQL "+p.room.Version, p.room.Remove
	} else {
		dir, err := os.MkdirTemp(b.Dir, "wagent-bench-")
		if err != nil {
			return nil, err
		}
		cfg.Path, p.give = filepath.Join(dir, "wagent.db"), func(context.Context) error { return os.RemoveAll(dir) }
	}
	if p.Store, err = store.Open(ctx, cfg, b.Log, prometheus.NewRegistry()); err != nil {
		return nil, errors.Join(err, p.give(context.WithoutCancel(ctx)))
	}
	return p, nil
}

func (p *place) close(ctx context.Context) error {
	return errors.Join(p.Close(), p.give(context.WithoutCancel(ctx)))
}

// SettleDeliveries is the store's. It counts what succeeded, once that is on record.
func (p *place) SettleDeliveries(ctx context.Context, owner string, settled []gateway.Settlement, health []gateway.WebhookHealth) ([]bool, error) {
	stand, err := p.Store.SettleDeliveries(ctx, owner, settled, health)
	if err != nil {
		return stand, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range settled {
		n, counted := p.number(string(settled[i].Delivery.ID))
		if !stand[i] || settled[i].Delivery.State != gateway.DeliverySucceeded || !counted || n >= p.all {
			continue
		}
		if p.left--; p.left == 0 {
			p.last = time.Now()
			close(p.arrived)
		}
	}
	return stand, nil
}

// begin has deliveries with other ids made from now on.
func (p *place) begin() {
	p.phase++
	p.prefix = fmt.Sprintf("del_bench_%d_", p.phase)
}

// number is that of a delivery that is measured now.
func (p *place) number(id string) (int, bool) {
	text, ok := strings.CutPrefix(id, p.prefix)
	n, err := strconv.Atoi(text)
	return n, ok && err == nil
}

// expect has so many deliveries waited for.
func (p *place) expect(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all, p.left, p.arrived = n, n, make(chan struct{})
}

// await waits until all have succeeded, and returns when.
func (p *place) await(ctx context.Context) (time.Time, error) {
	ticker := time.NewTicker(patience)
	defer ticker.Stop()
	for before := -1; ; {
		select {
		case <-p.arrived:
			return p.last, nil
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-ticker.C:
		}
		p.mu.Lock()
		left := p.left
		p.mu.Unlock()
		if left == before {
			return time.Time{}, fmt.Errorf("%d deliveries are left, and none succeeded within %v", left, patience)
		}
		before = left
	}
}

// patience is how long deliveries are waited for while none succeeds.
const patience = time.Minute

// hooks makes webhooks at URLs, each of which takes everything.
func (p *place) hooks(ctx context.Context, urls ...string) ([]int64, error) {
	var ids []int64
	for _, url := range urls {
		w := gateway.Webhook{URL: url, Secret: secret, Active: true}
		if err := p.CreateWebhook(ctx, &w); err != nil {
			return nil, err
		}
		ids = append(ids, w.ID)
	}
	return ids, nil
}

const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// drop takes webhooks away again.
func (p *place) drop(ctx context.Context, hooks []int64) error {
	for _, id := range hooks {
		if err := p.DeleteWebhook(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// delivering runs a Deliverer while something is done.
func (b *Bench) delivering(ctx context.Context, p *place, committed func(), do func(ctx context.Context) error) error {
	cfg := webhook.Defaults()
	cfg.AllowAddresses, cfg.Drain = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, 0
	d := webhook.New(p, cfg, slog.New(slog.NewTextHandler(io.Discard, nil)), nil) //nolint:sloglint // to write a line costs what it costs
	p.OnDeliveries(func(hooks ...int64) {
		committed()
		d.Wake(hooks...)
	})
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- d.Run(running) }()
	err := do(ctx)
	stop()
	return errors.Join(err, <-done)
}

// Run measures.
func (b *Bench) Run(ctx context.Context) (r Report, err error) {
	p, err := b.open(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.close(ctx)) }()
	r = Report{Database: p.name, CPUs: runtime.NumCPU(), Deliveries: b.Deliveries, PerCommit: perCommit, Rate: b.Rate}
	for _, n := range b.Endpoints {
		t, err := b.throughput(ctx, p, n)
		if err != nil {
			return r, fmt.Errorf("deliver to %d endpoints: %w", n, err)
		}
		r.Throughput = append(r.Throughput, t)
	}
	for _, bad := range []bool{false, true} {
		l, err := b.latency(ctx, p, bad)
		if err != nil {
			return r, fmt.Errorf("deliver at a rate: %w", err)
		}
		r.Latency = append(r.Latency, l)
	}
	if b.Pending > 0 {
		if r.Backlog, err = b.backlog(ctx, p); err != nil {
			return r, fmt.Errorf("deliver beside a backlog: %w", err)
		}
	}
	return r, nil
}
