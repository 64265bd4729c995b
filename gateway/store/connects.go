package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"wagent/gateway"
)

// AddCloudAccount adds an account on the Cloud API that is not in the
// configuration file, and with it completes the connect that it was added
// through ("": none).
//
// Invalid, with what is wrong under "phone_number_id": another account in use has
// the number. Conflict: the connect has expired, or was used. NotFound: there is
// no such connect.
func (s *Store) AddCloudAccount(ctx context.Context, a gateway.Account, through gateway.ConnectID) error {
	a.Declared = false
	err := s.inTx(ctx, func(q queries) error {
		if err := q.hold(ctx, "phone_number_id/"+a.Cloud.PhoneNumberID); err != nil {
			return err
		}
		taken, err := exists(ctx, q, `SELECT 1 FROM accounts WHERE phone_number_id = $1 AND active AND id <> $2`, a.Cloud.PhoneNumberID, a.ID)
		switch {
		case err != nil:
			return err
		case taken:
			return &gateway.Error{Kind: gateway.Invalid, Msg: "Validation failed", Details: map[string][]string{
				"phone_number_id": {"has already been taken"},
			}}
		}
		if through != "" {
			if err := complete(ctx, q, through, a.ID); err != nil {
				return err
			}
		}
		return s.upsertAccount(ctx, q, &a, now())
	})
	s.forget()
	return s.fail(err, "add account %s", a.ID)
}

// complete uses a connect up.
func complete(ctx context.Context, q queries, id gateway.ConnectID, account gateway.AccountID) error {
	n, err := q.exec(ctx, `UPDATE connects SET account = $2 WHERE id = $1 AND account = '' AND expires_at > $3`, id, account, now())
	if err != nil || n > 0 {
		return err
	}
	c, err := connect(ctx, q, id)
	switch {
	case err != nil:
		return err
	case c.Account != "":
		return &gateway.Error{Kind: gateway.Conflict, Msg: "The link was used already"}
	default:
		return &gateway.Error{Kind: gateway.Conflict, Msg: "The link has expired"}
	}
}

// connectsKept is how long it is known that a connect has expired, or was used.
const connectsKept = 30 * 24 * time.Hour

// AddConnect adds a connect, which nobody used yet.
func (s *Store) AddConnect(ctx context.Context, c gateway.Connect) error {
	err := s.inTx(ctx, func(q queries) error {
		if _, err := q.exec(ctx, `DELETE FROM connects WHERE expires_at < $1`, now().Add(-connectsKept)); err != nil {
			return err
		}
		_, err := q.exec(ctx, `INSERT INTO connects (id, account, expires_at, created_at) VALUES ($1, '', $2, $3)`, c.ID, c.ExpiresAt, c.CreatedAt)
		return err
	})
	return s.fail(err, "add connect")
}

// Connect returns one connect, or an Error of kind NotFound.
func (s *Store) Connect(ctx context.Context, id gateway.ConnectID) (gateway.Connect, error) {
	c, err := connect(ctx, s.q, id)
	return c, s.fail(err, "read connect")
}

func connect(ctx context.Context, q queries, id gateway.ConnectID) (gateway.Connect, error) {
	c, err := one(ctx, q, func(r row) (gateway.Connect, error) {
		var c gateway.Connect
		err := r.Scan(&c.ID, &c.Account, at(&c.ExpiresAt), at(&c.CreatedAt))
		return c, err
	}, `SELECT id, account, expires_at, created_at FROM connects WHERE id = $1`, id)
	if errors.Is(err, sql.ErrNoRows) {
		err = &gateway.Error{Kind: gateway.NotFound, Msg: "There is no such connect"} // its id is not for the log
	}
	return c, err
}
