package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"wagent/gateway"
)

const deliveryColumns = `id, webhook, event, run, action_index, conversation, body, state, attempt, replayed, next_at, created_at`

func scanDelivery(r row) (gateway.Delivery, error) {
	var d gateway.Delivery
	err := r.Scan(&d.ID, &d.Webhook, &d.Event, &d.Run, &d.Action, &d.Conversation, raw(&d.Body), &d.State, &d.Attempt, &d.Replayed, at(&d.NextAt), at(&d.CreatedAt))
	return d, err
}

// OnDeliveries has wake called with the webhooks that something is to be
// delivered to, once it is committed, and without any when a webhook was changed
// here. It must be called before the store is used by others.
func (s *Store) OnDeliveries(wake func(webhooks ...int64)) { s.delivered = wake }

// FirstDue returns when the first delivery to each webhook of some lanes falls, or
// fell, due; those that nothing is to be delivered to are left out.
func (s *Store) FirstDue(ctx context.Context, lanes []int64) (map[int64]time.Time, error) {
	out := map[int64]time.Time{}
	if len(lanes) == 0 {
		return out, nil
	}
	_, err := list(ctx, s.q, func(r row) (struct{}, error) {
		var id int64
		var first sql.NullInt64
		err := r.Scan(&id, &first)
		if err == nil && first.Valid {
			out[id] = fromMillis(first.Int64)
		}
		return struct{}{}, err
	}, `SELECT w.id, (SELECT MIN(d.next_at) FROM deliveries d WHERE d.webhook = w.id AND d.state = 'pending')
		FROM webhooks w WHERE w.active AND w.disabled = '' AND NOT w.paused AND w.id % `+fmt.Sprint(gateway.Lanes)+` IN (`+places(1, len(lanes))+`)`, anys(lanes)...)
	return out, s.fail(err, "find what is due to webhooks")
}

// DueDeliveries returns what is due to some webhooks: of each the first so many that
// fell due. Of an ordered one, only what comes first in its conversation is among them.
// What is in hand already is returned again.
func (s *Store) DueDeliveries(ctx context.Context, asks []gateway.DeliveryAsk) ([]gateway.Delivery, error) {
	var out []gateway.Delivery
	for _, some := range alike(asks) {
		query, args := s.q.due(some, now())
		ds, err := list(ctx, s.q, scanDelivery, query, args...)
		if err != nil {
			return nil, s.fail(err, "read what is due to webhooks")
		}
		out = append(out, ds...)
	}
	return out, nil
}

// alike parts asks into those that one statement answers.
func alike(asks []gateway.DeliveryAsk) map[gateway.DeliveryAsk][]gateway.DeliveryAsk {
	out := map[gateway.DeliveryAsk][]gateway.DeliveryAsk{}
	for _, a := range asks {
		kind := a
		kind.Webhook = 0
		out[kind] = append(out[kind], a)
	}
	return out
}

// due asks for what is due to webhooks that are asked for alike.
func (q queries) due(asks []gateway.DeliveryAsk, at time.Time) (string, []any) {
	rows := make([][]any, len(asks))
	for i := range asks {
		rows[i] = []any{asks[i].Webhook}
	}
	first := ``
	if asks[0].Ordered {
		first = ` AND (x.conversation = '' OR NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.webhook = x.webhook AND e.conversation = x.conversation
			AND e.conversation <> '' AND e.state = 'pending' AND e.seq < x.seq))`
	}
	hooks, args := q.table(3, rows, "BIGINT")
	// Each webhook's are found without the others'.
	some := `SELECT x.seq FROM deliveries x WHERE x.webhook = s.column1 AND x.state = 'pending' AND x.next_at <= $1` + first + ` ORDER BY x.next_at, x.seq LIMIT $2`
	from := hooks + ` CROSS JOIN deliveries d WHERE d.seq IN (` + some + `)`
	if q.lateral {
		from = hooks + ` CROSS JOIN LATERAL (` + strings.Replace(some, `x.seq`, `*`, 1) + `) d`
	}
	return `SELECT ` + deliveryColumns + ` FROM ` + from, append([]any{at, asks[0].Limit}, args...)
}

// SettleDeliveries records attempts and what follows from each: of its delivery the
// State, and NextAt if it is pending still; and how webhooks fare of which owner
// holds the lane. It reports which attempts stand: one does not if an attempt of its
// number, or the end of the delivery, is on record already, and is then not
// recorded. An attempt that succeeded stands even where the delivery was given up
// meanwhile. All of it is recorded or nothing.
func (s *Store) SettleDeliveries(ctx context.Context, owner string, settled []gateway.Settlement, health []gateway.WebhookHealth) (stand []bool, err error) {
	var numbers map[gateway.DeliveryID]int
	err = s.inTx(ctx, func(q queries) error {
		if numbers, err = recordAttempts(ctx, q, settled); err != nil {
			return err
		}
		for i := range settled {
			x := &settled[i]
			if _, ok := numbers[x.Delivery.ID]; ok && x.Ordered && x.Delivery.State == gateway.DeliveryPending && x.Delivery.Conversation != "" {
				if err := holdBack(ctx, q, &x.Delivery); err != nil {
					return err
				}
			}
		}
		return noteHealth(ctx, q, owner, health)
	})
	if err != nil {
		return nil, s.fail(err, "settle deliveries")
	}
	stand = make([]bool, len(settled))
	for i := range settled {
		_, stand[i] = numbers[settled[i].Delivery.ID]
	}
	return stand, nil
}

// holdBack has what comes after a delivery in its conversation fall due no sooner.
func holdBack(ctx context.Context, q queries, d *gateway.Delivery) error {
	_, err := q.exec(ctx, `UPDATE deliveries SET next_at = $3 WHERE webhook = $1 AND conversation = $2 AND conversation <> '' AND state = 'pending' AND next_at < $3
		AND seq > (SELECT seq FROM deliveries WHERE id = $4)`, d.Webhook, d.Conversation, d.NextAt, d.ID)
	return err
}

// noteHealth writes down how webhooks fare, where owner is who knows.
func noteHealth(ctx context.Context, q queries, owner string, health []gateway.WebhookHealth) error {
	if len(health) == 0 {
		return nil
	}
	rows := make([][]any, len(health))
	for i, h := range health {
		rows[i] = []any{h.Webhook, h.FailingSince, h.RestsUntil}
	}
	known, args := q.table(3, rows, "BIGINT", "BIGINT", "BIGINT")
	_, err := q.exec(ctx, `UPDATE webhooks SET failing_since = s.column2, rests_until = s.column3 FROM `+known+`
		WHERE id = s.column1 AND EXISTS (SELECT 1 FROM lanes l WHERE l.id = s.column1 % `+fmt.Sprint(gateway.Lanes)+` AND l.owner = $1 AND l.until > $2)`,
		append([]any{owner, now()}, args...)...)
	return err
}

// recordAttempts settles deliveries, and keeps the attempts of those that it did. It
// returns the numbers of these attempts: those that they were to have, unless there
// are later ones.
func recordAttempts(ctx context.Context, q queries, settled []gateway.Settlement) (map[gateway.DeliveryID]int, error) {
	type stood struct {
		id     gateway.DeliveryID
		number int
	}
	scan := func(r row) (x stood, err error) {
		err = r.Scan(&x.id, &x.number, new(string))
		return x, err
	}
	if len(settled) == 0 {
		return nil, nil
	}
	rows, kept := make([][]any, len(settled)), make([][]any, len(settled))
	for i := range settled {
		d, a := &settled[i].Delivery, &settled[i].Attempt
		rows[i] = []any{d.ID, d.Attempt, d.State, d.NextAt}
		kept[i] = []any{d.ID, a.At, a.Latency, a.StatusCode, a.Error, a.Answer, asJSON{a.Phases}, asJSON{a.Headers}}
	}
	update := func(first int) (string, []any) {
		ended, args := q.table(first, rows, "TEXT", "BIGINT", "TEXT", "BIGINT")
		return `UPDATE deliveries SET attempt = CASE WHEN attempt < s.column2 THEN s.column2 ELSE attempt + 1 END, state = s.column3, next_at = s.column4 FROM ` + ended + `
			WHERE id = s.column1 AND (state = 'pending' AND attempt = s.column2 - 1 OR state <> 'succeeded' AND s.column3 = 'succeeded') RETURNING id, attempt, ''`, args
	}
	const insert = `INSERT INTO attempts (delivery, number, at, latency_ms, status_code, error, answer, phases, headers) `
	types := []string{"TEXT", "BIGINT", "BIGINT", "BIGINT", "TEXT", "TEXT", "TEXT", "TEXT"}
	out := map[gateway.DeliveryID]int{}
	text, args := update(1)
	if q.with {
		made, more := q.table(len(args)+1, kept, types...)
		all, err := list(ctx, q, scan, `WITH stood AS (`+text+`), kept AS (`+insert+`SELECT stood.id, stood.attempt, column2, column3, column4, column5, column6, column7, column8
			FROM `+made+` JOIN stood ON stood.id = column1 ON CONFLICT (delivery, number) DO NOTHING)
			SELECT id, attempt, `+q.lazily+` FROM stood`, append(args, more...)...)
		for _, x := range all {
			out[x.id] = x.number
		}
		return out, err
	}
	all, err := list(ctx, q, scan, text, args...)
	for _, x := range all {
		out[x.id] = x.number
	}
	var stand [][]any
	for i := range settled {
		if number, ok := out[settled[i].Delivery.ID]; ok {
			stand = append(stand, append(kept[i], number))
		}
	}
	if err != nil || len(stand) == 0 {
		return out, err
	}
	made, args := q.table(1, stand, append(types, "BIGINT")...)
	_, err = q.exec(ctx, insert+`SELECT column1, column9, column2, column3, column4, column5, column6, column7, column8 FROM `+made+`
		WHERE TRUE ON CONFLICT (delivery, number) DO NOTHING`, args...)
	return out, err
}

// buriedAtOnce is how many deliveries BuryDeliveries gives up at most.
const buriedAtOnce = 500

// BuryDeliveries gives up what falls due to webhooks of some lanes that are turned
// off, and all that is pending to those that were deleted, each with an attempt
// that says why. It gives up some, and reports whether there may be more.
func (s *Store) BuryDeliveries(ctx context.Context, lanes []int64) (more bool, err error) {
	if len(lanes) == 0 {
		return false, nil
	}
	type off struct {
		id      int64
		deleted bool
	}
	hooks, err := list(ctx, s.q, func(r row) (x off, err error) {
		err = r.Scan(&x.id, &x.deleted)
		return x, err
	},
		`SELECT w.id, w.deleted_at > 0 FROM webhooks w WHERE (NOT w.active OR w.disabled <> '') AND w.id % `+fmt.Sprint(gateway.Lanes)+` IN (`+places(1, len(lanes))+`)
			AND EXISTS (SELECT 1 FROM deliveries d WHERE d.webhook = w.id AND d.state = 'pending') ORDER BY w.id`, anys(lanes)...)
	for i := 0; i < len(hooks) && !more && err == nil; i++ {
		more, err = s.bury(ctx, hooks[i].id, hooks[i].deleted)
	}
	return more, s.fail(err, "give up deliveries")
}

// bury gives up some of what is for a webhook.
func (s *Store) bury(ctx context.Context, webhook int64, deleted bool) (more bool, err error) {
	at, reason := now(), reasonOff
	until := at
	if deleted {
		reason, until = reasonDeleted, at.AddDate(100, 0, 0)
	}
	err = s.inTx(ctx, func(q queries) error {
		more = false
		off, err := list(ctx, q, scanInt, `SELECT 1 FROM webhooks WHERE id = $1 AND (NOT active OR disabled <> '')`+q.lockKey, webhook)
		if err != nil || len(off) == 0 { // a person turned it on
			return err
		}
		gone, err := list(ctx, q, scanDelivery, `SELECT `+deliveryColumns+` FROM deliveries WHERE webhook = $1 AND state = 'pending' AND next_at <= $2
			ORDER BY next_at, seq LIMIT $3`, webhook, until, buriedAtOnce)
		more = len(gone) == buriedAtOnce
		if err != nil || len(gone) == 0 {
			return err
		}
		settled := make([]gateway.Settlement, len(gone))
		for i, d := range gone {
			d.Attempt, d.State = d.Attempt+1, gateway.DeliveryDead
			settled[i] = gateway.Settlement{Delivery: d, Attempt: gateway.Attempt{At: at, Error: reason}}
		}
		_, err = recordAttempts(ctx, q, settled)
		return err
	})
	return more, err
}

// reasonOff says of a delivery why it was given up.
const reasonOff = "the webhook is turned off"

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
		err := r.Scan(&a.Delivery, &a.Number, at(&a.At), span(&a.Latency), &a.StatusCode, &a.Error, &a.Answer, from(&a.Phases), from(&a.Headers))
		return a, err
	}, `SELECT delivery, number, at, latency_ms, status_code, error, answer, phases, headers FROM attempts WHERE delivery = $1 ORDER BY number`, id)
	return as, s.fail(err, "read attempts of delivery %s", id)
}
