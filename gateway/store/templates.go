package store

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"wagent/gateway"
)

// TellOfTemplates sets what webhooks are told of a template whose status is
// another than we knew: the deliveries are written in the same transaction. It
// must be called before the store is used by others; without it nothing is told.
func (s *Store) TellOfTemplates(tell func(hooks []gateway.Webhook, t *gateway.Template, now time.Time) []gateway.Delivery) {
	s.tellTemplate = tell
}

const templateSelect = `SELECT id, account, external_id, name, language, category, status, components, reason,
	told_at, created_at, updated_at, synced_at FROM templates WHERE `

// A templateRow is a template with what only the table needs.
type templateRow struct {
	gateway.Template

	toldAt time.Time // when Meta said its status by itself, by Meta's clock; zero: it never did
}

func scanTemplateRow(r row) (templateRow, error) {
	var t templateRow
	err := r.Scan(&t.ID, &t.Account, &t.ExternalID, &t.Name, &t.Language, &t.Category, &t.Status, raw(&t.Components), &t.Reason,
		at(&t.toldAt), at(&t.CreatedAt), at(&t.UpdatedAt), at(&t.SyncedAt))
	return t, err
}

func scanTemplate(r row) (gateway.Template, error) {
	t, err := scanTemplateRow(r)
	return t.Template, err
}

// Templates returns at most limit of an account's templates that the filter
// lets through, by name and language, and how many there are in all.
func (s *Store) Templates(ctx context.Context, account gateway.AccountID, f gateway.TemplateFilter, limit int) ([]gateway.Template, int, error) {
	const where = `account = $1 AND ($2 = '' OR status = $2) AND ($3 = '' OR category = $3)`
	ts, err := list(ctx, s.q, scanTemplate, templateSelect+where+` ORDER BY name, language LIMIT $4`, account, f.Status, f.Category, limit)
	if err != nil {
		return nil, 0, s.fail(err, "list templates of account %s", account)
	}
	total, err := inAll(ctx, s.q, len(ts), limit, `SELECT COUNT(*) FROM templates WHERE `+where, account, f.Status, f.Category)
	return ts, total, s.fail(err, "count templates of account %s", account)
}

// TemplateByID returns one of an account's templates, or an Error of kind
// NotFound.
func (s *Store) TemplateByID(ctx context.Context, account gateway.AccountID, id gateway.TemplateID) (gateway.Template, error) {
	t, err := one(ctx, s.q, scanTemplate, templateSelect+`account = $1 AND id = $2`, account, id)
	return t, s.fail(or(err, "There is no template %s", id), "read template %s", id)
}

// PutTemplate records a template that was made at Meta, and t becomes what is
// on record: of a template that Meta told of before, the status that it told.
// NotFound: there is no such account.
func (s *Store) PutTemplate(ctx context.Context, t *gateway.Template) error {
	made := *t
	err := s.inTx(ctx, func(q queries) error {
		*t = made
		if err := lockTemplates(ctx, q, t.Account); err != nil {
			return err
		}
		old, err := templateNamed(ctx, q, t.Account, t.Name, t.Language)
		if err != nil {
			return err
		}
		if old != nil && old.ExternalID == t.ExternalID && !old.toldAt.IsZero() {
			// Meta may judge a template faster than we write it down.
			t.Status, t.Reason = old.Status, old.Reason
		}
		t.SyncedAt = now()
		if err := unbury(ctx, q, t); err != nil {
			return err
		}
		return s.saveTemplate(ctx, q, old, t)
	})
	return s.fail(err, "put template %s", made.Name)
}

// SyncTemplates replaces what is known of an account's templates by what Meta
// had at a time, all of it or nothing: what is not among ts is forgotten, but
// for what was made, or told of, since; what was deleted since stays so. NotFound:
// there is no such account.
func (s *Store) SyncTemplates(ctx context.Context, account gateway.AccountID, asOf time.Time, ts []gateway.Template) error {
	err := s.inTx(ctx, func(q queries) error {
		if err := lockTemplates(ctx, q, account); err != nil {
			return err
		}
		known, err := list(ctx, q, scanTemplateRow, templateSelect+`account = $1`, account)
		if err != nil {
			return err
		}
		dead, err := tombstones(ctx, q, account)
		if err != nil {
			return err
		}
		since := asOf.Truncate(time.Second) // Meta's times have whole ones
		type key struct{ name, language string }
		byName, there := make(map[key]*templateRow, len(known)), make(map[key]bool, len(ts))
		for i := range known {
			byName[key{known[i].Name, known[i].Language}] = &known[i]
		}
		for _, t := range ts {
			k := key{t.Name, t.Language}
			if there[k] {
				continue // while it was read page by page, it moved to the next
			}
			t.Account, t.SyncedAt = account, now()
			if gone, ok := dead[t.ExternalID]; ok && !gone.Before(since) {
				continue // it was deleted while the list was read
			} else if ok {
				if err := unbury(ctx, q, &t); err != nil {
					return err
				}
			}
			there[k] = true
			if old := byName[k]; old != nil && !old.SyncedAt.Before(asOf) {
				continue // it was read later than this list
			} else if old != nil && !old.toldAt.Before(since) { // Meta told of it while the list was read
				t.Status, t.Reason = old.Status, old.Reason
			}
			if err := s.saveTemplate(ctx, q, byName[k], &t); err != nil {
				return err
			}
		}
		for i := range known {
			old := &known[i]
			if there[key{old.Name, old.Language}] || !old.SyncedAt.Before(since) || !old.CreatedAt.Before(since) || !old.toldAt.Before(since) {
				continue
			}
			if err := forgetTemplate(ctx, q, &old.Template); err != nil {
				return err
			}
		}
		return nil
	})
	return s.fail(err, "sync %d templates of account %s", len(ts), account)
}

// RemoveTemplate forgets one of an account's templates, which no update that Meta
// sent before, or sends again, brings back. It may be repeated.
func (s *Store) RemoveTemplate(ctx context.Context, account gateway.AccountID, id gateway.TemplateID) error {
	err := s.inTx(ctx, func(q queries) error {
		if err := lockTemplates(ctx, q, account); gateway.KindOf(err) == gateway.NotFound {
			return nil // nor has it templates
		} else if err != nil {
			return err
		}
		t, err := one(ctx, q, scanTemplate, templateSelect+`account = $1 AND id = $2`, account, id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return forgetTemplate(ctx, q, &t)
	})
	return s.fail(err, "remove template %s", id)
}

// ApplyTemplateUpdates records what Meta tells of templates' statuses, all of
// it or nothing, and tells webhooks of what changed. Updates may repeat, come
// out of order, and be of templates that are not on record: those come onto it
// without their components, unless they were deleted.
func (s *Store) ApplyTemplateUpdates(ctx context.Context, updates []gateway.TemplateUpdate) error {
	// One order for all, so that two processes do not wait for each other.
	updates = slices.Clone(updates)
	slices.SortStableFunc(updates, func(a, b gateway.TemplateUpdate) int { return strings.Compare(string(a.Account), string(b.Account)) })
	err := s.inTx(ctx, func(q queries) error {
		for i := range updates {
			if err := s.applyTemplateUpdate(ctx, q, &updates[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return s.fail(err, "apply %d updates of templates", len(updates))
}

func (s *Store) applyTemplateUpdate(ctx context.Context, q queries, u *gateway.TemplateUpdate) error {
	if err := lockTemplates(ctx, q, u.Account); err != nil {
		if gateway.KindOf(err) == gateway.NotFound {
			return nil // Meta would tell it for seven days
		}
		return err
	}
	old, err := templateNamed(ctx, q, u.Account, u.Name, u.Language)
	if err != nil {
		return err
	}
	told := u.At
	if told.IsZero() {
		told = now()
	}
	fresh := gateway.Template{
		Account: u.Account, ExternalID: u.ExternalID, Name: u.Name, Language: u.Language,
		Category: u.Category, Status: u.Status, Reason: u.Reason,
	}
	gone := u.Status == gateway.TemplateDeleted
	another := old != nil && u.ExternalID != "" && old.ExternalID != "" && u.ExternalID != old.ExternalID
	switch {
	case gone && (old == nil || another):
		return bury(ctx, q, &fresh) // what Meta told of it before may come yet
	case old != nil && told.Before(old.toldAt):
		return nil // overtaken by a later one
	}
	switch dead, err := buried(ctx, q, &fresh); {
	case err != nil:
		return err
	// Of what has no id it is not known which one it was.
	case !dead.IsZero() && (u.ExternalID != "" || old == nil && !told.After(dead)):
		return nil
	case old == nil:
		return s.addTold(ctx, q, &fresh, told)
	}
	t := old.Template
	t.Status, t.Reason = u.Status, u.Reason
	if u.ExternalID != "" {
		t.ExternalID = u.ExternalID
	}
	if u.Category != "" {
		t.Category = u.Category
	}
	if err := s.saveTemplate(ctx, q, old, &t); err != nil {
		return err
	}
	if gone {
		return forgetTemplate(ctx, q, &t)
	}
	return markTold(ctx, q, t.ID, told)
}

// addTold adds a template that Meta told of first.
func (s *Store) addTold(ctx context.Context, q queries, t *gateway.Template, told time.Time) error {
	if err := s.saveTemplate(ctx, q, nil, t); err != nil {
		return err
	}
	if err := markTold(ctx, q, t.ID, told); err != nil {
		return err
	}
	return s.tellTemplates(ctx, q, t)
}

// lockTemplates keeps others from writing an account's templates until the end
// of the transaction.
func lockTemplates(ctx context.Context, q queries, account gateway.AccountID) error {
	_, err := one(ctx, q, scanInt, `SELECT 1 FROM accounts WHERE id = $1`+q.lockKey, account)
	return or(err, "There is no account %q", account)
}

// templateNamed returns nil if there is none.
func templateNamed(ctx context.Context, q queries, account gateway.AccountID, name, language string) (*templateRow, error) {
	t, err := one(ctx, q, scanTemplateRow, templateSelect+`account = $1 AND name = $2 AND language = $3`, account, name, language)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // absence is no error here
	}
	return &t, err
}

// saveTemplate writes t over old, or adds it where old is nil, and tells
// webhooks of a known template's new status. t gets its id and its times. The
// account's templates must be locked.
func (s *Store) saveTemplate(ctx context.Context, q queries, old *templateRow, t *gateway.Template) error {
	if old == nil {
		t.ID, t.CreatedAt = gateway.NewTemplateID(), now()
		t.UpdatedAt = t.CreatedAt
		_, err := q.exec(ctx, `INSERT INTO templates (id, account, external_id, name, language, category, status, components, reason,
				told_at, created_at, updated_at, synced_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12)`,
			t.ID, t.Account, t.ExternalID, t.Name, t.Language, t.Category, t.Status, t.Components, t.Reason, t.CreatedAt, t.UpdatedAt, t.SyncedAt)
		return err
	}
	t.ID, t.CreatedAt, t.UpdatedAt = old.ID, old.CreatedAt, old.UpdatedAt
	if t.ExternalID != old.ExternalID || t.Category != old.Category || t.Status != old.Status || t.Reason != old.Reason ||
		string(t.Components) != string(old.Components) {
		t.UpdatedAt = now()
	}
	if _, err := q.exec(ctx, `UPDATE templates SET external_id = $2, category = $3, status = $4, components = $5, reason = $6,
			updated_at = $7, synced_at = $8 WHERE id = $1`,
		t.ID, t.ExternalID, t.Category, t.Status, t.Components, t.Reason, t.UpdatedAt, t.SyncedAt); err != nil {
		return err
	}
	if t.Status == old.Status {
		return nil
	}
	return s.tellTemplates(ctx, q, t)
}

func markTold(ctx context.Context, q queries, id gateway.TemplateID, at time.Time) error {
	_, err := q.exec(ctx, `UPDATE templates SET told_at = $2 WHERE id = $1`, id, at)
	return err
}

func (s *Store) tellTemplates(ctx context.Context, q queries, t *gateway.Template) error {
	if s.tellTemplate == nil {
		return nil
	}
	hooks, err := list(ctx, q, s.scanWebhook, webhookSelect+`ORDER BY id`)
	if err != nil {
		return err
	}
	ds := s.tellTemplate(hooks, t, now())
	for i := range ds {
		ds[i].Action = int(rand.Int64()) //nolint:gosec // no secret: nothing else makes it one of a kind
	}
	return insertDeliveries(ctx, q, ds)
}
