package agents

import (
	"context"
	"time"

	"wagent/gateway/client/rest"
	"wagent/gateway/client/runs"
)

// Agent is an agent as it was when it was read. It may be used concurrently. Runs
// are made of one that a [Service] returned.
type Agent struct {
	ID                         string        `json:"id"`
	Name                       string        `json:"name"`
	Description                string        `json:"description"`
	SystemPrompt               string        `json:"system_prompt"`
	Model                      string        `json:"model"`
	Temperature                float64       `json:"temperature"`
	MaxTokens                  int           `json:"max_tokens"`
	Active                     bool          `json:"active"`
	AutoRunInbound             bool          `json:"auto_run_inbound"`
	DebounceSeconds            int           `json:"debounce_seconds"`
	ContextTTLMinutes          int           `json:"context_ttl_minutes"`
	BusinessAccountID          string        `json:"business_account_id"` // "": no account's
	AllowedActions             []string      `json:"allowed_actions"`     // empty: any
	Tools                      []Tool        `json:"tools"`               // the allowed actions, with their names
	PayloadSchema              []Field       `json:"payload_schema"`
	ConfirmationMode           string        `json:"confirmation_mode"`
	ConfirmationTimeoutMinutes int           `json:"confirmation_timeout_minutes"`
	InboundConfig              InboundConfig `json:"inbound_config"`
	CreatedAt                  time.Time     `json:"created_at"`
	UpdatedAt                  time.Time     `json:"updated_at"`

	rest *rest.Client
}

// Runs are the agent's.
func (a *Agent) Runs() *runs.Service { return runs.New(a.rest, a.ID) }

// Run makes a run and waits for its end. The input is a string, a [runs.Input]
// or anything else that encodes to JSON. The run is nil only where none could
// be made; beside an error it may be one that failed ([runs.ErrFailed]) or that
// goes on after ctx ended, as [runs.Run.Wait] says. Give ctx a deadline, say of
// 30 s: there is no other.
func (a *Agent) Run(ctx context.Context, input any) (*runs.Run, error) {
	r, err := a.RunAsync(ctx, input)
	if err != nil {
		return nil, err
	}
	return r, r.Wait(ctx)
}

// RunAsync makes a run and returns it pending, for [runs.Run.Wait] later. Runs
// with metadata are made by [runs.Service.Create].
func (a *Agent) RunAsync(ctx context.Context, input any) (*runs.Run, error) {
	return a.Runs().Create(ctx, runs.Params{Input: input})
}
