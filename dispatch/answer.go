package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"wagent/context/prompt"
	"wagent/context/recall"
	"wagent/dispatch/agent"
	"wagent/dispatch/route"
	"wagent/gateway"
)

// answer takes a claimed run to its end: asks the agent, and writes what came
// of it in one transaction.
func (d *Dispatcher) answer(ctx context.Context, c *gateway.Claim) error {
	r := &c.Run
	r.StartedAt = time.Now()
	a, err := d.agent(ctx, c)
	switch {
	case gateway.KindOf(err) == gateway.Conflict:
		return nil // the run has ended, or is in other hands, which will end it
	case err != nil:
		return err
	}
	var f gateway.Finish
	if a == nil {
		const why = "no active agent answers this account"
		if r.Trigger != gateway.TriggerAPI {
			return d.cancel(ctx, r, why)
		}
		// Who asked for it may wait to be told.
		f.Run = failed(r, &agent.Failure{Stop: gateway.StopCancelled, Msg: why})
		return d.end(ctx, c, &gateway.Agent{}, &f)
	}
	r.Agent = a.ID
	if (r.Conversation == "" || d.Kept == nil) && a.ContactMemory > 0 { // it knows no contact
		stranger := *a
		stranger.ContactMemory = 0
		a = &stranger
	}
	if r.Attempt > d.cfg.MaxAttempts {
		f.Run = failed(r, &agent.Failure{Stop: gateway.StopError, Msg: fmt.Sprintf("given up: the run did not end in %d attempts", d.cfg.MaxAttempts)})
	} else if err := d.run(ctx, c, a, &f); err != nil {
		return err
	}
	return d.end(ctx, c, a, &f)
}

// end writes what came of a run, and what follows from that.
func (d *Dispatcher) end(ctx context.Context, c *gateway.Claim, a *gateway.Agent, f *gateway.Finish) error {
	hooks, err := d.Directory.Webhooks(ctx)
	if err != nil {
		return fmt.Errorf("list webhooks: %w", err)
	}
	d.conclude(f, c, a, hooks)
	return d.finish(ctx, f, a)
}

// run asks the agent, if it may still spend something, and fills in how the run
// ends.
func (d *Dispatcher) run(ctx context.Context, c *gateway.Claim, a *gateway.Agent, f *gateway.Finish) error {
	if d.Spent != nil {
		why, err := d.Spent(ctx, &c.Run, a)
		if err != nil {
			return err
		}
		if why != "" {
			f.Run = failed(&c.Run, &agent.Failure{Stop: gateway.StopSpent, Msg: why})
			return nil
		}
	}
	in, err := d.input(ctx, c, a, f)
	if err != nil {
		return err
	}
	if f.Run, f.Memory, err = d.ask(ctx, &c.Run, a, in.Input); err != nil {
		return err
	}
	f.Run.Notes, f.Summary = append(in.Notes, f.Run.Notes...), in.Summary
	return nil
}

// agent returns the agent of a run, or nil if nobody answers.
func (d *Dispatcher) agent(ctx context.Context, c *gateway.Claim) (*gateway.Agent, error) {
	agents, err := d.Directory.Agents(ctx)
	if err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	if c.Run.Trigger == gateway.TriggerInbound {
		return d.Picker.Agent(ctx, c, agents)
	}
	for i := range agents {
		if agents[i].ID == c.Run.Agent && agents[i].Active {
			return &agents[i], nil
		}
	}
	return nil, nil
}

// input gathers what the agent is to know: the batch, and within the context's
// life the turns before it and the summary of the last run. It fits into the
// agent's budget, and c.Run counts what that cost. f notes what memory it is.
func (d *Dispatcher) input(ctx context.Context, c *gateway.Claim, a *gateway.Agent, f *gateway.Finish) (recall.Fitted, error) {
	in := prompt.FromBatch(c.Messages)
	if c.Run.Trigger == gateway.TriggerAPI {
		var err error
		if in, err = prompt.FromAPI(c.Run.Input); err != nil {
			return recall.Fitted{}, fmt.Errorf("read input of run %s: %w", c.Run.ID, err)
		}
	}
	in.Agent, in.Now = a, c.Run.StartedAt.UTC()
	in.Contact = prompt.Facts{Name: c.Conversation.Name, Phone: c.Conversation.Peer.Phone}
	if c.Run.Account != "" {
		account, err := d.Directory.Account(ctx, c.Run.Account)
		if err != nil {
			return recall.Fitted{}, fmt.Errorf("find account of run %s: %w", c.Run.ID, err)
		}
		in.Account = prompt.Facts{Name: account.Name, Phone: account.PhoneNumber}
		in.Now, in.Hours = in.Now.In(account.Location()), account.Hours
	}
	if a.ContactMemory > 0 {
		m, err := d.Kept(ctx, a.ID, c.Run.Conversation)
		if err != nil && gateway.KindOf(err) != gateway.NotFound {
			return recall.Fitted{}, fmt.Errorf("read what is kept of the contact of run %s: %w", c.Run.ID, err)
		}
		in.ContactMemory, f.MemoryAt = m.Text, m.UpdatedAt
	}
	x := recall.Overlong{Input: in, Conversation: c.Run.Conversation}
	if err := d.remember(ctx, c, a, &x); err != nil {
		return recall.Fitted{}, err
	}
	fitted, err := d.Compactor.Fit(ctx, x)
	c.Run.InputTokens += fitted.InputTokens
	c.Run.OutputTokens += fitted.OutputTokens
	if err != nil {
		return fitted, fmt.Errorf("fit the input of run %s: %w", c.Run.ID, err)
	}
	return fitted, nil
}

// ask puts the input before the agent's model. Its error means that the run
// was interrupted and is not over; a model's failure is a failed run. It also
// returns what is to be kept of the contact; nil: what was kept.
func (d *Dispatcher) ask(ctx context.Context, r *gateway.Run, a *gateway.Agent, in prompt.Input) (run gateway.Run, memory *string, err error) {
	stored, err := json.Marshal(in)
	if err != nil {
		return gateway.Run{}, nil, fmt.Errorf("encode input of run %s: %w", r.ID, err)
	}
	if r.Trigger == gateway.TriggerInbound {
		r.Input = stored
	}
	limited, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	answer, err := d.Answerer.Answer(limited, a, prompt.Render(in))
	f, ok := errors.AsType[*agent.Failure](err)
	if !ok {
		f = &agent.Failure{Stop: gateway.StopError, Msg: "internal error", Err: err}
	}
	// Whatever becomes of the answer, it was paid for.
	r.InputTokens += answer.InputTokens + f.InputTokens
	r.OutputTokens += answer.OutputTokens + f.OutputTokens
	if ctx.Err() != nil {
		return gateway.Run{}, nil, fmt.Errorf("run %s interrupted: %w", r.ID, context.Cause(ctx))
	}
	if err != nil {
		level := slog.LevelWarn // what there is to do is said once, by who knows the provider, not by each run
		if f.Stop == gateway.StopError {
			level = slog.LevelError
		}
		d.log.Log(ctx, level, "agent gave no answer", "run", r.ID, "agent", a.ID, "stop_reason", f.Stop, "err", err)
		return failed(r, f), nil, nil
	}
	done := *r
	done.Status, done.StopReason = gateway.RunCompleted, gateway.StopEndTurn
	done.Output, done.Notes, done.Model, done.Latency = &answer.Output, answer.Notes, answer.Model, answer.Latency
	return done, answer.Memory, nil
}

// failed returns the end of a run that came to no answer.
func failed(r *gateway.Run, f *agent.Failure) gateway.Run {
	out := *r
	out.Status, out.StopReason, out.Error = gateway.RunFailed, f.Stop, f.Msg
	out.Model, out.Latency = f.Model, f.Latency
	return out
}

// finish writes the end of a run. Databases that are away for a moment are
// waited for, as long as the run is ours.
func (d *Dispatcher) finish(ctx context.Context, f *gateway.Finish, a *gateway.Agent) error {
	err := d.Runs.FinishRun(ctx, f)
	for wait := 250 * time.Millisecond; gateway.KindOf(err) == gateway.Unavailable; wait = min(2*wait, 4*time.Second) {
		if !sleep(ctx, wait) {
			break
		}
		err = d.Runs.FinishRun(ctx, f)
	}
	if errors.Is(err, gateway.ErrSuperseded) {
		return d.superseded(ctx, &f.Run)
	}
	if gateway.KindOf(err) == gateway.Conflict {
		// It may be finished already, if the answer to that was lost.
		wake(d.Sent)
		// A person took over while the agent was thinking, or another claim
		// did; only the first leaves something to cancel.
		return d.cancel(ctx, &f.Run, "the conversation was paused")
	}
	if err != nil {
		return fmt.Errorf("finish run %s: %w", f.Run.ID, err)
	}
	// It has ended: whoever calls the batch back now is too late.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), supersedePatience)
	defer cancel()
	r := &f.Run
	d.metrics.ended(r)
	for i := range r.Actions {
		d.metrics.actions.WithLabelValues(string(r.Actions[i].Status)).Inc()
	}
	d.sayUnrouted(ctx, r.ID, route.Unrouted(r.Actions, f.Deliveries))
	d.log.InfoContext(ctx, "run", "run", r.ID, "agent", r.Agent, "account", r.Account, "conversation", r.Conversation,
		"trigger", r.Trigger, "routed", r.Routed, "status", r.Status, "stop_reason", r.StopReason, "attempt", r.Attempt, "model", r.Model,
		"actions", len(r.Actions), "sends", len(f.Sends), "deliveries", len(f.Deliveries), "notes", len(r.Notes),
		"latency_ms", r.Latency.Milliseconds(), "duration_ms", r.Duration.Milliseconds())
	d.follow(f)
	if f.Pause != nil && d.Drop != nil {
		if err := d.Drop(ctx, f.Pause.Conversation); err != nil {
			d.log.WarnContext(ctx, "window of a paused conversation left to its end", "run", r.ID, "err", err)
		}
	}
	if key := r.ContextKey(); r.Status == gateway.RunCompleted && key != "" && a.ContextTTL > 0 {
		m := recall.Memory{Run: r.ID, Summary: r.Output.ContextSummary, Intent: r.Output.Intent, Actions: r.Output.Actions, At: r.CompletedAt}
		if err := d.Memory.Keep(ctx, a.ID, key, m, a.ContextTTL); err != nil {
			d.log.WarnContext(ctx, "context left to SQL", "run", r.ID, "err", err)
		}
	}
	return nil
}

// follow wakes those who have something to do since a run ended, and nobody
// else: each looks into SQL.
func (d *Dispatcher) follow(f *gateway.Finish) {
	if pending(f.Run.Actions) {
		d.expiries.Wake()
	}
	if len(f.Sends) > 0 {
		wake(d.Sent)
	}
}

func (d *Dispatcher) cancel(ctx context.Context, r *gateway.Run, reason string) error {
	err := d.Runs.CancelRun(ctx, r, reason)
	if gateway.KindOf(err) == gateway.Conflict {
		return nil // it has ended, or is in other hands, which will end it
	}
	if err != nil {
		return fmt.Errorf("cancel run %s: %w", r.ID, err)
	}
	r.Status, r.StopReason, r.Duration = gateway.RunFailed, gateway.StopCancelled, time.Since(r.StartedAt)
	d.metrics.ended(r)
	d.log.InfoContext(ctx, "run cancelled", "run", r.ID, "conversation", r.Conversation, "reason", reason)
	return nil
}

// sleep waits, and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
