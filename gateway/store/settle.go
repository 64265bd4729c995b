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
	hooks, err := s.listeners(ctx, s.tellOfMessage != nil, gateway.EventMessageStatus, gateway.EventMessageFailed)
	if err != nil {
		return false, s.fail(err, "settle send %s", x.ID)
	}
	told := &teller{store: s, hooks: hooks}
	if s.q.with && len(hooks) == 0 {
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
		if err != nil {
			return err
		}
		return told.settled(ctx, q, x)
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
	args := append(settleArgs(x), x.Account)
	for _, m := range mirrored(x) { // of the same $1
		parts = append(parts, `mirrored AS (`+renumbered(m.query, "$2", "$9", "$3", "$10")+` AND id IN (SELECT id FROM settled))`)
		args = append(args, m.args[1:]...)
	}
	return one(ctx, q, scanInt, `WITH `+strings.Join(parts, ", ")+` SELECT COUNT(*) FROM settled`, args...)
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
			status = CASE WHEN status = 'queued' THEN 'sent' ELSE status END,
			accepted_at = CASE WHEN accepted_at = 0 THEN $3 ELSE accepted_at END WHERE id = $1`, []any{x.ID, x.ExternalID, now()}}}
	case gateway.SendRefused, gateway.SendCancelled:
		return []statement{{`UPDATE messages SET status = 'failed', failure = $2 WHERE id = $1 AND status = 'queued'`, []any{x.ID, x.Error}}}
	default:
		return nil
	}
}

// mirror shows on their messages what became of sends.
func mirror(ctx context.Context, q queries, sends []gateway.Send) error {
	for i := range sends {
		for _, x := range mirrored(&sends[i]) {
			if _, err := q.exec(ctx, x.query, x.args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// accountDeleted is why a send is cancelled whose account is not in use any more.
const accountDeleted = "the account was deleted"

// endSends cancels what waits to be sent by an account, and tells of it. What comes
// back to the outbox later is stopped by ClaimSends.
func endSends(ctx context.Context, q queries, told *teller, id gateway.AccountID, why string) error {
	ended, err := list(ctx, q, scanSend, `UPDATE sends SET state = 'cancelled', error = $2 WHERE state = 'ready' AND account = $1 RETURNING `+sendColumns, id, why)
	if err != nil {
		return err
	}
	if err := mirror(ctx, q, ended); err != nil {
		return err
	}
	for i := range ended {
		if err := told.settled(ctx, q, &ended[i]); err != nil {
			return err
		}
	}
	return nil
}
