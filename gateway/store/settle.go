package store

import (
	"context"
	"errors"
	"strings"

	"wagent/gateway"
)

// SettleSend records how an attempt ended, and reports whether the send stands so.
// Where another claim or a status of WhatsApp's said otherwise first it changes
// nothing. It may be repeated.
func (s *Store) SettleSend(ctx context.Context, x *gateway.Send) (stands bool, err error) {
	if s.q.with {
		n, err := settleAlone(ctx, s.q, x)
		if err != nil && !s.q.again(err) && !s.q.unique(err) || n > 0 { // an echo may have come meanwhile
			return n > 0, s.fail(err, "settle send %s", x.ID)
		}
	}
	err = s.inTx(ctx, func(q queries) error {
		if x.State == gateway.SendAccepted { // its id is another message's no more, before it is this one's
			if err := forgetEchoOf(ctx, q, x); err != nil {
				return err
			}
		}
		n, err := q.together(ctx, statement{settleSend, settleArgs(x)}, mirrored(x)...)
		if err == nil && n == 0 {
			return errSettled
		}
		return err
	})
	if errors.Is(err, errSettled) {
		stands, err = exists(ctx, s.q, `SELECT 1 FROM sends WHERE id = $1 AND attempt = $2 AND state = $3 AND error = $4`, x.ID, x.Attempt, x.State, x.Error)
		return stands && err == nil, s.fail(err, "look at send %s", x.ID)
	}
	return err == nil, s.fail(err, "settle send %s", x.ID)
}

const settleSend = `UPDATE sends SET state = $3, external_id = $4, error = $5, next_at = $6, unknowns = $7
	WHERE id = $1 AND attempt = $2 AND state = 'claimed'`

func settleArgs(x *gateway.Send) []any {
	return []any{x.ID, x.Attempt, x.State, x.ExternalID, x.Error, x.NextAt, x.Unknowns}
}

// settleAlone is SettleSend in one statement, which is a transaction of its own. It
// does nothing where the send is not claimed any more, or where an echo of it has
// its id.
func settleAlone(ctx context.Context, q queries, x *gateway.Send) (int64, error) {
	parts := []string{`settled AS (` + settleSend + ` AND NOT EXISTS (SELECT 1 FROM messages WHERE ` +
		renumbered(echoOf, "$1", "$8", "$2", "$4", "$3", "$1") + `) RETURNING id)`}
	for _, m := range mirrored(x) { // of the same $1
		parts = append(parts, `mirrored AS (`+renumbered(m.query, "$2", "$4")+` AND id IN (SELECT id FROM settled))`)
	}
	return one(ctx, q, scanInt, `WITH `+strings.Join(parts, ", ")+` SELECT COUNT(*) FROM settled`, append(settleArgs(x), x.Account)...)
}

var errSettled = errors.New("the send is not claimed any more")

// forgetEchoOf is forgetEcho for a send that is not locked yet: it is before a
// message is. Hardly ever is there an echo, which is looked for without locks.
func forgetEchoOf(ctx context.Context, q queries, x *gateway.Send) error {
	some, err := exists(ctx, q, `SELECT 1 FROM messages WHERE `+echoOf, x.Account, x.ExternalID, x.ID)
	if err != nil || !some {
		return err
	}
	if _, err := list(ctx, q, scanInt, `SELECT 1 FROM sends WHERE id = $1`+q.lock, x.ID); err != nil {
		return err
	}
	return forgetEcho(ctx, q, x.Account, x.ID, x.ExternalID)
}

// mirrored are the statements that show on the message what became of its send.
func mirrored(x *gateway.Send) []statement {
	switch x.State {
	case gateway.SendAccepted:
		return []statement{{`UPDATE messages SET external_id = CASE WHEN $2 = '' THEN external_id ELSE $2 END,
			status = CASE WHEN status = 'queued' THEN 'sent' ELSE status END WHERE id = $1`, []any{x.ID, x.ExternalID}}}
	case gateway.SendRefused, gateway.SendCancelled:
		return []statement{{`UPDATE messages SET status = 'failed' WHERE id = $1 AND status = 'queued'`, []any{x.ID}}}
	default:
		return nil
	}
}
