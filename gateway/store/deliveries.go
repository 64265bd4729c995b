package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"wagent/gateway"
)

const deliveryColumns = `id, webhook, event, run, action_index, conversation, body, state, attempt, next_at, created_at`

func scanDelivery(r row) (gateway.Delivery, error) {
	var d gateway.Delivery
	err := r.Scan(&d.ID, &d.Webhook, &d.Event, &d.Run, &d.Action, &d.Conversation, raw(&d.Body), &d.State, &d.Attempt, at(&d.NextAt), at(&d.CreatedAt))
	return d, err
}

// ClaimDeliveries takes at most limit deliveries that are due, and leaves at
// most perWebhook of one webhook in hand, in all processes together. Attempt
// is raised: it is the fence of SettleDelivery. What is due to a webhook that
// is off goes to the dead letters. next is when to ask again; zero if nothing
// is to come.
func (s *Store) ClaimDeliveries(ctx context.Context, limit, perWebhook int, lease time.Duration) (claimed []gateway.Delivery, next time.Time, err error) {
	err = s.inTx(ctx, func(q queries) error {
		claimed, next = nil, time.Time{}
		at := now()
		if _, err := q.exec(ctx, `UPDATE deliveries SET state = 'dead' WHERE state = 'pending' AND next_at <= $1 AND lease_until <= $1
			AND webhook IN (SELECT id FROM webhooks WHERE NOT active OR disabled <> '')`, at); err != nil {
			return err
		}
		hooks, err := list(ctx, q, scanInt, `SELECT id FROM (SELECT id, (SELECT MIN(d.next_at) FROM deliveries d
			WHERE d.webhook = webhooks.id AND d.state = 'pending') AS oldest FROM webhooks WHERE active AND disabled = '') AS hooks
			WHERE oldest IS NOT NULL ORDER BY oldest, id`)
		if err != nil {
			return err
		}
		for _, id := range hooks {
			got, again, err := claimWebhook(ctx, q, id, min(limit-len(claimed), perWebhook), perWebhook, lease, at)
			if err != nil {
				return err
			}
			claimed = append(claimed, got...)
			next = earlierOf(next, again)
		}
		return nil
	})
	if err != nil {
		return nil, time.Time{}, s.fail(err, "claim deliveries")
	}
	return claimed, next, nil
}

// claimWebhook claims what is due to one webhook, which it locks so that no
// other process exceeds its share meanwhile, and says when to come back.
func claimWebhook(ctx context.Context, q queries, id int64, limit, share int, lease time.Duration, at time.Time) ([]gateway.Delivery, time.Time, error) {
	_, err := one(ctx, q, scanInt, `SELECT 1 FROM webhooks WHERE id = $1`+q.lockKey+q.skip, id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, soonest(at, at), nil
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	busy, err := one(ctx, q, scanInt, `SELECT COUNT(*) FROM deliveries WHERE webhook = $1 AND state = 'pending' AND lease_until > 0 AND lease_until > $2`, id, at)
	if err != nil {
		return nil, time.Time{}, err
	}
	limit = max(0, min(limit, share-int(busy)))
	got, err := list(ctx, q, scanDelivery, `UPDATE deliveries SET attempt = attempt + 1, lease_until = $2 WHERE id IN (
			SELECT id FROM deliveries WHERE webhook = $1 AND state = 'pending' AND next_at <= $3 AND lease_until <= $3 ORDER BY next_at, seq LIMIT $4)
		RETURNING `+deliveryColumns, id, at.Add(lease), at, limit)
	if err != nil {
		return nil, time.Time{}, err
	}
	next, err := due(ctx, q, at, `SELECT lease_until FROM deliveries WHERE webhook = $1 AND state = 'pending' AND lease_until > 0 ORDER BY lease_until LIMIT 1`, id)
	if err != nil || int(busy)+len(got) >= share {
		return got, next, err // until one in hand ends
	}
	ready, err := due(ctx, q, at, `SELECT next_at FROM deliveries WHERE webhook = $1 AND state = 'pending' AND lease_until = 0 ORDER BY next_at LIMIT 1`, id)
	return got, earlierOf(next, ready), err
}

// earlierOf returns the earlier of two times; zero is never.
func earlierOf(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// SettleDelivery records an attempt and what follows from it: d.State, and
// d.NextAt if it is pending still. Conflict: the delivery was claimed again or
// has ended; the attempt is recorded all the same.
func (s *Store) SettleDelivery(ctx context.Context, d *gateway.Delivery, a gateway.Attempt) error {
	var lost error
	err := s.inTx(ctx, func(q queries) error {
		lost = nil
		n, err := q.exec(ctx, `UPDATE deliveries SET state = $3, next_at = $4, lease_until = 0 WHERE id = $1 AND attempt = $2 AND state = 'pending'`,
			d.ID, d.Attempt, d.State, d.NextAt)
		if err != nil {
			return err
		}
		if n == 0 {
			lost = &gateway.Error{Kind: gateway.Conflict, Msg: fmt.Sprintf("delivery %s has ended or is in other hands", d.ID)}
			if found, err := exists(ctx, q, `SELECT 1 FROM deliveries WHERE id = $1`, d.ID); err != nil || !found {
				return err
			}
		}
		_, err = q.exec(ctx, `INSERT INTO attempts (delivery, number, at, latency_ms, status_code, error, answer) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (delivery, number) DO NOTHING`, d.ID, d.Attempt, a.At, a.Latency, a.StatusCode, a.Error, a.Answer)
		return err
	})
	if err == nil {
		err = lost
	}
	return s.fail(err, "settle delivery %s", d.ID)
}

// ReplayDelivery makes a dead letter due now. NotFound: there is none with
// that id.
func (s *Store) ReplayDelivery(ctx context.Context, id gateway.DeliveryID) error {
	n, err := s.q.exec(ctx, `UPDATE deliveries SET state = 'pending', next_at = $2, lease_until = 0 WHERE id = $1 AND state = 'dead'`, id, now())
	if err == nil && n == 0 {
		err = &gateway.Error{Kind: gateway.NotFound, Msg: "There is no dead letter " + string(id)}
	}
	return s.fail(err, "replay delivery %s", id)
}

// forgottenAtOnce is how many deliveries ForgetDeliveries removes at most.
const forgottenAtOnce = 500

// ForgetDeliveries removes deliveries that ended, well or as dead letters, and
// whose last attempt was due before a time, with their attempts. It removes some,
// and reports whether there may be more.
func (s *Store) ForgetDeliveries(ctx context.Context, before time.Time) (more bool, err error) {
	err = s.inTx(ctx, func(q queries) error {
		ids, err := list(ctx, q, scanText[gateway.DeliveryID], `SELECT id FROM deliveries WHERE state <> 'pending' AND next_at < $1
			ORDER BY next_at LIMIT $2`+q.lockKey+q.skip, before, forgottenAtOnce)
		more = len(ids) == forgottenAtOnce
		if err != nil || len(ids) == 0 {
			return err
		}
		if _, err := q.exec(ctx, `DELETE FROM attempts WHERE delivery IN (`+places(1, len(ids))+`)`, anys(ids)...); err != nil {
			return err
		}
		_, err = q.exec(ctx, `DELETE FROM deliveries WHERE id IN (`+places(1, len(ids))+`)`, anys(ids)...)
		return err
	})
	return more, s.fail(err, "forget deliveries")
}

// Deliveries returns what a run had delivered, oldest first.
func (s *Store) Deliveries(ctx context.Context, id gateway.RunID) ([]gateway.Delivery, error) {
	ds, err := list(ctx, s.q, scanDelivery, `SELECT `+deliveryColumns+` FROM deliveries WHERE run = $1 ORDER BY seq`, id)
	return ds, s.fail(err, "read deliveries of run %s", id)
}

// Attempts returns the attempts of a delivery in their order.
func (s *Store) Attempts(ctx context.Context, id gateway.DeliveryID) ([]gateway.Attempt, error) {
	as, err := list(ctx, s.q, func(r row) (gateway.Attempt, error) {
		var a gateway.Attempt
		err := r.Scan(&a.Delivery, &a.Number, at(&a.At), span(&a.Latency), &a.StatusCode, &a.Error, &a.Answer)
		return a, err
	}, `SELECT delivery, number, at, latency_ms, status_code, error, answer FROM attempts WHERE delivery = $1 ORDER BY number`, id)
	return as, s.fail(err, "read attempts of delivery %s", id)
}
