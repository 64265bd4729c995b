package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"wagent/gateway"
)

const linkColumns = `account, device, phone, lid, state, reason, retry_at, no_first_until, connected_at, last_frame_at,
	logging_out, holder, fence, lease_until, updated_at`

func scanLink(r row) (gateway.Link, error) {
	var l gateway.Link
	err := r.Scan(&l.Account, &l.Device, &l.Phone, &l.LID, &l.State, &l.Reason, at(&l.RetryAt), at(&l.NoFirstUntil), at(&l.ConnectedAt),
		at(&l.LastFrameAt), &l.LoggingOut, &l.Holder, &l.Fence, at(&l.LeaseUntil), at(&l.UpdatedAt))
	// What a process that died left behind is not so any more.
	if up := l.State == gateway.LinkConnected || l.State == gateway.LinkConnecting; up && !l.LeaseUntil.After(now()) {
		l.State = gateway.LinkDisconnected
	}
	return l, err
}

// Link returns how an account's link stands, or an Error of kind NotFound if
// there is no such account or it is no linked device.
func (s *Store) Link(ctx context.Context, id gateway.AccountID) (gateway.Link, error) {
	l, err := one(ctx, s.q, scanLink, `SELECT `+linkColumns+` FROM links WHERE account = $1`, id)
	return l, s.fail(or(err, "There is no linked device %q", id), "read link of account %s", id)
}

// Links returns the links of the accounts in use, by account.
func (s *Store) Links(ctx context.Context) ([]gateway.Link, error) {
	ls, err := list(ctx, s.q, scanLink, `SELECT `+linkColumns+` FROM links
		WHERE account IN (SELECT id FROM accounts WHERE active) ORDER BY account`)
	return ls, s.fail(err, "list links")
}

// makeLink gives an account that is a linked device its link, and takes it from
// one that is none any more.
func makeLink(ctx context.Context, q queries, a *gateway.Account, at time.Time) error {
	if a.Kind == gateway.LinkedDevice {
		_, err := q.exec(ctx, `INSERT INTO links (account, device, phone, lid, state, reason, retry_at, no_first_until, connected_at, last_frame_at,
			logging_out, holder, fence, lease_until, next_send_at, updated_at) VALUES ($1, '', '', '', $2, '', 0, 0, 0, 0, FALSE, '', 0, 0, 0, $3)
			ON CONFLICT (account) DO NOTHING`, a.ID, gateway.LinkUnpaired, at)
		return err
	}
	linked, err := exists(ctx, q, `SELECT 1 FROM links WHERE account = $1 AND device <> ''`, a.ID)
	switch {
	case err != nil:
		return err
	case linked:
		return &gateway.Error{Kind: gateway.Conflict, Msg: fmt.Sprintf("account %s is linked to a phone: unlink it before it becomes of kind %s", a.ID, a.Kind)}
	}
	if _, err := q.exec(ctx, `DELETE FROM pairings WHERE account = $1`, a.ID); err != nil {
		return err
	}
	_, err = q.exec(ctx, `DELETE FROM links WHERE account = $1`, a.ID)
	return err
}

// usable finds the accounts whose links somebody should hold: those in use,
// and those whose device is still to be unlinked.
const usable = `(logging_out OR account IN (SELECT id FROM accounts WHERE active AND kind = 'linked_device'))`

// ClaimLinks renews what holder holds and claims at most limit links that
// nobody holds, each until lease from now. It returns all that holder holds
// then, by account. The fence of a link is raised whenever it is claimed, also
// by whom it was held before.
func (s *Store) ClaimLinks(ctx context.Context, holder string, lease time.Duration, limit int) ([]gateway.Link, error) {
	var held []gateway.Link
	err := s.inTx(ctx, func(q queries) error {
		if err := holdLinks(ctx, q, holder); err != nil {
			return err
		}
		at := now()
		until := at.Add(lease)
		if _, err := q.exec(ctx, `UPDATE links SET lease_until = $2 WHERE holder = $1 AND holder <> '' AND lease_until > $3 AND `+usable, holder, until, at); err != nil {
			return err
		}
		free, err := list(ctx, q, scanText[gateway.AccountID], `SELECT account FROM links WHERE lease_until <= $1 AND `+usable+`
			ORDER BY account LIMIT $2`+q.lockKey+q.skip, at, limit)
		if err != nil {
			return err
		}
		if len(free) > 0 {
			_, err := q.exec(ctx, `UPDATE links SET holder = $1, fence = fence + 1, lease_until = $2, updated_at = $3,
				state = CASE WHEN state IN ('connected', 'connecting') THEN 'disconnected' ELSE state END
				WHERE account IN (`+places(4, len(free))+`)`, append([]any{holder, until, at}, anys(free)...)...)
			if err != nil {
				return err
			}
		}
		held, err = list(ctx, q, scanLink, `SELECT `+linkColumns+` FROM links WHERE holder = $1 AND holder <> '' AND lease_until > $2 AND `+usable+` ORDER BY account`, holder, at)
		return err
	})
	if err != nil {
		return nil, s.fail(err, "claim links")
	}
	return held, nil
}

// holdLinks locks what holder holds, in the order in which its sends are
// claimed: each may wait for the other, but never in a circle.
func holdLinks(ctx context.Context, q queries, holder string) error {
	if q.lockKey == "" {
		return nil
	}
	_, err := list(ctx, q, scanText[gateway.AccountID], `SELECT account FROM links WHERE holder = $1 AND holder <> '' ORDER BY account`+q.lockKey, holder)
	return err
}

// ReleaseLinks gives links of the holder's up, so that another process can have
// them at once: those of the accounts, or all of them if none is named.
func (s *Store) ReleaseLinks(ctx context.Context, holder string, accounts ...gateway.AccountID) error {
	which := ""
	if len(accounts) > 0 {
		which = ` AND account IN (` + places(3, len(accounts)) + `)`
	}
	err := s.inTx(ctx, func(q queries) error {
		if err := holdLinks(ctx, q, holder); err != nil {
			return err
		}
		_, err := q.exec(ctx, `UPDATE links SET holder = '', lease_until = 0, updated_at = $2,
			state = CASE WHEN state IN ('connected', 'connecting') THEN 'disconnected' ELSE state END
			WHERE holder = $1 AND holder <> ''`+which, append([]any{holder, now()}, anys(accounts)...)...)
		return err
	})
	return s.fail(err, "release links")
}

// SetLink writes how a link stands, as its holder knows it. Whoever holds it is
// not changed, and a wish to log out ends only with the device. Conflict: the
// link is another's, or was claimed anew.
func (s *Store) SetLink(ctx context.Context, l *gateway.Link) error {
	var n int64
	hooks, err := s.listeners(ctx, s.tellOfLink != nil, gateway.EventSessionConnected, gateway.EventSessionDisconnected, gateway.EventSessionFailed)
	switch {
	case err != nil:
	case len(hooks) > 0:
		n, err = s.setLinkAndTell(ctx, l, hooks)
	default:
		n, err = setLink(ctx, s.q, l)
	}
	if err == nil && n == 0 {
		err = &gateway.Error{Kind: gateway.Conflict, Msg: fmt.Sprintf("account %s is held by another process", l.Account)}
	}
	return s.fail(err, "write link of account %s", l.Account)
}

// setLink also keeps what webhooks are told of last, be there any or none: as
// LinkEvent has it.
func setLink(ctx context.Context, q queries, l *gateway.Link) (int64, error) {
	return q.exec(ctx, `UPDATE links SET device = $4, phone = $5, lid = $6, state = $7, reason = $8, retry_at = $9, no_first_until = $10,
		connected_at = $11, last_frame_at = $12, logging_out = logging_out AND $4 <> '', updated_at = $13,
		told = CASE WHEN $7 = 'connecting' OR $7 IN ('disconnected', 'unpaired') AND told <> 'connected' THEN told
			WHEN $7 = 'unpaired' THEN 'disconnected' ELSE $7 END
		WHERE account = $1 AND holder = $2 AND fence = $3`,
		l.Account, l.Holder, l.Fence, l.Device, l.Phone, l.LID, l.State, l.Reason, l.RetryAt, l.NoFirstUntil, l.ConnectedAt, l.LastFrameAt, now())
}

// AskLogout has whoever holds the link unlink the device. Where none is linked it
// does nothing. NotFound: there is no such account, or it is no linked device.
func (s *Store) AskLogout(ctx context.Context, id gateway.AccountID) error {
	n, err := s.q.exec(ctx, `UPDATE links SET logging_out = device <> '', updated_at = $2 WHERE account = $1`, id, now())
	if err == nil && n == 0 {
		err = &gateway.Error{Kind: gateway.NotFound, Msg: fmt.Sprintf("There is no linked device %q", id)}
	}
	return s.fail(err, "log account %s out", id)
}

// LinkGuard is a statement for other tables of the same PostgreSQL database: it
// returns a row while the fence of account $1 is $2, and keeps it so until the
// end of the transaction. It is empty for SQLite, which one process uses.
func (s *Store) LinkGuard() string {
	if s.schema == "" {
		return ""
	}
	return `SELECT 1 FROM ` + s.schema + `.links WHERE account = $1 AND fence = $2 FOR SHARE`
}

// DeleteAccount takes an account out of use that was made over the API; what was
// said on it stays on record, and what waits to be sent from it fails. A linked
// device is unlinked by whoever holds it.
// Conflict: it is in the configuration file. NotFound: there is no such account.
func (s *Store) DeleteAccount(ctx context.Context, id gateway.AccountID) error {
	hooks, err := s.listeners(ctx, s.tellOfMessage != nil, gateway.EventMessageFailed)
	if err != nil {
		return s.fail(err, "delete account %s", id)
	}
	told := &teller{store: s, hooks: hooks}
	err = s.inTx(ctx, func(q queries) error {
		found, err := list(ctx, q, func(r row) (declared bool, err error) { return declared, r.Scan(&declared) },
			`SELECT declared FROM accounts WHERE id = $1 AND active`+q.lockKey, id)
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			return &gateway.Error{Kind: gateway.NotFound, Msg: fmt.Sprintf("There is no account %q", id)}
		case slices.Contains(found, true):
			return &gateway.Error{Kind: gateway.Conflict, Msg: "account " + string(id) + " is declared in the configuration file: remove it there"}
		}
		if _, err := q.exec(ctx, `UPDATE accounts SET active = FALSE WHERE id = $1`, id); err != nil {
			return err
		}
		if err := endPairings(ctx, q, id, accountDeleted); err != nil {
			return err
		}
		// The link before its sends, as ClaimSends has it.
		if _, err := q.exec(ctx, `UPDATE links SET logging_out = device <> '', updated_at = $2 WHERE account = $1`, id, now()); err != nil {
			return err
		}
		return endSends(ctx, q, told, id, accountDeleted)
	})
	s.forget()
	return s.fail(err, "delete account %s", id)
}
