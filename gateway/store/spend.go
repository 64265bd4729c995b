package store

import (
	"context"
	"time"

	"wagent/gateway"
)

// SpentTokens returns how many tokens the runs of an agent that ended since
// then read and wrote.
func (s *Store) SpentTokens(ctx context.Context, agent gateway.AgentID, since time.Time) (int64, error) {
	n, err := one(ctx, s.q, scanInt, `SELECT COALESCE(SUM(input_tokens + output_tokens), 0) FROM runs
		WHERE agent = $1 AND completed_at > 0 AND completed_at >= $2`, agent, since)
	return n, s.fail(err, "sum tokens of agent %s", agent)
}

// RecentRuns returns how many runs of an agent in a context ended since then,
// less those that no model was asked for: the ones that a spend limit stopped.
func (s *Store) RecentRuns(ctx context.Context, agent gateway.AgentID, contextKey string, since time.Time) (int, error) {
	n, err := one(ctx, s.q, scanInt, `SELECT COUNT(*) FROM runs WHERE context_key = $1 AND context_key <> '' AND completed_at > 0
		AND completed_at >= $2 AND agent = $3 AND stop_reason <> $4`, contextKey, since, agent, gateway.StopSpent)
	return int(n), s.fail(err, "count runs of agent %s", agent)
}
