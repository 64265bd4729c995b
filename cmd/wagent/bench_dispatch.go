package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/pprof"
	"time"

	"wagent/cmd/wagent/internal/bench/deliveries"
)

type benchDispatchCommand struct {
	Database   string `placeholder:"URL" help:"A PostgreSQL with nothing else to do, such as postgres://user@host/name. All is done in a schema that is removed. Default: SQLite in a directory that is removed."`
	JSON       bool   `name:"json" help:"Print JSON."`
	Endpoints  []int  `default:"1,10,1000" help:"To how many endpoints as many deliveries are made as go."`
	Deliveries int    `default:"30000" help:"How many, each time."`
	Rate       *int   `help:"Deliveries a second, where it is measured how long they take. Default: 1500, on SQLite 1000." placeholder:"N"`
	Seconds    int    `default:"15" help:"How long that is measured."`
	Profile    string `type:"path" placeholder:"FILE" help:"Write the CPU profile there."`
	Pending    *int   `help:"How many deliveries to an endpoint that is away make the backlog. Default: 1000000, on SQLite none." placeholder:"N"`
}

// Run implements wagent bench dispatch.
func (c benchDispatchCommand) Run(ctx context.Context, p process) (err error) {
	rate, pending := 1500, 1_000_000
	if c.Database == "" {
		rate, pending = 1000, 0
	}
	if c.Rate != nil {
		rate = *c.Rate
	}
	if c.Pending != nil {
		pending = *c.Pending
	}
	b := deliveries.Bench{
		Database: c.Database, Dir: os.TempDir(), Endpoints: c.Endpoints, Deliveries: c.Deliveries, Rate: rate,
		Measured: time.Duration(c.Seconds) * time.Second, Pending: pending, Hang: 10 * time.Second,
		Log: slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
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
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	r, err := b.Run(ctx)
	if err != nil {
		return fmt.Errorf("bench dispatch: %w", err)
	}
	return printReport(p.stdout, c.JSON, &r)
}
