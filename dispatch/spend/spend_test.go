package spend_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/dispatch/spend"
	"wagent/gateway"
)

// ended is a run that ended, and when that is on record.
type ended struct {
	at, recorded time.Time
	tokens       int64
}

// records are a store of one agent's runs.
type records struct {
	mu      sync.Mutex
	runs    []ended
	takes   time.Duration // a query
	err     error
	queries int
	read    int // runs
}

func (r *records) SpentTokens(_ context.Context, _ gateway.AgentID, since, until time.Time) (before, after int64, err error) {
	time.Sleep(r.takes)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queries++
	for _, x := range r.runs {
		switch {
		case x.at.Before(since) || x.recorded.After(time.Now()):
			continue
		case x.at.Before(until):
			before += x.tokens
		default:
			after += x.tokens
		}
		r.read++
	}
	return before, after, r.err
}

func (r *records) RecentRuns(context.Context, gateway.AgentID, string, time.Time) (int, error) {
	return 0, nil
}

func (r *records) Account(context.Context, gateway.AccountID) (gateway.Account, error) {
	return gateway.Account{}, nil
}

// limited asks whether the limit of tokens is reached.
func limited(t *testing.T, g *spend.Guard, limit int64) bool {
	t.Helper()
	a := gateway.Agent{ID: "agent", Spend: gateway.SpendLimits{TokensPerDay: int(limit)}}
	why, err := g.Reached(t.Context(), &gateway.Run{ID: "run", StartedAt: time.Now()}, &a)
	if err != nil {
		t.Fatal(err)
	}
	return why != ""
}

func TestRunsAtOnceMakeOneQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &records{takes: 3 * time.Second, runs: []ended{{at: time.Now(), tokens: 5}}}
		g := spend.New(r, slog.New(slog.DiscardHandler), nil)
		for round := 1; round <= 2; round++ {
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 50 * time.Millisecond)
					if !limited(t, g, 5) || limited(t, g, 6) {
						t.Error("it is not 5 tokens")
					}
				})
			}
			wg.Wait()
			if r.queries != round {
				t.Errorf("after round %d there were %d queries", round, r.queries)
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestAQueryThatFailsIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &records{err: errors.New("away"), runs: []ended{{at: time.Now(), tokens: 5}}}
		g := spend.New(r, slog.New(slog.DiscardHandler), nil)
		a := gateway.Agent{ID: "agent", Spend: gateway.SpendLimits{TokensPerDay: 5}}
		if _, err := g.Reached(t.Context(), &gateway.Run{StartedAt: time.Now()}, &a); err == nil {
			t.Error("nobody is told")
		}
		r.err = nil
		if !limited(t, g, 5) {
			t.Error("the limit is not reached")
		}
	})
}

// TestIncrementsAreTheWhole plays two days of runs, some of which are on record
// only seconds after they ended, by clocks that differ.
func TestIncrementsAreTheWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		start := time.Now() // midnight UTC
		r := &records{}
		g := spend.New(r, slog.New(slog.DiscardHandler), nil)
		for time.Since(start) < 48*time.Hour {
			time.Sleep(sumAge + time.Duration(rng.IntN(120_000))*time.Millisecond)
			now := time.Now()
			late := now.Add(time.Duration(rng.IntN(8000)) * time.Millisecond)
			r.runs = append(r.runs, ended{at: now.Add(time.Duration(rng.IntN(2000)-1000) * time.Millisecond), recorded: late, tokens: rng.Int64N(1000) + 1})
			var want int64
			for _, x := range r.runs {
				if !x.at.Before(now.Truncate(24*time.Hour)) && !x.recorded.After(now) {
					want += x.tokens
				}
			}
			if want > 0 && !limited(t, g, want) || limited(t, g, want+1) {
				t.Fatalf("after %v it is not %d tokens", time.Since(start), want)
			}
		}
		if most := 100 * r.queries; r.read > most { // of some 700 that end in half a day
			t.Errorf("%d queries read %d runs", r.queries, r.read)
		}
	})
}

// A run that was on record much later than it ended counts within minutes.
func TestWhatWasLateIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &records{runs: []ended{{at: time.Now(), recorded: time.Now().Add(time.Minute), tokens: 5}}}
		g := spend.New(r, slog.New(slog.DiscardHandler), nil)
		for range 11 {
			limited(t, g, 5)
			time.Sleep(time.Minute)
		}
		if !limited(t, g, 5) {
			t.Error("it never counts")
		}
	})
}

const sumAge = time.Second

func TestThatTokensRunOutIsToldOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &records{}
		g := spend.New(r, slog.New(slog.DiscardHandler), nil)
		var told []string
		away := false
		g.Tell = func(_ context.Context, e *gateway.QuotaEvent) error {
			if away {
				return errors.New("the database is away")
			}
			told = append(told, fmt.Sprintf("%s %s %s %d/%d", e.Day.Format(time.DateOnly), e.Agent, e.Event(), e.Used, e.Limit))
			return nil
		}
		use := func(tokens int64) {
			r.runs = append(r.runs, ended{at: time.Now(), tokens: tokens})
			for range 2 {
				time.Sleep(time.Minute)
				limited(t, g, 100)
			}
		}
		use(79)
		away = true
		use(1)
		away = false
		use(1)
		use(18)
		use(1)
		use(50)
		time.Sleep(24 * time.Hour)
		use(100)
		if diff := cmp.Diff([]string{
			"2000-01-01 agt_agent quota.warning 81/100", "2000-01-01 agt_agent quota.exceeded 100/100", "2000-01-02 agt_agent quota.exceeded 100/100",
		}, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}
