// Package debounce gathers items that arrive close together.
//
// Items are added under a key. A key's items are handed over as one [Batch]
// once the key has been quiet for a while, or has waited long enough, or holds
// enough items:
//
//	            Add                     claim                 handle returns nil
//	(nothing) ───────► waiting, due at ───────► in flight ───────────────────────► (nothing)
//	                    ▲  │ Add: later ▲         │  │ ▲                            or waiting, with
//	                    └──┘            │ backoff │  └─┘ renewed while               what came meanwhile
//	                                    └─────────┘      handle works
//	                      handle returns an error,
//	                      or the lease ends
//
// A newer item may also call a batch in flight back: then the batch and what
// came since wait for the key to be quiet again, and are handed over together.
//
// What it guarantees, as long as Redis keeps its data:
//
//   - Every item is in a batch that was handled to the end, at least once, in
//     the order of the Adds of its key. An item that waits or is in flight is
//     not added twice.
//   - A key has at most one batch at a time, over all processes. What arrives
//     while it is in flight opens the next window.
//   - A batch is handed over as soon as it is due and a handler is free. Nothing
//     is polled: Run sleeps until the earliest window is due.
//   - Where more is due than there are free handlers, groups take turns: one with
//     much to do does not hold up the others.
//
// All state is in Redis, as common.lua describes it. A process that dies holds its batches until their leases end;
// then another process, or the next one, gets the same items with a higher
// Attempt. A Redis that lost its data is recognised by [Debouncer.Epoch]: the
// caller, who knows the truth, adds everything again; of a cluster, where one node may
// come back empty, what has waited for long. Handlers that were at work
// then are not cancelled, so a caller must fence what they write by itself.
//
// All times are those of Redis's clock. Where that is set forward, windows are
// due earlier and leases end earlier by as much; where it is set back, later.
//
// Keys are spread over shards, each with a hash tag of its own, so that Redis
// Cluster can spread them too. Processes share the shards out: the one that has
// a shard hands over its batches, and the others do only if they are late. The
// number of shards may change from one start to the next: keys that hold items
// stay where they are until they hold none.
package debounce

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"wagent/debounce/agenda"
	"wagent/debounce/combine"
	"wagent/debounce/lua"
	"wagent/debounce/meter"
)

// Config is what a Debouncer needs to know. There are no defaults.
type Config struct {
	// Shards is how many sets of keys the windows are spread over, 1 to 4096.
	// Where the processes on one Redis differ, the one that started last decides.
	Shards int
	// Lease is how long a batch stays with a process that has gone silent, at
	// least 10 ms. Whoever works on it renews it when a third is over.
	Lease time.Duration
	// Concurrency is how many batches one Run handles at once, at least 1.
	Concurrency int
	// Prefix begins every key in Redis. It must not be empty or hold braces.
	Prefix string
	// Drain is how long handlers may go on when Run's context has ended; 0
	// cancels them with it.
	Drain time.Duration
}

const mostShards = 4096

// Validate reports the first field that is out of range.
func (c Config) Validate() error {
	switch {
	case c.Shards < 1 || c.Shards > mostShards:
		return fmt.Errorf("shards must be between 1 and %d, not %d", mostShards, c.Shards)
	case c.Lease < 10*time.Millisecond:
		return fmt.Errorf("lease must be at least 10ms, not %v", c.Lease)
	case c.Concurrency < 1:
		return fmt.Errorf("concurrency must be positive, not %d", c.Concurrency)
	case c.Prefix == "" || strings.ContainsAny(c.Prefix, "{}"):
		return fmt.Errorf("prefix must not be empty or hold braces: %q", c.Prefix)
	case c.Drain < 0:
		return fmt.Errorf("drain must not be negative: %v", c.Drain)
	}
	return nil
}

// A Window says when the items of a key are due. Each Add brings its own, so
// keys may differ. Times are kept in microseconds, fractions of which are
// dropped.
type Window struct {
	Quiet    time.Duration // silence after the last new item; 0: due at once
	MaxWait  time.Duration // longest wait after the first item; 0: no limit
	MaxItems int           // this many items are due at once; 0: no limit
	// Recalls is how often items may call back a batch that is in flight, until
	// one was handled: its handler's context is cancelled with [ErrRecalled], and
	// if the handler then returns an error, the batch comes again together with
	// them, once their window is due. 0: what comes meanwhile comes after it.
	Recalls int
}

func (w Window) validate() error {
	if w.Quiet < 0 || w.MaxWait < 0 || w.MaxItems < 0 || w.Recalls < 0 {
		return fmt.Errorf("window %+v: nothing may be negative", w)
	}
	return nil
}

// A Batch is what one window collected.
type Batch struct {
	ID    string   // the same in every attempt, and unique in an epoch
	Key   string   // as given to Add
	Items []string // in the order of their Adds, each once
	// Generation is higher in each claim of a key, also after done; not
	// consecutive. Where the number of shards changed while the key held nothing,
	// that is only so if the clocks of Redis's nodes agree.
	Generation int64
	Attempt    int // 1 at first; higher after an error, the end of a lease, and a stop that cut it short
	Recalls    int // how often newer items called back what is in it
	OpenedAt   time.Time
	// DueAt is when the window fell due, by Redis's clock. It stays the same in
	// later attempts. A window that had to wait for the batch before it is due
	// no earlier than that one's end.
	DueAt time.Time
}

// Debouncer gathers items into batches. Its methods are safe for concurrent
// use.
type Debouncer struct {
	rdb     redis.UniversalClient
	cfg     Config
	log     *slog.Logger
	metrics *meter.Metrics
	cluster bool
	adds    *combine.Combiner[*adding]   // of all shards, unless there is a cluster
	settles *combine.Combiner[*settling] // as are these
	layouts layouts
	poke    chan struct{} // holds a token when the layouts are to be asked for
	agenda  *agenda.Agenda
	outage  *meter.Outage
	running atomic.Bool
}

// New returns a Debouncer that keeps its state in rdb, which stays the
// caller's to close. It starts nothing. A nil reg registers no metrics.
func New(rdb redis.UniversalClient, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Debouncer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("debounce: %w", err)
	}
	d := &Debouncer{
		rdb: rdb, cfg: cfg, log: log, poke: make(chan struct{}, 1),
		agenda: agenda.New(),
		outage: &meter.Outage{Log: log},
	}
	d.layouts.id, d.layouts.asking = rand.Text(), make(chan struct{}, 1)
	_, d.cluster = rdb.(*redis.ClusterClient)
	d.adds = &combine.Combiner[*adding]{Exec: d.sendAdds, Most: pipelineMost, Wide: pipelines}
	d.settles = &combine.Combiner[*settling]{Exec: d.sendSettles, Most: settleMost, Wide: pipelines}
	var err error
	if d.metrics, err = meter.New(reg, d.countWindows); err != nil {
		return nil, fmt.Errorf("debounce: register metrics: %w", err)
	}
	return d, nil
}

// Add puts item in key's window and moves the window's due time to w.Quiet from
// now, never past w.MaxWait after its first item; with w.MaxItems items it is
// due at once. A window whose time has come stays due: items that come before
// it is taken join it, so that it may hold more than w.MaxItems.
//
// An item that is in the window or in flight changes nothing, so Add may be
// repeated. The group is who shares fairly with others; a key stays with the one
// of its first item. Key, item and group may be any bytes. Add is one round
// trip, and one more for each older number of shards that is not drained yet; Adds
// of one process that come together share it.
func (d *Debouncer) Add(ctx context.Context, group, key, item string, w Window) error {
	if err := w.validate(); err != nil {
		return fmt.Errorf("add to window: %w", err)
	}
	for range 3 { // the number of shards may change meanwhile
		b, err := d.known(ctx)
		if err != nil {
			return fmt.Errorf("add to window: %w", err)
		}
		for _, l := range b.chain {
			s := l.shard(key)
			wait, err := d.addTo(ctx, s, group, key, item, w)
			if err != nil {
				return fmt.Errorf("add to window: %w", err)
			}
			if wait != elsewhere {
				d.plan(s, wait)
				return nil
			}
		}
		if _, err := d.beat(ctx, asking); err != nil {
			return fmt.Errorf("add to window: %w", err)
		}
		d.news()
	}
	return errors.New("add to window: the number of shards changes all the time")
}

// Flush makes what waits under key due now: its window, or a batch that waits
// to be handed over again. While a batch is in flight, the window behind it will
// be due as soon as that one is done. A key without items changes nothing.
func (d *Debouncer) Flush(ctx context.Context, key string) error {
	b, err := d.known(ctx)
	if err != nil {
		return fmt.Errorf("flush window: %w", err)
	}
	for _, l := range b.chain {
		s := l.shard(key)
		wait, err := lua.Flush.Run(ctx, d.rdb, s.keys("w:"+key, "heads"), key).Int64()
		if err != nil {
			return fmt.Errorf("flush window: %w", err)
		}
		d.plan(s, wait)
	}
	return nil
}

// Drop forgets what waits under key: its window, and a batch that waits to be
// handed over again. A batch in flight is not touched.
func (d *Debouncer) Drop(ctx context.Context, key string) error {
	b, err := d.known(ctx)
	if err != nil {
		return fmt.Errorf("drop window: %w", err)
	}
	for _, l := range b.chain {
		if err := lua.Drop.Run(ctx, d.rdb, l.shard(key).keys("w:"+key, "heads"), key).Err(); err != nil {
			return fmt.Errorf("drop window: %w", err)
		}
	}
	return nil
}

// Epoch returns an id of the data that this Redis holds, and makes one if there
// is none. Another id than before means that Redis lost its data, and with it
// every window: the caller must add again whatever still waits.
func (d *Debouncer) Epoch(ctx context.Context) (string, error) {
	key := d.control("epoch")
	for range 3 { // Redis may lose it again between the two commands
		id, err := d.rdb.Get(ctx, key).Result()
		if !errors.Is(err, redis.Nil) {
			if err != nil {
				return "", fmt.Errorf("read epoch: %w", err)
			}
			return id, nil
		}
		if err := d.rdb.SetNX(ctx, key, rand.Text(), 0).Err(); err != nil {
			return "", fmt.Errorf("set epoch: %w", err)
		}
	}
	return "", errors.New("read epoch: it disappears as soon as it is set")
}

// channel is where processes tell each other what the others should know at
// once.
func (d *Debouncer) channel() string { return d.cfg.Prefix + ":wake" }

// plan notes that the shard has something due after wait, in microseconds;
// nothing new if it is negative.
func (d *Debouncer) plan(s *shard, wait int64) {
	if wait >= 0 {
		d.agenda.Plan(&s.Entry, time.Now().Add(time.Duration(wait)*time.Microsecond))
	}
}

// planAll has all of the shards looked at now, whoever else does.
func (d *Debouncer) planAll(shards []*shard) {
	for now, i := time.Now(), 0; i < len(shards); i++ {
		d.agenda.Set(&shards[i].Entry, now)
	}
}
