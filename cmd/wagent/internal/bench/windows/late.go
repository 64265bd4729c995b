package windows

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"wagent/debounce"
)

const (
	fillers    = 64                     // add the windows that are measured
	overdue    = time.Minute            // after the last one was due the rest is given up
	unmeasured = 10_000.0               // Adds a second, where that was not measured
	settled    = 300 * time.Millisecond // between the last Add of them and the first that is due
	beside     = "b"                    // begins the keys of windows that are not measured
)

// A filling is windows that were added, none of which was due before all were.
type filling struct {
	*run
	d      *debounce.Debouncer
	n      int
	last   time.Time // when the last falls due
	before mark      // when there were none
}

// filled adds n windows of three items, which fall due over spread, and calls
// part while all of them still wait.
func (r *run) filled(ctx context.Context, n int, spread time.Duration, part func(*filling) error) error {
	rate := r.rate
	if rate == 0 {
		rate = unmeasured
	}
	lead := 2*settled + time.Duration(1.5*perWindow*float64(n)/rate*float64(time.Second))
	for range 5 {
		err := r.with(ctx, r.rdb, func(d *debounce.Debouncer) error {
			before, err := r.mark(ctx)
			if err != nil {
				return err
			}
			start := time.Now()
			f := &filling{run: r, d: d, n: n, last: start.Add(lead + spread), before: before}
			if err := f.fill(ctx, start.Add(lead), spread); err != nil {
				return fmt.Errorf("add %d windows: %w", n, err)
			}
			if took := time.Since(start) + settled; took > lead {
				lead = 2 * took
				return errSlow
			}
			return part(f)
		})
		if !errors.Is(err, errSlow) {
			return err
		}
		r.Log.InfoContext(ctx, "it took longer to add the windows than was thought: once more", "windows", n, "within", lead)
	}
	return fmt.Errorf("%d windows could not be added within %v", n, lead)
}

var errSlow = errors.New("the first windows were due before the last were added")

// fill adds the windows. Only the last item of each sets when it is due. An Add
// that has begun is not cut short: what is on its way would come after the keys
// were removed.
func (f *filling) fill(ctx context.Context, first time.Time, spread time.Duration) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range fillers {
		g.Go(func() error {
			whole := context.WithoutCancel(ctx)
			for i := int(next.Add(1)) - 1; i < f.n; i = int(next.Add(1)) - 1 {
				if err := ctx.Err(); err != nil {
					return err
				}
				at := first
				if spread > 0 {
					at = at.Add(rand.N(spread))
				}
				for n := range perWindow {
					w := open
					if n == perWindow-1 {
						w.Quiet = max(0, time.Until(at))
					}
					if err := f.d.Add(whole, group, key(i), item(perWindow*i+n), w); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// arrivals are the windows that were handed over.
type arrivals struct {
	mu    sync.Mutex      // guards late, first and last
	late  []time.Duration // sorted in the end
	first time.Time       // when the first was due, by Redis's clock
	last  time.Time
	took  time.Duration // from the first's due time until Redis knew that all were handled
	added float64       // to other windows, a second
}

// gather hands all windows over, and adds to others meanwhile, so many times a
// second.
func (f *filling) gather(ctx context.Context, background int) (*arrivals, error) {
	within, stop := context.WithDeadline(ctx, f.last.Add(overdue))
	defer stop()
	work, end := context.WithCancel(within)
	defer end()
	g, work := errgroup.WithContext(work)
	a := &arrivals{late: make([]time.Duration, 0, f.n)}
	g.Go(func() error {
		err := f.d.Run(work, func(_ context.Context, b debounce.Batch) error {
			if !strings.HasPrefix(b.Key, beside) && a.came(b.DueAt, time.Now().Add(f.ahead)) == f.n {
				end()
			}
			return nil
		})
		a.took = time.Now().Add(f.ahead).Sub(a.first)
		return err
	})
	g.Go(func() (err error) {
		a.added, err = f.addBeside(work, background)
		return err
	})
	err := g.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case len(a.late) < f.n:
		return nil, fmt.Errorf("%d of %d windows did not come within %v of the last one's time", f.n-len(a.late), f.n, overdue)
	}
	slices.Sort(a.late)
	return a, nil
}

// came notes a window, and returns how many have come.
func (a *arrivals) came(due, now time.Time) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.late = append(a.late, now.Sub(due))
	if a.first.IsZero() || due.Before(a.first) {
		a.first = due
	}
	if due.After(a.last) {
		a.last = due
	}
	return len(a.late)
}

// addBeside adds to windows that are not measured until ctx is done, and returns
// how often it did in a second.
func (f *filling) addBeside(ctx context.Context, perSecond int) (float64, error) {
	if perSecond == 0 {
		return 0, nil
	}
	w := debounce.Window{Quiet: time.Second, MaxItems: 10}
	g, adding := errgroup.WithContext(context.WithoutCancel(ctx))
	g.SetLimit(fillers)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start, n := time.Now(), 0
	for ctx.Err() == nil && adding.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		for owed := int(time.Since(start).Seconds() * float64(perSecond)); n < owed; n++ {
			i := n
			g.Go(func() error { return f.d.Add(adding, group, beside+strconv.Itoa(i%1000), item(i), w) })
		}
	}
	err := g.Wait()
	return float64(n) / time.Since(start).Seconds(), err
}

// pinged gathers, and returns what PINGs took meanwhile, too.
func (f *filling) pinged(ctx context.Context) (a *arrivals, pings []time.Duration, err error) {
	gathering, end := context.WithCancel(ctx)
	defer end()
	g, pinging := errgroup.WithContext(gathering)
	g.Go(func() (err error) {
		pings, err = f.ping(pinging)
		return err
	})
	a, err = f.gather(ctx, f.Background)
	end()
	return a, pings, errors.Join(err, g.Wait())
}

// ping asks Redis for PONG every 5 ms until ctx is done, on a connection that does
// nothing else, and returns how long each took from when it was to be sent, sorted:
// what a round trip of this process costs while the windows come, whoever is in its way.
func (f *filling) ping(ctx context.Context) (took []time.Duration, err error) {
	opts := *f.Redis
	opts.PoolSize = 1
	rdb := redis.NewClient(&opts)
	defer rdb.Close()
	whole := context.WithoutCancel(ctx)
	if err := rdb.Ping(whole).Err(); err != nil { // which connects
		return nil, fmt.Errorf("ping Redis: %w", err)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := time.Now(); ; due = due.Add(5 * time.Millisecond) {
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			slices.Sort(took)
			return took, nil
		case <-timer.C:
		}
		if err := rdb.Ping(whole).Err(); err != nil {
			return nil, fmt.Errorf("ping Redis: %w", err)
		}
		took = append(took, time.Since(due))
	}
}

// late measures how late windows come while others are added to.
func (r *run) late(ctx context.Context, pending int) (l Late, err error) {
	r.Log.InfoContext(ctx, "lateness", "windows", pending)
	err = r.filled(ctx, pending, r.Spread, func(f *filling) error {
		before, err := r.mark(ctx)
		if err != nil {
			return err
		}
		a, pings, err := f.pinged(ctx)
		if err != nil {
			return err
		}
		spent, err := r.since(ctx, before)
		l = Late{Pending: pending, Quantiles: quantiles(a.late), Ping: quantiles(pings), Background: a.added, Quiet: r.quiet(spent)}
		return err
	})
	return l, err
}

// life measures what windows cost from the first Add to the end.
func (r *run) life(ctx context.Context) (l Life, err error) {
	n := r.Windows
	r.Log.InfoContext(ctx, "life", "windows", n)
	err = r.filled(ctx, n, r.Spread, func(f *filling) error {
		a, err := f.gather(ctx, 0)
		if err != nil {
			return err
		}
		spent, err := r.since(ctx, f.before)
		scripts, inside := spent.scripts()
		l = Life{
			Windows: n, Quantiles: quantiles(a.late),
			Scripts: float64(scripts.n) / float64(n), Commands: float64(inside) / float64(n),
			Redis:  milliseconds(spent.redis) * 1000 / float64(n),
			Client: milliseconds(spent.own) * 1000 / float64(n),
			Quiet:  r.quiet(spent),
		}
		return err
	})
	return l, err
}

// burst measures what happens when windows are due in the same instant.
func (r *run) burst(ctx context.Context) (b Burst, err error) {
	r.Log.InfoContext(ctx, "burst", "windows", r.Burst)
	err = r.filled(ctx, r.Burst, 0, func(f *filling) error {
		waiting, err := r.since(ctx, f.before)
		if err != nil {
			return err
		}
		before, err := r.mark(ctx)
		if err != nil {
			return err
		}
		var a *arrivals
		slow, err := r.slow(ctx, func() (err error) {
			a, err = f.gather(ctx, 0)
			return err
		})
		if err != nil {
			return err
		}
		spent, err := r.since(ctx, before)
		scripts, _ := spent.scripts()
		b = Burst{
			Windows: r.Burst, Memory: float64(waiting.memory) / float64(r.Burst), Within: milliseconds(a.last.Sub(a.first)),
			Seconds: a.took.Seconds(), Quantiles: quantiles(a.late), Slow: slow,
			Script: float64(scripts.usec) / 1000 / float64(max(1, scripts.n)), Quiet: r.quiet(spent),
		}
		return err
	})
	return b, err
}
