package store

import (
	"context"
	"errors"
	"time"

	"wagent/gateway"
)

// PutAccount adds an account that is not in the configuration file, or
// replaces it; one that vanished from the file is in use again. Conflict: it is
// in the configuration file.
func (s *Store) PutAccount(ctx context.Context, a gateway.Account) error {
	a.Declared = false
	err := s.inTx(ctx, func(q queries) error {
		taken, err := exists(ctx, q, `SELECT 1 FROM accounts WHERE id = $1 AND declared`, a.ID)
		if err != nil {
			return err
		}
		if taken {
			return &gateway.Error{Kind: gateway.Conflict, Msg: "account " + string(a.ID) + " is declared in the configuration file: change it there"}
		}
		return s.upsertAccount(ctx, q, &a, now())
	})
	s.forget()
	return s.fail(err, "put account %s", a.ID)
}

// Account returns one account, or an Error of kind NotFound. It also returns
// accounts that vanished from the configuration file: what was said on them is
// still on record.
func (s *Store) Account(ctx context.Context, id gateway.AccountID) (gateway.Account, error) {
	a, err := s.account(ctx, s.q, id)
	return a, s.fail(err, "read account %s", id)
}

// Accounts returns the accounts in use, by id: without those that vanished
// from the configuration file.
func (s *Store) Accounts(ctx context.Context) ([]gateway.Account, error) {
	as, err := list(ctx, s.q, s.scanAccount, accountSelect+`WHERE active ORDER BY id`)
	return as, s.fail(err, "list accounts")
}

func (s *Store) account(ctx context.Context, q queries, id gateway.AccountID) (gateway.Account, error) {
	a, err := one(ctx, q, s.scanAccount, accountSelect+`WHERE id = $1`, id)
	return a, or(err, "There is no account %q", id)
}

const accountSelect = `SELECT id, kind, name, phone_number, phone_number_id, waba_id,
	access_token, app_secret, verify_token, graph_url, declared, created_at, linked, allow_from, takeover_ms,
	time_zone, hours, router, business FROM accounts `

func (s *Store) scanAccount(r row) (gateway.Account, error) {
	var a gateway.Account
	var token, secret, verify string
	c := &a.Cloud
	if err := r.Scan(&a.ID, &a.Kind, &a.Name, &a.PhoneNumber, &c.PhoneNumberID, &c.WABAID,
		&token, &secret, &verify, &c.GraphURL, &a.Declared, at(&a.CreatedAt), from(&a.Linked), from(&a.AllowFrom), span(&a.Takeover),
		&a.TimeZone, from(&a.Hours), &a.Router, &a.Business); err != nil {
		return a, err
	}
	var errs [3]error
	c.AccessToken, errs[0] = s.key.open(token, "accounts", string(a.ID), "access_token")
	c.AppSecret, errs[1] = s.key.open(secret, "accounts", string(a.ID), "app_secret")
	c.VerifyToken, errs[2] = s.key.open(verify, "accounts", string(a.ID), "verify_token")
	return a, errors.Join(errs[:]...)
}

func (s *Store) upsertAccount(ctx context.Context, q queries, a *gateway.Account, at time.Time) error {
	seal := func(secret gateway.Secret, column string) string {
		return s.key.seal(secret, "accounts", string(a.ID), column)
	}
	c := &a.Cloud
	_, err := q.exec(ctx, `INSERT INTO accounts (id, kind, name, phone_number, phone_number_id, waba_id,
			access_token, app_secret, verify_token, graph_url, declared, active, created_at, linked, allow_from, takeover_ms,
			time_zone, hours, router, business)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, TRUE, $12, $13, $14, $15, $16, $17, $18, $19)
		ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, name = excluded.name, phone_number = excluded.phone_number,
			phone_number_id = excluded.phone_number_id, waba_id = excluded.waba_id, access_token = excluded.access_token,
			app_secret = excluded.app_secret, verify_token = excluded.verify_token, graph_url = excluded.graph_url,
			declared = excluded.declared, active = TRUE,
			linked = excluded.linked, allow_from = excluded.allow_from, takeover_ms = excluded.takeover_ms,
			time_zone = excluded.time_zone, hours = excluded.hours, router = excluded.router, business = excluded.business`,
		a.ID, a.Kind, a.Name, a.PhoneNumber, c.PhoneNumberID, c.WABAID,
		seal(c.AccessToken, "access_token"), seal(c.AppSecret, "app_secret"), seal(c.VerifyToken, "verify_token"),
		c.GraphURL, a.Declared, at, asJSON{a.Linked}, asJSON{a.AllowFrom}, a.Takeover,
		a.TimeZone, asJSON{a.Hours}, a.Router, a.Business)
	if err != nil {
		return err
	}
	return makeLink(ctx, q, a, at)
}
