package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"wagent/gateway"
)

const (
	keyColumns = `name, hash, declared, id, scope, test, accounts, per_minute, created_at, last_used_at, revoked_at`
	keySelect  = `SELECT ` + keyColumns + ` FROM api_keys `
)

func scanKey(r row) (gateway.APIKey, error) {
	var k gateway.APIKey
	var hash string
	if err := r.Scan(&k.Name, &hash, &k.Declared, &k.ID, &k.Scope, &k.Test, from(&k.Accounts), &k.PerMinute,
		at(&k.CreatedAt), at(&k.LastUsedAt), at(&k.RevokedAt)); err != nil {
		return k, err
	}
	b, err := hex.DecodeString(hash)
	copy(k.Hash[:], b)
	return k, err
}

func insertKey(ctx context.Context, q queries, k *gateway.APIKey) error {
	var accounts any = ""
	if len(k.Accounts) > 0 {
		accounts = asJSON{k.Accounts}
	}
	_, err := q.exec(ctx, `INSERT INTO api_keys (`+keyColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)`,
		k.Name, hex.EncodeToString(k.Hash[:]), k.Declared, k.ID, k.Scope, k.Test, accounts, k.PerMinute, k.CreatedAt, k.LastUsedAt)
	return err
}

// declareKeys replaces the keys of the configuration file. One that stays keeps
// when it was used last.
func declareKeys(ctx context.Context, q queries, keys []gateway.APIKey) error {
	old, err := list(ctx, q, scanKey, keySelect+`WHERE declared`)
	if err != nil {
		return err
	}
	used := map[[32]byte]time.Time{}
	for i := range old {
		used[old[i].Hash] = old[i].LastUsedAt
	}
	if _, err := q.exec(ctx, `DELETE FROM api_keys WHERE declared`); err != nil {
		return err
	}
	for _, k := range keys {
		k.ID, k.Declared, k.LastUsedAt = "", true, used[k.Hash]
		if k.Scope == "" {
			k.Scope = gateway.ScopeAdmin
		}
		switch err := insertKey(ctx, q, &k); {
		case err != nil && q.unique(err):
			return &gateway.Error{Kind: gateway.Invalid, Msg: "API key " + k.Name + ": its name or the key itself is there twice, in the configuration file or among those that were made", Err: err}
		case err != nil:
			return fmt.Errorf("API key %s: %w", k.Name, err)
		}
	}
	return nil
}

// KeyByHash returns the API key with that SHA-256, or an Error of kind
// NotFound: one that was revoked is not there either.
func (s *Store) KeyByHash(ctx context.Context, hash [32]byte) (gateway.APIKey, error) {
	k, err := one(ctx, s.q, scanKey, keySelect+`WHERE hash = $1 AND revoked_at = 0`, hex.EncodeToString(hash[:]))
	return k, s.fail(or(err, "There is no such API key"), "find API key")
}

// APIKeys returns all keys by name, those that were revoked too.
func (s *Store) APIKeys(ctx context.Context) ([]gateway.APIKey, error) {
	ks, err := list(ctx, s.q, scanKey, keySelect+`ORDER BY name`)
	return ks, s.fail(err, "list API keys")
}

// CreateKey adds a key that is not in the configuration file. It fills the id
// and the time that k lacks. If there is one with k's id and name that was not
// revoked, an earlier try made it: it gets k's hash, so that the one it had opens
// nothing, and k becomes what it is. Conflict: there is another with that name,
// which may be revoked: a name says in the audit for good who it was. Invalid: an
// account does not exist.
func (s *Store) CreateKey(ctx context.Context, k *gateway.APIKey) error {
	k.Declared = false
	if k.ID == "" {
		k.ID = gateway.NewKeyID()
	}
	if k.CreatedAt.IsZero() {
		k.CreatedAt = now()
	}
	err := s.inTx(ctx, func(q queries) error {
		again, err := list(ctx, q, scanKey, `UPDATE api_keys SET hash = $3 WHERE id = $1 AND name = $2 AND revoked_at = 0 RETURNING `+keyColumns,
			k.ID, k.Name, hex.EncodeToString(k.Hash[:]))
		if err != nil {
			return err
		}
		if len(again) > 0 {
			*k = again[0]
			return nil
		}
		for _, id := range k.Accounts {
			known, err := exists(ctx, q, `SELECT 1 FROM accounts WHERE id = $1`, id)
			if err == nil && !known {
				err = &gateway.Error{
					Kind: gateway.Invalid, Msg: "Validation failed",
					Details: map[string][]string{"accounts": {fmt.Sprintf("%q does not exist", id)}},
				}
			}
			if err != nil {
				return err
			}
		}
		err = insertKey(ctx, q, k)
		if err != nil && q.unique(err) {
			return &gateway.Error{Kind: gateway.Conflict, Msg: "There is an API key of that name, or there was one: take another", Err: err}
		}
		return err
	})
	return s.fail(err, "create API key %s", k.Name)
}

// RevokeKey ends a key for good, by its id, its name or its [gateway.KeyDigest];
// one that has ended stays as it is. NotFound: there is none. Conflict: it is in
// the configuration file.
func (s *Store) RevokeKey(ctx context.Context, which string) error {
	if which == "" {
		return &gateway.Error{Kind: gateway.NotFound, Msg: "There is no such API key"}
	}
	column := `name`
	hash, digest := gateway.ParseKeyDigest(which)
	if digest {
		column, which = `hash`, hex.EncodeToString(hash[:])
	}
	err := s.inTx(ctx, func(q queries) error {
		k, err := one(ctx, q, scanKey, keySelect+`WHERE id = $1 OR `+column+` = $1 ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END LIMIT 1`, which)
		if err != nil {
			return or(err, "There is no such API key")
		}
		if k.Declared {
			return &gateway.Error{Kind: gateway.Conflict, Msg: "API key " + k.Name + " is declared in the configuration, or is the first one of data_dir: remove it there"}
		}
		_, err = q.exec(ctx, `UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at = 0`, k.ID, now())
		return err
	})
	return s.fail(err, "revoke API key")
}

// KeysUsed notes when keys were used last, by their names. A time that is older
// than what is known changes nothing.
func (s *Store) KeysUsed(ctx context.Context, used map[string]time.Time) error {
	err := s.inTx(ctx, func(q queries) error {
		for _, name := range slices.Sorted(maps.Keys(used)) { // in one order for all: two processes wait for each other, but never in a circle
			if _, err := q.exec(ctx, `UPDATE api_keys SET last_used_at = $2 WHERE name = $1 AND last_used_at < $2`, name, used[name]); err != nil {
				return err
			}
		}
		return nil
	})
	return s.fail(err, "note when API keys were used")
}

// AddAudit keeps an entry, which gets its Seq.
func (s *Store) AddAudit(ctx context.Context, e *gateway.AuditEntry) error {
	seq, err := one(ctx, s.q, scanInt, `INSERT INTO audit (at, who, action, subject, status, request) VALUES ($1, $2, $3, $4, $5, $6) RETURNING seq`,
		e.At, e.Who, e.Action, e.Subject, e.Status, e.Request)
	e.Seq = seq
	return s.fail(err, "keep audit entry")
}

// Audit returns at most limit entries, newest first, from before that Seq (0:
// from the newest on), and how many there are in all.
func (s *Store) Audit(ctx context.Context, before int64, limit int) ([]gateway.AuditEntry, int, error) {
	where, args := ``, []any{limit}
	if before > 0 {
		where, args = `WHERE seq < $2 `, []any{limit, before}
	}
	es, err := list(ctx, s.q, func(r row) (e gateway.AuditEntry, err error) {
		err = r.Scan(&e.Seq, at(&e.At), &e.Who, &e.Action, &e.Subject, &e.Status, &e.Request)
		return e, err
	}, `SELECT seq, at, who, action, subject, status, request FROM audit `+where+`ORDER BY seq DESC LIMIT $1`, args...)
	if err != nil {
		return nil, 0, s.fail(err, "list audit")
	}
	total, err := one(ctx, s.q, scanInt, `SELECT COUNT(*) FROM audit`)
	return es, int(total), s.fail(err, "count audit")
}

// prunePage is how many entries one statement removes, so that no lock is held
// for long.
const prunePage = 5000

// PruneAudit removes the entries from before a time.
func (s *Store) PruneAudit(ctx context.Context, before time.Time) error {
	for {
		n, err := s.q.exec(ctx, `DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at < $1 ORDER BY at LIMIT `+fmt.Sprint(prunePage)+`)`, before)
		if err != nil || n < prunePage {
			return s.fail(err, "remove old audit entries")
		}
	}
}

// ContactsOf is Contacts of some accounts only: those of others are not there,
// nor is after, if it is one of them.
func (s *Store) ContactsOf(ctx context.Context, accounts []gateway.AccountID, phone string, after gateway.ContactID, limit int) ([]gateway.Contact, int, error) {
	if len(accounts) == 0 {
		return nil, 0, nil
	}
	of := func(first int) string { return `c.account IN (` + places(first, len(accounts)) + `) ` }
	total, err := one(ctx, s.q, scanInt, `SELECT COUNT(*) FROM contacts c WHERE `+of(1), anys(accounts)...)
	if err != nil {
		return nil, 0, s.fail(err, "count contacts of accounts")
	}
	var where strings.Builder
	args := []any{limit}
	switch {
	case phone != "":
		where.WriteString(`c.id IN (SELECT a.contact FROM contact_aliases a WHERE a.alias = $2) AND `)
		args = append(args, gateway.Address{Phone: phone}.Aliases()[0])
	case after != "":
		at, err := one(ctx, s.q, scanTime, `SELECT c.created_at FROM contacts c WHERE c.id = $1 AND `+of(2), append([]any{after}, anys(accounts)...)...)
		if err != nil {
			return nil, 0, s.fail(or(err, "There is no contact %s", after), "list contacts of accounts")
		}
		where.WriteString(`c.created_at <= $2 AND (c.created_at < $2 OR c.id > $3) AND `)
		args = append(args, at, after)
	}
	where.WriteString(of(len(args) + 1))
	args = append(args, anys(accounts)...)
	cs, err := list(ctx, s.q, scanContact, contactSelect+`WHERE `+where.String()+`ORDER BY c.created_at DESC, c.id LIMIT $1`, args...)
	if phone != "" {
		total = int64(len(cs))
	}
	return cs, int(total), s.fail(err, "list contacts of accounts")
}
