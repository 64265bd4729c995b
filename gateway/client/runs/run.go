package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"wagent/gateway/client/actions"
)

// The values of Run.Status.
const (
	Pending   = "pending"
	Running   = "running"
	Completed = "completed"
	Failed    = "failed"
)

// The values of ActionStatus.Status, of which the first is [Pending].
const (
	Confirmed = "confirmed"
	Rejected  = "rejected"
	Expired   = "expired" // nobody decided in time
)

// ErrFailed is wrapped by what waits for a run that failed.
var ErrFailed = errors.New("the run failed")

// Run is a run as it was when it was last read. Its methods that call change it,
// and so are not to be used concurrently.
type Run struct {
	ID               string          `json:"id"`
	AgentID          string          `json:"agent_id"`
	Status           string          `json:"status"`
	TriggeredBy      string          `json:"triggered_by"` // "api" or "auto_inbound"
	Input            json.RawMessage `json:"input"`        // an object: a plain string is its last_message
	Output           *Output         `json:"output"`       // nil until it is completed
	Error            string          `json:"error"`        // why it failed
	ModelUsed        string          `json:"model_used"`
	InputTokens      int             `json:"input_tokens"`
	OutputTokens     int             `json:"output_tokens"`
	LatencyMS        int             `json:"latency_ms"`  // of the model
	DurationMS       int             `json:"duration_ms"` // of the whole run
	ContextSummary   string          `json:"context_summary"`
	ActionStatuses   []ActionStatus  `json:"action_statuses"`    // parallel to the actions; nil: nobody has to confirm them
	ActionsDecidedAt time.Time       `json:"actions_decided_at"` // zero while one is pending
	StartedAt        time.Time       `json:"started_at"`
	CompletedAt      time.Time       `json:"completed_at"`
	CreatedAt        time.Time       `json:"created_at"`

	service *Service
}

// Output is what the agent made of the input.
type Output struct {
	Intent          string           `json:"intent"`
	Confidence      float64          `json:"confidence"` // 0 to 1
	Actions         []actions.Action `json:"actions"`    // of the agent's allowed types, if it has any
	Language        string           `json:"language"`   // ISO 639-1
	SuggestedReply  string           `json:"suggested_reply"`
	AnalysisSummary string           `json:"analysis_summary"`
	ContextSummary  string           `json:"context_summary"`
}

// ActionStatus is what was decided about an action.
type ActionStatus struct {
	Status    string    `json:"status"`
	DecidedAt time.Time `json:"decided_at"` // zero while it is pending
	DecidedBy string    `json:"decided_by"` // "api", "timeout", "dashboard", "whatsapp"; "" while it is pending
}

// IsFinished reports whether the run is completed or failed.
func (r *Run) IsFinished() bool { return r.Status == Completed || r.Status == Failed }

// Intent is the output's; "" without one.
func (r *Run) Intent() string { return r.output().Intent }

// Confidence is the output's, from 0 to 1; 0 without one.
func (r *Run) Confidence() float64 { return r.output().Confidence }

// SuggestedReply is the output's, in the customer's language; "" without one.
func (r *Run) SuggestedReply() string { return r.output().SuggestedReply }

// Actions are the output's, whatever was decided about them; nil without one.
func (r *Run) Actions() []actions.Action {
	all := append([]actions.Action(nil), r.output().Actions...)
	for i := range all {
		all[i].Index = i
	}
	return all
}

func (r *Run) output() *Output {
	if r.Output == nil {
		return &Output{}
	}
	return r.Output
}

// ConfirmedActions are the ones that may be carried out: all, where nobody has
// to confirm them, or else those that somebody confirmed.
func (r *Run) ConfirmedActions() []actions.Action {
	all := r.Actions()
	if r.ActionStatuses == nil {
		return all
	}
	var out []actions.Action
	for i, a := range all {
		if i < len(r.ActionStatuses) && r.ActionStatuses[i].Status == Confirmed {
			out = append(out, a)
		}
	}
	return out
}

// Dispatch runs the handlers of the confirmed actions, as
// [actions.Registry.DispatchAll] says. It goes by what r holds and calls
// nothing, and does it again when called again.
func (r *Run) Dispatch(ctx context.Context, registry *actions.Registry) (actions.Report, error) {
	report, err := registry.DispatchAll(ctx, r.ConfirmedActions())
	if err != nil {
		return report, fmt.Errorf("dispatch run %s: %w", r.ID, err)
	}
	return report, nil
}

// ConfirmActions confirms the actions at the indexes, all of them or, with an
// error, none. One that is decided already is a conflict (client.ErrConflict).
// r becomes what the gateway answers.
func (r *Run) ConfirmActions(ctx context.Context, indexes ...int) error {
	return r.Decide(ctx, indexes, nil)
}

// RejectActions rejects the actions at the indexes, as ConfirmActions confirms
// them.
func (r *Run) RejectActions(ctx context.Context, indexes ...int) error {
	return r.Decide(ctx, nil, indexes)
}

// Decide confirms some actions and rejects others in one step: all of it holds,
// or nothing.
func (r *Run) Decide(ctx context.Context, confirm, reject []int) error {
	var ds []decision
	for _, i := range confirm {
		ds = append(ds, decision{i, Confirmed})
	}
	for _, i := range reject {
		ds = append(ds, decision{i, Rejected})
	}
	return r.become(func(s *Service) (*Run, error) { return s.decide(ctx, r.ID, ds) })
}

// Refresh reads the run again.
func (r *Run) Refresh(ctx context.Context) error {
	return r.become(func(s *Service) (*Run, error) { return s.Retrieve(ctx, r.ID) })
}

func (r *Run) become(call func(*Service) (*Run, error)) error {
	if r.service == nil {
		return errors.New("the run does not come from a client: retrieve it")
	}
	now, err := call(r.service)
	if err != nil {
		return err
	}
	*r = *now
	return nil
}

// Polling begins fast, because most runs take a second or two, and slows down.
const (
	firstPoll = 200 * time.Millisecond
	maxPoll   = time.Second
)

// Wait blocks until the run is finished, and returns nil if it is completed. An
// error wraps [ErrFailed] if it failed, the context's if that ended first, and
// otherwise is that of the last look; r is what was last seen of the run, which
// goes on.
func (r *Run) Wait(ctx context.Context) error {
	for pause := firstPoll; !r.IsFinished(); pause = min(2*pause, maxPoll) {
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("wait for run %s: %w", r.ID, context.Cause(ctx))
		}
		if err := r.Refresh(ctx); err != nil {
			return fmt.Errorf("wait for run %s: %w", r.ID, err)
		}
	}
	if r.Status == Failed {
		return fmt.Errorf("run %s: %w: %s", r.ID, ErrFailed, r.Error)
	}
	return nil
}
