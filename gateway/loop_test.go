package gateway_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// due is a loop's work in tests: pieces with a time.
type due struct{ at []time.Time }

func (d *due) claim(_ context.Context, limit int) ([]time.Time, time.Time, error) {
	var got []time.Time
	var next time.Time
	rest := d.at[:0]
	for _, at := range d.at {
		switch {
		case !at.After(time.Now()) && len(got) < limit:
			got = append(got, at)
			continue
		case next.IsZero() || at.Before(next):
			next = at
		}
		rest = append(rest, at)
	}
	d.at = rest
	return got, next, nil
}

func TestLoopWorksExactlyWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		d := &due{at: []time.Time{start.Add(3 * time.Second), start.Add(7 * time.Second), start.Add(time.Minute)}}
		var late []time.Duration
		l := gateway.Loop[time.Time]{
			Claim: d.claim, Log: quiet(), Idle: time.Hour,
			Work: func(_ context.Context, at time.Time) { late = append(late, time.Since(at)) },
		}
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
		defer stop()
		if err := l.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(late) != 3 || late[0] != 0 || late[1] != 0 || late[2] != 0 {
			t.Errorf("lateness = %v, want three zeros", late)
		}
	})
}

func TestLoopWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &due{}
		worked := make(chan time.Time, 1)
		l := gateway.Loop[time.Time]{
			Claim: d.claim, Log: quiet(), Idle: time.Hour,
			Work: func(context.Context, time.Time) { worked <- time.Now() },
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		synctest.Wait()
		at := time.Now()
		d.at = []time.Time{at}
		l.Wake()
		if got := <-worked; !got.Equal(at) {
			t.Errorf("worked %v after the wake", got.Sub(at))
		}
		stop()
		<-done
	})
}

func TestLoopKeepsToItsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		d := &due{}
		for range 10 {
			d.at = append(d.at, now)
		}
		var busy, most, all atomic.Int64
		l := gateway.Loop[time.Time]{
			Slots: 3, Claim: d.claim, Log: quiet(),
			Work: func(context.Context, time.Time) {
				if n := busy.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(time.Second)
				busy.Add(-1)
				all.Add(1)
			},
		}
		ctx, stop := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer stop()
		_ = l.Run(ctx)
		if most.Load() != 3 || all.Load() != 10 {
			t.Errorf("at most %d at once and %d in all, want 3 and 10", most.Load(), all.Load())
		}
	})
}

func TestLoopFlushesBeforeItEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		flush bool
		want  int64
	}{
		"with Flush it goes on until nothing is due": {true, 5},
		"without it what is in hand ends":            {false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := time.Now()
				d := &due{at: []time.Time{now, now, now, now, now}}
				var all atomic.Int64
				l := gateway.Loop[time.Time]{
					Slots: 1, Claim: d.claim, Log: quiet(), Drain: time.Minute, Flush: tt.flush,
					Work: func(ctx context.Context, _ time.Time) {
						time.Sleep(time.Second)
						if ctx.Err() == nil {
							all.Add(1)
						}
					},
				}
				ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer stop()
				_ = l.Run(ctx)
				if all.Load() != tt.want {
					t.Errorf("%d pieces done, want %d", all.Load(), tt.want)
				}
			})
		})
	}
}

func TestGraceOutlivesItsParent(t *testing.T) {
	for name, tt := range map[string]struct {
		stop time.Duration // what a Stop leaves; 0: there is none
		want time.Duration
	}{
		"by its own time":                         {0, 30 * time.Second},
		"until a stop's end, where that is later": {time.Minute, time.Minute},
		"never shorter than its own time":         {time.Second, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, shutdown := context.WithCancelCause(t.Context())
				ctx, done := gateway.Grace(parent, 30*time.Second)
				defer done()
				var cause error
				if tt.stop > 0 {
					cause = gateway.Stop{Until: time.Now().Add(tt.stop)}
				}
				began := time.Now()
				shutdown(cause)
				<-ctx.Done()
				if got := time.Since(began); got != tt.want {
					t.Errorf("it ended after %v, want %v", got, tt.want)
				}
			})
		})
	}
}
