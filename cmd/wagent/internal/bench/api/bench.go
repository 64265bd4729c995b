// Package api measures how long the agents API takes to answer, for wagent bench
// api.
//
// A [Bench] runs the whole program in this process on a PostgreSQL, makes agents
// over the API, has one run completed, and multiplies it in the database. Then it
// asks over HTTP, through the loopback interface: list agents, retrieve an agent,
// list an agent's runs, retrieve a run, in turn and at a steady rate, each at its
// time whether others were answered or not. A call's time runs from when it was
// due until its answer was read to its end, so it holds what the client in this
// process costs too.
//
// State lives in a schema of its own, which is removed at the end, also when ctx
// ends; if the process is killed it stays: its name begins with "wagent_bench_".
// Redis is the program's own: nothing here asks it for anything.
package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"wagent/cmd/wagent/internal/bench/schema"
)

// A Bench says what to measure. There are no defaults; all must be set.
type Bench struct {
	Database string // postgres://…, with nothing else to do
	Agents   int
	Runs     int // of all agents
	Rate     int // calls a second
	Warm     time.Duration
	Measured time.Duration
	// Start joins the program on a database, with an API key. Its Close is
	// called once Run has returned.
	Start func(ctx context.Context, database, key string) (Program, error)
}

// A Program is wagent, joined.
type Program interface {
	Run(ctx context.Context) error
	URL() string // of its port
	Close()
}

// Validate reports the first field that is out of range.
func (b *Bench) Validate() error {
	switch {
	case b.Agents < 1 || b.Agents > 100_000:
		return errors.New("agents must be between 1 and 100000")
	case b.Runs < b.Agents || b.Runs > 10_000_000:
		return errors.New("runs must be between the number of agents and 10000000")
	case b.Rate < 1 || b.Rate > 100_000:
		return errors.New("rate must be between 1 and 100000")
	case b.Warm < 0 || b.Measured <= 0 || b.Warm+b.Measured > time.Hour:
		return errors.New("warm must not be negative, seconds must be positive, and both together at most an hour")
	}
	return nil
}

// Run measures. It returns an error where a call was not answered as it should.
func (b *Bench) Run(ctx context.Context) (r Report, err error) {
	room, err := schema.Make(ctx, b.Database)
	if err != nil {
		return r, err
	}
	d := &database{room}
	defer func() { err = errors.Join(err, d.Remove(context.WithoutCancel(ctx))) }()
	const key = "wrb_live_key-of-a-bench-whose-schema-is-removed"
	p, err := b.Start(ctx, d.URL, key)
	if err != nil {
		return r, fmt.Errorf("start the program: %w", err)
	}
	defer p.Close()
	running, end := context.WithCancel(ctx)
	defer end()
	g, running := errgroup.WithContext(running)
	g.Go(func() error { return p.Run(running) })
	g.Go(func() error {
		defer end()
		c := &client{base: p.URL() + "/api/v1", key: key, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}}
		defer c.http.CloseIdleConnections()
		if err := b.fill(running, c, d); err != nil {
			return fmt.Errorf("fill the database: %w", err)
		}
		if _, err := b.load(running, c, b.Warm); err != nil {
			return err
		}
		times, err := b.load(running, c, b.Measured)
		if err != nil {
			return err
		}
		r = Report{
			PostgreSQL: d.Version, CPUs: runtime.NumCPU(), Agents: b.Agents, Runs: b.Runs, Rate: b.Rate,
			Seconds: b.Measured.Seconds(), ListBytes: c.listed,
		}
		for i, name := range callNames {
			r.Calls = append(r.Calls, newCall(name, times[i]))
		}
		return nil
	})
	err = g.Wait()
	if err != nil && ctx.Err() != nil {
		err = errors.New("it was stopped before all was measured; its schema is removed")
	}
	return r, err
}

// load asks for a while, and returns what calls of each kind took.
func (b *Bench) load(ctx context.Context, c *client, while time.Duration) (times [len(callNames)][]time.Duration, err error) {
	total := int(float64(b.Rate) * while.Seconds())
	took := make([]time.Duration, total)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	asking, in := errgroup.WithContext(ctx)
	for start, n := time.Now(), 0; n < total && in.Err() == nil; {
		select {
		case <-in.Done():
		case <-tick.C:
		}
		for owed := min(total, int(time.Since(start).Seconds()*float64(b.Rate))+1); n < owed; n++ {
			i, due := n, start.Add(time.Duration(float64(n)/float64(b.Rate)*float64(time.Second)))
			asking.Go(func() error {
				err := c.call(in, i)
				took[i] = time.Since(due)
				return err
			})
		}
	}
	if err := errors.Join(asking.Wait(), context.Cause(ctx)); err != nil {
		return times, err
	}
	for i, t := range took {
		times[i%len(callNames)] = append(times[i%len(callNames)], t)
	}
	return times, nil
}
