// Package dispatch answers. A due batch becomes a run: it is claimed in SQL,
// put before one of the account's agents with what is remembered of the conversation,
// and finished in one transaction that holds the reply, the actions and their
// deliveries. Runs of the API take the same way without a batch.
//
// All state is in SQL. A process that dies in the middle leaves a run whose
// lease ends; the sweeper hands it to the next claim, whose higher generation
// keeps the dead one's late writes out.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"wagent/context/prompt"
	"wagent/context/recall"
	"wagent/debounce"
	"wagent/dispatch/agent"
	"wagent/dispatch/route/pick"
	"wagent/gateway"
)

// Config sets how runs are worked on. All fields must be positive but Drain.
type Config struct {
	Concurrency int           // API runs at once
	Timeout     time.Duration // for an agent's models to answer, retries included; what comes before has limits of its own
	Lease       time.Duration // of a run in hand; renewed while it is worked on
	MaxAttempts int           // claims after which a run fails instead of being tried again
	Drain       time.Duration // how long runs in hand may go on after a shutdown began
}

// Validate reports the first field that is out of range.
func (c Config) Validate() error {
	switch {
	case c.Concurrency < 1:
		return fmt.Errorf("concurrency must be positive, not %d", c.Concurrency)
	case c.Timeout <= 0:
		return fmt.Errorf("timeout must be positive, not %v", c.Timeout)
	case c.Lease <= 0:
		return fmt.Errorf("lease must be positive, not %v", c.Lease)
	case c.MaxAttempts < 1:
		return fmt.Errorf("max attempts must be positive, not %d", c.MaxAttempts)
	}
	return nil
}

// Parts are what a Dispatcher works with. The functions may be nil.
type Parts struct {
	Runs      RunStore
	Requests  RequestStore
	Actions   ActionStore
	Directory Directory
	Memory    Memory
	Picker    *pick.Picker
	Answerer  Answerer
	Compactor *recall.Compactor // nil: what does not fit is left out
	Sent      func()            // told that the outbox has something to send
	// Spent returns which limit a run must not pass, in words for its error; empty:
	// none. Without it nothing is limited.
	Spent func(ctx context.Context, r *gateway.Run, a *gateway.Agent) (string, error)
	// Kept returns what an agent keeps of the peer of a conversation, or an Error of
	// kind NotFound. Without it agents keep nothing of contacts.
	Kept func(ctx context.Context, agent gateway.AgentID, id gateway.ConversationID) (gateway.ContactMemory, error)
	// Results returns what came of an agent's actions in a context, of runs that
	// completed after a moment, since another: the newest so many, oldest first.
	// Without it agents are not told.
	Results func(ctx context.Context, agent gateway.AgentID, contextKey string, after, since time.Time, limit int) ([]gateway.Action, error)
	// Working is told of each batch that is being answered, until stop is
	// called, so that the customer can be shown it. It must not block.
	Working func(ctx context.Context, c *gateway.Claim) (stop func())
	// Rearm brings what waits in a conversation into its window: what superseded
	// a run may not be there yet.
	Rearm func(ctx context.Context, id gateway.ConversationID) (waiting int, err error)
	// Drop forgets the window of a conversation that an agent paused.
	Drop func(ctx context.Context, id gateway.ConversationID) error
}

// RunStore keeps the runs of conversations.
type RunStore interface {
	// ClaimRun resumes the conversation's unfinished run, or makes one of its
	// waiting messages. NotFound: there is nothing to do. Conflict: another
	// process holds it.
	ClaimRun(ctx context.Context, id gateway.ConversationID, lease time.Duration) (gateway.Claim, error)
	// RenewRun moves the end of the lease. Conflict: the run is another's now.
	RenewRun(ctx context.Context, id gateway.RunID, generation int64, until time.Time) error
	// FinishRun writes all of f or, as a Conflict, nothing. ErrSuperseded: a
	// newer message waits, and the run is pending again as by SupersedeRun.
	FinishRun(ctx context.Context, f *gateway.Finish) error
	// SupersedeRun returns a run to pending, to be claimed again with what waits
	// then. It reports false if the run is to be answered as it is. Conflict: it
	// has ended, or is another's now.
	SupersedeRun(ctx context.Context, r *gateway.Run) (bool, error)
	// ReleaseRun ends the lease of a run that did not finish and keeps r's tokens,
	// those of what was asked in vain. Conflict: it is another's now.
	ReleaseRun(ctx context.Context, r *gateway.Run) error
	// CancelRun ends a run that may not finish and keeps r's tokens. Conflict: it has
	// ended, or is another's now.
	CancelRun(ctx context.Context, r *gateway.Run, reason string) error
}

// RequestStore keeps the runs that the API asked for.
type RequestStore interface {
	CreateRun(ctx context.Context, r *gateway.Run) error
	// ClaimRuns takes at most limit pending runs, and those whose lease ended.
	ClaimRuns(ctx context.Context, limit int, lease time.Duration) (runs []gateway.Run, next time.Time, err error)
}

// ActionStore keeps the actions that a person decides on.
type ActionStore interface {
	// DecideActions locks the run, asks decide what changes, and writes that.
	// With an empty agent the run may be any agent's.
	DecideActions(ctx context.Context, agent gateway.AgentID, id gateway.RunID, decide func(gateway.Run) (gateway.Decided, error)) (gateway.Run, error)
	// DueActions returns at most limit runs with actions whose time to be
	// confirmed is over, and when the next one will be.
	DueActions(ctx context.Context, limit int) (runs []gateway.Run, next time.Time, err error)
}

// Directory knows what a run refers to.
type Directory interface {
	Account(ctx context.Context, id gateway.AccountID) (gateway.Account, error)
	Agents(ctx context.Context) ([]gateway.Agent, error)
	Webhooks(ctx context.Context) ([]gateway.Webhook, error)
	// Recent returns at most limit messages of a conversation that arrived
	// before the one with that seq, oldest first.
	Recent(ctx context.Context, id gateway.ConversationID, before int64, limit int) ([]gateway.Message, error)
}

// Memory is what is kept of a conversation between runs.
type Memory interface {
	Recall(ctx context.Context, agent gateway.AgentID, contextKey string, ttl time.Duration) (*recall.Memory, error)
	Keep(ctx context.Context, agent gateway.AgentID, contextKey string, m recall.Memory, ttl time.Duration) error
}

// Answerer asks a model and returns an answer that the agent may give.
type Answerer interface {
	Answer(ctx context.Context, a *gateway.Agent, p prompt.Prompt) (agent.Answer, error)
}

// Dispatcher turns batches and requests into finished runs. Its methods are
// safe for concurrent use.
type Dispatcher struct {
	Parts
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	requests gateway.Loop[gateway.Run]
	expiries gateway.Loop[gateway.Run]
}

// New returns a Dispatcher. It does nothing until Handle or Run is called.
func New(p Parts, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Dispatcher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("dispatch: %w", err)
	}
	if p.Compactor == nil {
		p.Compactor = &recall.Compactor{}
	}
	d := &Dispatcher{Parts: p, cfg: cfg, log: log, metrics: newMetrics(reg)}
	d.requests = gateway.Loop[gateway.Run]{
		Name: "api runs", Slots: cfg.Concurrency, Drain: cfg.Drain, Log: log,
		Claim: func(ctx context.Context, limit int) ([]gateway.Run, time.Time, error) {
			return p.Requests.ClaimRuns(ctx, limit, cfg.Lease)
		},
		Work: d.request,
	}
	d.expiries = gateway.Loop[gateway.Run]{
		Name: "confirmations", Drain: cfg.Drain, Log: log,
		Claim: p.Actions.DueActions,
		Work:  d.expire,
	}
	return d, nil
}

// Run works on what the API asked for and on confirmations that nobody gave,
// until ctx is done. Work in hand has cfg.Drain to finish. It may be called
// once.
func (d *Dispatcher) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.requests.Run(ctx) })
	g.Go(func() error { return d.expiries.Run(ctx) })
	return g.Wait()
}

// Handle answers what waits in the batch's conversation. The ids in the batch
// are hints: SQL says what is waiting. Where a run that somebody left comes
// first, the messages of the batch are answered after it, since their window is
// gone. An error asks for the batch to be handed over again later; so does a
// newer message that supersedes the run.
func (d *Dispatcher) Handle(ctx context.Context, b debounce.Batch) error {
	for {
		c, err := d.claim(ctx, gateway.ConversationID(b.Key))
		if gateway.KindOf(err) == gateway.NotFound {
			return nil
		}
		if err != nil {
			return fmt.Errorf("claim run of conversation %s: %w", b.Key, err)
		}
		err = d.held(ctx, &c.Run, func(ctx context.Context) error {
			if d.Working != nil {
				defer d.Working(ctx, &c)()
			}
			return d.recalled(ctx, &c.Run, d.answer(ctx, &c))
		})
		if err != nil || c.Run.Attempt == 1 || covers(c.Messages, b.Items) {
			return err
		}
	}
}

// claim begins no claim when ctx is over, but one that has begun outlasts it:
// cut off at its commit, it would leave a run claimed that nobody works on.
func (d *Dispatcher) claim(ctx context.Context, id gateway.ConversationID) (gateway.Claim, error) {
	if ctx.Err() != nil {
		return gateway.Claim{}, context.Cause(ctx)
	}
	ctx, cancel := outlasting(ctx, supersedePatience)
	defer cancel()
	return d.Runs.ClaimRun(ctx, id, d.cfg.Lease)
}

// outlasting returns a context that ends some time after ctx did.
func outlasting(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if sleep(out, d) {
			cancel()
		}
	})
	return out, func() { stop(); cancel() }
}

// covers reports whether all messages that items name are among ms.
func covers(ms []gateway.Message, items []string) bool {
	has := make(map[string]bool, len(ms))
	for i := range ms {
		has[string(ms[i].ID)] = true
	}
	return !slices.ContainsFunc(items, func(id string) bool { return strings.HasPrefix(id, "msg_") && !has[id] })
}

func (d *Dispatcher) request(ctx context.Context, r gateway.Run) {
	c := gateway.Claim{Run: r}
	err := d.held(ctx, &c.Run, func(ctx context.Context) error { return d.answer(ctx, &c) })
	if err != nil {
		d.log.WarnContext(ctx, "run left for another try", "run", r.ID, "attempt", r.Attempt, "err", err)
	}
}

// held does work while it renews the run's lease. A lease that another claim
// took cancels the work's context; a panic fails the attempt, not the
// process. A run that is not finished is let go of, so that nobody has to
// wait for its lease to end.
func (d *Dispatcher) held(ctx context.Context, r *gateway.Run, work func(context.Context) error) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var g errgroup.Group
	g.Go(func() error { d.renew(ctx, cancel, r.ID, r.Generation); return nil })
	defer func() {
		if p := recover(); p != nil {
			d.log.ErrorContext(ctx, "panic in run", "run", r.ID, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("run %s: panic: %v", r.ID, p)
		}
		cancel(nil)
		_ = g.Wait()
		if err != nil && !errors.Is(err, errSuperseded) {
			d.release(context.WithoutCancel(ctx), r)
		}
	}()
	return work(ctx)
}

var errLost = errors.New("the run is in other hands")

func (d *Dispatcher) renew(ctx context.Context, lost context.CancelCauseFunc, id gateway.RunID, generation int64) {
	tick := time.NewTicker(d.cfg.Lease / 3)
	defer tick.Stop()
	until := time.Now().Add(d.cfg.Lease)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		next := time.Now().Add(d.cfg.Lease)
		err := d.Runs.RenewRun(ctx, id, generation, next)
		switch {
		case err == nil:
			until = next
		case gateway.KindOf(err) == gateway.Conflict || !time.Now().Before(until):
			lost(errLost)
			return
		case ctx.Err() != nil: // the work ended meanwhile
			return
		default:
			d.log.WarnContext(ctx, "renew run", "run", id, "err", err)
		}
	}
}

// release ends the lease of a run that was not finished, and keeps what it cost.
// What a claim cost that another one followed is in no run, only in the log: that
// one's tokens are its own to write.
func (d *Dispatcher) release(ctx context.Context, r *gateway.Run) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := d.Runs.ReleaseRun(ctx, r); err != nil && (gateway.KindOf(err) != gateway.Conflict || r.InputTokens > 0) {
		d.log.WarnContext(ctx, "run not released: what it cost is not counted", "run", r.ID, "generation", r.Generation,
			"input_tokens", r.InputTokens, "output_tokens", r.OutputTokens, "err", err)
	}
}
