package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"wagent/gateway"
)

// WebhookDeliveries returns the deliveries of a webhook that f lets through, newest
// first, and how many there are whatever Before and Limit say, at most 10,000: that
// many are 10,000 or more. NotFound: there is no such delivery before which they are
// to be.
func (s *Store) WebhookDeliveries(ctx context.Context, f gateway.DeliveryFilter) ([]gateway.ListedDelivery, int, error) {
	where, args := `d.webhook = $1`, []any{f.Webhook}
	and := func(condition string, arg any) {
		args = append(args, arg)
		where += fmt.Sprintf(` AND `+condition, len(args))
	}
	if f.State != "" {
		and(`d.state = $%d`, f.State)
	}
	if f.Event != "" {
		and(`d.event = $%d`, f.Event)
	}
	if f.Run != "" {
		and(`d.run = $%d`, f.Run)
	}
	if !f.Since.IsZero() {
		and(`d.created_at >= $%d`, f.Since)
	}
	counted, all := where, slices.Clone(args)
	if f.Before != "" {
		type place struct{ at, seq int64 }
		p, err := one(ctx, s.q, func(r row) (p place, err error) {
			err = r.Scan(&p.at, &p.seq)
			return p, err
		}, `SELECT created_at, seq FROM deliveries WHERE id = $1 AND webhook = $2`, f.Before, f.Webhook)
		if err != nil {
			return nil, 0, s.fail(or(err, "There is no delivery %s", f.Before), "list deliveries")
		}
		args = append(args, p.at, p.seq)
		where += fmt.Sprintf(` AND (d.created_at, d.seq) < ($%d, $%d)`, len(args)-1, len(args))
	}
	ds, err := list(ctx, s.q, func(r row) (x gateway.ListedDelivery, err error) {
		d, a := &x.Delivery, &x.Last
		err = r.Scan(&d.ID, &d.Webhook, &d.Event, &d.Run, &d.Action, &d.Conversation, raw(&d.Body), &d.State, &d.Attempt, &d.Replayed, at(&d.NextAt), at(&d.CreatedAt),
			&a.Number, at(&a.At), span(&a.Latency), &a.StatusCode, &a.Error)
		return x, err
	}, fmt.Sprintf(`SELECT d.id, d.webhook, d.event, d.run, d.action_index, d.conversation, '', d.state, d.attempt, d.replayed, d.next_at, d.created_at,
		COALESCE(a.number, 0), COALESCE(a.at, 0), COALESCE(a.latency_ms, 0), COALESCE(a.status_code, 0), COALESCE(a.error, '')
		FROM deliveries d LEFT JOIN attempts a ON a.delivery = d.id AND a.number = d.attempt WHERE %s ORDER BY d.created_at DESC, d.seq DESC LIMIT $%d`, where, len(args)+1), append(args, f.Limit)...)
	if err != nil {
		return nil, 0, s.fail(err, "list deliveries of webhook %d", f.Webhook)
	}
	read := len(ds)
	if f.Before != "" {
		read = f.Limit // there are others
	}
	total, err := inAll(ctx, s.q, read, f.Limit, fmt.Sprintf(`SELECT COUNT(*) FROM (SELECT 1 FROM deliveries d WHERE %s LIMIT $%d) AS counted`, counted, len(all)+1),
		append(all, maxCounted)...)
	return ds, total, s.fail(err, "count deliveries of webhook %d", f.Webhook)
}

// WebhookDelivery returns one delivery of a webhook, with its body, or an Error of
// kind NotFound.
func (s *Store) WebhookDelivery(ctx context.Context, webhook int64, id gateway.DeliveryID) (gateway.Delivery, error) {
	d, err := one(ctx, s.q, scanDelivery, `SELECT `+deliveryColumns+` FROM deliveries WHERE id = $1 AND webhook = $2`, id, webhook)
	return d, s.fail(or(err, "There is no delivery %s", id), "read delivery %s", id)
}

// AddDelivery has something delivered to a webhook that no transaction causes, and
// fills what d lacks. NotFound: there is no such webhook. Conflict: it takes nothing
// now.
func (s *Store) AddDelivery(ctx context.Context, d *gateway.Delivery) error {
	err := s.inTx(ctx, func(q queries) error {
		if err := s.takes(ctx, q, d.Webhook, true); err != nil {
			return err
		}
		one := []gateway.Delivery{*d}
		if err := insertDeliveries(ctx, q, one); err != nil {
			return err
		}
		*d = one[0]
		return nil
	})
	return s.fail(err, "add a delivery to webhook %d", d.Webhook)
}

// takes returns a Conflict where nothing is delivered to a webhook, which it keeps
// as it is until the transaction ends; atOnce: or only later.
func (s *Store) takes(ctx context.Context, q queries, id int64, atOnce bool) error {
	w, err := s.webhook(ctx, q, id, q.lockKey)
	switch {
	case err != nil:
		return err
	case !w.Active || w.Disabled != "":
		return &gateway.Error{Kind: gateway.Conflict, Msg: "The webhook is turned off: turn it on first"}
	case atOnce && w.Paused:
		return &gateway.Error{Kind: gateway.Conflict, Msg: "The webhook is paused: let it go on first"}
	case atOnce && w.RestsUntil.After(now()):
		return &gateway.Error{Kind: gateway.Conflict, Msg: "The webhook rests until " + w.RestsUntil.UTC().Format(time.RFC3339) +
			", since attempts only failed: it is tried again then"}
	}
	return nil
}

// ReplayDelivery makes a delivery of a webhook that ended due now, with all the
// attempts that a new one has. NotFound: there is none with that id. Conflict: it has
// not ended, its webhook takes nothing, or what it said was erased.
func (s *Store) ReplayDelivery(ctx context.Context, webhook int64, id gateway.DeliveryID) error {
	err := s.inTx(ctx, func(q queries) error {
		const which = `SELECT ` + deliveryColumns + ` FROM deliveries WHERE id = $1 AND webhook = $2`
		if _, err := one(ctx, q, scanDelivery, which, id, webhook); err != nil {
			return or(err, "There is no delivery %s", id)
		}
		if err := s.takes(ctx, q, webhook, false); err != nil { // locked before its deliveries, as everywhere
			if gateway.KindOf(err) == gateway.NotFound {
				err = &gateway.Error{Kind: gateway.Conflict, Msg: "Its webhook was deleted"}
			}
			return err
		}
		d, err := one(ctx, q, scanDelivery, which+q.lock, id, webhook)
		switch {
		case err != nil:
			return or(err, "There is no delivery %s", id)
		case d.State == gateway.DeliveryPending:
			return &gateway.Error{Kind: gateway.Conflict, Msg: "The delivery is still being made"}
		case len(d.Body) == 0:
			return &gateway.Error{Kind: gateway.Conflict, Msg: "What the delivery said was erased"}
		}
		q.deliver(webhook)
		_, err = q.exec(ctx, `UPDATE deliveries SET state = 'pending', next_at = $2, replayed = attempt WHERE id = $1`, id, now())
		return err
	})
	return s.fail(err, "replay delivery %s", id)
}

// replayedAtOnce is how many dead letters are replayed in one transaction.
const replayedAtOnce = 500

// ReplayDead replays the dead letters of a webhook that were made at a time or later,
// in their order, and returns how many: what was replayed stays so where there is an
// error, too. NotFound: there is no such webhook. Conflict: it takes nothing.
func (s *Store) ReplayDead(ctx context.Context, webhook int64, since time.Time) (n int, err error) {
	for from, after, more := since, int64(0), true; more && err == nil; {
		var seqs []int64
		var last time.Time
		err = s.inTx(ctx, func(q queries) error {
			if err := s.takes(ctx, q, webhook, false); err != nil {
				return err
			}
			seqs, err = list(ctx, q, func(r row) (seq int64, err error) {
				err = r.Scan(&seq, at(&last))
				return seq, err
			}, `SELECT seq, created_at FROM deliveries WHERE webhook = $1 AND state = 'dead' AND (created_at, seq) > ($2, $3) AND body <> ''
				ORDER BY created_at, seq LIMIT $4`+q.lock, webhook, from, after, replayedAtOnce)
			if err != nil || len(seqs) == 0 {
				return err
			}
			q.deliver(webhook)
			_, err := q.exec(ctx, `UPDATE deliveries SET state = 'pending', next_at = $1, replayed = attempt WHERE state = 'dead'
				AND seq IN (`+places(2, len(seqs))+`)`, append([]any{now()}, anys(seqs)...)...)
			return err
		})
		if err == nil && len(seqs) > 0 {
			n += len(seqs)
			from, after = last, seqs[len(seqs)-1]
		}
		more = len(seqs) == replayedAtOnce
	}
	return n, s.fail(err, "replay dead letters of webhook %d", webhook)
}

// PauseWebhook has what is to be delivered to a webhook wait, or go on. That is no
// change of what the configuration file says, so it may be declared there. It returns
// the webhook as it is then. NotFound: there is none.
func (s *Store) PauseWebhook(ctx context.Context, id int64, paused bool) (gateway.Webhook, error) {
	w, err := one(ctx, s.q, scanInt, `UPDATE webhooks SET paused = $2 WHERE id = $1 AND deleted_at = 0 RETURNING id`, id, paused)
	if errors.Is(err, sql.ErrNoRows) {
		return gateway.Webhook{}, s.fail(or(err, "There is no webhook %d", id), "pause webhook %d", id)
	}
	s.hooksChanged(err)
	if err != nil {
		return gateway.Webhook{}, s.fail(err, "pause webhook %d", id)
	}
	return s.Webhook(ctx, w)
}
