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
// What it guarantees, as long as Redis keeps its data:
//
//   - Every item is in a batch that was handled to the end, at least once, in
//     the order of the Adds of its key. An item that waits or is in flight is
//     not added twice.
//   - A key has at most one batch at a time, over all processes. What arrives
//     while it is in flight opens the next window.
//   - A batch is handed over as soon as it is due and a handler is free. Nothing
//     is polled: Run sleeps until the earliest window of its shards is due.
//
// All state is in Redis, as common.lua describes it, and all times are those of
// Redis's clock. A process that dies holds its batches until their leases end;
// then another process, or the next one, gets the same items with a higher
// Attempt. A Redis that lost its data is recognised by [Debouncer.Epoch]: the
// caller, who knows the truth, adds everything again. Handlers that were at work
// then are not cancelled, so a caller must fence what they write by itself.
//
// Keys are spread over shards, each with a hash tag of its own, so that Redis
// Cluster can spread them too.
package debounce

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// Config is what a Debouncer needs to know. There are no defaults.
type Config struct {
	// Shards is how many sets of keys the windows are spread over, 1 to 4096.
	// All processes on one Redis must have the same number.
	Shards int
	// Lease is how long a batch stays with a process that has gone silent. It
	// is renewed every third of it, and at least 10 ms.
	Lease time.Duration
	// Concurrency is how many batches one Run handles at once, at least 1.
	Concurrency int
	// Prefix begins every key in Redis. It must not be empty or hold braces.
	Prefix string
	// Drain is how long handlers may go on when Run's context has ended; 0
	// cancels them with it.
	Drain time.Duration
}

// Validate reports the first field that is out of range.
func (c Config) Validate() error {
	switch {
	case c.Shards < 1 || c.Shards > 4096:
		return fmt.Errorf("shards must be between 1 and 4096, not %d", c.Shards)
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

// A Window says when the items of a key are due. Times are kept in
// microseconds, fractions of which are dropped.
type Window struct {
	Quiet    time.Duration // silence after the last new item; 0: due at once
	MaxWait  time.Duration // longest wait after the first item; 0: no limit
	MaxItems int           // this many items are due at once; 0: no limit
}

func (w Window) validate() error {
	if w.Quiet < 0 || w.MaxWait < 0 || w.MaxItems < 0 {
		return fmt.Errorf("window %+v: nothing may be negative", w)
	}
	return nil
}

// A Batch is what one window collected.
type Batch struct {
	ID         string   // the same in every attempt, and unique in an epoch
	Key        string   // as given to Add
	Items      []string // in the order of their Adds, each once
	Generation int64    // higher in each claim of a key, also after done; not consecutive
	Attempt    int      // 1 at first; higher after an error or the end of a lease
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
	metrics *metrics
	shards  []shard
	agenda  *agenda
	outage  *outage
	running atomic.Bool
}

// New returns a Debouncer that keeps its state in rdb, which stays the
// caller's to close. It starts nothing. A nil reg registers no metrics.
func New(rdb redis.UniversalClient, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Debouncer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("debounce: %w", err)
	}
	d := &Debouncer{
		rdb: rdb, cfg: cfg, log: log,
		shards: make([]shard, cfg.Shards),
		agenda: newAgenda(cfg.Shards),
		outage: &outage{log: log, down: map[int]bool{}},
	}
	for i := range d.shards {
		d.shards[i] = newShard(cfg.Prefix, i)
	}
	var err error
	if d.metrics, err = newMetrics(reg, d.countWindows); err != nil {
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
// repeated. The group is who shares fairly with others. Key, item and group may
// be any bytes. Add is one round trip.
func (d *Debouncer) Add(ctx context.Context, group, key, item string, w Window) error {
	if err := w.validate(); err != nil {
		return fmt.Errorf("add to window: %w", err)
	}
	s := d.shard(key)
	wait, err := addScript.Run(ctx, d.rdb, []string{s.due, s.windows + key},
		key, item, group, w.Quiet.Microseconds(), w.MaxWait.Microseconds(), w.MaxItems,
		d.channel(), s.n).Int64()
	if err != nil {
		return fmt.Errorf("add to window: %w", err)
	}
	d.plan(s, wait)
	return nil
}

// Flush makes what waits under key due now: its window, or a batch that waits
// to be handed over again. While a batch is in flight, the window behind it will
// be due as soon as that one is done. A key without items changes nothing.
func (d *Debouncer) Flush(ctx context.Context, key string) error {
	s := d.shard(key)
	wait, err := flushScript.Run(ctx, d.rdb, []string{s.due, s.windows + key}, key, d.channel(), s.n).Int64()
	if err != nil {
		return fmt.Errorf("flush window: %w", err)
	}
	d.plan(s, wait)
	return nil
}

// Drop forgets what waits under key: its window, and a batch that waits to be
// handed over again. A batch in flight is not touched.
func (d *Debouncer) Drop(ctx context.Context, key string) error {
	s := d.shard(key)
	if err := dropScript.Run(ctx, d.rdb, []string{s.due, s.windows + key}, key).Err(); err != nil {
		return fmt.Errorf("drop window: %w", err)
	}
	return nil
}

// Epoch returns an id of the data that this Redis holds, and makes one if there
// is none. Another id than before means that Redis lost its data, and with it
// every window: the caller must add again whatever still waits.
func (d *Debouncer) Epoch(ctx context.Context) (string, error) {
	key := d.cfg.Prefix + ":epoch"
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

// A shard is a set of keys that lie in one slot of a cluster.
type shard struct {
	n               int
	due, lease, gen string // keys
	windows         string // prefix of the windows' keys
}

func newShard(prefix string, n int) shard {
	tag := "{" + prefix + ":" + strconv.Itoa(n) + "}:"
	return shard{n: n, due: tag + "due", lease: tag + "lease", gen: tag + "gen", windows: tag + "w:"}
}

func (d *Debouncer) shard(key string) *shard {
	return &d.shards[crc32.ChecksumIEEE([]byte(key))%uint32(d.cfg.Shards)]
}

// channel is where processes tell each other that a shard has something due
// earlier than they know.
func (d *Debouncer) channel() string { return d.cfg.Prefix + ":wake" }

// plan notes that the shard has something due after wait, in microseconds;
// nothing new if it is negative.
func (d *Debouncer) plan(s *shard, wait int64) {
	if wait >= 0 {
		d.agenda.plan(s.n, time.Now().Add(time.Duration(wait)*time.Microsecond))
	}
}
