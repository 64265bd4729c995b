// Package spend keeps agents within their limits: so many runs an hour in one
// conversation, so many tokens a day. What is reached stops a run before any
// model is asked.
//
// What was spent stands in SQL, in the runs themselves, so that replicas count
// together and a crash forgets nothing. Limits are guards, not a ledger: runs in
// hand are not counted yet, and a sum may be a second old.
package spend

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"wagent/gateway"
)

// Store knows what agents spent, and where they are.
type Store interface {
	// SpentTokens returns what an agent's runs that ended since then read and
	// wrote.
	SpentTokens(ctx context.Context, agent gateway.AgentID, since time.Time) (int64, error)
	// RecentRuns returns how many runs of an agent in a context ended since then,
	// those that a limit stopped left out.
	RecentRuns(ctx context.Context, agent gateway.AgentID, contextKey string, since time.Time) (int, error)
	Account(ctx context.Context, id gateway.AccountID) (gateway.Account, error)
}

// The names of limits, as metrics and the log have them.
const (
	limitRuns   = "runs_per_conversation_hour"
	limitTokens = "tokens_per_day"
)

// sumAge is how old a sum of an agent's tokens may be: at many runs a second it
// is not made for each of them.
const sumAge = time.Second

// A Guard watches the limits. It is safe for concurrent use.
type Guard struct {
	store   Store
	log     *slog.Logger
	reached *prometheus.CounterVec

	mu   sync.Mutex
	sums map[gateway.AgentID]sum
}

// A sum is the tokens that an agent spent, as of a moment ago.
type sum struct {
	tokens int64
	day    time.Time // since when
	at     time.Time
}

// New returns a Guard; a nil reg keeps its metric to itself.
func New(store Store, log *slog.Logger, reg prometheus.Registerer) *Guard {
	g := &Guard{store: store, log: log, sums: map[gateway.AgentID]sum{}}
	g.reached = promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "wagent_spend_limits_reached_total",
		Help: "Runs that a spend limit of their agent stopped, by which.",
	}, []string{"limit"})
	for _, l := range []string{limitRuns, limitTokens} {
		g.reached.WithLabelValues(l)
	}
	return g
}

// Reached returns which limit of its agent a run that just began must not pass,
// in words fit for the run's error; empty if there is none. An error is the
// store's.
func (g *Guard) Reached(ctx context.Context, r *gateway.Run, a *gateway.Agent) (string, error) {
	if n := a.Spend.RunsPerHour; n > 0 && r.ContextKey() != "" {
		runs, err := g.store.RecentRuns(ctx, a.ID, r.ContextKey(), r.StartedAt.Add(-time.Hour))
		if err != nil {
			return "", fmt.Errorf("count runs before run %s: %w", r.ID, err)
		}
		if runs >= n {
			return g.stop(ctx, r, limitRuns, fmt.Sprintf("the agent's limit of %d runs an hour in one conversation is reached", n)), nil
		}
	}
	if n := a.Spend.TokensPerDay; n > 0 {
		tokens, err := g.tokensToday(ctx, r, a)
		if err != nil {
			return "", err
		}
		if tokens >= int64(n) {
			return g.stop(ctx, r, limitTokens, fmt.Sprintf("the agent's limit of %d tokens a day is reached", n)), nil
		}
	}
	return "", nil
}

func (g *Guard) stop(ctx context.Context, r *gateway.Run, limit, msg string) string {
	g.reached.WithLabelValues(limit).Inc()
	g.log.WarnContext(ctx, "spend limit reached", "run", r.ID, "agent", r.Agent, "limit", limit)
	return msg
}

// tokensToday returns what the agent spent since midnight at its account.
func (g *Guard) tokensToday(ctx context.Context, r *gateway.Run, a *gateway.Agent) (int64, error) {
	now := r.StartedAt.UTC()
	if a.Account != "" {
		account, err := g.store.Account(ctx, a.Account)
		if err != nil {
			return 0, fmt.Errorf("find account of agent %s: %w", a.ID, err)
		}
		now = r.StartedAt.In(account.Location())
	}
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	g.mu.Lock()
	known := g.sums[a.ID]
	g.mu.Unlock()
	if known.day.Equal(day) && r.StartedAt.Sub(known.at) < sumAge {
		return known.tokens, nil
	}
	tokens, err := g.store.SpentTokens(ctx, a.ID, day)
	if err != nil {
		return 0, fmt.Errorf("sum tokens before run %s: %w", r.ID, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sums[a.ID] = sum{tokens: tokens, day: day, at: r.StartedAt}
	return tokens, nil
}
