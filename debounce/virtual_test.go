package debounce

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/debounce/redistest"
)

func TestDueTime(t *testing.T) {
	window := Window{Quiet: 4 * time.Second, MaxWait: 10 * time.Second, MaxItems: 5}
	tests := map[string]struct {
		gaps []time.Duration // pause before each item
		want time.Duration   // when the first batch comes
		n    int             // how many items it holds
	}{
		"every item begins the quiet anew":         {gaps: secs(0, 1, 3), want: 8 * time.Second, n: 3},
		"max wait ends a busy window":              {gaps: secs(0, 3, 3, 3), want: 10 * time.Second, n: 4},
		"a full window goes at its last item":      {gaps: secs(0, 1, 1, 1, 1), want: 4 * time.Second, n: 5},
		"an item after the quiet is another batch": {gaps: secs(0, 5), want: 4 * time.Second, n: 1},
		"microseconds count":                       {gaps: []time.Duration{0, 1234567 * time.Microsecond}, want: 5234567 * time.Microsecond, n: 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rdb := redistest.InMemory(t)
				d := newDebouncer(t, rdb, config())
				got := collect(t, d)
				start := time.Now()
				var items []string
				for i, gap := range tt.gaps {
					time.Sleep(gap)
					items = append(items, strconv.Itoa(i))
					add(t, d, "k", window, items...) // all but the last change nothing
				}
				b := receive(t, got)
				wantItems(t, b.Items, items[:tt.n]...)
				wantAt(t, "batch", b.at, start.Add(tt.want))
			})
		})
	}
}

func secs(ns ...int) []time.Duration {
	var ds []time.Duration
	for _, n := range ns {
		ds = append(ds, time.Duration(n)*time.Second)
	}
	return ds
}

func TestAWindowThatIsDueStaysDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		cfg := config()
		cfg.Concurrency = 1
		d := newDebouncer(t, rdb, cfg)
		got := make(chan delivery, 10)
		run(t, d, func(_ context.Context, b Batch) error {
			got <- delivery{b, time.Now()}
			time.Sleep(time.Minute)
			return nil
		})
		start := time.Now()
		add(t, d, "first", Window{}, "x")
		add(t, d, "k", Window{Quiet: time.Second}, "a")
		time.Sleep(59 * time.Second)
		add(t, d, "k", Window{Quiet: time.Hour}, "b") // joins, and does not put it off
		receive(t, got)
		b := receive(t, got)
		wantItems(t, b.Items, "a", "b")
		wantAt(t, "batch", b.at, start.Add(time.Minute))
	})
}

func TestNoMoreThanConcurrencyIsInHandOrClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		cfg := config()
		cfg.Concurrency = 3
		d := newDebouncer(t, rdb, cfg)
		for i := range 20 {
			add(t, d, strconv.Itoa(i), Window{}, "x")
		}
		begun, finish := make(chan string, 20), make(chan error)
		run(t, d, func(_ context.Context, b Batch) error {
			begun <- b.Key
			return <-finish
		})
		for range 17 {
			synctest.Wait()
			_, inFlight, err := d.countWindows()
			if err != nil || inFlight != 3 {
				t.Fatalf("%d in flight, %v, want 3", inFlight, err)
			}
			finish <- nil
		}
		for range 3 {
			finish <- nil
		}
		seen := map[string]bool{}
		for range 20 {
			seen[receive(t, begun)] = true
		}
		if len(seen) != 20 {
			t.Errorf("%d keys were handled, want 20", len(seen))
		}
	})
}

func TestBackoffDoublesUpToHalfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		d := newDebouncer(t, rdb, config())
		var at []time.Time
		done := make(chan struct{})
		run(t, d, func(_ context.Context, b Batch) error {
			at = append(at, time.Now())
			switch {
			case b.Attempt != len(at):
				t.Errorf("attempt %d is called %d", len(at), b.Attempt)
			case b.Attempt == 3:
				panic("an odd one")
			case b.Attempt == 8:
				close(done)
				return nil
			}
			return errors.New("no")
		})
		add(t, d, "k", Window{}, "a")
		<-done
		var got []time.Duration
		for i := range at[1:] {
			got = append(got, at[i+1].Sub(at[i]))
		}
		if diff := cmp.Diff(secs(1, 2, 4, 8, 16, 30, 30), got); diff != "" {
			t.Errorf("pauses (-want +got):\n%s", diff)
		}
	})
}

func TestAPanicIsLoggedWithItsStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		logs := &logbook{}
		d, err := New(rdb, config(), logs.logger(), nil)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		run(t, d, func(_ context.Context, b Batch) error {
			if b.Attempt == 1 {
				panic("an odd one")
			}
			close(done)
			return nil
		})
		add(t, d, "k", Window{}, "a")
		<-done
		if logs.count("virtual_test.go") == 0 || logs.count("an odd one") == 0 {
			t.Errorf("the log does not tell of the panic:\n%s", logs.buf.String())
		}
	})
}

func TestAFlushEndsABackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		d := newDebouncer(t, rdb, config())
		got := make(chan delivery, 10)
		run(t, d, func(_ context.Context, b Batch) error {
			got <- delivery{b, time.Now()}
			if b.Attempt == 1 {
				return errors.New("no")
			}
			return nil
		})
		add(t, d, "k", Window{}, "a")
		receive(t, got)
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		if err := d.Flush(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		b := receive(t, got)
		wantAt(t, "second attempt", b.at, start)
		wantItems(t, b.Items, "a")
	})
}

func TestAFlushReachesTheWindowBehindABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		d := newDebouncer(t, rdb, config())
		got, finish := make(chan delivery, 10), make(chan error)
		run(t, d, func(_ context.Context, b Batch) error {
			got <- delivery{b, time.Now()}
			return <-finish
		})
		add(t, d, "k", Window{}, "a")
		receive(t, got)
		add(t, d, "k", Window{Quiet: forever}, "b")
		if err := d.Flush(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		nothing(t, got)
		ended := time.Now()
		finish <- nil
		wantAt(t, "batch", receive(t, got).at, ended)
		finish <- nil
	})
}

func TestADropLeavesABatchInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		d := newDebouncer(t, rdb, config())
		got, finish := make(chan delivery, 10), make(chan error)
		run(t, d, func(ctx context.Context, b Batch) error {
			got <- delivery{b, time.Now()}
			select {
			case err := <-finish:
				return err
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		drop := func() {
			if err := d.Drop(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
		}
		add(t, d, "k", Window{}, "a")
		receive(t, got)
		add(t, d, "k", Window{}, "b")
		drop()
		time.Sleep(5 * d.cfg.Lease) // its lease is renewed all the same
		nothing(t, got)
		add(t, d, "k", Window{}, "c")
		finish <- errors.New("no")
		wantItems(t, receive(t, got).Items, "a")
		finish <- errors.New("no")
		synctest.Wait()
		drop() // both the batch that is to be repeated and what came behind it
		onlyConstants(t, rdb)
		add(t, d, "k", Window{Quiet: time.Minute}, "d")
		wantItems(t, receive(t, got).Items, "d")
		finish <- nil
	})
}

func TestALostNotificationCostsOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		d := newDebouncer(t, rdb, config())
		got := collect(t, d)
		add(t, d, "warm", Window{}, "x")
		receive(t, got)
		s := boardOf(t, d).newest().shard("k")
		start := time.Now()
		err := unheardAdd(t).Run(t.Context(), rdb, s.keys("w:k", "d:g", "heads"), "k", "a", "g", 0, 0, 0, 0).Err()
		if err != nil {
			t.Fatal(err)
		}
		if late := receive(t, got).at.Sub(start); late > lookEvery {
			t.Errorf("the batch came %v late, want %v at most", late, lookEvery)
		}
	})
}

// TestAnIdleProcessAsksLittle, a scrape every 15 s included. What go-redis sends
// by itself to keep its subscription, a ping every 3 s, comes on top.
func TestAnIdleProcessAsksLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, pings = 5 * 60, 20 // in a minute
		rdb := redistest.InMemory(t)
		cfg := config()
		cfg.Shards = 16
		asked, c := through(t, rdb)
		reg := prometheus.NewRegistry()
		d, err := New(asked, cfg, (&logbook{}).logger(), reg)
		if err != nil {
			t.Fatal(err)
		}
		got := collect(t, d)
		for i := range 100 {
			add(t, d, strconv.Itoa(i), Window{Quiet: forever}, "x")
		}
		synctest.Wait()
		before := c.commands.Load()
		for range 4 {
			time.Sleep(15 * time.Second)
			if _, err := reg.Gather(); err != nil {
				t.Fatal(err)
			}
		}
		if n := c.commands.Load() - before + pings; n > most {
			t.Errorf("%d commands in an idle minute, want %d at most", n, most)
		}
		nothing(t, got)
	})
}

func TestOnlyOneRunAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		d := newDebouncer(t, rdb, config())
		for range 2 { // one after another is fine
			stop := run(t, d, func(context.Context, Batch) error { return nil })
			synctest.Wait()
			if err := d.Run(t.Context(), nil); err == nil {
				t.Error("a second Run began")
			}
			stop()
		}
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		reg := prometheus.NewRegistry()
		reached, c := through(t, rdb)
		d, err := New(reached, config(), (&logbook{}).logger(), reg)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := testutil.GatherAndCount(reg); err != nil || n != 7 {
			t.Errorf("%d series at the start, %v, want 7", n, err)
		}
		finish := make(chan error)
		run(t, d, func(context.Context, Batch) error { return <-finish })
		add(t, d, "k", Window{Quiet: time.Second}, "a", "b")
		add(t, d, "later", Window{Quiet: time.Hour}, "x")
		time.Sleep(2 * time.Second)
		got := map[string]float64{}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				switch {
				case m.GetGauge() != nil:
					got[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
				case m.GetCounter() != nil:
					got[f.GetName()] = m.GetCounter().GetValue()
				default:
					got[f.GetName()] = m.GetHistogram().GetSampleSum()
				}
			}
		}
		want := map[string]float64{
			"waiting": 1, "in_flight": 1, "wagent_window_wait_seconds": 1, "wagent_batch_messages": 2,
			"wagent_window_lateness_seconds": 0, "wagent_leases_expired_total": 0,
			"wagent_batches_recalled_total": 0,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("metrics (-want +got):\n%s", diff)
		}
		c.cut.Store(true)
		if n, err := testutil.GatherAndCount(reg, "wagent_windows"); err != nil || n != 0 {
			t.Errorf("%d values without Redis, %v, want none", n, err)
		}
		c.cut.Store(false)
		finish <- nil
	})
}
