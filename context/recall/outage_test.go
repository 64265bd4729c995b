package recall

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"wagent/gateway"
)

func TestWithoutRedisSQLAnswersAndTheLogSaysSoOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
		for range 2 {
			r.drop(t, true)
			for range 3 {
				equal(t, m, r.recalled(t, agentA, "cnv_1", outcomeRestored))
			}
			if err := r.Keep(t.Context(), agentA, "cnv_1", m, ttl); err == nil {
				t.Error("Keep = nil while Redis is away")
			}
			r.drop(t, false)
			equal(t, m, r.recalled(t, agentA, "cnv_1", outcomeRestored))
			equal(t, m, r.recalled(t, agentA, "cnv_1", outcomeHit))
			r.mini.FlushAll()
		}
		if n := strings.Count(r.log.String(), "redis is away"); n != 2 {
			t.Errorf("two outages were logged %d times:\n%s", n, r.log)
		}
		if n := strings.Count(r.log.String(), "redis is back"); n != 2 {
			t.Errorf("the ends of two outages were logged %d times:\n%s", n, r.log)
		}
	})
}

func TestARedisThatDoesNotAnswerCostsAtMostASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		m := r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
		var mu sync.Mutex
		var peers []net.Conn
		mute := redis.NewClient(&redis.Options{
			Addr: "127.0.0.1:0", MaxRetries: -1, ContextTimeoutEnabled: true,
			Dialer: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				mu.Lock()
				defer mu.Unlock()
				peers = append(peers, theirs)
				return ours, nil
			},
		})
		defer mute.Close()
		s := New(mute, r.runs, "wagent", slog.New(slog.DiscardHandler), nil)
		start := time.Now()
		got, err := s.Recall(t.Context(), agentA, "cnv_1", ttl)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, m, got)
		if took := time.Since(start); took > 2*patience {
			t.Errorf("Recall took %v, want at most %v", took, 2*patience)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, c := range peers {
			c.Close()
		}
	})
}

func TestAnErrorOfSQLIsTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		away := &gateway.Error{Kind: gateway.Unavailable, Msg: "database is away"}
		r.runs.err = away
		if _, err := r.Recall(t.Context(), agentA, "cnv_1", ttl); !errors.Is(err, away) {
			t.Errorf("Recall = %v, want %v", err, away)
		}
		if testutil.ToFloat64(r.metrics.context.WithLabelValues(outcomeError)) != 1 {
			t.Error("the outcome was not error")
		}
	})
}

func TestACallerWhoWentAwayIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.runs.complete(agentA, "cnv_1", "run_1", "wants towels")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Recall(ctx, agentA, "cnv_1", ttl); !errors.Is(err, context.Canceled) {
			t.Errorf("Recall = %v, want %v", err, context.Canceled)
		}
		if r.log.Len() != 0 {
			t.Errorf("logged:\n%s", r.log)
		}
	})
}
