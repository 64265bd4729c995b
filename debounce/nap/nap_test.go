package nap_test

import (
	"testing"
	"testing/synctest"
	"time"

	"wagent/debounce/nap"
)

// wait waits as the package says, and returns how often it was asked.
func wait(t time.Time) (asked int) {
	for {
		asked++
		d := nap.Toward(t)
		if d == 0 {
			return asked
		}
		<-time.NewTimer(d).C
	}
}

func TestNobodyWakesEarly(t *testing.T) {
	for _, d := range []time.Duration{-time.Hour, 0, 1, nap.Longest / 2, nap.Longest, nap.Longest + 1, 3 * nap.Longest} {
		end := time.Now().Add(d)
		wait(end)
		if early := time.Until(end); early > 0 {
			t.Errorf("after %v it ended %v early", d, early)
		}
	}
	if d := nap.Toward(time.Now().Add(time.Hour)); d > time.Hour-nap.Longest || d < 59*time.Minute {
		t.Errorf("of an hour, %v are left to the timer", d)
	}
}

func TestVirtualTimeIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []time.Duration{0, 1, nap.Longest / 2, nap.Longest, 5 * nap.Longest / 2, time.Hour} {
			start := time.Now()
			asked := wait(start.Add(d))
			if took := time.Since(start); took != d || asked > 3 {
				t.Errorf("%v took %v, and %d questions", d, took, asked)
			}
		}
	})
}

// BenchmarkLate tells how late a timer is, and one with a nap.
func BenchmarkLate(b *testing.B) {
	for name, wait := range map[string]func(time.Time){
		"timer": func(t time.Time) { <-time.NewTimer(time.Until(t)).C },
		"nap":   func(t time.Time) { wait(t) },
	} {
		b.Run(name, func(b *testing.B) {
			var late time.Duration
			for range b.N {
				end := time.Now().Add(2500 * time.Microsecond)
				wait(end)
				late += time.Since(end)
			}
			b.ReportMetric(float64(late.Microseconds())/float64(b.N), "us-late")
		})
	}
}
