package route

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"wagent/gateway"
)

// The bodies, as the agents API documents them. Times are whole seconds of
// UTC; what is not known is null.
type (
	envelope struct {
		Event     string `json:"event"`
		Data      any    `json:"data"`
		Timestamp string `json:"timestamp"`
	}

	// runHead names the run under both keys that SDKs read.
	runHead struct {
		RunID   gateway.RunID     `json:"run_id"`
		ID      gateway.RunID     `json:"id"`
		AgentID string            `json:"agent_id"`
		Status  gateway.RunStatus `json:"status"`
	}

	usage struct {
		Tokens       tokens `json:"tokens"`
		InputTokens  int    `json:"input_tokens"`
		OutputTokens int    `json:"output_tokens"`
		LatencyMS    int64  `json:"latency_ms"`
		DurationMS   int64  `json:"duration_ms"`
	}

	tokens struct {
		Input  int `json:"input"`
		Output int `json:"output"`
	}

	completed struct {
		runHead
		TriggeredBy gateway.Trigger `json:"triggered_by"`
		From        *string         `json:"from"` // digits, no plus sign
		Metadata    json.RawMessage `json:"metadata"`
		Output      *gateway.Output `json:"output"`
		usage
		ActionStatuses []actionStatus `json:"action_statuses"`
	}

	failed struct {
		runHead
		TriggeredBy gateway.Trigger `json:"triggered_by"`
		From        *string         `json:"from"`
		Metadata    json.RawMessage `json:"metadata"`
		usage
		Error        string             `json:"error"`
		ErrorMessage string             `json:"error_message"`
		StopReason   gateway.StopReason `json:"stop_reason"`
	}

	actioned struct {
		runHead
		Output           *gateway.Output `json:"output"`
		ActionStatuses   []actionStatus  `json:"action_statuses"`
		ActionsDecidedAt *string         `json:"actions_decided_at"`
	}

	actionStatus struct {
		Status    gateway.ActionStatus `json:"status"`
		DecidedAt *string              `json:"decided_at"`
		DecidedBy *string              `json:"decided_by"`
	}

	dispatched struct {
		RunID           gateway.RunID  `json:"run_id"`
		AgentID         string         `json:"agent_id"`
		Index           int            `json:"index"`
		Type            string         `json:"type"`
		Payload         map[string]any `json:"payload"`
		ConversationID  *string        `json:"conversation_id"`
		ConversationKey *string        `json:"conversation_key"`
		Contact         contact        `json:"contact"`
		ConfirmedBy     *string        `json:"confirmed_by"` // null where nobody had to
	}

	contact struct {
		PhoneNumber *string `json:"phone_number"` // E.164
		Name        *string `json:"name"`
	}

	paused struct {
		ID               *int64                 `json:"id"`
		ConversationID   gateway.ConversationID `json:"conversation_id"`
		ConversationKey  *string                `json:"conversation_key"`
		RunID            *string                `json:"run_id"` // null where a person paused it
		AgentID          *string                `json:"agent_id"`
		PhoneNumber      *string                `json:"phone_number"` // E.164
		Reason           gateway.PauseReason    `json:"reason"`
		ExpiresAt        *string                `json:"expires_at"`
		ResumedAt        *string                `json:"resumed_at"`
		RemainingMinutes int64                  `json:"remaining_minutes"`
		CreatedAt        *string                `json:"created_at"`
	}
)

// output is the run's, where each action has a payload that clients can index.
func output(r *gateway.Run) *gateway.Output {
	if r.Output == nil {
		return nil
	}
	o := *r.Output
	o.Actions = slices.Clone(o.Actions)
	for i := range o.Actions {
		if o.Actions[i].Payload == nil {
			o.Actions[i].Payload = map[string]any{}
		}
	}
	return &o
}

func head(r *gateway.Run) runHead {
	return runHead{RunID: r.ID, ID: r.ID, AgentID: r.Agent.String(), Status: r.Status}
}

func usageOf(r *gateway.Run) usage {
	return usage{
		Tokens:      tokens{Input: r.InputTokens, Output: r.OutputTokens},
		InputTokens: r.InputTokens, OutputTokens: r.OutputTokens,
		LatencyMS: r.Latency.Milliseconds(), DurationMS: r.Duration.Milliseconds(),
	}
}

// statuses returns null (nil) for a run without confirmation.
func statuses(r *gateway.Run) []actionStatus {
	var out []actionStatus
	if r.Confirm {
		out = []actionStatus{}
	}
	actions := r.Actions
	for i := range actions {
		if actions[i].Status == gateway.ActionAuto {
			return nil
		}
		out = append(out, actionStatus{
			Status: actions[i].Status, DecidedAt: stamp(actions[i].DecidedAt), DecidedBy: orNull(actions[i].DecidedBy),
		})
	}
	return out
}

// conversationKey is what ties a run to others: what an API run's caller named,
// else the conversation.
func conversationKey(r *gateway.Run) string {
	if r.ConversationKey != "" {
		return r.ConversationKey
	}
	return string(r.Conversation)
}

// metadata returns the caller's own with the conversation's key in it.
func metadata(r *gateway.Run) json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(r.Metadata, &m) != nil || m == nil {
		m = map[string]json.RawMessage{}
	}
	m["conversation_key"] = encode(orNull(conversationKey(r)))
	return encode(m)
}

// contactOf returns the customer's number and name. The name stands in the
// input of a run that answers a batch; an API run's input is the caller's, and
// whatever it calls a contact is not ours to vouch for.
func contactOf(r *gateway.Run) contact {
	c := contact{PhoneNumber: orNull(r.Peer.Phone)}
	var in struct {
		Contact struct {
			Name string `json:"name"`
		} `json:"contact"`
	}
	if r.Trigger == gateway.TriggerInbound && json.Unmarshal(r.Input, &in) == nil {
		c.Name = orNull(in.Contact.Name)
	}
	return c
}

// digits is a phone number without its plus sign; null where there is none.
func digits(a gateway.Address) *string { return orNull(strings.TrimPrefix(a.Phone, "+")) }

// template is data of template.status. The contract says no more than the
// event's name: the members are those of the agents API's template, and the
// account.
type template struct {
	ID         gateway.TemplateID     `json:"id"`
	Account    gateway.AccountID      `json:"business_account_id"`
	ExternalID *string                `json:"meta_template_id"`
	Name       string                 `json:"name"`
	Language   string                 `json:"language"`
	Category   *string                `json:"category"`
	Status     gateway.TemplateStatus `json:"status"` // deleted, too
	Reason     *string                `json:"rejection_reason"`
	UpdatedAt  *string                `json:"updated_at"`
}

// quota is data of quota.warning and quota.exceeded. The contract says no more
// than the events' names.
type quota struct {
	Quota     string  `json:"quota"`
	AgentID   string  `json:"agent_id"`
	AgentName string  `json:"agent_name"`
	Account   *string `json:"business_account_id"`
	Day       string  `json:"day"` // of the account's clock
	Used      int64   `json:"used"`
	Limit     int64   `json:"limit"`
	Percent   int64   `json:"percent"`
	ResetsAt  *string `json:"resets_at"`
}

// disabled is data of webhook.disabled.
type disabled struct {
	ID           int64   `json:"webhook_id"`
	Host         string  `json:"host"`
	Reason       string  `json:"reason"`
	FailingSince *string `json:"failing_since"`
	DisabledAt   *string `json:"disabled_at"`
}

// tested is data of webhook.test.
type tested struct {
	WebhookID int64  `json:"webhook_id"`
	Message   string `json:"message"`
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// layout is how the contract writes times: numeric ones break published
// clients.
const layout = "2006-01-02T15:04:05Z"

// stamp writes a time; null for the zero one.
func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC().Format(layout))
}
