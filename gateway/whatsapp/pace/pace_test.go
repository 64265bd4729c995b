package pace_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway/whatsapp/pace"
)

func TestJitterStaysAroundItsMean(t *testing.T) {
	for range 1000 {
		if d := pace.Jitter(time.Second); d < time.Second/2 || d >= 3*time.Second/2 {
			t.Fatalf("Jitter(1s) = %v", d)
		}
	}
	for _, d := range []time.Duration{0, -time.Second} {
		if got := pace.Jitter(d); got != 0 {
			t.Errorf("Jitter(%v) = %v", d, got)
		}
	}
}

func TestALineLetsThroughOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		line, began := pace.Line{Mean: time.Second}, time.Now()
		through := make(chan time.Duration, n)
		for range n {
			go func() {
				if err := line.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				through <- time.Since(began)
			}()
		}
		last := -time.Second
		for range n {
			at := <-through
			if at-last < time.Second/2 || at-last > 3*time.Second/2 {
				t.Errorf("one came %v after the one before", at-last)
			}
			last = at
		}
	})
}

func TestALineSavesNothingUpForLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := pace.Line{Mean: time.Second}
		_ = line.Wait(t.Context())
		_ = pace.Sleep(t.Context(), time.Hour)
		began := time.Now()
		if _ = line.Wait(t.Context()); time.Since(began) != 0 {
			t.Errorf("after an hour in which nobody came it took %v", time.Since(began))
		}
		if _ = line.Wait(t.Context()); time.Since(began) < time.Second/2 {
			t.Errorf("the next one came %v later", time.Since(began))
		}
	})
}

func TestWaitsEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := pace.Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("Sleep = %v after %v", err, time.Since(began))
		}
		if err := pace.Sleep(ctx, 0); err == nil {
			t.Error("Sleep(0) of a context that is done says nothing")
		}
	})
}

func TestABackoffGrowsToItsMost(t *testing.T) {
	b := pace.Backoff{First: time.Second, Most: 10 * time.Second}
	for round := range 2 {
		for i, mean := range []time.Duration{1, 2, 4, 8, 10, 10} {
			mean *= time.Second
			if d := b.Step(); d < mean/2 || d >= 3*mean/2 {
				t.Errorf("round %d, step %d: %v, want around %v", round, i, d, mean)
			}
		}
		b.Reset()
	}
}
