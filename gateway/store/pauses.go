package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"wagent/gateway"
)

// PutPause pauses p.Conversation until p.ExpiresAt. If it is paused already,
// that pause is extended, never cut short, and p becomes it. p gets its number.
// What waits in the conversation is held for a person, and stays so when the
// pause ends; so is what a superseded run was to answer, which is cancelled.
// Webhooks are told of a pause that begins, and before it of one that was over
// unnoticed. NotFound: there is no such conversation.
func (s *Store) PutPause(ctx context.Context, p *gateway.Pause) error {
	want := *p
	err := s.inTx(ctx, func(q queries) error {
		*p = want
		if err := lockConversation(ctx, q, p.Conversation); err != nil {
			return err
		}
		return s.beginPause(ctx, q, p)
	})
	return s.fail(err, "pause conversation %s", p.Conversation)
}

// TellOfPauses sets what webhooks are told of a pause that PutPause or a
// takeover begins, and of any pause that is over: the deliveries are written in
// the same transaction. It must be called before the store is used by others;
// without it nothing is told.
func (s *Store) TellOfPauses(tell func(hooks []gateway.Webhook, p *gateway.PausedPeer, now time.Time) []gateway.Delivery) {
	s.tell = tell
}

// beginPause needs the conversation locked.
func (s *Store) beginPause(ctx context.Context, q queries, p *gateway.Pause) error {
	if err := s.endPauses(ctx, q, p.Conversation); err != nil {
		return err
	}
	began, err := putPause(ctx, q, p)
	if err != nil || !began || s.tell == nil {
		return err
	}
	c, err := conversation(ctx, q, p.Conversation)
	if err != nil {
		return err
	}
	return s.tellOfPause(ctx, q, &gateway.PausedPeer{Pause: *p, Peer: c.Peer, Account: c.Account})
}

// tellOfPause tells of a pause that begins, or is over.
func (s *Store) tellOfPause(ctx context.Context, q queries, p *gateway.PausedPeer) error {
	if s.tell == nil {
		return nil
	}
	hooks, err := list(ctx, q, s.scanWebhook, webhookSelect+`ORDER BY id`)
	if err != nil {
		return err
	}
	ds := s.tell(hooks, p, now())
	for i := range ds {
		ds[i].Action = int(p.ID) // no run makes it one of a kind
	}
	return insertDeliveries(ctx, q, ds)
}

// pausesAtOnce is how many pauses EndPauses ends at most.
const pausesAtOnce = 100

// EndPauses tells webhooks of the pauses whose time is over, each once. next is
// when to ask again: zero if no pause lasts.
func (s *Store) EndPauses(ctx context.Context) (next time.Time, err error) {
	over, err := list(ctx, s.q, scanText[gateway.ConversationID], `SELECT conversation FROM pauses WHERE NOT over_told AND expires_at <= $1
		ORDER BY expires_at LIMIT $2`, now(), pausesAtOnce)
	for i := 0; i < len(over) && err == nil; i++ {
		err = s.inTx(ctx, func(q queries) error {
			if err := lockConversation(ctx, q, over[i]); err != nil {
				return err
			}
			return s.endPauses(ctx, q, over[i])
		})
		if gateway.KindOf(err) == gateway.NotFound { // it became one with another, where the pause is next time
			err = nil
		}
	}
	if err == nil {
		at := now()
		next, err = due(ctx, s.q, at, `SELECT expires_at FROM pauses WHERE NOT over_told ORDER BY expires_at LIMIT 1`)
	}
	return next, s.fail(err, "end pauses")
}

// endPauses tells of what is over in a conversation, which must be locked: a
// pause that somebody extends is not over before, and is another one after.
func (s *Store) endPauses(ctx context.Context, q queries, id gateway.ConversationID) error {
	ids, err := list(ctx, q, scanInt, `UPDATE pauses SET over_told = TRUE WHERE conversation = $1 AND NOT over_told AND expires_at <= $2 RETURNING id`, id, now())
	for i := 0; i < len(ids) && err == nil; i++ {
		var p gateway.PausedPeer
		if p, err = one(ctx, q, scanPausedPeer, pausedSelect+`p.id = $1`, ids[i]); err == nil {
			err = s.tellOfPause(ctx, q, &p)
		}
	}
	return err
}

// putPause needs the conversation locked. It reports whether the pause begins.
func putPause(ctx context.Context, q queries, p *gateway.Pause) (began bool, err error) {
	at := now()
	if p.ExpiresAt.After(at) {
		if err := setAside(ctx, q, p.Conversation); err != nil {
			return false, err
		}
	}
	active, err := one(ctx, q, scanPause, `SELECT id, conversation, reason, expires_at, resumed_at, created_at FROM pauses
		WHERE conversation = $1 AND resumed_at = 0 AND expires_at > $2 ORDER BY expires_at DESC LIMIT 1`, p.Conversation, at)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if p.CreatedAt.IsZero() {
			p.CreatedAt = at
		}
		p.ID, err = one(ctx, q, scanInt, `INSERT INTO pauses (conversation, reason, expires_at, resumed_at, created_at, over_told)
			VALUES ($1, $2, $3, $4, $5, FALSE) RETURNING id`, p.Conversation, p.Reason, p.ExpiresAt, p.ResumedAt, p.CreatedAt)
		return true, err
	case err != nil:
		return false, err
	}
	// Somebody's pause stops sends and that of a failed run does not: of the two
	// the conversation is somebody's, however long each lasts.
	longer, failed := p.ExpiresAt.After(active.ExpiresAt), active.Reason == gateway.PauseFailed
	if !longer && (!failed || p.Reason == gateway.PauseFailed || !p.ExpiresAt.After(at)) {
		*p = active
		return false, nil
	}
	if longer {
		active.ExpiresAt = p.ExpiresAt
	}
	if failed || p.Reason != gateway.PauseFailed {
		active.Reason = p.Reason
	}
	*p = active
	_, err = q.exec(ctx, `UPDATE pauses SET expires_at = $2, reason = $3 WHERE id = $1`, p.ID, p.ExpiresAt, p.Reason)
	return false, err
}

// setAside leaves to a person what a conversation's next run would have answered.
// A run in hand is left to whoever holds it: it may not finish while the pause
// lasts.
func setAside(ctx context.Context, q queries, id gateway.ConversationID) error {
	run, err := one(ctx, q, scanText[gateway.RunID], `SELECT id FROM runs WHERE conversation = $1 AND conversation <> ''
		AND status IN ('pending', 'running') AND status = 'pending'`+q.lock, id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	return holdMessages(ctx, q, id, run)
}

// Paused reports whether agents are kept out of the conversation now.
func (s *Store) Paused(ctx context.Context, id gateway.ConversationID) (bool, error) {
	is, err := paused(ctx, s.q, id)
	return is, s.fail(err, "read pauses of conversation %s", id)
}

func paused(ctx context.Context, q queries, id gateway.ConversationID) (bool, error) {
	return exists(ctx, q, pauseOf, id, now())
}

// pauseOf finds the pause of conversation $1 at $2.
const pauseOf = `SELECT 1 FROM pauses WHERE conversation = $1 AND resumed_at = 0 AND expires_at > $2`

func scanPause(r row) (gateway.Pause, error) {
	var p gateway.Pause
	err := r.Scan(&p.ID, &p.Conversation, &p.Reason, at(&p.ExpiresAt), at(&p.ResumedAt), at(&p.CreatedAt))
	return p, err
}

// pausedFrom begins with the pauses, not with all conversations: SQLite takes a
// cross join as it is written.
const (
	pausedSelect = `SELECT p.id, p.conversation, p.reason, p.expires_at, p.resumed_at, p.created_at, c.phone, c.lid, c.group_id, v.account ` + pausedFrom
	pausedFrom   = `FROM pauses p CROSS JOIN conversations v CROSS JOIN contacts c WHERE v.id = p.conversation AND c.id = v.contact AND `
)

func scanPausedPeer(r row) (gateway.PausedPeer, error) {
	var p gateway.PausedPeer
	err := r.Scan(&p.ID, &p.Conversation, &p.Reason, at(&p.ExpiresAt), at(&p.ResumedAt), at(&p.CreatedAt), &p.Peer.Phone, &p.Peer.LID, &p.Peer.Group, &p.Account)
	return p, err
}

// Pauses returns at most limit of an account's pauses, newest first, and how many
// there are in all: the active ones or, with includeExpired, those that are over
// too.
func (s *Store) Pauses(ctx context.Context, account gateway.AccountID, includeExpired bool, limit int) ([]gateway.PausedPeer, int, error) {
	where, order, args := `v.account = $1`, ` ORDER BY p.id DESC`, []any{account}
	if !includeExpired {
		// The plus keeps SQLite from looking for the few along all that ever were.
		where, order, args = where+` AND p.resumed_at = 0 AND p.expires_at > $2`, ` ORDER BY +p.id DESC`, append(args, now())
	}
	ps, err := list(ctx, s.q, scanPausedPeer, pausedSelect+where+order+fmt.Sprintf(` LIMIT $%d`, len(args)+1), append(args, limit)...)
	if err != nil {
		return nil, 0, s.fail(err, "list pauses of account %s", account)
	}
	total, err := inAll(ctx, s.q, len(ps), limit, `SELECT COUNT(*) `+pausedFrom+where, args...)
	return ps, total, s.fail(err, "count pauses of account %s", account)
}

// PauseByID returns a pause of an account, active or not, or an Error of kind
// NotFound.
func (s *Store) PauseByID(ctx context.Context, account gateway.AccountID, id int64) (gateway.PausedPeer, error) {
	p, err := pauseByID(ctx, s.q, account, id)
	return p, s.fail(err, "read pause %d", id)
}

func pauseByID(ctx context.Context, q queries, account gateway.AccountID, id int64) (gateway.PausedPeer, error) {
	p, err := one(ctx, q, scanPausedPeer, pausedSelect+`p.id = $1 AND v.account = $2`, id, account)
	return p, or(err, "There is no pause %d", id)
}

// ActivePause returns the pause that keeps agents out of the conversation now,
// or an Error of kind NotFound if there is none.
func (s *Store) ActivePause(ctx context.Context, id gateway.ConversationID) (gateway.PausedPeer, error) {
	p, err := one(ctx, s.q, scanPausedPeer, pausedSelect+`p.conversation = $1 AND p.resumed_at = 0 AND p.expires_at > $2
		ORDER BY p.expires_at DESC LIMIT 1`, id, now())
	return p, s.fail(or(err, "Conversation %s is not paused", id), "read pause of conversation %s", id)
}

// ResumePause ends an account's pause, and returns it. One that is over already
// stays as it is. What was held because of it stays held: it is a person's.
// Webhooks are told that it is over, if they were not.
// NotFound: the account has no such pause.
func (s *Store) ResumePause(ctx context.Context, account gateway.AccountID, id int64) (gateway.PausedPeer, error) {
	var p gateway.PausedPeer
	err := s.inTx(ctx, func(q queries) error {
		found, err := pauseByID(ctx, q, account, id)
		if err != nil {
			return err
		}
		if err := lockConversation(ctx, q, found.Conversation); err != nil {
			return err
		}
		n, err := q.exec(ctx, `UPDATE pauses SET resumed_at = $2, over_told = TRUE WHERE id = $1 AND resumed_at = 0 AND expires_at > $2`, id, now())
		if err != nil {
			return err
		}
		if p, err = pauseByID(ctx, q, account, id); err != nil || n == 0 {
			return err
		}
		return s.tellOfPause(ctx, q, &p)
	})
	return p, s.fail(err, "end pause %d", id)
}
