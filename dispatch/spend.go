package dispatch

import (
	"context"
	"fmt"
	"sync"
	"time"

	"wagent/dispatch/agent"
	"wagent/gateway"
)

// Ledger knows what agents spent.
type Ledger interface {
	// SpentTokens returns what an agent's runs that ended since then read and
	// wrote.
	SpentTokens(ctx context.Context, agent gateway.AgentID, since time.Time) (int64, error)
	// RecentRuns returns how many runs of an agent in a context ended since then,
	// those that a limit stopped left out.
	RecentRuns(ctx context.Context, agent gateway.AgentID, contextKey string, since time.Time) (int, error)
}

// The names of limits, as metrics have them.
const (
	limitRuns   = "runs_per_conversation_hour"
	limitTokens = "tokens_per_day"
)

// sumAge is how old a sum of an agent's tokens may be: at many runs a second it
// is not made for each of them. What ended meanwhile, and what is in hand, is
// spent beyond the limit.
const sumAge = time.Second

// sums are the tokens that agents spent, as of a moment ago.
type sums struct {
	mu     sync.Mutex
	agents map[gateway.AgentID]sum
}

type sum struct {
	tokens int64
	day    time.Time // since when
	at     time.Time
}

// spent returns why no model is asked for a run any more, or nil if one may be.
func (d *Dispatcher) spent(ctx context.Context, r *gateway.Run, a *gateway.Agent) (*agent.Failure, error) {
	if n := a.Spend.RunsPerHour; n > 0 && contextKey(r) != "" {
		runs, err := d.Ledger.RecentRuns(ctx, a.ID, contextKey(r), r.StartedAt.Add(-time.Hour))
		if err != nil {
			return nil, fmt.Errorf("count runs before run %s: %w", r.ID, err)
		}
		if runs >= n {
			return d.stopped(ctx, r, limitRuns, fmt.Sprintf("the agent's limit of %d runs an hour in one conversation is reached", n)), nil
		}
	}
	if n := a.Spend.TokensPerDay; n > 0 {
		tokens, err := d.tokensToday(ctx, r, a)
		if err != nil {
			return nil, err
		}
		if tokens >= int64(n) {
			return d.stopped(ctx, r, limitTokens, fmt.Sprintf("the agent's limit of %d tokens a day is reached", n)), nil
		}
	}
	return nil, nil
}

func (d *Dispatcher) stopped(ctx context.Context, r *gateway.Run, limit, msg string) *agent.Failure {
	d.metrics.limited.WithLabelValues(limit).Inc()
	d.log.WarnContext(ctx, "spend limit reached", "run", r.ID, "agent", r.Agent, "limit", limit)
	return &agent.Failure{Stop: gateway.StopSpent, Msg: msg}
}

// tokensToday returns what the agent spent since midnight at its account.
func (d *Dispatcher) tokensToday(ctx context.Context, r *gateway.Run, a *gateway.Agent) (int64, error) {
	now := r.StartedAt.UTC()
	if a.Account != "" {
		account, err := d.Directory.Account(ctx, a.Account)
		if err != nil {
			return 0, fmt.Errorf("find account of agent %s: %w", a.ID, err)
		}
		now = r.StartedAt.In(account.Location())
	}
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	d.sums.mu.Lock()
	known := d.sums.agents[a.ID]
	d.sums.mu.Unlock()
	if known.day.Equal(day) && r.StartedAt.Sub(known.at) < sumAge {
		return known.tokens, nil
	}
	tokens, err := d.Ledger.SpentTokens(ctx, a.ID, day)
	if err != nil {
		return 0, fmt.Errorf("sum tokens before run %s: %w", r.ID, err)
	}
	d.sums.mu.Lock()
	defer d.sums.mu.Unlock()
	if d.sums.agents == nil {
		d.sums.agents = map[gateway.AgentID]sum{}
	}
	d.sums.agents[a.ID] = sum{tokens: tokens, day: day, at: r.StartedAt}
	return tokens, nil
}
