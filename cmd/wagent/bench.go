package main

import (
	"fmt"
	"io"
	"time"
)

type benchCommand struct {
	Debounce benchDebounceCommand `cmd:"" help:"Measure the windows on a Redis: Adds beside the most that is possible, lateness, what a window costs, a burst."`
	Runs     benchRunsCommand     `cmd:"" help:"Measure what wagent adds to a run: overhead by phases, and what a run costs, with a model that takes its time."`
	API      benchAPICommand      `cmd:"" name:"api" help:"Measure how long the agents API takes to list and retrieve among many agents and runs."`
	Dispatch benchDispatchCommand `cmd:"" help:"Measure deliveries to webhooks: how many a second beside the most that is possible, how long they take, with endpoints that hang and beside a backlog."`
	Accounts benchAccountsCommand `cmd:"" help:"Measure what idle linked devices cost: memory, CPU, and the time to log all in again. WhatsApp is played, which only a build with -tags watest can."`
}

type benchAccountsCommand struct {
	Accounts int           `default:"500" help:"How many accounts."`
	Idle     time.Duration `default:"10s" help:"How long they are watched while nothing happens."`
	JSON     bool          `name:"json" help:"Print JSON."`
	Heap     string        `type:"path" placeholder:"FILE" help:"Write the heap profile of the process that holds the accounts there."`
	Hold     bool          `hidden:"" help:"Be the process that holds the accounts."`
}

// printReport prints what a bench measured, as a table or as JSON.
func printReport(out io.Writer, asJSON bool, r interface{ Print(out io.Writer) error }) error {
	var err error
	if asJSON {
		err = printJSON(out, r)
	} else {
		err = r.Print(out)
	}
	if err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	return nil
}
