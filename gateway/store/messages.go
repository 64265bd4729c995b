package store

import (
	"context"
	"math"
	"slices"
	"time"

	"wagent/gateway"
)

// reasonPaused says of a message that it is held because of a pause.
const reasonPaused = gateway.ReasonPaused

const messageColumns = `id, seq, account, conversation, contact, direction, external_id, part, type, body, detail, reply_to,
	sent_at, received_at, state, state_reason, status, run, change, target, revoked_at,
	accepted_at, delivered_at, read_at, failure`

const messageSelect = `SELECT ` + messageColumns + ` FROM messages `

func scanMessage(r row) (gateway.Message, error) {
	var m gateway.Message
	err := r.Scan(&m.ID, &m.Seq, &m.Account, &m.Conversation, &m.Contact, &m.Direction, &m.ExternalID, &m.Part, &m.Type, &m.Text, raw(&m.Detail), &m.ReplyTo,
		at(&m.SentAt), at(&m.ReceivedAt), &m.State, &m.StateReason, &m.Status, &m.Run, &m.Change, &m.Target, at(&m.RevokedAt),
		at(&m.Progress.AcceptedAt), at(&m.Progress.DeliveredAt), at(&m.Progress.ReadAt), &m.Progress.Failure)
	return m, err
}

// addedMessage is the statement that records a message.
func addedMessage(m *gateway.Message, origin gateway.Origin) statement {
	return statement{`INSERT INTO messages (id, account, conversation, contact, direction, origin, external_id, part, type, body,
			detail, reply_to, sent_at, received_at, state, state_reason, status, run, change, target, revoked_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)`, []any{
		m.ID, m.Account, m.Conversation, m.Contact, m.Direction, origin, m.ExternalID, m.Part, m.Type, m.Text,
		m.Detail, m.ReplyTo, m.SentAt, m.ReceivedAt, m.State, m.StateReason, m.Status, m.Run, m.Change, m.Target, m.RevokedAt,
	}}
}

// Recent returns at most limit messages of a conversation that arrived before
// the one with seq before (0: the newest), oldest first. They are what somebody
// reading the conversation would see: without messages of ours that the customer
// never got, those that were deleted for everybody, and edits that stand in the
// message that they changed.
func (s *Store) Recent(ctx context.Context, id gateway.ConversationID, before int64, limit int) ([]gateway.Message, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	ms, err := list(ctx, s.q, scanMessage, messageSelect+`WHERE conversation = $1 AND seq < $2
		AND (direction = 'in' OR status <> 'failed') AND revoked_at = 0
		AND (change = '' OR change = 'edit' AND state_reason NOT IN ('edit_applied', 'edit_outdated')) ORDER BY seq DESC LIMIT $3`, id, before, limit)
	slices.Reverse(ms)
	return ms, s.fail(err, "read messages of conversation %s", id)
}

// Messages returns at most limit messages of an account, or of one of its
// conversations if that is not empty, newest first.
func (s *Store) Messages(ctx context.Context, account gateway.AccountID, id gateway.ConversationID, limit int) ([]gateway.Message, error) {
	if id == "" {
		ms, err := list(ctx, s.q, scanMessage, messageSelect+`WHERE account = $1 ORDER BY seq DESC LIMIT $2`, account, limit)
		return ms, s.fail(err, "read messages of account %s", account)
	}
	ms, err := list(ctx, s.q, scanMessage, messageSelect+`WHERE conversation = $1 AND account = $2 ORDER BY seq DESC LIMIT $3`, id, account, limit)
	return ms, s.fail(err, "read messages of conversation %s", id)
}

// Skipped returns at most limit messages of a contact's that no run took, newest
// first: each says in its StateReason why it was ignored or held.
func (s *Store) Skipped(ctx context.Context, c *gateway.Contact, limit int) ([]gateway.Message, error) {
	id, err := conversationWith(ctx, s.q, c.Account, c.ID)
	if err != nil || id == "" {
		return nil, s.fail(err, "find conversation with contact %s", c.ID)
	}
	ms, err := list(ctx, s.q, scanMessage, messageSelect+`WHERE conversation = $1 AND direction = 'in' AND state IN ('ignored', 'held') ORDER BY seq DESC LIMIT $2`, id, limit)
	return ms, s.fail(err, "read skipped messages of conversation %s", id)
}

// Stranded returns at most limit waiting messages that were received before a
// time, in the order of their seq, after the one given.
func (s *Store) Stranded(ctx context.Context, before time.Time, afterSeq int64, limit int) ([]gateway.Message, error) {
	ms, err := list(ctx, s.q, scanMessage, messageSelect+`WHERE state = 'waiting' AND received_at < $1 AND seq > $2 ORDER BY seq LIMIT $3`,
		before, afterSeq, limit)
	return ms, s.fail(err, "list waiting messages")
}
