package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"wagent/gateway"
)

const mediaColumns = `media.message, media.account, media.state, media.mime_type, media.name, media.size, media.source, media.attempt, media.next_at, media.error, media.expires_at, media.created_at`

func (s *Store) scanMedia(r row) (gateway.Media, error) {
	var m gateway.Media
	var source string
	if err := r.Scan(&m.Message, &m.Account, &m.State, &m.MimeType, &m.Name, &m.Size, &source, &m.Attempt, at(&m.NextAt), &m.Error,
		at(&m.ExpiresAt), at(&m.CreatedAt)); err != nil {
		return m, err
	}
	opened, err := s.key.open(source, "media", string(m.Message), "source")
	if opened != "" {
		m.Source = json.RawMessage(opened)
	}
	return m, err
}

// attach keeps what is needed to fetch the file of a message. Files of history,
// of groups and of people that the account does not answer are left where they
// are, as are those of edits that stand in the message that they changed.
func (in *intake) attach(ctx context.Context, a *gateway.Arrival, m *gateway.Message) error {
	f := a.Attachment
	if f == nil || a.Origin == gateway.OriginHistory || !m.RevokedAt.IsZero() {
		return nil
	}
	switch m.StateReason {
	case reasonGroup, reasonNotAllowed, reasonEditApplied, reasonEditOutdated:
		return nil
	}
	_, err := in.q.exec(ctx, `INSERT INTO media (message, account, state, mime_type, name, size, source, attempt, next_at, error, expires_at, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, '', 0, $8)`,
		m.ID, m.Account, gateway.MediaWanted, f.MimeType, f.Name, f.Size, in.store.key.seal(gateway.Secret(f.Source), "media", string(m.ID), "source"), in.at)
	return err
}

// dropMedia forgets the file of a message, whoever is fetching it.
func (in *intake) dropMedia(ctx context.Context, id gateway.MessageID) error {
	_, err := in.q.exec(ctx, `UPDATE media SET state = $2, error = 'the message was deleted', source = '', attempt = attempt + 1, expires_at = 0
		WHERE message = $1`, id, gateway.MediaGone)
	if err == nil {
		_, err = in.q.exec(ctx, `DELETE FROM media_data WHERE message = $1`, id)
	}
	return err
}

// unsettled is true of files that are still to be had, in the words of the
// index media_due.
const unsettled = `media.state IN ('wanted', 'asked')`

// ClaimMedia takes at most limit files that are due, oldest first, of linked
// accounts that holder holds and that are connected: those that are wanted, and
// those that a phone was asked for without an answer until their NextAt. Each
// is claimed for lease: its NextAt is then the lease's end, and it is due again
// unless SettleMedia comes before. next is when another falls due; zero if none
// will.
func (s *Store) ClaimMedia(ctx context.Context, holder string, limit int, lease time.Duration) (work []gateway.Media, next time.Time, err error) {
	err = s.inTx(ctx, func(q queries) error {
		at := now()
		var err error
		if work, err = s.claimMedia(ctx, q, holder, limit, at, lease); err != nil {
			return err
		}
		next, err = due(ctx, q, at, `SELECT media.next_at FROM media WHERE `+unsettled+` AND media.account IN (`+connected+`)
			ORDER BY media.next_at LIMIT 1`, holder, at)
		return err
	})
	if err != nil {
		return nil, time.Time{}, s.fail(err, "claim media")
	}
	return work, next, nil
}

// connected selects the accounts that $1 holds at $2, and that are connected.
const connected = `SELECT l.account FROM links l WHERE l.holder = $1 AND l.lease_until > $2 AND l.state = 'connected'`

func (s *Store) claimMedia(ctx context.Context, q queries, holder string, limit int, at time.Time, lease time.Duration) ([]gateway.Media, error) {
	ids, err := list(ctx, q, scanText[gateway.MessageID], `SELECT media.message FROM media WHERE `+unsettled+` AND media.next_at <= $2
		AND media.account IN (`+connected+`) ORDER BY media.next_at LIMIT $3`+q.lock+q.skip, holder, at, limit)
	if err != nil {
		return nil, err
	}
	var out []gateway.Media
	for _, id := range ids {
		m, err := one(ctx, q, s.scanMedia, `UPDATE media SET attempt = attempt + 1, next_at = $2 WHERE message = $1 RETURNING `+mediaColumns,
			id, at.Add(lease))
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// SettleMedia records what became of a file: m's State, MimeType, Name, Size,
// Source (nil: as it was), NextAt, Error and ExpiresAt, and of one that is kept
// its bytes. What is settled for good needs no Source any more and loses it.
// Conflict: it was claimed again, or is settled.
func (s *Store) SettleMedia(ctx context.Context, m *gateway.Media, data []byte) error {
	err := s.inTx(ctx, func(q queries) error {
		source := s.key.seal(gateway.Secret(m.Source), "media", string(m.Message), "source")
		n, err := q.exec(ctx, `UPDATE media SET state = $3, mime_type = $4, name = $5, size = $6, next_at = $7, error = $8, expires_at = $9,
			source = CASE WHEN $3 NOT IN ('wanted', 'asked') THEN '' WHEN $10 = '' THEN source ELSE $10 END WHERE media.message = $1 AND media.attempt = $2 AND `+unsettled,
			m.Message, m.Attempt, m.State, m.MimeType, m.Name, m.Size, m.NextAt, m.Error, m.ExpiresAt, source)
		if err == nil && n == 0 {
			err = &gateway.Error{Kind: gateway.Conflict, Msg: "the file of message " + string(m.Message) + " is in other hands"}
		}
		if err != nil || m.State != gateway.MediaKept {
			return err
		}
		if data == nil {
			data = []byte{} // an empty file is a file
		}
		_, err = q.exec(ctx, `INSERT INTO media_data (message, data) VALUES ($1, $2)`, m.Message, data)
		return err
	})
	return s.fail(err, "settle media of message %s", m.Message)
}

// MediaByMessage returns the file of a message with its bytes, which are nil
// unless it is kept. What it takes to fetch it is left out. NotFound: the
// message has no file, or there is no such message.
func (s *Store) MediaByMessage(ctx context.Context, id gateway.MessageID) (gateway.Media, []byte, error) {
	var data []byte
	m, err := one(ctx, s.q, func(r row) (gateway.Media, error) {
		var m gateway.Media
		var source string
		err := r.Scan(&m.Message, &m.Account, &m.State, &m.MimeType, &m.Name, &m.Size, &source, &m.Attempt, at(&m.NextAt), &m.Error,
			at(&m.ExpiresAt), at(&m.CreatedAt), &data)
		return m, err
	}, `SELECT `+mediaColumns+`, b.data FROM media LEFT JOIN media_data b ON b.message = media.message WHERE media.message = $1`, id)
	return m, data, s.fail(or(err, "Message %s has no file", id), "read media of message %s", id)
}

// MediaAskedFor returns the file that a phone was asked for again, by
// WhatsApp's id of its message. NotFound: there is none.
func (s *Store) MediaAskedFor(ctx context.Context, account gateway.AccountID, externalID string) (gateway.Media, error) {
	m, err := one(ctx, s.q, s.scanMedia, `SELECT `+mediaColumns+` FROM media JOIN messages m ON m.id = media.message
		WHERE media.account = $1 AND `+unsettled+` AND media.state = 'asked' AND m.external_id = $2 ORDER BY media.created_at DESC LIMIT 1`, account, externalID)
	return m, s.fail(or(err, "No file of message %s was asked for", externalID), "find media of account %s", account)
}

// expiredAtOnce is how many files' bytes one call of ExpireMedia deletes.
const expiredAtOnce = 1000

// ExpireMedia deletes the bytes of files whose time is over, at most a thousand
// at once, and returns of how many.
func (s *Store) ExpireMedia(ctx context.Context) (n int, err error) {
	err = s.inTx(ctx, func(q queries) (err error) {
		n, err = expireMedia(ctx, q, now())
		return err
	})
	if err != nil {
		return 0, s.fail(err, "expire media")
	}
	return n, nil
}

func expireMedia(ctx context.Context, q queries, at time.Time) (int, error) {
	ids, err := list(ctx, q, scanText[gateway.MessageID], `SELECT message FROM media WHERE state = 'kept' AND expires_at > 0 AND expires_at <= $1
		ORDER BY expires_at LIMIT $2`+q.lock+q.skip, at, expiredAtOnce)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	in := `IN (` + places(1, len(ids)) + `)`
	_, gone := q.exec(ctx, `DELETE FROM media_data WHERE message `+in, anys(ids)...)
	_, told := q.exec(ctx, `UPDATE media SET state = 'expired' WHERE message `+in, anys(ids)...)
	return len(ids), errors.Join(gone, told)
}
