package store

import (
	"context"
	"time"

	"wagent/gateway"
)

// HoldLanes keeps the lanes that owner holds for another lease, and takes free
// ones up to its share: each of the processes that call this has as many, or one
// more. What a process keeps nobody else had meanwhile, even if its lease was over.
// Where it keeps more than its share, others are to have the rest (ReleaseLanes).
// One that is leaving takes none, and has no share.
//
// It must be called again before the lease is over, counted from when the call
// began.
func (s *Store) HoldLanes(ctx context.Context, owner string, lease time.Duration, leaving bool) (h gateway.LaneHold, err error) {
	err = s.inTx(ctx, func(q queries) error {
		h = gateway.LaneHold{}
		// One after the other, whoever calls: two that lock rows in turn must not wait
		// for each other. Nor is one that froze waited for as long as a lease.
		if q.advisory {
			if _, err := q.exec(ctx, `SELECT set_config('idle_in_transaction_session_timeout', '2s', TRUE)`); err != nil {
				return err
			}
		}
		if err := q.hold(ctx, "lanes"); err != nil {
			return err
		}
		at := now()
		if _, err := q.exec(ctx, `DELETE FROM lane_owners WHERE until <= $1 OR owner = $2`, at, owner); err != nil {
			return err
		}
		if h.Kept, err = list(ctx, q, scanInt, `UPDATE lanes SET until = $2 WHERE owner = $1 RETURNING id`, owner, at.Add(lease)); err != nil || leaving {
			return err
		}
		if _, err := q.exec(ctx, `INSERT INTO lane_owners (owner, until) VALUES ($1, $2)`, owner, at.Add(lease)); err != nil {
			return err
		}
		owners, err := one(ctx, q, scanInt, `SELECT COUNT(*) FROM lane_owners`)
		if err != nil {
			return err
		}
		h.Share = (gateway.Lanes + int(owners) - 1) / int(owners)
		if len(h.Kept) >= h.Share {
			return nil
		}
		h.Taken, err = list(ctx, q, scanInt, `UPDATE lanes SET owner = $1, until = $2
			WHERE id IN (SELECT id FROM lanes WHERE until <= $3 AND owner <> $1 ORDER BY id LIMIT $4) RETURNING id`, owner, at.Add(lease), at, h.Share-len(h.Kept))
		return err
	})
	return h, s.fail(err, "hold lanes")
}

// ReleaseLanes gives lanes to whoever takes them. What owner does not hold stays
// as it is.
func (s *Store) ReleaseLanes(ctx context.Context, owner string, lanes []int64) error {
	if len(lanes) == 0 {
		return nil
	}
	_, err := s.q.exec(ctx, `UPDATE lanes SET owner = '', until = 0 WHERE owner = $1 AND id IN (`+places(2, len(lanes))+`)`, append([]any{owner}, anys(lanes)...)...)
	return s.fail(err, "release lanes")
}
