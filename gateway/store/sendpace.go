package store

import (
	"context"
	"math/rand/v2"
	"time"

	"wagent/gateway"
)

// sendable finds the links through which $2 may send at $1. What a person wants
// unlinked sends no more.
const sendable = `l.holder = $2 AND l.holder <> '' AND l.lease_until > $1 AND l.state = 'connected' AND NOT l.logging_out`

// handsFree is true, at $1, of sends whose account has none in hand.
const handsFree = `NOT EXISTS (SELECT 1 FROM sends o WHERE o.account = sends.account AND o.state = 'claimed' AND o.deadline > $1)`

// unblocked is true, at $1, of the sends of linked devices that WhatsApp's
// reach-out timelock leaves alone and whose account has nothing in hand.
const unblocked = handsFree + ` AND NOT (l.no_first_until > $1 AND c.last_inbound_at = 0)`

// paced is what waits for linked devices.
const paced = `links l JOIN sends ON sends.account = l.account JOIN conversations c ON c.id = sends.conversation`

// nextPaced is when the next send of $2's linked devices falls due. One that
// waits for another in hand is looked at once that is settled.
const nextPaced = `SELECT MIN(CASE WHEN sends.next_at > l.next_send_at THEN sends.next_at WHEN l.next_send_at = 0 THEN 1 ELSE l.next_send_at END)
	FROM ` + paced + ` WHERE ` + sendable + ` AND sends.` + first + ` AND ` + unblocked

// pacedHeads returns at most one due send of each linked device that holder may
// send through: of the conversation that was served the longest ago, which it locks.
func pacedHeads(ctx context.Context, q queries, holder string, limit int, at time.Time) ([]head, error) {
	if holder == "" || limit <= 0 {
		return nil, nil
	}
	return list(ctx, q, scanHead(true), `SELECT due.seq, due.id, due.account FROM (
			SELECT sends.seq, sends.id, sends.conversation, sends.account,
				ROW_NUMBER() OVER (PARTITION BY sends.account ORDER BY c.last_send_at, sends.seq) AS place
			FROM `+paced+` WHERE `+sendable+` AND l.next_send_at <= $1 AND sends.next_at <= $1 AND sends.`+first+` AND `+unblocked+`) due
		CROSS JOIN conversations v WHERE v.id = due.conversation AND place = 1 ORDER BY due.seq LIMIT $3`+q.lockOf("v")+q.skip, at, holder, limit)
}

// holdTurns returns the accounts of heads whose links are still holder's to
// send through, and keeps them so.
func holdTurns(ctx context.Context, q queries, holder string, due []head, at time.Time) ([]gateway.AccountID, error) {
	args := []any{at, holder}
	for i := range due {
		if due[i].linked {
			args = append(args, due[i].account)
		}
	}
	if len(args) == 2 {
		return nil, nil
	}
	return list(ctx, q, scanText[gateway.AccountID], `SELECT account FROM links l WHERE `+sendable+` AND l.next_send_at <= $1
		AND l.account IN (`+places(3, len(args)-2)+`) ORDER BY account`+q.lockKey, args...)
}

// takeTurn keeps the account from its next send for a while, and writes down,
// before the first attempt, under which id WhatsApp will know the message: its
// receipts and echoes are then recognised, whatever becomes of the attempt.
func takeTurn(ctx context.Context, q queries, a *gateway.Account, x *gateway.Send, at time.Time) error {
	next := at
	if gap := a.Linked.SendGap; gap > 0 {
		next = at.Add(gap/2 + rand.N(gap)) // WhatsApp looks for those who write like clockwork
	}
	if _, err := q.exec(ctx, `UPDATE links SET next_send_at = $2 WHERE account = $1`, a.ID, next); err != nil {
		return err
	}
	if _, err := q.exec(ctx, `UPDATE conversations SET last_send_at = $2 WHERE id = $1`, x.Conversation, at); err != nil {
		return err
	}
	_, err := q.exec(ctx, `UPDATE messages SET external_id = $2 WHERE id = $1 AND external_id = ''`, x.ID, x.ID.WireID())
	return err
}
