package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"wagent/dispatch/route"
	"wagent/gateway"
)

// Start makes a pending run of the agent from an API call's input. metadata
// may be nil; its conversation_key, if it names one, ties the run to what is
// remembered under that key. With an empty id the run gets one; if there is a run
// with that id, it is returned as it is.
func (d *Dispatcher) Start(ctx context.Context, id gateway.RunID, a *gateway.Agent, input, metadata json.RawMessage) (gateway.Run, error) {
	if !a.Active {
		return gateway.Run{}, &gateway.Error{
			Kind: gateway.Invalid, Msg: "Validation failed",
			Details: map[string][]string{"agent": {"is not active"}},
		}
	}
	var meta struct {
		ConversationKey string `json:"conversation_key"`
	}
	if len(metadata) > 0 {
		if err := json.Unmarshal(metadata, &meta); err != nil {
			return gateway.Run{}, &gateway.Error{
				Kind: gateway.Invalid, Msg: "Validation failed",
				Details: map[string][]string{"metadata": {"must be an object whose conversation_key is a string"}}, Err: err,
			}
		}
	}
	if id == "" {
		id = gateway.NewRunID()
	}
	r := gateway.Run{
		ID: id, Agent: a.ID, Account: a.Account, ConversationKey: meta.ConversationKey,
		Trigger: gateway.TriggerAPI, Status: gateway.RunPending,
		Input: input, Metadata: metadata, CreatedAt: time.Now(),
	}
	if err := d.Requests.CreateRun(ctx, &r); err != nil {
		return gateway.Run{}, fmt.Errorf("create run: %w", err)
	}
	d.requests.Wake()
	return r, nil
}

// Decide confirms or rejects pending actions of a run, all of those named or
// none, and dispatches what was confirmed. It returns the run as it is then.
//
// Conflict: one of them is decided already. Invalid: an index or a status
// makes no sense, or the run has nothing to decide.
func (d *Dispatcher) Decide(ctx context.Context, a gateway.AgentID, id gateway.RunID, ds []gateway.Decision, by string) (gateway.Run, error) {
	hooks, err := d.Directory.Webhooks(ctx)
	if err != nil {
		return gateway.Run{}, fmt.Errorf("list webhooks: %w", err)
	}
	var decided gateway.Decided
	run, err := d.Actions.DecideActions(ctx, a, id, func(r gateway.Run) (_ gateway.Decided, err error) {
		decided, err = decide(&r, ds, by, hooks, time.Now())
		return decided, err
	})
	if err != nil {
		return gateway.Run{}, fmt.Errorf("decide actions of run %s: %w", id, err)
	}
	for _, x := range ds {
		d.metrics.actions.WithLabelValues(string(x.Status)).Inc()
	}
	d.sayUnrouted(ctx, id, route.Unrouted(decided.Actions, decided.Deliveries))
	d.log.InfoContext(ctx, "actions decided", "run", id, "by", by, "count", len(ds), "all", !run.ActionsDecided.IsZero())
	return run, nil
}

// sayUnrouted makes it visible that actions of a run went nowhere.
func (d *Dispatcher) sayUnrouted(ctx context.Context, id gateway.RunID, actions []gateway.Action) {
	for _, a := range actions {
		d.metrics.unrouted.Inc()
		d.log.WarnContext(ctx, "action went nowhere: no webhook takes it", "run", id, "index", a.Index, "type", a.Type)
	}
}

func decide(r *gateway.Run, ds []gateway.Decision, by string, hooks []gateway.Webhook, now time.Time) (gateway.Decided, error) {
	invalid := func(format string, args ...any) error {
		return &gateway.Error{
			Kind: gateway.Invalid, Msg: "Validation failed",
			Details: map[string][]string{"actions": {fmt.Sprintf(format, args...)}},
		}
	}
	switch {
	case len(ds) == 0:
		return gateway.Decided{}, invalid("can't be blank")
	case r.Status != gateway.RunCompleted:
		return gateway.Decided{}, invalid("the run is %s, not completed", r.Status)
	case len(r.Actions) == 0 || r.Actions[0].Status == gateway.ActionAuto:
		return gateway.Decided{}, invalid("the run has no actions to confirm")
	}
	var out gateway.Decided
	var confirmed []gateway.Action
	seen := map[int]bool{}
	for _, x := range ds {
		if x.Index < 0 || x.Index >= len(r.Actions) || seen[x.Index] {
			return gateway.Decided{}, invalid("index %d is not that of one action", x.Index)
		}
		seen[x.Index] = true
		action := &r.Actions[x.Index]
		if !mayDecide(by, x.Status) {
			return gateway.Decided{}, invalid("status %q must be confirmed or rejected", x.Status)
		}
		if action.Status != gateway.ActionPending {
			return gateway.Decided{}, &gateway.Error{Kind: gateway.Conflict, Msg: fmt.Sprintf("action %d is already %s", x.Index, action.Status)}
		}
		if x.Status != gateway.ActionExpired && !action.ExpiresAt.After(now) {
			return gateway.Decided{}, &gateway.Error{Kind: gateway.Conflict, Msg: fmt.Sprintf("action %d expired", x.Index)}
		}
		action.Status, action.DecidedAt, action.DecidedBy, action.ExpiresAt, action.Request = x.Status, now, by, time.Time{}, x.Request
		out.Actions = append(out.Actions, *action)
		if x.Status == gateway.ActionConfirmed {
			confirmed = append(confirmed, *action)
		}
	}
	out.Deliveries = route.Actions(hooks, r, confirmed, now)
	if !pending(r.Actions) {
		out.At, r.ActionsDecided = now, now
		out.Deliveries = append(out.Deliveries, route.Actioned(hooks, r, now)...)
	}
	return out, nil
}

func mayDecide(by string, s gateway.ActionStatus) bool {
	if s == gateway.ActionExpired {
		return by == byTimeout
	}
	return s == gateway.ActionConfirmed || s == gateway.ActionRejected
}

// byTimeout is who decides what nobody confirmed in time.
const byTimeout = "timeout"

func pending(as []gateway.Action) bool {
	for i := range as {
		if as[i].Status == gateway.ActionPending {
			return true
		}
	}
	return false
}

// expire ends the actions of a run that nobody confirmed in time.
func (d *Dispatcher) expire(ctx context.Context, r gateway.Run) {
	now := time.Now()
	var ds []gateway.Decision
	for _, a := range r.Actions {
		if a.Status == gateway.ActionPending && !a.ExpiresAt.After(now) {
			ds = append(ds, gateway.Decision{Index: a.Index, Status: gateway.ActionExpired})
		}
	}
	if len(ds) == 0 { // the clock was set back
		sleep(ctx, expireAgain)
		return
	}
	_, err := d.Decide(ctx, r.Agent, r.ID, ds, byTimeout)
	if err != nil && gateway.KindOf(err) != gateway.Conflict { // a Conflict: somebody was faster
		d.log.WarnContext(ctx, "expire actions", "run", r.ID, "err", err)
		sleep(ctx, expireAgain)
	}
}

// expireAgain is the pause after a failure. DueActions claims nothing, and names
// the run again at once: on a full disk, say, which can be read and not written.
const expireAgain = time.Second

func wake(f func()) {
	if f != nil {
		f()
	}
}
