package debounce

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"wagent/debounce/lua"
	"wagent/debounce/redistest"
)

func TestALeaseLastsAsLongAsItsHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		cfg := config()
		a, b := newDebouncer(t, rdb, cfg), newDebouncer(t, rdb, cfg)
		got := make(chan delivery, 10)
		handle := func(ctx context.Context, batch Batch) error {
			got <- delivery{batch, time.Now()}
			time.Sleep(7 * cfg.Lease / 2)
			return ctx.Err()
		}
		run(t, a, handle)
		run(t, b, handle)
		add(t, a, "k", Window{}, "a")
		receive(t, got)
		time.Sleep(5 * time.Minute)
		nothing(t, got)
		if n := testutil.ToFloat64(a.metrics.Expired) + testutil.ToFloat64(b.metrics.Expired); n != 0 {
			t.Errorf("%v leases ended", n)
		}
		onlyConstants(t, rdb)
	})
}

func TestALeaseThatAnotherTookCancelsTheHandler(t *testing.T) {
	tests := map[string]func(tb testing.TB, other *Debouncer, c *claimed){
		"and holds": func(testing.TB, *Debouncer, *claimed) {},
		"and settled": func(tb testing.TB, other *Debouncer, c *claimed) {
			tb.Helper()
			other.done(tb, c)
		},
	}
	for name, then := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rdb := redistest.InMemory(t)
				d, other := newDebouncer(t, rdb, config()), newDebouncer(t, rdb, config())
				begun, ended := make(chan time.Time, 1), make(chan error, 1)
				stop := run(t, d, func(ctx context.Context, _ Batch) error {
					begun <- time.Now()
					<-ctx.Done()
					ended <- context.Cause(ctx)
					return nil
				})
				add(t, d, "k", Window{}, "a")
				start := receive(t, begun)
				synctest.Wait() // d looks for what is due no more, or it would take the batch itself
				s := boardOf(t, d).newest().shard("k")
				rdb.ZAdd(t.Context(), s.prefix+"lease", redis.Z{Member: "k", Score: 0}) // as if d had slept
				stolen := claimAll(t, other)
				if len(stolen) != 1 {
					t.Fatalf("%d batches, want 1", len(stolen))
				}
				then(t, other, &stolen[0])
				if err := receive(t, ended); !errors.Is(err, ErrLeaseLost) {
					t.Errorf("cause = %v, want %v", err, ErrLeaseLost)
				}
				wantAt(t, "cancellation", time.Now(), start.Add(config().Lease/3))
				stop()
				h := other.done(t, &stolen[0])
				if want := map[string]hold{"and holds": held, "and settled": lost}[name]; h != want {
					t.Errorf("the other's done = %q, want %q", h, want)
				}
			})
		})
	}
}

// A tardy client reads the answer to its first claim late.
type tardy struct {
	by   time.Duration
	once *atomic.Bool
}

func (t tardy) DialHook(next redis.DialHook) redis.DialHook { return next }

func (t tardy) late(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		args := cmd.Args()
		if c, ok := cmd.(*redis.Cmd); ok && len(args) > 1 && args[1] == lua.Claim.Hash() {
			if got, err := lua.ReadClaim(c); err == nil && len(got.Rows) > 0 && t.once.CompareAndSwap(false, true) {
				time.Sleep(t.by)
			}
		}
	}
}

func (t tardy) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		t.late(cmd)
		return err
	}
}

func (t tardy) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		t.late(cmds...)
		return err
	}
}

// TestAClaimThatCameTooLateBeginsNothing: a process stood still between its claim and
// the answer, and another has done the work meanwhile, or not yet.
func TestAClaimThatCameTooLateBeginsNothing(t *testing.T) {
	for name, others := range map[string]bool{"another did the work": true, "nobody did": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rdb := redistest.InMemory(t)
				late := redis.NewClient(rdb.Options())
				t.Cleanup(func() { late.Close() })
				var stood atomic.Bool
				late.AddHook(tardy{2 * config().Lease, &stood})
				stalled := collect(t, newDebouncer(t, late, config()))
				synctest.Wait()
				d := newDebouncer(t, rdb, config())
				add(t, d, "k", Window{}, "a")
				synctest.Wait()
				if !stood.Load() {
					t.Fatal("it claimed nothing")
				}
				start := time.Now()
				if others {
					b := receive(t, collect(t, d))
					wantItems(t, b.Items, "a")
					if took := b.at.Sub(start); took < config().Lease || took > config().Lease+lookAround {
						t.Errorf("it came after %v", took)
					}
				}
				time.Sleep(3 * config().Lease)
				if others {
					nothing(t, stalled)
					return
				}
				b := receive(t, stalled)
				wantItems(t, b.Items, "a")
				if b.Attempt < 2 {
					t.Errorf("the handler was given attempt %d, whose lease was over", b.Attempt)
				}
				nothing(t, stalled)
			})
		})
	}
}

func TestAHandlerIsCancelledWhenItsLeaseCanNotBeRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		reached, c := through(t, rdb)
		d := newDebouncer(t, reached, config())
		ended := make(chan error, 1)
		run(t, d, func(ctx context.Context, b Batch) error {
			if b.Attempt > 1 {
				return nil
			}
			c.cut.Store(true)
			<-ctx.Done()
			c.cut.Store(false)
			ended <- context.Cause(ctx)
			return ctx.Err()
		})
		start := time.Now()
		add(t, d, "k", Window{}, "a")
		if err := receive(t, ended); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("cause = %v, want %v", err, ErrLeaseLost)
		}
		wantAt(t, "cancellation", time.Now(), start.Add(config().Lease))
	})
}

func TestAShortOutageCancelsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		reached, c := through(t, rdb)
		d := newDebouncer(t, reached, config())
		got := make(chan delivery, 10)
		run(t, d, func(ctx context.Context, b Batch) error {
			c.cut.Store(true)
			time.Sleep(9 * d.cfg.Lease / 10)
			c.cut.Store(false)
			time.Sleep(3 * d.cfg.Lease)
			got <- delivery{b, time.Now()}
			return ctx.Err()
		})
		add(t, d, "k", Window{}, "a")
		receive(t, got)
		time.Sleep(5 * time.Minute)
		nothing(t, got)
		onlyConstants(t, rdb)
	})
}

func TestWindowsWaitThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		reached, c := through(t, rdb)
		logs := &logbook{}
		d, err := New(reached, config(), logs.logger(), nil)
		if err != nil {
			t.Fatal(err)
		}
		got := collect(t, d)
		for range 2 {
			add(t, d, "k", Window{Quiet: 10 * time.Second}, "a")
			c.cut.Store(true)
			if err := d.Add(t.Context(), "g", "k", "b", Window{}); !errors.Is(err, errCut) {
				t.Errorf("Add = %v, want %v", err, errCut)
			}
			time.Sleep(time.Hour)
			nothing(t, got)
			c.cut.Store(false)
			start := time.Now()
			if late := receive(t, got).at.Sub(start); late > retryMost {
				t.Errorf("the batch came %v after the outage, want %v at most", late, retryMost)
			}
			time.Sleep(lookEvery)
		}
		if down, up := logs.count("level=WARN"), logs.count("level=INFO"); down != 2 || up != 2 {
			t.Errorf("two outages were logged %d and %d times:\n%s", down, up, logs.buf.String())
		}
	})
}

// TestAStartDuringAnOutageIsLogged: until the shards are known nobody looks at one.
func TestAStartDuringAnOutageIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb, c := through(t, redistest.InMemory(t))
		c.cut.Store(true)
		logs := &logbook{}
		d, err := New(rdb, config(), logs.logger(), nil)
		if err != nil {
			t.Fatal(err)
		}
		got := collect(t, d)
		time.Sleep(time.Minute)
		if down := logs.count("can not be used"); down != 1 {
			t.Errorf("the outage was logged %d times:\n%s", down, logs.buf.String())
		}
		c.cut.Store(false)
		add(t, d, "k", Window{}, "x")
		receive(t, got)
		time.Sleep(time.Minute) // the subscription has its own time
		if up := logs.count("can be used again"); up != 1 {
			t.Errorf("its end was logged %d times:\n%s", up, logs.buf.String())
		}
	})
}

func TestAStopLetsHandlersDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		cfg := config()
		cfg.Drain = 3 * cfg.Lease // renewed while it drains
		d, other := newDebouncer(t, rdb, cfg), newDebouncer(t, rdb, cfg)
		begun, causes := make(chan string, 10), make(chan error, 10)
		stop := run(t, d, func(ctx context.Context, b Batch) error {
			begun <- b.Key
			if b.Key == "short" {
				time.Sleep(cfg.Drain - time.Second)
				return ctx.Err()
			}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return ctx.Err()
		})
		add(t, d, "short", Window{}, "a")
		add(t, d, "long", Window{}, "b")
		receive(t, begun)
		receive(t, begun)
		got := collect(t, other)
		start := time.Now()
		ended := make(chan time.Time)
		go func() { stop(); ended <- time.Now() }()
		synctest.Wait()
		add(t, d, "new", Window{}, "c")
		if b := receive(t, got); b.Key != "new" || !b.at.Equal(start) {
			t.Errorf("%q came to the other process at %v", b.Key, b.at)
		}
		b := receive(t, got)
		wantItems(t, b.Items, "b")
		wantAt(t, "what was cut short", b.at, start.Add(cfg.Drain))
		if b.Attempt != 2 {
			t.Errorf("attempt %d, want 2", b.Attempt)
		}
		wantAt(t, "the end of Run", receive(t, ended), start.Add(cfg.Drain))
		if err := receive(t, causes); !errors.Is(err, errDrained) {
			t.Errorf("cause = %v, want %v", err, errDrained)
		}
		time.Sleep(5 * time.Minute)
		nothing(t, got)
		nothing(t, begun)
		onlyConstants(t, rdb)
	})
}

func TestAStopDuringAnOutageEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		reached, c := through(t, rdb)
		d := newDebouncer(t, reached, config())
		begun := make(chan Batch, 1)
		stop := run(t, d, func(ctx context.Context, b Batch) error {
			begun <- b
			<-ctx.Done()
			return nil // done, but Redis can't be told
		})
		add(t, d, "k", Window{}, "a")
		receive(t, begun)
		synctest.Wait() // Run has subscribed: go-redis tries that again every 100 ms
		c.cut.Store(true)
		start := time.Now()
		stop()
		wantAt(t, "the end of Run", time.Now(), start.Add(settleGrace))
		c.cut.Store(false)
		b := receive(t, collect(t, newDebouncer(t, rdb, config())))
		wantItems(t, b.Items, "a")
		wantAt(t, "second attempt", b.at, start.Add(config().Lease))
	})
}

func TestGenerationsRiseWhenRedisForgetsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		d := newDebouncer(t, rdb, config())
		add(t, d, "k", Window{}, "a")
		before := claimAll(t, d)
		rdb.FlushAll(t.Context())
		time.Sleep(time.Microsecond)
		add(t, d, "k", Window{}, "a")
		after := claimAll(t, d)
		if after[0].Generation <= before[0].Generation {
			t.Errorf("generation %d after %d", after[0].Generation, before[0].Generation)
		}
		if h := d.done(t, &before[0]); h != lost {
			t.Errorf("done of the old one = %q, want lost", h)
		}
		if h := d.done(t, &after[0]); h != held {
			t.Errorf("done of the new one = %q, want held", h)
		}
		if h, err := d.renew(t.Context(), before[0].shard, &before[0]); err != nil || h[0] != gone {
			t.Errorf("renew of the old one = %q, %v, want gone", h, err)
		}
	})
}
