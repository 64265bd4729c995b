package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"wagent/gateway"
)

const overrideColumns = `w.quiet_ms, w.max_wait_ms, w.max_batch, w.on_new_message, w.max_supersedes`

// overrideFields are where the columns go.
func overrideFields(o *gateway.WindowOverride) []any {
	return []any{spanOrNull(&o.Quiet), spanOrNull(&o.MaxWait), &o.MaxBatch, &o.OnNewMessage, &o.MaxSupersedes}
}

func spanOrNull(d **time.Duration) scanFunc {
	return func(src any) error {
		*d = nil
		if src == nil {
			return nil
		}
		*d = new(time.Duration)
		return span(*d)(src)
	}
}

// orNull is an argument that may be NULL.
func orNull[T any](v *T) any {
	if v == nil {
		return nil
	}
	return *v
}

// Windowing returns what a conversation has to say of its window: nothing, where
// there is no such conversation.
func (s *Store) Windowing(ctx context.Context, id gateway.ConversationID) (gateway.Windowing, error) {
	x, err := windowing(ctx, s.q, id)
	return x, s.fail(err, "read window of conversation %s", id)
}

func windowing(ctx context.Context, q queries, id gateway.ConversationID) (gateway.Windowing, error) {
	known, err := windowings(ctx, q, []gateway.ConversationID{id})
	return known[id], err
}

// windowings returns what conversations have to say of their windows, where they
// say anything.
func windowings(ctx context.Context, q queries, ids []gateway.ConversationID) (map[gateway.ConversationID]gateway.Windowing, error) {
	out := make(map[gateway.ConversationID]gateway.Windowing, len(ids))
	_, err := list(ctx, q, func(r row) (struct{}, error) {
		var id gateway.ConversationID
		var x gateway.Windowing
		err := r.Scan(windowingFields(&x, &id)...)
		out[id] = x
		return struct{}{}, err
	}, `SELECT `+windowingColumns+windowingFrom+`WHERE v.id IN (`+places(1, len(ids))+`)`, anys(ids)...)
	return out, err
}

// What a conversation v has to say of its window.
const (
	windowingColumns = overrideColumns + `, COALESCE(r.supersedes - CASE WHEN r.status = 'pending' THEN 1 ELSE 0 END, 0), v.id `
	windowingFrom    = `FROM conversations v LEFT JOIN conversation_windows w ON w.conversation = v.id
		LEFT JOIN runs r ON r.conversation = v.id AND r.conversation <> '' AND r.status IN ('pending', 'running') `
)

func windowingFields[T any](x *gateway.Windowing, id *T) []any {
	return append(overrideFields(&x.WindowOverride), &x.Supersedes, id)
}

// window returns the window of a conversation as the account's agent has it, or
// the zero Window if nobody answers.
func window(ctx context.Context, q queries, account gateway.AccountID, id gateway.ConversationID) (gateway.Window, error) {
	a, err := defaultAgent(ctx, q, account)
	if errors.Is(err, sql.ErrNoRows) {
		return gateway.Window{}, nil
	}
	if err != nil {
		return gateway.Window{}, err
	}
	x, err := windowing(ctx, q, id)
	return a.Window(&x), err
}

// PutWindowOverride sets what an operator wants of a conversation's window, in
// place of what they wanted before; the empty override is none. NotFound: there
// is no such conversation.
func (s *Store) PutWindowOverride(ctx context.Context, id gateway.ConversationID, o gateway.WindowOverride) error {
	err := s.inTx(ctx, func(q queries) error {
		if err := lockConversation(ctx, q, id); err != nil {
			return err
		}
		if o == (gateway.WindowOverride{}) {
			_, err := q.exec(ctx, `DELETE FROM conversation_windows WHERE conversation = $1`, id)
			return err
		}
		_, err := q.exec(ctx, `INSERT INTO conversation_windows (conversation, quiet_ms, max_wait_ms, max_batch, on_new_message, max_supersedes, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (conversation) DO UPDATE SET quiet_ms = $2, max_wait_ms = $3, max_batch = $4,
			on_new_message = $5, max_supersedes = $6, updated_at = $7`,
			id, orNull(o.Quiet), orNull(o.MaxWait), orNull(o.MaxBatch), orNull(o.OnNewMessage), orNull(o.MaxSupersedes), now())
		return err
	})
	return s.fail(err, "set window of conversation %s", id)
}

// WindowOverrides returns at most limit of those of an account's conversations,
// newest first, and how many there are in all. SQLite takes a cross join as it is
// written: it begins with the few that there are, not with all conversations of
// the account.
func (s *Store) WindowOverrides(ctx context.Context, account gateway.AccountID, limit int) ([]gateway.PeerWindow, int, error) {
	ws, err := list(ctx, s.q, func(r row) (gateway.PeerWindow, error) {
		var p gateway.PeerWindow
		err := r.Scan(append(overrideFields(&p.WindowOverride), &p.Conversation, &p.Peer.Phone, &p.Peer.LID, &p.Peer.Group, at(&p.UpdatedAt))...)
		return p, err
	}, `SELECT `+overrideColumns+`, w.conversation, c.phone, c.lid, c.group_id, w.updated_at FROM conversation_windows w
		CROSS JOIN conversations v CROSS JOIN contacts c WHERE v.id = w.conversation AND c.id = v.contact
		AND v.account = $1 ORDER BY w.updated_at DESC, w.conversation LIMIT $2`, account, limit)
	if err != nil {
		return nil, 0, s.fail(err, "list windows of account %s", account)
	}
	total, err := inAll(ctx, s.q, len(ws), limit, `SELECT COUNT(*) FROM conversation_windows w CROSS JOIN conversations v
		WHERE v.id = w.conversation AND v.account = $1`, account)
	return ws, total, s.fail(err, "count windows of account %s", account)
}
