package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"wagent/gateway"
)

const pairingColumns = `id, account, method, phone, step, qr, code, options, answer, confirmed, error, expires_at, created_at, updated_at`

// isOpen is true of pairings that are not over (gateway.PairingStep.Over).
const isOpen = `step NOT IN ('done', 'failed', 'expired')`

func (s *Store) scanPairing(r row) (gateway.Pairing, error) {
	var p gateway.Pairing
	var qr, code, options, answer string
	if err := r.Scan(&p.ID, &p.Account, &p.Method, &p.Phone, &p.Step, &qr, &code, &options, &answer, &p.Confirmed, &p.Error,
		at(&p.ExpiresAt), at(&p.CreatedAt), at(&p.UpdatedAt)); err != nil {
		return p, err
	}
	var errs [4]error
	read := func(i int, sealed, column string) string {
		var v gateway.Secret
		v, errs[i] = s.key.open(sealed, "pairings", fmt.Sprint(p.ID), column)
		return string(v)
	}
	p.QR, p.Code = read(0, qr, "qr"), read(1, code, "code")
	if o := read(2, options, "options"); o != "" {
		p.Options = json.RawMessage(o)
	}
	if a := read(3, answer, "answer"); a != "" {
		p.Answer = json.RawMessage(a)
	}
	return p, errors.Join(errs[:]...)
}

// StartPairing begins a pairing for whoever holds the link to work on. One that
// is under way is over. phone is needed for gateway.ByCode, in E.164 form.
//
// NotFound: there is no such account. Invalid: it is no linked device, or phone
// is missing. Conflict: a device is linked already.
func (s *Store) StartPairing(ctx context.Context, id gateway.AccountID, method gateway.PairingMethod, phone string) (gateway.Pairing, error) {
	var p gateway.Pairing
	err := s.inTx(ctx, func(q queries) error {
		kind, err := one(ctx, q, scanText[gateway.AccountKind], `SELECT kind FROM accounts WHERE id = $1 AND active`+q.lockKey, id)
		switch {
		case err != nil:
			return or(err, "There is no account %q", id)
		case kind != gateway.LinkedDevice:
			return &gateway.Error{Kind: gateway.Invalid, Msg: fmt.Sprintf("account %s is not a linked device", id)}
		case method != gateway.ByQR && method != gateway.ByCode:
			return &gateway.Error{Kind: gateway.Invalid, Msg: fmt.Sprintf("a pairing is by qr or by code, not by %q", method)}
		case method == gateway.ByCode && phone == "":
			return &gateway.Error{Kind: gateway.Invalid, Msg: "pairing by code needs the phone's number"}
		}
		device, err := one(ctx, q, scanText[string], `SELECT device FROM links WHERE account = $1`+q.lock, id)
		if err != nil {
			return or(err, "There is no linked device %q", id)
		}
		if device != "" {
			return &gateway.Error{Kind: gateway.Conflict, Msg: "the account is linked to a phone already: unlink it first"}
		}
		if err := endPairings(ctx, q, id, "another pairing was started"); err != nil {
			return err
		}
		at := now()
		p, err = one(ctx, q, s.scanPairing, `INSERT INTO pairings (account, method, phone, step, qr, code, options, answer, confirmed, error, expires_at, created_at, updated_at)
			VALUES ($1, $2, $3, $4, '', '', '', '', FALSE, '', 0, $5, $5) RETURNING `+pairingColumns, id, method, phone, gateway.StepWanted, at)
		return err
	})
	return p, s.fail(err, "start pairing of account %s", id)
}

func endPairings(ctx context.Context, q queries, id gateway.AccountID, reason string) error {
	_, err := q.exec(ctx, `UPDATE pairings SET step = $2, error = $3, qr = '', code = '', options = '', answer = '', expires_at = 0, updated_at = $4
		WHERE account = $1 AND `+isOpen, id, gateway.StepFailed, reason, now())
	return err
}

// Pairing returns the account's newest pairing, or an Error of kind NotFound if
// there was none.
func (s *Store) Pairing(ctx context.Context, id gateway.AccountID) (gateway.Pairing, error) {
	p, err := one(ctx, s.q, s.scanPairing, `SELECT `+pairingColumns+` FROM pairings WHERE account = $1 ORDER BY id DESC LIMIT 1`, id)
	return p, s.fail(or(err, "There was no pairing of account %q", id), "read pairing of account %s", id)
}

// OpenPairings returns the pairings under way of the accounts that holder
// holds.
func (s *Store) OpenPairings(ctx context.Context, holder string) ([]gateway.Pairing, error) {
	ps, err := list(ctx, s.q, s.scanPairing, `SELECT `+pairingColumns+` FROM pairings WHERE `+isOpen+`
		AND account IN (SELECT account FROM links WHERE holder = $1 AND holder <> '' AND lease_until > $2) ORDER BY id`, holder, now())
	return ps, s.fail(err, "list pairings")
}

// SetPairing writes a step of a pairing under way: all but what a person says
// (Answer, Confirmed). What is secret is kept while its step lasts. Conflict:
// the pairing is over.
func (s *Store) SetPairing(ctx context.Context, p *gateway.Pairing) error {
	seal := func(v, column string, steps ...gateway.PairingStep) string {
		if !slices.Contains(steps, p.Step) {
			v = ""
		}
		return s.key.seal(gateway.Secret(v), "pairings", fmt.Sprint(p.ID), column)
	}
	n, err := s.q.exec(ctx, `UPDATE pairings SET step = $2, qr = $3, code = $4, options = $5, error = $6, expires_at = $7, updated_at = $8,
		answer = CASE WHEN $9 THEN answer ELSE '' END WHERE id = $1 AND `+isOpen,
		p.ID, p.Step, seal(p.QR, "qr", gateway.StepQR), seal(p.Code, "code", gateway.StepCode, gateway.StepConfirm),
		seal(string(p.Options), "options", gateway.StepPasskey), p.Error, p.ExpiresAt, now(), p.Step == gateway.StepPasskey)
	if err == nil && n == 0 {
		err = &gateway.Error{Kind: gateway.Conflict, Msg: "the pairing is over"}
	}
	return s.fail(err, "write pairing of account %s", p.Account)
}

// AnswerPairing hands in what a passkey answered. Conflict: no pairing of the
// account waits for that.
func (s *Store) AnswerPairing(ctx context.Context, id gateway.AccountID, answer json.RawMessage) error {
	return s.say(ctx, id, gateway.StepPasskey, "no pairing of the account waits for a passkey", func(q queries, pairing int64) error {
		_, err := q.exec(ctx, `UPDATE pairings SET answer = $2, updated_at = $3 WHERE id = $1`,
			pairing, s.key.seal(gateway.Secret(answer), "pairings", fmt.Sprint(pairing), "answer"), now())
		return err
	})
}

// ConfirmPairing says that the codes are the same. Conflict: no pairing of the
// account waits for that.
func (s *Store) ConfirmPairing(ctx context.Context, id gateway.AccountID) error {
	return s.say(ctx, id, gateway.StepConfirm, "no pairing of the account waits for a comparison of codes", func(q queries, pairing int64) error {
		_, err := q.exec(ctx, `UPDATE pairings SET confirmed = TRUE, updated_at = $2 WHERE id = $1`, pairing, now())
		return err
	})
}

func (s *Store) say(ctx context.Context, id gateway.AccountID, step gateway.PairingStep, otherwise string, write func(q queries, pairing int64) error) error {
	err := s.inTx(ctx, func(q queries) error {
		found, err := list(ctx, q, scanInt, `SELECT id FROM pairings WHERE account = $1 AND `+isOpen+` AND step = $2`+q.lock, id, step)
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			return &gateway.Error{Kind: gateway.Conflict, Msg: otherwise}
		}
		return write(q, found[0])
	})
	return s.fail(err, "answer pairing of account %s", id)
}
