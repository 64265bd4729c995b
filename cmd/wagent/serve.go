package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
)

// defaultConfig is the configuration that serve takes where there is one and
// none is named.
const defaultConfig = "configs/wagent.yaml"

type serveCommand struct {
	Config string `help:"The configuration file. Default: configs/wagent.yaml, if there is one." type:"path" placeholder:"FILE"`
}

// Run implements wagent serve.
func (c serveCommand) Run(ctx context.Context, p process) error {
	cfg, err := c.load(p)
	if err != nil {
		return err
	}
	log := newLogger(p.stderr, &cfg)
	redisLogs(log)
	a, err := build(ctx, cfg, host{rehearsal: rehearsal(p)}, log)
	if err != nil {
		return err
	}
	defer a.Close()
	fmt.Fprintf(p.stdout, "wagent listens on http://%s\n", a.listener.Addr())
	if a.home != nil {
		fmt.Fprintf(p.stdout, "Data is in %s: one process, moderate load. For more, set database.url and redis.url.\n", cfg.DataDir)
	}
	if a.home != nil && a.home.newKey != "" {
		fmt.Fprintf(p.stdout, "API key (kept in %s, printed this once): %s\n", a.home.keyFile(), a.home.newKey)
	}
	return a.Run(ctx)
}

// load reads the configuration. Where no account is declared and the database
// is the embedded one, the sandbox account is there to try things out.
func (c serveCommand) load(p process) (config.Config, error) {
	path := c.Config
	if path == "" {
		if _, err := os.Stat(defaultConfig); errors.Is(err, fs.ErrNotExist) {
			return config.Embedded(), nil
		}
		path = defaultConfig
	}
	cfg, err := config.Load(path, p.env)
	if err != nil {
		return config.Config{}, useError{text: fmt.Sprintf("wagent: %v", err)}
	}
	if cfg.Database.URL == "" && len(cfg.Accounts) == 0 && len(cfg.Agents) == 0 {
		try := config.Embedded()
		cfg.Accounts, cfg.Agents = try.Accounts, try.Agents
	}
	return cfg, nil
}

// Run runs the parts until ctx is done or one of them fails. The way in ends
// first; runs in hand are let finish; then what they had to say is sent; then
// the accounts hang up.
func (a *app) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var lines, out errgroup.Group
	hangUp := begin(ctx, &lines, a.lines, stop)
	defer hangUp(nil)
	seal := begin(ctx, &out, a.out, stop)
	defer seal(nil)
	g, ctx := errgroup.WithContext(ctx)
	for _, run := range a.in {
		g.Go(func() error { return run(ctx) })
	}
	var end gateway.Stop
	g.Go(func() error {
		<-ctx.Done()
		end.Until = time.Now().Add(a.drain)
		return nil
	})
	err := g.Wait()
	seal(end) // what runs left of the drain is for sending
	err = errors.Join(err, out.Wait())
	hangUp(nil)
	return errors.Join(err, lines.Wait())
}

// begin runs parts in g until end is called. One that fails calls stop.
func begin(ctx context.Context, g *errgroup.Group, parts []func(context.Context) error, stop context.CancelCauseFunc) (end context.CancelCauseFunc) {
	ctx, end = context.WithCancelCause(context.WithoutCancel(ctx))
	for _, run := range parts {
		g.Go(func() error {
			err := run(ctx)
			if err != nil {
				stop(err)
			}
			return err
		})
	}
	return end
}

// serveHTTP serves h on ln until ctx is done, then lets requests in hand
// finish for at most drain.
func serveHTTP(ctx context.Context, ln net.Listener, h http.Handler, drain time.Duration, log *slog.Logger) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	drained := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err := srv.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = srv.Close()
		}
		drained <- err
	})
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http: %w", err)
	}
	return <-drained
}
