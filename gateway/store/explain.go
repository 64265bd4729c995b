package store

import (
	"context"

	"wagent/gateway"
)

// ExplainDue returns how the database finds what DueDeliveries returns for webhooks
// that are asked for alike, one step a line: for a bench to show.
func (s *Store) ExplainDue(ctx context.Context, asks []gateway.DeliveryAsk) ([]string, error) {
	query, args := s.q.due(asks, now())
	if s.q.advisory {
		plan, err := list(ctx, s.q, scanText[string], `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) `+query, args...)
		return plan, s.fail(err, "explain what is due")
	}
	plan, err := list(ctx, s.q, func(r row) (step string, err error) {
		var id, parent, unused int
		err = r.Scan(&id, &parent, &unused, &step)
		return step, err
	}, `EXPLAIN QUERY PLAN `+query, args...)
	return plan, s.fail(err, "explain what is due")
}
