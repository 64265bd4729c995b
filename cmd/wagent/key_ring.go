package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
	keyring "wagent/gateway/api/keys"
	"wagent/gateway/store"
)

// A ring is where the API keys are. Its errors are as those of keyring.Keys.
type ring interface {
	list(ctx context.Context) ([]keyLine, error)
	create(ctx context.Context, d *keyring.Draft) (keyLine, gateway.Secret, error)
	revoke(ctx context.Context, which string) error
}

// openRing returns the keys of a running wagent over its socket, or those of its
// database where none runs in the data directory or where replicas share one.
func openRing(ctx context.Context, cfg *config.Config, notes io.Writer, log *slog.Logger) (ring, func() error, error) {
	if client, ok := dialNeighbour(ctx, cfg); ok {
		return neighbourKeys{client}, func() error { client.CloseIdleConnections(); return nil }, nil
	}
	db, closeAll, err := openDatabase(ctx, cfg, true, notes, log)
	return keyRows{db}, closeAll, err
}

// keyRows are the keys in a database that this process can open. What it changes
// is in the audit as what comes over the API is.
type keyRows struct{ store *store.Store }

func (r keyRows) list(ctx context.Context) ([]keyLine, error) {
	ks, err := r.store.APIKeys(ctx)
	out := make([]keyLine, len(ks))
	for i := range ks {
		out[i] = newKeyLine(&ks[i])
	}
	return out, err
}

func (r keyRows) create(ctx context.Context, d *keyring.Draft) (keyLine, gateway.Secret, error) {
	k, secret, err := d.Make()
	if err == nil {
		err = r.store.CreateKey(ctx, &k)
	}
	if err != nil {
		return keyLine{}, "", err
	}
	return newKeyLine(&k), secret, r.audit(ctx, "create", k.Name, http.StatusCreated)
}

func (r keyRows) revoke(ctx context.Context, which string) error {
	if err := r.store.RevokeKey(ctx, which); err != nil {
		return err
	}
	return r.audit(ctx, "revoke", which, http.StatusNoContent)
}

func (r keyRows) audit(ctx context.Context, what, subject string, status int) error {
	return r.store.AddAudit(ctx, &gateway.AuditEntry{
		At: time.Now(), Who: "(command line)", Action: "wagent key " + what, Subject: subject, Status: status,
	})
}

func newKeyLine(k *gateway.APIKey) keyLine {
	l := keyLine{
		Name: k.Name, Scope: k.Scope, Test: k.Test, Accounts: append([]gateway.AccountID{}, k.Accounts...), Declared: k.Declared,
		CreatedAt: orNone(k.CreatedAt), LastUsedAt: orNone(k.LastUsedAt), RevokedAt: orNone(k.RevokedAt),
	}
	if k.ID != "" {
		l.ID = &k.ID
	}
	if k.PerMinute > 0 {
		l.PerMinute = &k.PerMinute
	}
	return l
}

// orNone is nil for the zero time; the API shows whole seconds, too.
func orNone(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC().Truncate(time.Second))
}

// neighbourKeys are those of the process that has the data directory.
type neighbourKeys struct{ client *http.Client }

func (n neighbourKeys) list(ctx context.Context) (keys []keyLine, err error) {
	err = askNeighbour(ctx, n.client, http.MethodGet, "/keys", nil, &keys)
	return keys, err
}

func (n neighbourKeys) create(ctx context.Context, d *keyring.Draft) (keyLine, gateway.Secret, error) {
	var made struct {
		keyLine
		Secret string `json:"secret"`
	}
	err := askNeighbour(ctx, n.client, http.MethodPost, "/keys", map[string]any{"key": d}, &made)
	return made.keyLine, gateway.Secret(made.Secret), err
}

func (n neighbourKeys) revoke(ctx context.Context, which string) error {
	return askNeighbour(ctx, n.client, http.MethodDelete, "/keys/"+url.PathEscape(which), nil, nil)
}
