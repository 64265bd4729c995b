package windows

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"wagent/debounce"
)

// The ceiling of Adds is what the client does with the commands that Adds send,
// and nothing around them. It is measured in two shapes, each beside the Adds in every round:
//
//   - as many connections as there are callers, with a command at a time each;
//   - as many connections as Adds had pipelines at once, with as many commands
//     in each pipeline as Adds had on average, one pipeline after another.
//
// Each measurement begins with no windows and ends with three items in each.

const group = "the group" // of all windows

const perWindow = 3 // items

func key(i int) string { return fmt.Sprintf("k%012d", i) }

func item(i int) string { return fmt.Sprintf("%040d", i) }

// open is a window that does not fall due while it is measured.
var open = debounce.Window{Quiet: time.Hour, MaxWait: 2 * time.Hour}

// adds measures Adds by so many callers at once.
func (r *run) adds(ctx context.Context, callers int) (a Adds, err error) {
	n := r.Adds
	if callers == 1 {
		n /= 4
	}
	a.Callers = callers
	if err := r.together(ctx, &a, max(n/4, callers)); err != nil {
		return a, err
	}
	size := max(1, int(math.Round(a.Together)))
	kinds := []struct {
		workers, size int
		rate          *float64
		do            func(*stage) func(context.Context, int, int) error
	}{
		{callers, 1, &a.Alone, (*stage).alone},
		{callers, 1, &a.PerSecond, (*stage).add},
		{a.Pipelines, size, &a.Pipelined, (*stage).pipelined},
	}
	if size == 1 {
		kinds = kinds[:2]
	}
	before, err := r.mark(ctx)
	if err != nil {
		return a, err
	}
	rates := make([][]float64, len(kinds))
	for round := range r.Rounds {
		r.Log.InfoContext(ctx, "adds", "callers", callers, "round", round+1, "of", r.Rounds)
		for i := range kinds {
			i := (i + round) % len(kinds) // none is always the first
			k := kinds[i]
			err := r.stage(ctx, n, func(s *stage) error {
				rate, err := s.rate(ctx, k.workers, n, k.size, k.do(s))
				rates[i] = append(rates[i], rate)
				return err
			})
			if err != nil {
				return a, err
			}
		}
	}
	spent, err := r.since(ctx, before)
	if err != nil {
		return a, err
	}
	a.Quiet = r.quiet(spent)
	for i, k := range kinds {
		*k.rate = median(rates[i])
	}
	a.Ratio = ratio(rates[1], rates[0])
	if a.Pipelined > a.Alone {
		a.Ratio = ratio(rates[1], rates[2])
	}
	r.rate = max(r.rate, a.PerSecond)
	return a, r.stage(ctx, n, func(s *stage) error { return s.tool(ctx, &a, n, size) })
}

// together counts how many Adds go in a pipeline, and how many pipelines there
// are at once.
func (r *run) together(ctx context.Context, a *Adds, n int) error {
	c := &counter{}
	client := redis.NewClient(r.rdb.Options())
	defer client.Close()
	client.AddHook(c)
	err := r.with(ctx, client, func(d *debounce.Debouncer) error {
		s := &stage{d: d, keys: max(1, n/perWindow)}
		c.scripts.Store(0)
		c.trips.Store(0)
		c.most.Store(0)
		_, err := s.rate(ctx, a.Callers, n, 1, s.add())
		return err
	})
	a.Trips = float64(c.trips.Load()) / float64(n)
	a.Together = float64(c.scripts.Load()) / float64(c.trips.Load())
	a.Pipelines = int(c.most.Load())
	return err
}

// A stage is where a measurement takes place.
type stage struct {
	*run
	d    *debounce.Debouncer
	keys int   // how many windows it fills
	tape *tape // an Add's command for each
}

// stage prepares for n Adds. The tape is made for Adds, too, lest they have
// another heap than the ceiling.
func (r *run) stage(ctx context.Context, n int, part func(*stage) error) error {
	return r.with(ctx, r.rdb, func(d *debounce.Debouncer) error {
		s := &stage{run: r, d: d, keys: max(1, n/perWindow)}
		var err error
		if s.tape, err = record(ctx, r.rdb, r.Prefix, open, s.keys); err != nil {
			return err
		}
		runtime.GC()
		err = part(s)
		runtime.KeepAlive(s.tape)
		return err
	})
}

// rate has workers do n things, some at a time, and returns how many there were
// in a second.
func (s *stage) rate(ctx context.Context, workers, n, size int, do func(ctx context.Context, from, to int) error) (float64, error) {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for range workers {
		g.Go(func() error {
			whole := context.WithoutCancel(ctx) // as in fill
			for {
				from := int(next.Add(int64(size))) - size
				if from >= n || ctx.Err() != nil {
					return ctx.Err()
				}
				if err := do(whole, from, min(from+size, n)); err != nil {
					return err
				}
			}
		})
	}
	err := g.Wait()
	return float64(n) / time.Since(start).Seconds(), err
}

// add adds by Add.
func (s *stage) add() func(context.Context, int, int) error {
	return func(ctx context.Context, i, _ int) error {
		return s.d.Add(ctx, group, key(i%s.keys), item(i), open)
	}
}

// alone sends what Add sends, one command at a time.
func (s *stage) alone() func(context.Context, int, int) error {
	return func(ctx context.Context, i, _ int) error {
		return s.rdb.Process(ctx, s.tape.command(ctx, i))
	}
}

// pipelined sends what Adds send, together.
func (s *stage) pipelined() func(context.Context, int, int) error {
	return func(ctx context.Context, from, to int) error {
		pipe := s.rdb.Pipeline()
		for i := from; i < to; i++ {
			_ = pipe.Process(ctx, s.tape.command(ctx, i)) // it only queues
		}
		_, err := pipe.Exec(ctx)
		return err
	}
}

// tool has redis-benchmark send the same command, in the two shapes of the
// ceiling.
func (s *stage) tool(ctx context.Context, a *Adds, n, size int) error {
	path, err := exec.LookPath("redis-benchmark")
	if err != nil {
		a.Tool.Why = "not installed"
		return nil //nolint:nilerr // which the report says
	}
	if s.Redis.Password != "" || s.Redis.TLSConfig != nil {
		a.Tool.Why = "not run: this Redis wants a password or TLS"
		return nil
	}
	s.Log.InfoContext(ctx, "redis-benchmark", "connections", a.Callers)
	b := benchmark{path: path, opts: s.Redis, command: s.tape.commands[0], key: key(0), item: s.tape.item, keys: s.keys}
	if a.Tool.PerSecond, err = b.run(ctx, a.Callers, 1, n); err != nil || size == 1 {
		return err
	}
	if err := s.clear(ctx); err != nil {
		return err
	}
	a.Tool.Pipelined, err = b.run(ctx, a.Pipelines, size, n)
	return err
}

// ratio is the median of what a measurement reached of another one in each round:
// what slows the machine down for a while slows both.
func ratio(of, ceiling []float64) float64 {
	rounds := make([]float64, len(of))
	for i := range of {
		rounds[i] = of[i] / ceiling[i]
	}
	return median(rounds)
}

// median returns the middle of values, the lower of two.
func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[(len(values)-1)/2]
}
