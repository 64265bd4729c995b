package store

import (
	"context"
	"database/sql"
	"errors"

	"wagent/gateway"
)

// PutPause pauses p.Conversation until p.ExpiresAt. If it is paused already,
// that pause is extended, never cut short, and p becomes it. p gets its number.
// NotFound: there is no such conversation.
func (s *Store) PutPause(ctx context.Context, p *gateway.Pause) error {
	want := *p
	err := s.inTx(ctx, func(q queries) error {
		*p = want
		if err := lockConversation(ctx, q, p.Conversation); err != nil {
			return err
		}
		return putPause(ctx, q, p)
	})
	return s.fail(err, "pause conversation %s", p.Conversation)
}

// putPause needs the conversation locked.
func putPause(ctx context.Context, q queries, p *gateway.Pause) error {
	at := now()
	active, err := one(ctx, q, scanPause, `SELECT id, conversation, reason, expires_at, resumed_at, created_at FROM pauses
		WHERE conversation = $1 AND resumed_at = 0 AND expires_at > $2 ORDER BY expires_at DESC LIMIT 1`, p.Conversation, at)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if p.CreatedAt.IsZero() {
			p.CreatedAt = at
		}
		p.ID, err = one(ctx, q, scanInt, `INSERT INTO pauses (conversation, reason, expires_at, resumed_at, created_at)
			VALUES ($1, $2, $3, $4, $5) RETURNING id`, p.Conversation, p.Reason, p.ExpiresAt, p.ResumedAt, p.CreatedAt)
		return err
	case err != nil:
		return err
	case !p.ExpiresAt.After(active.ExpiresAt):
		*p = active
		return nil
	}
	active.ExpiresAt, active.Reason = p.ExpiresAt, p.Reason
	*p = active
	_, err = q.exec(ctx, `UPDATE pauses SET expires_at = $2, reason = $3 WHERE id = $1`, p.ID, p.ExpiresAt, p.Reason)
	return err
}

// Paused reports whether agents are kept out of the conversation now.
func (s *Store) Paused(ctx context.Context, id gateway.ConversationID) (bool, error) {
	is, err := paused(ctx, s.q, id)
	return is, s.fail(err, "read pauses of conversation %s", id)
}

func paused(ctx context.Context, q queries, id gateway.ConversationID) (bool, error) {
	return exists(ctx, q, `SELECT 1 FROM pauses WHERE conversation = $1 AND resumed_at = 0 AND expires_at > $2`, id, now())
}

func scanPause(r row) (gateway.Pause, error) {
	var p gateway.Pause
	err := r.Scan(&p.ID, &p.Conversation, &p.Reason, at(&p.ExpiresAt), at(&p.ResumedAt), at(&p.CreatedAt))
	return p, err
}
