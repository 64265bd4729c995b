// Package runs measures what wagent itself adds to the time and the cost of a
// run, for wagent bench runs.
//
// A [Bench] runs the whole program in this process, on PostgreSQL and Redis, with
// sandbox accounts whose customers write at a steady rate. Their agents ask a
// model over HTTP, which a process of its own plays ([Provide]) and which takes
// a set time to answer. The overhead of a run is what passed between a message
// and the moment when its reply was accepted, without the quiet of the window
// and without what the provider held the request for; it is told by phases (see
// [Phase]).
//
// State lives in a schema of its own in the database and under keys of its own
// in Redis. Both are removed at the end, also when ctx ends; if the process is
// killed they stay: a schema and keys whose names begin with "wagent_bench_" and
// "wagent:". What servers tell of their CPU is of all their clients, so it is
// this bench's only where they have no others.
package runs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"wagent/dispatch"
	"wagent/gateway"
)

// A Bench says what to measure. There are no defaults; all but Profile must be
// set.
type Bench struct {
	Redis         string        // redis://…, a stand-alone one with nothing else to do
	Database      string        // postgres://…, as well
	Rate          int           // messages a second, each of which becomes a run
	Latency       time.Duration // of the model
	Concurrent    int           // how many runs the program takes in hand at once: more than Rate × Latency
	Conversations int           // that write in turn
	Accounts      int           // among which they are spread
	Warm          time.Duration // before anything counts
	Measured      time.Duration // what counts afterwards
	Profile       io.Writer     // gets the CPU profile of what is measured; nil: none is made
	Provider      []string      // the command line of a program that calls Provide
	Log           *slog.Logger  // what goes on
	// Start joins the program. Its Close is called once Run has returned.
	Start func(ctx context.Context, s Settings) (Program, error)
}

// Settings are what a bench wants of the program that it measures.
type Settings struct {
	Redis, Database string
	Model           string // the base URL of the provider "bench", which speaks OpenAI's API
	Concurrent      int
	Accounts        []gateway.Account
	Agents          []gateway.Agent       // whose model is of the provider "bench"
	Watch           func(*dispatch.Parts) // to be called with what runs are made of, before they are
	Sent            func(*gateway.Send)   // to be called with each send that was settled
}

// A Program is wagent, joined.
type Program interface {
	// Inject has a customer write, and returns once that is acknowledged.
	Inject(ctx context.Context, account gateway.AccountID, from, text string) error
	Run(ctx context.Context) error
	Installation() string // what its keys in Redis have in their names
	Close()
}

// quiet is the window of each message.
const quiet = time.Second

// patience is how long the last runs may take beyond what they have to.
const patience = time.Minute

// Validate reports the first field that is out of range.
func (b *Bench) Validate() error {
	turn := time.Duration(float64(b.Conversations) / float64(max(b.Rate, 1)) * float64(time.Second))
	switch {
	case b.Rate < 1 || b.Rate > 100_000:
		return errors.New("rate must be between 1 and 100000")
	case b.Latency < 0 || b.Latency > time.Minute/2:
		return errors.New("latency must be between 0 and 30s")
	case float64(b.Concurrent) <= float64(b.Rate)*b.Latency.Seconds() || b.Concurrent > 1_000_000:
		return fmt.Errorf("concurrent must be more than %.0f, the rate times the latency, and at most 1000000", float64(b.Rate)*b.Latency.Seconds())
	case b.Accounts < 1 || b.Accounts > 1000:
		return errors.New("accounts must be between 1 and 1000")
	case b.Conversations < b.Accounts || b.Conversations > 9_000_000:
		return errors.New("conversations must be between the number of accounts and 9000000")
	case turn <= quiet+b.Latency:
		return fmt.Errorf("conversations must be more: at this rate each would write every %v, before it has its answer", turn.Round(time.Millisecond))
	case b.Warm < 0 || b.Measured <= 0 || b.Warm+b.Measured > time.Hour:
		return errors.New("warm must not be negative, seconds must be positive, and both together at most an hour")
	}
	return nil
}

// A session is one Run of a Bench.
type session struct {
	*Bench
	servers *servers
	model   *provider
	program Program
	tape    *tape
}

// Run measures. It returns an error where a message got no answer.
func (b *Bench) Run(ctx context.Context) (r Report, err error) {
	s := &session{Bench: b, tape: newTape(b.messages())}
	if s.servers, err = meet(ctx, b.Redis, b.Database); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.servers.leave(context.WithoutCancel(ctx))) }()
	if s.model, err = startProvider(ctx, b.Provider, b.Latency); err != nil {
		return r, fmt.Errorf("start the provider: %w", err)
	}
	defer func() { err = errors.Join(err, s.model.stop()) }()
	accounts, agents := b.people()
	s.program, err = b.Start(ctx, Settings{
		Redis: b.Redis, Database: s.servers.database, Model: s.model.url, Concurrent: b.Concurrent,
		Accounts: accounts, Agents: agents, Watch: s.tape.watch, Sent: s.tape.sent,
	})
	if err != nil {
		return r, fmt.Errorf("start the program: %w", err)
	}
	s.servers.installation = s.program.Installation()
	defer s.program.Close()
	if r, err = s.measure(ctx); err != nil && ctx.Err() != nil {
		return r, errors.New("it was stopped before all was measured; its schema and its keys are removed")
	}
	return r, err
}

// messages is how many are written in all.
func (b *Bench) messages() int {
	return int(float64(b.Rate) * (b.Warm + b.Measured).Seconds())
}

func account(i int) gateway.AccountID { return gateway.AccountID(fmt.Sprintf("acc_bench_%d", i)) }

// people are the accounts that are written to, and who answers there.
func (b *Bench) people() (accounts []gateway.Account, agents []gateway.Agent) {
	for i := range b.Accounts {
		accounts = append(accounts, gateway.Account{
			ID: account(i), Kind: gateway.Sandbox, Name: fmt.Sprintf("Hotel %d", i), Takeover: gateway.DefaultTakeover, Declared: true,
		})
		a := gateway.DefaultAgent()
		a.Key, a.Account, a.Name, a.Model, a.AutoRun, a.Quiet = fmt.Sprintf("concierge_%d", i), account(i), "Concierge", "bench/model", true, quiet
		a.SystemPrompt = "You are the concierge of a small hotel. Answer in the guest's language, kindly and briefly."
		a.AllowedActions = []string{actionType, "hospitality.housekeeping.request"}
		a.PayloadSchema = []gateway.Field{{Name: "room_number", Type: gateway.FieldText, Required: true}, {Name: "description", Type: gateway.FieldText}}
		agents = append(agents, a)
	}
	return accounts, agents
}

// measure runs the program while customers write, and tells what came of it.
func (s *session) measure(ctx context.Context) (r Report, err error) {
	run, end := context.WithCancel(ctx)
	defer end()
	g, run := errgroup.WithContext(run)
	g.Go(func() error { return s.program.Run(run) })
	var spent spell
	g.Go(func() error {
		defer end()
		if err := s.write(run, 0, s.Warm); err != nil {
			return err
		}
		stop, err := s.profile()
		if err != nil {
			return err
		}
		defer stop()
		before, err := s.mark(run)
		if err != nil {
			return err
		}
		if err := s.write(run, s.warm(), s.Measured); err != nil {
			return err
		}
		if spent, err = s.since(run, before); err != nil {
			return err
		}
		stop()
		return s.tape.wait(run, quiet+s.Latency+patience)
	})
	if err := g.Wait(); err != nil {
		return r, err
	}
	spans, err := s.model.spans(ctx)
	if err != nil {
		return r, err
	}
	return s.report(spent, spans)
}

// warm is how many messages are written before anything counts.
func (b *Bench) warm() int { return int(float64(b.Rate) * b.Warm.Seconds()) }

// profile begins the CPU profile, and returns what ends it.
func (s *session) profile() (stop func(), err error) {
	if s.Profile == nil {
		return func() {}, nil
	}
	if err := pprof.StartCPUProfile(s.Profile); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return pprof.StopCPUProfile, nil
}

// write has customers write for a while, from the message with that number on,
// each at its time whether others were acknowledged or not.
func (s *session) write(ctx context.Context, first int, while time.Duration) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	writing, in := errgroup.WithContext(ctx)
	total := int(float64(s.Rate) * while.Seconds())
	for start, n := time.Now(), 0; n < total && in.Err() == nil; {
		select {
		case <-in.Done():
		case <-tick.C:
		}
		for owed := min(total, int(time.Since(start).Seconds()*float64(s.Rate))+1); n < owed; n++ {
			i, due := first+n, start.Add(time.Duration(float64(n)/float64(s.Rate)*float64(time.Second)))
			writing.Go(func() error { return s.say(in, i, due) })
		}
	}
	return errors.Join(writing.Wait(), context.Cause(ctx))
}

// say has a customer write the message with that number, which was due at a time:
// what it waits for a processor is in its overhead, too.
func (s *session) say(ctx context.Context, i int, due time.Time) error {
	who := i % s.Conversations
	s.tape.note(i, func(l *life) { l.wrote = due })
	err := s.program.Inject(ctx, account(who%s.Accounts), fmt.Sprintf("+1555%07d", who), words(i))
	if err != nil {
		return fmt.Errorf("write message %d: %w", i, err)
	}
	s.tape.note(i, func(l *life) { l.acked = time.Now() })
	return nil
}

// report tells what was measured.
func (s *session) report(spent spell, spans map[int]span) (Report, error) {
	lives := s.tape.lives[s.warm():]
	r := Report{
		Rate: s.Rate, Latency: milliseconds(s.Latency), Concurrent: s.Concurrent, Conversations: s.Conversations, Accounts: s.Accounts,
		CPUs: runtime.NumCPU(), PostgreSQL: s.servers.postgres, Redis: s.servers.redis, Runs: len(lives),
		InHand: s.tape.most, Spent: spent.cost(),
	}
	phases := make([][]time.Duration, len(phaseNames))
	overhead := make([]time.Duration, 0, len(lives))
	var first, last time.Time
	for i := range lives {
		l := &lives[i]
		at, ok := spans[s.warm()+i]
		if !ok || l.asked.IsZero() || l.sent.IsZero() {
			return r, fmt.Errorf("message %d was answered without the model", s.warm()+i)
		}
		ps := l.phases(at.took())
		var sum time.Duration
		for k, d := range ps {
			phases[k] = append(phases[k], d)
			sum += d
		}
		overhead = append(overhead, sum)
		if first.IsZero() || l.sent.Before(first) {
			first = l.sent
		}
		if l.sent.After(last) {
			last = l.sent
		}
	}
	r.Overhead = quantiles(overhead)
	for k, name := range phaseNames {
		r.Phases = append(r.Phases, Phase{Name: name, Quantiles: quantiles(phases[k])})
	}
	r.PerSecond = float64(len(lives)-1) / max(last.Sub(first), time.Millisecond).Seconds()
	return r, nil
}

// words is what a customer writes: its number tells the message apart wherever
// it is seen.
func words(i int) string {
	return fmt.Sprintf("Hello, this is %s%d. Could somebody please clean room 204 before the evening?", marker, i)
}

const marker = "bench message no. "

// number finds the message that a text is about: the newest that it holds.
func number(text string) (int, bool) {
	newest := -1
	for {
		_, rest, ok := strings.Cut(text, marker)
		if !ok {
			return newest, newest >= 0
		}
		n, digits := 0, 0
		for digits < len(rest) && digits < 9 && rest[digits] >= '0' && rest[digits] <= '9' {
			n = 10*n + int(rest[digits]-'0')
			digits++
		}
		if digits > 0 {
			newest = max(newest, n)
		}
		text = rest
	}
}

// quantiles sorts durations and reads them; without any all are 0.
func quantiles(ds []time.Duration) Quantiles {
	if len(ds) == 0 {
		return Quantiles{}
	}
	slices.Sort(ds)
	at := func(q float64) float64 { return milliseconds(ds[int(q*float64(len(ds)-1))]) }
	return Quantiles{P50: at(.5), P99: at(.99), P999: at(.999), Max: at(1)}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
