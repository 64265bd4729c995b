package store

import (
	"context"

	"wagent/gateway"
)

// Batch returns the conversation of a run and the messages that the run took,
// in their order. NotFound: there is no such run, or it is of no conversation.
func (s *Store) Batch(ctx context.Context, id gateway.RunID) (gateway.Conversation, []gateway.Seen, error) {
	conv, err := one(ctx, s.q, scanText[gateway.ConversationID], `SELECT conversation FROM runs WHERE id = $1 AND conversation <> ''`, id)
	if err != nil {
		return gateway.Conversation{}, nil, s.fail(or(err, "There is no run %s of a conversation", id), "read run %s", id)
	}
	c, err := conversation(ctx, s.q, conv)
	if err != nil {
		return c, nil, s.fail(err, "read conversation of run %s", id)
	}
	seen, err := list(ctx, s.q, func(r row) (gateway.Seen, error) {
		var m gateway.Seen
		err := r.Scan(&m.ExternalID, &m.Sender.Phone, &m.Sender.LID)
		return m, err
	}, `SELECT m.external_id, c.phone, c.lid FROM messages m JOIN contacts c ON c.id = m.contact
		WHERE m.run = $1 AND m.run <> '' AND m.direction = 'in' AND m.state = 'batched' ORDER BY m.seq`, id)
	return c, seen, s.fail(err, "read batch of run %s", id)
}
