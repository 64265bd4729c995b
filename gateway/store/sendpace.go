package store

import (
	"context"
	"math/rand/v2"
	"time"

	"wagent/gateway"
)

// sendable finds the links through which $1 may send at $2.
const sendable = `l.holder = $1 AND l.holder <> '' AND l.lease_until > $2 AND l.state = 'connected'`

// unblocked is true, at $2, of the sends of linked devices that WhatsApp's
// reach-out timelock leaves alone, whose account has nothing in hand, and before
// which nothing in their conversation is to be sent again: a customer reads
// answers in their order.
const unblocked = `NOT EXISTS (SELECT 1 FROM sends o WHERE o.state = 'unknown' AND o.next_at > 0 AND o.conversation = sends.conversation AND o.seq < sends.seq) AND ` + blockers

const blockers = `NOT EXISTS (SELECT 1 FROM sends o WHERE o.account = sends.account AND o.state = 'claimed' AND o.deadline > $2)
	AND NOT (l.no_first_until > $2 AND c.last_inbound_at = 0)`

// nextPaced is when the next send of $1's linked devices falls due. One that
// waits for another in hand is looked at once that is settled.
const nextPaced = `SELECT MIN(CASE WHEN sends.next_at > l.next_send_at THEN sends.next_at WHEN l.next_send_at = 0 THEN 1 ELSE l.next_send_at END)
	FROM sends JOIN links l ON l.account = sends.account JOIN conversations c ON c.id = sends.conversation
	WHERE sends.` + first + ` AND ` + sendable + ` AND ` + unblocked

// pacedHeads returns at most one due send of each linked device that holder may
// send through: of the conversation that was served the longest ago.
func pacedHeads(ctx context.Context, q queries, holder string, limit int, at time.Time) ([]head, error) {
	if holder == "" || limit <= 0 {
		return nil, nil
	}
	return list(ctx, q, scanHead, `SELECT id, conversation, account FROM (
			SELECT sends.id, sends.conversation, sends.account, sends.seq,
				ROW_NUMBER() OVER (PARTITION BY sends.account ORDER BY c.last_send_at, sends.seq) AS place
			FROM sends JOIN links l ON l.account = sends.account JOIN conversations c ON c.id = sends.conversation
			WHERE sends.`+first+` AND sends.next_at <= $2 AND l.next_send_at <= $2 AND `+sendable+` AND `+unblocked+`) due
		WHERE place = 1 ORDER BY seq LIMIT $3`, holder, at, limit)
}

// takeTurn reserves the account's next moment to send, if it is still holder's
// to use.
func takeTurn(ctx context.Context, q queries, holder string, a *gateway.Account, at time.Time) (bool, error) {
	next := at
	if gap := a.Linked.SendGap; gap > 0 {
		next = at.Add(gap/2 + rand.N(gap)) // WhatsApp looks for those who write like clockwork
	}
	n, err := q.exec(ctx, `UPDATE links SET next_send_at = $3 WHERE account = $4 AND holder = $1 AND lease_until > $2 AND state = 'connected' AND next_send_at <= $2`,
		holder, at, next, a.ID)
	return n == 1, err
}

// nameFirst writes down, before the first attempt, under which id WhatsApp will
// know the message: its receipts and echoes are then recognised, whatever
// becomes of the attempt.
func nameFirst(ctx context.Context, q queries, x *gateway.Send, at time.Time) error {
	if _, err := q.exec(ctx, `UPDATE messages SET external_id = $2 WHERE id = $1 AND external_id = ''`, x.ID, x.ID.WireID()); err != nil {
		return err
	}
	_, err := q.exec(ctx, `UPDATE conversations SET last_send_at = $2 WHERE id = $1`, x.Conversation, at)
	return err
}
