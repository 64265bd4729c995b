package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway/api"
	"wagent/gateway/store"
)

// dialNeighbour returns a client of the wagent that has the data directory; false if
// none runs there, or where the database is shared and any process may work on it.
func dialNeighbour(ctx context.Context, cfg *config.Config) (*http.Client, bool) {
	if cfg.Database.URL != "" {
		return nil, false
	}
	return dialLocal(ctx, cfg.DataDir)
}

// openDatabase opens the database that no wagent keeps to itself. declare: what the next
// start declares in the embedded one is there already.
func openDatabase(ctx context.Context, cfg *config.Config, declare bool, notes io.Writer, log *slog.Logger) (*store.Store, func() error, error) {
	if cfg.Database.URL != "" {
		key, _ := cfg.Key()
		db, err := store.Open(ctx, store.Config{URL: string(cfg.Database.URL), Key: key}, log, prometheus.NewRegistry())
		if err != nil {
			return nil, nil, err
		}
		return db, db.Close, nil
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
	if declare {
		err = db.Declare(ctx, cfg.Accounts, cfg.Agents, cfg.Webhooks, append(cfg.GatewayKeys(), h.keys...))
	}
	if err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	return db, closeAll, nil
}

// callPatience is how long one call of a command may take.
const callPatience = time.Minute

// openAPI returns a client of a running wagent over its socket or, where there is
// none, of its webhooks' API on the database, in this process.
func openAPI(ctx context.Context, cfg *config.Config, notes io.Writer, log *slog.Logger) (*http.Client, func() error, error) {
	if client, ok := dialNeighbour(ctx, cfg); ok {
		client.Timeout = callPatience
		return client, func() error { client.CloseIdleConnections(); return nil }, nil
	}
	if _, err := os.Stat((&home{dir: cfg.DataDir}).database()); cfg.Database.URL == "" && err != nil {
		return nil, nil, fmt.Errorf("no wagent has run on %s: name its configuration with --config", cfg.DataDir)
	}
	db, closeAll, err := openDatabase(ctx, cfg, false, notes, log)
	if err != nil {
		return nil, nil, err
	}
	handler, err := api.New(api.Deps{ //nolint:contextcheck // it has each request's context
		Keys: db, Owners: db, Auditor: db, Requests: db, Log: log, Parts: []api.Part{newHooksAPI(db, cfg.WebhookDelivery.AllowAddresses)},
	})
	if err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	return &http.Client{Transport: inProcess{trusting(handler)}, Timeout: callPatience}, closeAll, nil
}

// inProcess answers requests without a network.
type inProcess struct{ handler http.Handler }

// RoundTrip satisfies http.RoundTripper.
func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := &written{header: http.Header{}}
	p.handler.ServeHTTP(w, r)
	return &http.Response{StatusCode: w.status, Status: http.StatusText(w.status), Header: w.header, Body: io.NopCloser(&w.body), Request: r}, nil
}

// written is an http.ResponseWriter that keeps what was answered.
type written struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header satisfies http.ResponseWriter.
func (w *written) Header() http.Header { return w.header }

// WriteHeader satisfies http.ResponseWriter.
func (w *written) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write satisfies http.ResponseWriter.
func (w *written) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}
