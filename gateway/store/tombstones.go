package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"wagent/gateway"
)

// A template that was deleted leaves a tombstone, under Meta's id of it: what Meta
// told of it before comes late, or again, for seven days, and must not bring it
// back. A new template of the same name has another id.

// tombstoneTTL is how long tombstones are kept.
const tombstoneTTL = 30 * 24 * time.Hour

// forgetTemplate removes a template for good. The account's must be locked.
func forgetTemplate(ctx context.Context, q queries, t *gateway.Template) error {
	if err := bury(ctx, q, t); err != nil {
		return err
	}
	_, err := q.exec(ctx, `DELETE FROM templates WHERE id = $1`, t.ID)
	return err
}

// bury notes that a template was deleted, and forgets of whom that need not be
// known any more.
func bury(ctx context.Context, q queries, t *gateway.Template) error {
	if _, err := q.exec(ctx, `DELETE FROM template_tombstones WHERE account = $1 AND deleted_at < $2`, t.Account, now().Add(-tombstoneTTL)); err != nil {
		return err
	}
	_, err := q.exec(ctx, `INSERT INTO template_tombstones (account, external_id, name, language, deleted_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (account, external_id, name, language) DO UPDATE SET deleted_at = $5`, t.Account, t.ExternalID, t.Name, t.Language, now())
	return err
}

// unbury forgets that a template was deleted: it is there.
func unbury(ctx context.Context, q queries, t *gateway.Template) error {
	_, err := q.exec(ctx, `DELETE FROM template_tombstones WHERE account = $1 AND external_id = $2 AND name = $3 AND language = $4`,
		t.Account, t.ExternalID, t.Name, t.Language)
	return err
}

// buried returns when a template was deleted; zero: it was not. One without an id
// of Meta's may be any of its name.
func buried(ctx context.Context, q queries, t *gateway.Template) (time.Time, error) {
	at, err := one(ctx, q, scanTime, `SELECT deleted_at FROM template_tombstones WHERE account = $1 AND name = $3 AND language = $4
		AND (external_id = $2 OR $2 = '') ORDER BY deleted_at DESC LIMIT 1`, t.Account, t.ExternalID, t.Name, t.Language)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return at, err
}

// tombstones returns when each of an account's templates was deleted, by Meta's id.
func tombstones(ctx context.Context, q queries, account gateway.AccountID) (map[string]time.Time, error) {
	out := map[string]time.Time{}
	_, err := list(ctx, q, func(r row) (struct{}, error) {
		var id string
		var gone time.Time
		err := r.Scan(&id, at(&gone))
		out[id] = gone
		return struct{}{}, err
	}, `SELECT external_id, deleted_at FROM template_tombstones WHERE account = $1 AND external_id <> ''`, account)
	return out, err
}
