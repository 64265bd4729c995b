package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"wagent/cmd/wagent/internal/bench/runs"
	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
)

type benchRunsCommand struct {
	Redis         string        `placeholder:"URL" help:"A stand-alone Redis with nothing else to do, such as redis://127.0.0.1:6379. Only keys of the bench are written there, and they are removed."`
	Database      string        `placeholder:"URL" help:"A PostgreSQL with nothing else to do, such as postgres://user@host/name. All is done in a schema that is removed."`
	JSON          bool          `name:"json" help:"Print JSON."`
	Rate          int           `default:"200" help:"Messages a second, each of which becomes a run."`
	Latency       time.Duration `default:"5s" help:"What the model takes to answer."`
	Concurrent    int           `default:"1500" help:"How many runs the program takes in hand at once. Rate times latency are."`
	Conversations int           `default:"2000" help:"How many customers write, in turn."`
	Accounts      int           `default:"4" help:"Among how many accounts they are spread."`
	Warm          time.Duration `default:"15s" help:"How long they write before anything counts."`
	Seconds       int           `default:"30" help:"How long they write while it counts."`
	Profile       string        `type:"path" placeholder:"FILE" help:"Write the CPU profile of what counts there."`
	Provide       bool          `hidden:"" help:"Be the model."`
}

// Run implements wagent bench runs.
func (c benchRunsCommand) Run(ctx context.Context, p process) (err error) {
	if c.Provide {
		return runs.Provide(ctx, c.Latency, p.stdin, p.stdout)
	}
	switch {
	case c.Redis == "":
		return useError{"wagent: --redis is missing, such as redis://127.0.0.1:6379"}
	case c.Database == "":
		return useError{"wagent: --database is missing, such as postgres://user@host/name"}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b := runs.Bench{
		Redis: c.Redis, Database: c.Database, Rate: c.Rate, Latency: c.Latency, Concurrent: c.Concurrent,
		Conversations: c.Conversations, Accounts: c.Accounts, Warm: c.Warm, Measured: time.Duration(c.Seconds) * time.Second,
		Provider: []string{self, "bench", "runs", "--provide"}, Log: log,
	}
	b.Start = func(ctx context.Context, s runs.Settings) (runs.Program, error) {
		return startMeasured(ctx, s, p.stderr)
	}
	if err := b.Validate(); err != nil {
		return useError{fmt.Sprintf("wagent: %v", err)}
	}
	if c.Profile != "" {
		f, err := os.Create(c.Profile)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		b.Profile = f
	}
	redisLogs(slog.New(slog.DiscardHandler)) // what matters comes back as an error
	r, err := b.Run(ctx)
	if err != nil {
		return fmt.Errorf("bench runs: %w", err)
	}
	return printReport(p.stdout, c.JSON, &r)
}

// A measured program is wagent as serve runs it, but for who watches.
type measured struct{ *app }

// startMeasured joins the program. It logs as serve does, to nobody; what
// somebody must see goes to stderr, too.
func startMeasured(ctx context.Context, s runs.Settings, stderr io.Writer) (runs.Program, error) {
	cfg := config.Default()
	cfg.Listen = "127.0.0.1:0"
	cfg.Database.URL, cfg.Redis.URLs = gateway.Secret(s.Database), []gateway.Secret{gateway.Secret(s.Redis)}
	cfg.SecretKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" // of a schema that is removed
	cfg.Runs.Concurrency = s.Concurrent
	cfg.Providers["bench"] = config.Provider{Kind: config.OpenAI, BaseURL: s.Model}
	cfg.Accounts, cfg.Agents = s.Accounts, s.Agents
	log := slog.New(slog.NewMultiHandler(
		slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: cfg.Log.Level}), //nolint:sloglint // to write a line costs what it costs
		slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	a, err := build(ctx, cfg, host{parts: s.Watch, send: s.Sent, noSocket: true}, log)
	if err != nil {
		return nil, err
	}
	return measured{a}, nil
}

// Inject satisfies runs.Program.
func (m measured) Inject(ctx context.Context, account gateway.AccountID, from, text string) error {
	outcome, _, err := m.sandbox.Inject(ctx, account, from, "", text)
	if err == nil && outcome != gateway.OutcomeStored {
		err = fmt.Errorf("the message is %s", outcome)
	}
	return err
}

// Installation satisfies runs.Program.
func (m measured) Installation() string { return m.store.Installation() }
