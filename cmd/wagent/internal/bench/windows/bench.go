// Package windows measures package debounce on a Redis, for wagent bench
// debounce.
//
// A [Bench] measures Adds beside the most that this client and this Redis can do
// (see adds.go), how late windows come, what a window costs in its life, and what
// happens when many are due in the same instant. It sees of debounce what everybody sees.
//
// State lives under a prefix of its own, and is removed after each part, also
// when ctx ends. If the process is killed, it stays: keys that begin with
// "{bench-". What Redis tells of its CPU and its commands is of all its clients,
// so it is this bench's only on a Redis that has no others.
package windows

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/debounce"
)

// A Bench says what to measure. There are no defaults.
type Bench struct {
	Redis      *redis.Options // of a stand-alone server
	Prefix     string         // begins every key; letters, digits, "-", "_" and ":"; empty: a random one
	Callers    []int          // how many add at once, for each measurement of Adds
	Adds       int            // of one round of them; a lone caller makes a quarter
	Rounds     int            // of each; the median counts
	Pending    []int          // how many windows wait, for each measurement of lateness
	Spread     time.Duration  // over which those fall due
	Background int            // Adds a second to other windows meanwhile
	Windows    int            // whose life is measured, due over Spread
	Burst      int            // windows that are due in the same instant
	Log        *slog.Logger   // what goes on
}

const mostCallers = 5000

// Validate reports the first field that is out of range.
func (b Bench) Validate() error {
	outside := func(least, most int, of []int) bool {
		return len(of) == 0 || slices.Min(of) < least || slices.Max(of) > most
	}
	switch {
	case outside(1, mostCallers, b.Callers):
		return fmt.Errorf("callers must be between 1 and %d", mostCallers)
	case b.Adds < slices.Max(b.Callers) || b.Adds < 12:
		return errors.New("adds must be at least 12, and at least one for each caller")
	case b.Rounds < 1:
		return errors.New("rounds must be at least 1")
	case outside(1, 10_000_000, append([]int{b.Windows, b.Burst}, b.Pending...)):
		return errors.New("pending, windows and burst must be between 1 and 10000000")
	case b.Spread < 0 || b.Spread > time.Hour:
		return errors.New("spread must be between 0 and 1h")
	case b.Background < 0 || b.Background > 1_000_000:
		return errors.New("background must be between 0 and 1000000")
	case !regexp.MustCompile(`^[\w:-]*$`).MatchString(b.Prefix):
		return fmt.Errorf("prefix may hold letters, digits, -, _ and : only, not %q", b.Prefix)
	}
	return nil
}

// A run is one Run of a Bench.
type run struct {
	Bench
	rdb   *redis.Client
	local bool          // Redis is on this machine
	ahead time.Duration // Redis's clock of ours
	rate  float64       // Adds a second, as measured with many callers
}

// Run measures, which takes minutes. It refuses a Redis that holds anything under the
// prefix, and one that is of a cluster.
func (b Bench) Run(ctx context.Context) (Report, error) {
	if b.Prefix == "" {
		b.Prefix = "bench-" + strings.ToLower(rand.Text()[:8])
	}
	opts := *b.Redis
	opts.PoolSize = slices.Max(b.Callers) + fillers
	opts.ContextTimeoutEnabled = true
	r := &run{Bench: b, rdb: redis.NewClient(&opts), local: local(&opts)}
	defer r.rdb.Close()
	out := Report{CPUs: runtime.NumCPU(), Shards: config("x").Shards, Adds: []Adds{}, Late: []Late{}}
	var err error
	if out.Server, err = r.meet(ctx); err != nil {
		return out, err
	}
	if err := r.refuse(ctx); err != nil {
		return out, err
	}
	for _, callers := range b.Callers {
		a, err := r.adds(ctx, callers)
		if err != nil {
			return out, r.told(ctx, "measure Adds", err)
		}
		out.Adds = append(out.Adds, a)
	}
	for _, pending := range b.Pending {
		l, err := r.late(ctx, pending)
		if err != nil {
			return out, r.told(ctx, "measure lateness", err)
		}
		out.Late = append(out.Late, l)
	}
	if out.Life, err = r.life(ctx); err != nil {
		return out, r.told(ctx, "measure a window's life", err)
	}
	if out.Burst, err = r.burst(ctx); err != nil {
		return out, r.told(ctx, "measure a burst", err)
	}
	return out, nil
}

// told wraps an error, and is short where the user has stopped us.
func (r *run) told(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) && !errors.Is(err, errLeft) {
		return errors.New("it was stopped before all was measured; its keys are removed")
	}
	return fmt.Errorf("%s: %w", what, err)
}

// config is what the windows are measured with.
func config(prefix string) debounce.Config {
	return debounce.Config{Shards: 16, Lease: 30 * time.Second, Concurrency: 256, Prefix: prefix}
}

// with calls part with a Debouncer that has no windows, and removes its keys
// afterwards.
func (r *run) with(ctx context.Context, rdb *redis.Client, part func(*debounce.Debouncer) error) (err error) {
	d, err := debounce.New(rdb, config(r.Prefix), r.Log, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.clear(ctx)) }()
	if err := d.Add(ctx, group, "warm", "up", debounce.Window{Quiet: time.Hour}); err != nil { // Redis has the script from here on
		return err
	}
	return part(d)
}
