package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/cmd/wagent/internal/bench/windows"
)

type benchDebounceCommand struct {
	Redis      string        `required:"" placeholder:"URL" help:"A stand-alone Redis with nothing else to do, such as redis://127.0.0.1:6379. Only keys of the bench are written there, and they are removed."`
	JSON       bool          `name:"json" help:"Print JSON."`
	Prefix     string        `help:"What begins the keys, of which there must be none (default: a random one)."`
	Callers    []int         `default:"1,50,500" help:"How many add at once, for each measurement of Adds."`
	Adds       int           `default:"60000" help:"Adds of one round; a lone caller makes a quarter."`
	Rounds     int           `default:"5" help:"Rounds of Adds, of which the median counts."`
	Pending    []int         `default:"1000,10000,100000" help:"How many windows wait, for each measurement of lateness."`
	Spread     time.Duration `default:"10s" help:"Over which those fall due."`
	Background int           `default:"2000" help:"Adds a second to other windows meanwhile."`
	Windows    int           `default:"10000" help:"Windows whose whole life is measured, due over the spread."`
	Burst      int           `default:"100000" help:"Windows that are due in the same instant."`
}

// Run implements wagent bench debounce.
func (c benchDebounceCommand) Run(ctx context.Context, p process) error {
	opts, err := redis.ParseURL(c.Redis)
	if err != nil {
		return useError{"wagent: --redis is not a Redis address, such as redis://127.0.0.1:6379"} // the cause may quote a password
	}
	b := windows.Bench{
		Redis: opts, Prefix: c.Prefix, Callers: c.Callers, Adds: c.Adds, Rounds: c.Rounds, Pending: c.Pending,
		Spread: c.Spread, Background: c.Background, Windows: c.Windows, Burst: c.Burst, Log: slog.New(slog.NewTextHandler(p.stderr, nil)),
	}
	if err := b.Validate(); err != nil {
		return useError{fmt.Sprintf("wagent: %v", err)}
	}
	redisLogs(slog.New(slog.DiscardHandler)) // what matters comes back as an error
	r, err := b.Run(ctx)
	if err != nil {
		return fmt.Errorf("bench debounce: %w", err)
	}
	return printReport(p.stdout, c.JSON, &r)
}
