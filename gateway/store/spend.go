package store

import (
	"context"
	"time"

	"wagent/gateway"
)

// SpentTokens returns how many tokens the runs of an agent read and wrote that
// ended since a moment: before another one, and from that on.
func (s *Store) SpentTokens(ctx context.Context, agent gateway.AgentID, since, until time.Time) (before, after int64, err error) {
	_, err = one(ctx, s.q, func(r row) (struct{}, error) { return struct{}{}, r.Scan(&before, &after) },
		`SELECT CAST(COALESCE(SUM(CASE WHEN completed_at < $3 THEN input_tokens + output_tokens ELSE 0 END), 0) AS BIGINT),
			CAST(COALESCE(SUM(CASE WHEN completed_at < $3 THEN 0 ELSE input_tokens + output_tokens END), 0) AS BIGINT)
		FROM runs WHERE agent = $1 AND completed_at > 0 AND completed_at >= $2`, agent, since, until)
	return before, after, s.fail(err, "sum tokens of agent %s", agent)
}

// RecentRuns returns how many runs of an agent in a context ended since then,
// less those that no model was asked for: the ones that a spend limit stopped.
func (s *Store) RecentRuns(ctx context.Context, agent gateway.AgentID, contextKey string, since time.Time) (int, error) {
	n, err := one(ctx, s.q, scanInt, `SELECT COUNT(*) FROM runs WHERE context_key = $1 AND context_key <> '' AND completed_at > 0
		AND completed_at >= $2 AND agent = $3 AND stop_reason <> $4`, contextKey, since, agent, gateway.StopSpent)
	return int(n), s.fail(err, "count runs of agent %s", agent)
}
