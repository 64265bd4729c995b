// Package agents is the agents of a gateway: what they are told, which model
// answers, which actions they may take.
package agents

import (
	"context"
	"iter"
	"net/http"

	"wagent/gateway/client/rest"
)

// Service is the agents that the key reaches. It may be used concurrently.
type Service struct{ rest *rest.Client }

// New returns the agents.
func New(c *rest.Client) *Service { return &Service{c} }

// Params is an agent to be made, or what is to change of one: what is nil (or
// "", of Name and SystemPrompt) is left out, and so takes its default or stays.
// new("…"), new(0.5), new(false) make the pointers.
type Params struct {
	Name                       string         `json:"name,omitempty"`          // required of a new one
	SystemPrompt               string         `json:"system_prompt,omitempty"` // required of a new one
	Description                *string        `json:"description,omitempty"`
	BusinessAccountID          *string        `json:"business_account_id,omitempty"`          // whose messages it answers; "": none's
	Model                      *string        `json:"model,omitempty"`                        // provider/model; gpt-4o-mini
	Temperature                *float64       `json:"temperature,omitempty"`                  // 0 to 2; 0.3
	MaxTokens                  *int           `json:"max_tokens,omitempty"`                   // 1 to 2048; 1024
	Active                     *bool          `json:"active,omitempty"`                       // true
	AutoRunInbound             *bool          `json:"auto_run_inbound,omitempty"`             // false
	DebounceSeconds            *int           `json:"debounce_seconds,omitempty"`             // 1 to 60; 10
	ContextTTLMinutes          *int           `json:"context_ttl_minutes,omitempty"`          // 0 (no context) to 1440; 60
	AllowedActions             []string       `json:"allowed_actions,omitzero"`               // at most 10; empty but not nil: any
	PayloadSchema              []Field        `json:"payload_schema,omitzero"`                // at most 10; empty but not nil: free
	ConfirmationMode           *string        `json:"confirmation_mode,omitempty"`            // Auto or Confirm; Auto
	ConfirmationTimeoutMinutes *int           `json:"confirmation_timeout_minutes,omitempty"` // 1 to 1440; 30
	InboundConfig              *InboundConfig `json:"inbound_config,omitempty"`
	IdempotencyKey             string         `json:"-"` // of Create, as [runs.Params] says
}

// The values of ConfirmationMode.
const (
	Auto    = "auto"    // actions are to be carried out at once
	Confirm = "confirm" // somebody confirms each of them first
)

// Field is one of the fields that an action's payload has.
type Field struct {
	Name      string `json:"name"`       // [a-z][a-z0-9_]*
	FieldType string `json:"field_type"` // text, number, boolean, date, time, datetime
	Required  bool   `json:"required"`   // the model is to fill it; check that it did
}

// Tool is an allowed action as people read it.
type Tool struct {
	Key  string `json:"key"`  // the action's type
	Name string `json:"name"` // Support ticket create
}

// InboundConfig says which messages begin a run. It is set as a whole: the zero
// value lets every message begin one. To change a part, begin with the agent's.
type InboundConfig struct {
	TriggerOn          string   `json:"trigger_on,omitempty"`            // all, or text_only; "": all
	MinMessageLength   int      `json:"min_message_length,omitempty"`    // in characters
	MaxMessagesPerHour int      `json:"max_messages_per_hour,omitempty"` // 0: unlimited
	IgnorePatterns     []string `json:"ignore_patterns,omitzero"`        // regular expressions, in any case
}

// List returns the agents, and how many there are.
func (s *Service) List(ctx context.Context) (rest.List[Agent], error) {
	l, err := rest.Many[Agent](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: []string{"agents"}})
	for i := range l.Items {
		l.Items[i].rest = s.rest
	}
	return l, err
}

// All ranges over what List returns.
func (s *Service) All(ctx context.Context) iter.Seq2[Agent, error] {
	return rest.All(func() (rest.List[Agent], error) { return s.List(ctx) })
}

// Create makes an agent.
func (s *Service) Create(ctx context.Context, p Params) (*Agent, error) {
	return s.one(ctx, rest.Call{Method: http.MethodPost, Path: []string{"agents"}, In: wrap(p), Key: p.IdempotencyKey})
}

// Retrieve returns an agent.
func (s *Service) Retrieve(ctx context.Context, id string) (*Agent, error) {
	return s.one(ctx, rest.Call{Method: http.MethodGet, Path: []string{"agents", id}})
}

// Update changes what p names. An agent of the gateway's configuration file is
// read-only (client.ErrConflict).
func (s *Service) Update(ctx context.Context, id string, p Params) (*Agent, error) {
	return s.one(ctx, rest.Call{Method: http.MethodPatch, Path: []string{"agents", id}, In: wrap(p)})
}

// Delete deletes an agent.
func (s *Service) Delete(ctx context.Context, id string) error {
	return s.rest.Do(ctx, rest.Call{Method: http.MethodDelete, Path: []string{"agents", id}}, nil)
}

// Template is a system prompt to begin with.
type Template struct {
	Key          string `json:"key"`
	Name         string `json:"name"`
	Description  string `json:"description"`
	SystemPrompt string `json:"system_prompt"`
}

// Templates returns the prompts that the gateway offers.
func (s *Service) Templates(ctx context.Context) (rest.List[Template], error) {
	return rest.Many[Template](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: []string{"agent_templates"}})
}

func wrap(p Params) map[string]Params { return map[string]Params{"agent": p} }

func (s *Service) one(ctx context.Context, call rest.Call) (*Agent, error) {
	a, err := rest.One[Agent](ctx, s.rest, call)
	if err != nil {
		return nil, err
	}
	a.rest = s.rest
	return &a, nil
}
