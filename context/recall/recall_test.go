package recall

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"wagent/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	agentA = gateway.AgentID("11111111-1111-4111-8111-111111111111")
	agentB = gateway.AgentID("22222222-2222-4222-8222-222222222222")
	ttl    = time.Hour
)

// runs is SQL, as far as a Store sees it.
type runs struct {
	mu    sync.Mutex
	last  map[string]gateway.Run
	err   error
	asked int
}

func (r *runs) LastRun(_ context.Context, agent gateway.AgentID, contextKey string) (gateway.Run, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if r.err != nil {
		return gateway.Run{}, r.err
	}
	run, ok := r.last[string(agent)+"/"+contextKey]
	if !ok {
		return gateway.Run{}, &gateway.Error{Kind: gateway.NotFound, Msg: "no run"}
	}
	return run, nil
}

// complete records a run that completes now.
func (r *runs) complete(agent gateway.AgentID, contextKey string, id gateway.RunID, summary string) Memory {
	r.mu.Lock()
	defer r.mu.Unlock()
	actions := []gateway.OutputAction{{Type: "hotel.room.request", Payload: map[string]any{"room": "204"}}}
	run := gateway.Run{
		ID: id, Agent: agent, Status: gateway.RunCompleted, CompletedAt: time.Now(),
		Output: &gateway.Output{Intent: "towels", Actions: actions, ContextSummary: summary},
	}
	if r.last == nil {
		r.last = map[string]gateway.Run{}
	}
	r.last[string(agent)+"/"+contextKey] = run
	return Memory{Run: id, Summary: summary, Intent: "towels", Actions: actions, At: run.CompletedAt}
}

// rig is a Store with both things that it asks.
type rig struct {
	*Store
	runs *runs
	rdb  *redis.Client
	mini *miniredis.Miniredis
	log  *bytes.Buffer
	down atomic.Bool // Redis takes no connections
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{runs: &runs{}, mini: miniredis.NewMiniRedis(), log: &bytes.Buffer{}}
	r.mini.ClockTTL(true)
	r.rdb = redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:0", MaxRetries: -1, ContextTimeoutEnabled: true,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			if r.down.Load() {
				return nil, errors.New("connection refused")
			}
			return r.mini.Dial()
		},
	})
	r.Store = New(r.rdb, r.runs, "wagent", slog.New(slog.NewTextHandler(r.log, nil)), prometheus.NewRegistry())
	t.Cleanup(func() { r.rdb.Close(); r.mini.Close() })
	return r
}

// drop makes Redis go away, or come back.
func (r *rig) drop(t *testing.T, away bool) {
	t.Helper()
	r.down.Store(away)
	if away {
		// Connections that are open break at their next use.
		r.mini.SetError("LOADING the dataset")
		return
	}
	r.mini.SetError("")
}

func (r *rig) recalled(t *testing.T, agent gateway.AgentID, contextKey, outcome string) *Memory {
	t.Helper()
	before := testutil.ToFloat64(r.metrics.context.WithLabelValues(outcome))
	m, err := r.Recall(t.Context(), agent, contextKey, ttl)
	if err != nil {
		t.Fatal(err)
	}
	if testutil.ToFloat64(r.metrics.context.WithLabelValues(outcome)) != before+1 {
		t.Errorf("the outcome was not %s", outcome)
	}
	return m
}

func equal(t *testing.T, want Memory, got *Memory) {
	t.Helper()
	if got == nil {
		t.Fatal("nothing was remembered")
	}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
}

func TestAMemoryThatWasKeptIsRecalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
		if err := r.Keep(t.Context(), agentA, "cnv_1", m, ttl); err != nil {
			t.Fatal(err)
		}
		equal(t, m, r.recalled(t, agentA, "cnv_1", outcomeHit))
	})
}

func TestContextsAndAgentsDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := r.runs.complete(agentA, "cnv_1", "run_1", "secret")
		if err := r.Keep(t.Context(), agentA, "cnv_1", m, ttl); err != nil {
			t.Fatal(err)
		}
		if got := r.recalled(t, agentA, "cnv_2", outcomeNone); got != nil {
			t.Errorf("another context remembers %+v", got)
		}
		if got := r.recalled(t, agentB, "cnv_1", outcomeNone); got != nil {
			t.Errorf("another agent remembers %+v", got)
		}
	})
}

func TestAMemoryEndsExactlyAtItsTTL(t *testing.T) {
	for name, lost := range map[string]bool{"with Redis": false, "with Redis flushed": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				m := r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
				if err := r.Keep(t.Context(), agentA, "cnv_1", m, ttl); err != nil {
					t.Fatal(err)
				}
				time.Sleep(ttl - time.Millisecond)
				outcome := outcomeHit
				if lost {
					r.mini.FlushAll()
					outcome = outcomeRestored
				}
				equal(t, m, r.recalled(t, agentA, "cnv_1", outcome))
				time.Sleep(time.Millisecond)
				if got := r.recalled(t, agentA, "cnv_1", outcomeExpired); got != nil {
					t.Errorf("at its TTL, %+v is still remembered", got)
				}
				time.Sleep(time.Millisecond) // miniredis looks after the instant
				if keys := r.mini.Keys(); len(keys) != 0 {
					t.Errorf("Redis still holds %q", keys)
				}
			})
		})
	}
}

func TestALostMemoryIsPutBackForWhatIsLeftOfItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
		time.Sleep(20 * time.Minute)
		equal(t, m, r.recalled(t, agentA, "cnv_1", outcomeRestored))
		if left := r.rdb.PTTL(t.Context(), r.key(agentA, "cnv_1")).Val(); left != 40*time.Minute {
			t.Errorf("it lives for %v, want 40m", left)
		}
		equal(t, m, r.recalled(t, agentA, "cnv_1", outcomeHit))
	})
}

func TestACopyOfAnotherRunIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		old := r.runs.complete(agentA, "cnv_1", "run_1", "old")
		if err := r.Keep(t.Context(), agentA, "cnv_1", old, ttl); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		m := r.runs.complete(agentA, "cnv_1", "run_2", "new")
		equal(t, m, r.recalled(t, agentA, "cnv_1", outcomeRestored))
		equal(t, m, r.recalled(t, agentA, "cnv_1", outcomeHit))
	})
}

func TestACopyThatIsNotUnderstoodIsMadeAnew(t *testing.T) {
	for name, garbage := range map[string]string{"no JSON": "x", "half of it": "17\n{\"run\":", "nothing": "", "another type": "17\n[]"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				m := r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
				r.rdb.Set(t.Context(), r.key(agentA, "cnv_1"), garbage, 0)
				equal(t, m, r.recalled(t, agentA, "cnv_1", outcomeRestored))
				equal(t, m, r.recalled(t, agentA, "cnv_1", outcomeHit))
			})
		})
	}
}

func TestKeepLeavesANewerMemoryAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		old := r.runs.complete(agentA, "cnv_1", "run_1", "old")
		time.Sleep(time.Minute)
		m := r.runs.complete(agentA, "cnv_1", "run_2", "new")
		for _, late := range []Memory{m, old} {
			if err := r.Keep(t.Context(), agentA, "cnv_1", late, ttl); err != nil {
				t.Fatal(err)
			}
		}
		equal(t, m, r.recalled(t, agentA, "cnv_1", outcomeHit))
	})
}

func TestKeepDoesNotShortenTheSameMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
		left := func() time.Duration { return r.rdb.PTTL(t.Context(), r.key(agentA, "cnv_1")).Val() }
		for _, step := range []struct{ ttl, want time.Duration }{
			{time.Hour, time.Hour}, {time.Minute, time.Hour}, {2 * time.Hour, 2 * time.Hour}, {0, 2 * time.Hour},
		} {
			if err := r.Keep(t.Context(), agentA, "cnv_1", m, step.ttl); err != nil {
				t.Fatal(err)
			}
			if got := left(); got != step.want {
				t.Errorf("after Keep for %v it lives for %v, want %v", step.ttl, got, step.want)
			}
		}
	})
}

func TestAShorterTTLThanItWasKeptForCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
		if err := r.Keep(t.Context(), agentA, "cnv_1", m, 24*time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(ttl)
		if got := r.recalled(t, agentA, "cnv_1", outcomeExpired); got != nil {
			t.Errorf("the agent's context ended, but %+v is remembered", got)
		}
	})
}

func TestAStatelessAgentReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
		if err := r.Keep(t.Context(), agentA, "cnv_1", m, 0); err != nil {
			t.Fatal(err)
		}
		got, err := r.Recall(t.Context(), agentA, "cnv_1", 0)
		if got != nil || err != nil || r.runs.asked != 0 || len(r.mini.Keys()) != 0 {
			t.Errorf("Recall = %v, %v; SQL was asked %d times, Redis holds %q", got, err, r.runs.asked, r.mini.Keys())
		}
		if testutil.ToFloat64(r.metrics.context.WithLabelValues(outcomeStateless)) != 1 {
			t.Error("the outcome was not stateless")
		}
	})
}

func TestARunWhoseOutputWasErasedIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
		if err := r.Keep(t.Context(), agentA, "cnv_1", m, ttl); err != nil {
			t.Fatal(err)
		}
		run := r.runs.last[string(agentA)+"/cnv_1"]
		run.Output = nil
		r.runs.last[string(agentA)+"/cnv_1"] = run
		if got := r.recalled(t, agentA, "cnv_1", outcomeNone); got != nil {
			t.Errorf("%+v is remembered", got)
		}
	})
}

func TestForgetDeletesTheCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
		if err := r.Keep(t.Context(), agentA, "cnv_1", m, ttl); err != nil {
			t.Fatal(err)
		}
		if err := r.Forget(t.Context(), agentA, "cnv_1"); err != nil {
			t.Fatal(err)
		}
		if keys := r.mini.Keys(); len(keys) != 0 {
			t.Errorf("Redis still holds %q", keys)
		}
	})
}

func TestKeysHoldNoContextKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := r.runs.complete(agentA, "key:+33612345678", "run_1", "wants towels")
		if err := r.Keep(t.Context(), agentA, "key:+33612345678", m, ttl); err != nil {
			t.Fatal(err)
		}
		keys := r.mini.Keys()
		if len(keys) != 1 || strings.Contains(keys[0], "612345678") || !strings.HasPrefix(keys[0], "wagent:context:") {
			t.Errorf("keys = %q", keys)
		}
	})
}
