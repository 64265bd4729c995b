package gateway

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// AgentLimits are how far agents may go. What is zero is as the agents API has it
// ([DefaultAgentLimits]); an operator may raise it.
type AgentLimits struct {
	MaxTokens           int           // of one answer
	Quiet               time.Duration // that ends a batch; an hour at most
	ContextTTL          time.Duration
	ConfirmationTimeout time.Duration
	Actions             int // that an agent may be allowed by name
	Fields              int // of its payload schema
}

// DefaultAgentLimits are those of the agents API.
func DefaultAgentLimits() AgentLimits {
	return AgentLimits{
		MaxTokens: 2048, Quiet: time.Minute, ContextTTL: 24 * time.Hour, ConfirmationTimeout: 24 * time.Hour, Actions: 10, Fields: 10,
	}
}

func (l AgentLimits) filled() AgentLimits {
	d := DefaultAgentLimits()
	return AgentLimits{
		MaxTokens: cmp.Or(l.MaxTokens, d.MaxTokens), Quiet: cmp.Or(l.Quiet, d.Quiet), ContextTTL: cmp.Or(l.ContextTTL, d.ContextTTL),
		ConfirmationTimeout: cmp.Or(l.ConfirmationTimeout, d.ConfirmationTimeout),
		Actions:             cmp.Or(l.Actions, d.Actions), Fields: cmp.Or(l.Fields, d.Fields),
	}
}

// Validate returns nil, or an Error of kind Invalid whose Details name each
// field of the agent that is out of range, by the names of the agents API.
func (l AgentLimits) Validate(a *Agent) error {
	l = l.filled()
	d := details{}
	d.add("name", strings.TrimSpace(a.Name) == "", "can't be blank")
	d.add("system_prompt", strings.TrimSpace(a.SystemPrompt) == "", "can't be blank")
	validateModel(d, a.Model)
	d.add("temperature", !(a.Temperature >= 0 && a.Temperature <= 2), "must be between 0 and 2")
	d.add("max_tokens", a.MaxTokens < 1 || a.MaxTokens > l.MaxTokens, fmt.Sprintf("must be between 1 and %d", l.MaxTokens))
	l.validateWindow(a, d)
	d.add("context_ttl_minutes", a.ContextTTL < 0 || a.ContextTTL > l.ContextTTL, fmt.Sprintf("must be between 0 and %d", l.ContextTTL/time.Minute))
	d.add("confirmation_timeout_minutes", a.ConfirmationTimeout < time.Minute || a.ConfirmationTimeout > l.ConfirmationTimeout,
		fmt.Sprintf("must be between 1 and %d", l.ConfirmationTimeout/time.Minute))
	l.validateActions(a, d)
	a.validateModels(d)
	a.validateLimits(d)
	a.validateMemory(d)
	l.validatePayload(a, d)
	a.Route.validate(d)
	a.Filter.validate(d)
	return d.err()
}

// ValidateWindow is Validate for those settings that a WindowOverride may have
// changed.
func (l AgentLimits) ValidateWindow(a *Agent) error {
	d := details{}
	l.filled().validateWindow(a, d)
	return d.err()
}

const maxMaxSupersedes = 100

func (l AgentLimits) validateWindow(a *Agent, d details) {
	d.add("debounce_seconds", a.Quiet < time.Second || a.Quiet > l.Quiet, fmt.Sprintf("must be between 1 and %d", l.Quiet/time.Second))
	d.add("max_wait_seconds", a.MaxWait < min(a.Quiet, l.Quiet) || a.MaxWait > time.Hour, "must be between debounce_seconds and 3600")
	d.add("max_batch_messages", a.MaxBatch < 1 || a.MaxBatch > 100, "must be between 1 and 100")
	d.add("on_new_message", a.OnNewMessage != FollowUp && a.OnNewMessage != Supersede, "must be follow_up or supersede")
	d.add("max_supersedes", a.MaxSupersedes < 0 || a.MaxSupersedes > maxMaxSupersedes, fmt.Sprintf("must be between 0 and %d", maxMaxSupersedes))
}

// maxAction is in bytes. An action's type is a label of metrics.
const maxAction = 200

func (l AgentLimits) validateActions(a *Agent, d details) {
	d.add("allowed_actions", len(a.AllowedActions) > l.Actions, fmt.Sprintf("must have at most %d entries", l.Actions))
	seen := map[string]bool{}
	for _, t := range first(a.AllowedActions, l.Actions) {
		d.add("allowed_actions", !actionType.MatchString(t), fmt.Sprintf("%.80q must be domain.resource.action in snake_case", t))
		d.add("allowed_actions", len(t) > maxAction, fmt.Sprintf("must be of at most %d characters each", maxAction))
		d.add("allowed_actions", seen[t], fmt.Sprintf("%.80q stands there twice", t))
		seen[t] = true
	}
}

// maxField is in bytes.
const maxField = 64

func (l AgentLimits) validatePayload(a *Agent, d details) {
	d.add("payload_schema", len(a.PayloadSchema) > l.Fields, fmt.Sprintf("must have at most %d fields", l.Fields))
	seen := map[string]bool{}
	for _, f := range first(a.PayloadSchema, l.Fields) {
		d.add("payload_schema", !fieldName.MatchString(f.Name), fmt.Sprintf("name %.80q must be in snake_case", f.Name))
		d.add("payload_schema", len(f.Name) > maxField, fmt.Sprintf("names must be of at most %d characters each", maxField))
		d.add("payload_schema", seen[f.Name], fmt.Sprintf("name %.80q stands there twice", f.Name))
		seen[f.Name] = true
		switch f.Type {
		case FieldText, FieldNumber, FieldBoolean, FieldDate, FieldTime, FieldDateTime:
		default:
			d.add("payload_schema", true, fmt.Sprintf("field_type %.40q must be text, number, boolean, date, time or datetime", f.Type))
		}
	}
}
