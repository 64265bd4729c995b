package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"wagent/cmd/wagent/internal/bench/api"
	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
)

type benchAPICommand struct {
	Database string        `placeholder:"URL" help:"A PostgreSQL with nothing else to do, such as postgres://user@host/name. All is done in a schema that is removed."`
	JSON     bool          `name:"json" help:"Print JSON."`
	Agents   int           `default:"1000" help:"How many agents there are."`
	Runs     int           `default:"100000" help:"How many runs they have in all."`
	Rate     int           `default:"200" help:"Calls a second."`
	Warm     time.Duration `default:"5s" help:"How long it asks before anything counts."`
	Seconds  int           `default:"30" help:"How long it asks while it counts."`
}

// Run implements wagent bench api.
func (c benchAPICommand) Run(ctx context.Context, p process) error {
	if c.Database == "" {
		return useError{"wagent: --database is missing, such as postgres://user@host/name"}
	}
	b := api.Bench{
		Database: c.Database, Agents: c.Agents, Runs: c.Runs, Rate: c.Rate, Warm: c.Warm, Measured: time.Duration(c.Seconds) * time.Second,
		Start: func(ctx context.Context, database, key string) (api.Program, error) {
			return startListening(ctx, database, key, p.stderr)
		},
	}
	if err := b.Validate(); err != nil {
		return useError{fmt.Sprintf("wagent: %v", err)}
	}
	redisLogs(slog.New(slog.DiscardHandler)) // what matters comes back as an error
	r, err := b.Run(ctx)
	if err != nil {
		return fmt.Errorf("bench api: %w", err)
	}
	return printReport(p.stdout, c.JSON, &r)
}

// A listening program is wagent as serve runs it.
type listening struct{ *app }

func startListening(ctx context.Context, database, key string, stderr io.Writer) (api.Program, error) {
	cfg := config.Default()
	cfg.Listen = "127.0.0.1:0"
	cfg.Database.URL = gateway.Secret(database)
	cfg.SecretKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" // of a schema that is removed
	cfg.APIKeys = []config.APIKey{{Name: "bench", Key: gateway.Secret(key), PerMinute: 1_000_000}}
	a, err := build(ctx, cfg, host{noSocket: true}, slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return nil, err
	}
	return listening{a}, nil
}

// URL satisfies api.Program.
func (a listening) URL() string { return "http://" + a.listener.Addr().String() }
