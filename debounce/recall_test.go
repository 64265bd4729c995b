package debounce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"wagent/debounce/redistest"
)

// A recallRig has a handler that works for a minute unless it is called back.
type recallRig struct {
	*testing.T
	d    *Debouncer
	got  chan delivery
	ends chan error // causes
}

func newRecallRig(t *testing.T) *recallRig {
	t.Helper()
	r := &recallRig{T: t, d: newDebouncer(t, redistest.InMemory(t), config()), got: make(chan delivery, 10), ends: make(chan error, 10)}
	run(t, r.d, func(ctx context.Context, b Batch) error {
		r.got <- delivery{b, time.Now()}
		timer := time.NewTimer(time.Minute)
		defer timer.Stop()
		select {
		case <-timer.C:
			r.ends <- nil
			return nil
		case <-ctx.Done():
			r.ends <- context.Cause(ctx)
			return ctx.Err()
		}
	})
	return r
}

var recalling = Window{Quiet: 10 * time.Second, Recalls: 2}

func TestANewerItemCallsABatchBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecallRig(t)
		add(t, r.d, "k", recalling, "a")
		first := receive(t, r.got)
		time.Sleep(time.Second)
		start := time.Now()
		add(t, r.d, "k", recalling, "b")
		if err := receive(t, r.ends); !errors.Is(err, ErrRecalled) || !time.Now().Equal(start) {
			t.Errorf("the handler ended at %v with %v, want %v at once", time.Now(), err, ErrRecalled)
		}
		time.Sleep(4 * time.Second)
		add(t, r.d, "k", recalling, "c") // the quiet begins anew
		second := receive(t, r.got)
		wantItems(t, second.Items, "a", "b", "c")
		wantAt(t, "second batch", second.at, start.Add(14*time.Second))
		if second.ID == first.ID || second.Attempt != 1 || second.Recalls != 1 || !second.OpenedAt.Equal(first.OpenedAt) {
			t.Errorf("first %+v, second %+v", first.Batch, second.Batch)
		}
		add(t, r.d, "k", recalling, "d")
		third := receive(t, r.got)
		wantItems(t, third.Items, "a", "b", "c", "d")
		receive(t, r.ends)
		add(t, r.d, "k", recalling, "e") // twice is enough
		if err := receive(t, r.ends); err != nil {
			t.Errorf("the third batch ended with %v", err)
		}
		fourth := receive(t, r.got)
		wantItems(t, fourth.Items, "e")
		if fourth.Recalls != 0 || third.Recalls != 2 {
			t.Errorf("recalls %d and %d, want 2 and 0", third.Recalls, fourth.Recalls)
		}
		add(t, r.d, "k", recalling, "f") // the count begins anew, too
		if err := receive(t, r.ends); !errors.Is(err, ErrRecalled) {
			t.Errorf("the fourth batch ended with %v, want %v", err, ErrRecalled)
		}
		wantItems(t, receive(t, r.got).Items, "e", "f")
		receive(t, r.ends)
		synctest.Wait()
		onlyConstants(t, r.d.rdb)
	})
}

func TestABatchThatWasDoneIsNotCalledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		d := newDebouncer(t, rdb, config())
		got := make(chan delivery, 10)
		run(t, d, func(ctx context.Context, b Batch) error {
			got <- delivery{b, time.Now()}
			if b.Items[0] == "a" {
				<-ctx.Done()
			}
			return nil // it was too late
		})
		add(t, d, "k", recalling, "a")
		receive(t, got)
		start := time.Now()
		add(t, d, "k", recalling, "b")
		b := receive(t, got)
		wantItems(t, b.Items, "b")
		wantAt(t, "second batch", b.at, start.Add(recalling.Quiet))
	})
}

func TestARecallThatNobodyHeardCostsARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecallRig(t)
		add(t, r.d, "k", recalling, "a")
		first := receive(t, r.got)
		s := boardOf(t, r.d).newest().shard("k")
		err := unheardAdd(t).Run(t.Context(), r.d.rdb, s.keys("w:k", "d:g", "heads"), "k", "b", "g", 1_000_000, 0, 0, 1).Err()
		if err != nil {
			t.Fatal(err)
		}
		if err := receive(t, r.ends); !errors.Is(err, ErrRecalled) {
			t.Errorf("cause = %v, want %v", err, ErrRecalled)
		}
		second := receive(t, r.got)
		wantItems(t, second.Items, "a", "b")
		wantAt(t, "second batch", second.at, first.at.Add(r.d.cfg.Lease/3))
		receive(t, r.ends)
	})
}

func TestAProcessThatDiedWasCalledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		dead, d := newDebouncer(t, rdb, config()), newDebouncer(t, rdb, config())
		add(t, dead, "k", Window{}, "a")
		start := time.Now()
		claimAll(t, dead)
		add(t, dead, "k", recalling, "b")
		b := receive(t, collect(t, d))
		wantItems(t, b.Items, "a", "b")
		wantAt(t, "batch", b.at, start.Add(config().Lease))
	})
}

// TestTheEndOfALeaseIsNotTheEndOfAWindow: the process died after a newer item
// had called its batch back, and that item's window outlasts the lease.
func TestTheEndOfALeaseIsNotTheEndOfAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		dead, d := newDebouncer(t, rdb, config()), newDebouncer(t, rdb, config())
		add(t, dead, "k", Window{}, "a")
		start := time.Now()
		claimAll(t, dead)
		got := collect(t, d)
		w := Window{Quiet: config().Lease + 10*time.Second, Recalls: 1}
		add(t, dead, "k", w, "b")
		b := receive(t, got)
		wantItems(t, b.Items, "a", "b")
		wantAt(t, "batch", b.at, start.Add(w.Quiet))
		if !b.DueAt.Equal(start.Add(w.Quiet)) || b.Recalls != 1 {
			t.Errorf("%+v, want it due at %v", b.Batch, start.Add(w.Quiet))
		}
	})
}

// TestACommandIsHeardAfterACrash: so does one that nobody has in hand any more.
func TestACommandIsHeardAfterACrash(t *testing.T) {
	tests := map[string]struct {
		hurry func(t *testing.T, d *Debouncer)
		items []string
	}{
		"a flush": {func(t *testing.T, d *Debouncer) {
			if err := d.Flush(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
		}, []string{"a", "b"}},
		"a shorter quiet":       {func(t *testing.T, d *Debouncer) { add(t, d, "k", Window{}, "c") }, []string{"a", "b", "c"}},
		"as many as may gather": {func(t *testing.T, d *Debouncer) { add(t, d, "k", Window{Quiet: forever, MaxItems: 2}, "c") }, []string{"a", "b", "c"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rdb := redistest.InMemory(t)
				dead, d := newDebouncer(t, rdb, config()), newDebouncer(t, rdb, config())
				add(t, dead, "k", Window{}, "a")
				claimAll(t, dead)
				got := collect(t, d)
				add(t, dead, "k", Window{Quiet: forever, Recalls: 1}, "b")
				time.Sleep(config().Lease + 5*time.Second)
				nothing(t, got)
				start := time.Now()
				tt.hurry(t, d)
				b := receive(t, got)
				wantItems(t, b.Items, tt.items...)
				wantAt(t, "batch", b.at, start)
				if b.Recalls != 1 {
					t.Errorf("it was called back %d times", b.Recalls)
				}
				synctest.Wait()
				onlyConstants(t, rdb)
			})
		})
	}
}

// TestARecallMayOvertakeItsClaim: other processes hear of it before the answer
// to the claim has come to the one that is meant.
func TestARecallMayOvertakeItsClaim(t *testing.T) {
	k := &keeper{Debouncer: &Debouncer{cfg: config()}, wake: make(chan struct{}, 1), kept: map[hand]*kept{}}
	s := &shard{name: "s"}
	for generation := range int64(100) {
		k.recall(hand{"s", generation})
	}
	for generation, want := range map[int64]error{99: ErrRecalled, 100 - int64(len(k.early)): ErrRecalled, 100: nil} {
		ctx, cancel := context.WithCancelCause(t.Context())
		k.keep(&claimed{Batch: Batch{Generation: generation}, shard: s, until: time.Now().Add(time.Minute)}, cancel)
		if err := context.Cause(ctx); !errors.Is(err, want) {
			t.Errorf("generation %d is cancelled by %v, want %v", generation, err, want)
		}
		cancel(nil)
	}
}

func TestADropTakesBackARecall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDebouncer(t, redistest.InMemory(t), config())
		add(t, d, "k", recalling, "a")
		if err := d.Flush(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		first := claimAll(t, d)
		add(t, d, "k", recalling, "b")
		if err := d.Drop(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if h, err := d.settleOnce(t.Context(), &first[0], opAgain, 0); err != nil || h != held {
			t.Fatalf("settled: %q, %v", h, err)
		}
		second := claimAll(t, d)
		wantItems(t, second[0].Items, "a")
		if second[0].Attempt != 2 || second[0].Recalls != 0 {
			t.Errorf("second %+v", second[0].Batch)
		}
	})
}

func TestAHandlerThatKnowsOfANewerItemIsCalledBackByIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := newDebouncer(t, redistest.InMemory(t), config())
		d.log = slog.New(slog.NewTextHandler(&log, nil)) // no debug
		got := make(chan delivery, 10)
		s := boardOf(t, d).newest().shard("k")
		stop := run(t, d, func(ctx context.Context, b Batch) error {
			got <- delivery{b, time.Now()}
			if len(b.Items) > 1 {
				return nil
			}
			err := unheardAdd(t).Run(ctx, d.rdb, s.keys("w:k", "d:g", "heads"), "k", "b", "g",
				recalling.Quiet.Microseconds(), 0, 0, recalling.Recalls).Err()
			return errors.Join(err, fmt.Errorf("superseded: %w", ErrRecalled))
		})
		add(t, d, "k", Window{}, "a")
		first := receive(t, got)
		second := receive(t, got)
		wantItems(t, second.Items, "a", "b")
		wantAt(t, "second batch", second.at, first.at.Add(recalling.Quiet))
		if second.Attempt != 1 || second.Recalls != 1 {
			t.Errorf("second %+v", second.Batch)
		}
		stop()
		if log.Len() != 0 {
			t.Errorf("the log says %s", log.String())
		}
	})
}
