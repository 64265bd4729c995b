package recall

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/gateway"
)

// Each run that completes begins the life anew, wherever the memory comes from.
func TestALifeSlidesFromTheLastCompletedRun(t *testing.T) {
	for name, lost := range map[string]bool{"with Redis": false, "with Redis flushed before each look": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				start := time.Now()
				look := func(at time.Duration, want string) {
					t.Helper()
					time.Sleep(time.Until(start.Add(at)))
					if lost {
						r.mini.FlushAll()
					}
					m, err := r.Recall(t.Context(), agentA, "cnv_1", ttl)
					if err != nil {
						t.Fatal(err)
					}
					if got := m != nil; got != (want != "") || got && m.Summary != want {
						t.Errorf("after %v it remembers %+v, want %q", at, m, want)
					}
				}
				complete := func(id gateway.RunID, summary string) {
					t.Helper()
					m := r.runs.complete(agentA, "cnv_1", id, summary)
					if err := r.Keep(t.Context(), agentA, "cnv_1", m, ttl); err != nil {
						t.Fatal(err)
					}
				}
				complete("run_1", "first")
				look(50*time.Minute, "first")
				look(50*time.Minute+time.Second, "first") // to have looked does not make it younger
				complete("run_2", "second")
				look(60*time.Minute, "second")
				look(110*time.Minute, "second")
				look(110*time.Minute+time.Second, "")
				complete("run_3", "third")
				look(170*time.Minute, "third")
				look(170*time.Minute+time.Second, "")
			})
		})
	}
}

func TestToPeekIsNoRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
		got, err := r.Peek(t.Context(), agentA, "cnv_1", ttl)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, m, got)
		if n := testutil.ToFloat64(r.metrics.context.WithLabelValues(outcomeRestored)); n != 0 {
			t.Errorf("%v runs are counted", n)
		}
	})
}
