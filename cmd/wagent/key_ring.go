package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
	if cfg.Database.URL != "" {
		key, _ := cfg.Key()
		db, err := store.Open(ctx, store.Config{URL: string(cfg.Database.URL), Key: key}, log, prometheus.NewRegistry())
		if err != nil {
			return nil, nil, err
		}
		return keyRows{db}, db.Close, nil
	}
	if client, ok := dialLocal(ctx, cfg.DataDir); ok {
		return neighbourKeys{client}, func() error { client.CloseIdleConnections(); return nil }, nil
	}
	h, err := openHome(cfg)
	if err != nil {
		return nil, nil, err
	}
	if h.newKey != "" {
		fmt.Fprintf(notes, "API key (kept in %s, printed this once): %s\n", h.keyFile(), h.newKey)
	}
	db, err := store.Open(ctx, store.Config{Path: h.database(), Key: h.key}, log, prometheus.NewRegistry())
	if err != nil {
		return nil, nil, errors.Join(err, h.Close())
	}
	closeAll := func() error { return errors.Join(db.Close(), h.Close()) }
	// What the next start declares is there already: accounts to limit a key to.
	if err := db.Declare(ctx, cfg.Accounts, cfg.Agents, cfg.Webhooks, append(cfg.GatewayKeys(), h.keys...)); err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	return keyRows{db}, closeAll, nil
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
