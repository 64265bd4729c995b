package whatsrb

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/wire"
)

// agentBody is an agent as clients see it.
type agentBody struct {
	ID                  string         `json:"id"`
	Name                string         `json:"name"`
	Description         *string        `json:"description"`
	SystemPrompt        string         `json:"system_prompt"`
	Model               string         `json:"model"`
	Temperature         float64        `json:"temperature"`
	MaxTokens           int            `json:"max_tokens"`
	Active              bool           `json:"active"`
	AutoRun             bool           `json:"auto_run_inbound"`
	Debounce            int            `json:"debounce_seconds"`
	ContextTTL          int            `json:"context_ttl_minutes"`
	Account             *string        `json:"business_account_id"`
	AllowedActions      []string       `json:"allowed_actions"`
	Tools               []toolBody     `json:"tools"`
	PayloadSchema       []payloadField `json:"payload_schema"`
	ConfirmationMode    string         `json:"confirmation_mode" enum:"auto,confirm"`
	ConfirmationTimeout int            `json:"confirmation_timeout_minutes"`
	InboundConfig       inboundConfig  `json:"inbound_config"`
	CreatedAt           *string        `json:"created_at"`
	UpdatedAt           *string        `json:"updated_at"`
}

type toolBody struct {
	Key  string `json:"key"`
	Name string `json:"name"`
}

type payloadField struct {
	Name      string `json:"name"`
	FieldType string `json:"field_type" enum:"text,number,boolean,date,time,datetime"`
	Required  bool   `json:"required"`
}

type inboundConfig struct {
	TriggerOn      string   `json:"trigger_on" enum:"all,text_only"`
	MinLength      int      `json:"min_message_length"`
	MaxPerHour     int      `json:"max_messages_per_hour" description:"0: as many as come"`
	IgnorePatterns []string `json:"ignore_patterns"`
}

// The values of confirmation_mode and trigger_on.
const (
	modeAuto    = "auto"
	modeConfirm = "confirm"
	triggerAll  = "all"
	triggerText = "text_only"
)

func newAgentBody(a *gateway.Agent) agentBody {
	b := agentBody{
		ID:                  a.ID.String(),
		Name:                a.Name,
		Description:         wire.OrNull(a.Description),
		SystemPrompt:        a.SystemPrompt,
		Model:               a.Model,
		Temperature:         a.Temperature,
		MaxTokens:           a.MaxTokens,
		Active:              a.Active,
		AutoRun:             a.AutoRun,
		Debounce:            int(a.Quiet / time.Second),
		ContextTTL:          int(a.ContextTTL / time.Minute),
		Account:             wire.OrNull(string(a.Account)),
		AllowedActions:      append([]string{}, a.AllowedActions...),
		Tools:               make([]toolBody, len(a.AllowedActions)),
		PayloadSchema:       make([]payloadField, len(a.PayloadSchema)),
		ConfirmationMode:    modeAuto,
		ConfirmationTimeout: int(a.ConfirmationTimeout / time.Minute),
		InboundConfig: inboundConfig{
			TriggerOn:      triggerAll,
			MinLength:      a.Filter.MinLength,
			MaxPerHour:     a.Filter.MaxPerHour,
			IgnorePatterns: append([]string{}, a.Filter.IgnorePatterns...),
		},
		CreatedAt: wire.Stamp(a.CreatedAt),
		UpdatedAt: wire.Stamp(a.UpdatedAt),
	}
	if a.Confirm {
		b.ConfirmationMode = modeConfirm
	}
	if a.Filter.TextOnly {
		b.InboundConfig.TriggerOn = triggerText
	}
	for i, t := range a.AllowedActions {
		b.Tools[i] = toolBody{Key: t, Name: actionName(t)}
	}
	for i, f := range a.PayloadSchema {
		b.PayloadSchema[i] = payloadField{Name: f.Name, FieldType: string(f.Type), Required: f.Required}
	}
	return b
}

// actionName is an action type for people: support.ticket.create is "Support
// ticket create".
func actionName(t string) string {
	s := strings.NewReplacer(".", " ", "_", " ").Replace(t)
	return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):]
}

// agentInput is what a client may say of an agent. The settings that the
// contract does not have are taken and shown as a settingsBody only.
type agentInput struct {
	Name                wire.Nullable[string]         `json:"name"`
	Description         wire.Nullable[string]         `json:"description" description:"What people know the agent by"`
	SystemPrompt        wire.Nullable[string]         `json:"system_prompt"`
	Model               *string                       `json:"model"`
	Temperature         *float64                      `json:"temperature" minimum:"0" maximum:"2"`
	MaxTokens           *int                          `json:"max_tokens" minimum:"1"`
	Active              *bool                         `json:"active"`
	AutoRun             *bool                         `json:"auto_run_inbound"`
	Debounce            *int                          `json:"debounce_seconds" minimum:"1"`
	MaxWait             *int                          `json:"max_wait_seconds"`
	MaxBatch            *int                          `json:"max_batch_messages"`
	OnNewMessage        *gateway.NewMessagePolicy     `json:"on_new_message" enum:"follow_up,supersede"`
	MaxSupersedes       *int                          `json:"max_supersedes"`
	ContextTTL          *int                          `json:"context_ttl_minutes" minimum:"0" description:"0: no context"`
	Account             wire.Nullable[string]         `json:"business_account_id"`
	AllowedActions      wire.Nullable[[]string]       `json:"allowed_actions"`
	PayloadSchema       wire.Nullable[[]payloadField] `json:"payload_schema"`
	ConfirmationMode    *string                       `json:"confirmation_mode" enum:"auto,confirm"`
	ConfirmationTimeout *int                          `json:"confirmation_timeout_minutes" minimum:"1"`
	InboundConfig       wire.Nullable[*inboundInput]  `json:"inbound_config"`
	FallbackReply       wire.Nullable[string]         `json:"fallback_reply"`
	Models              wire.Nullable[[]string]       `json:"models"`
	ModelSettings       wire.Nullable[wire.Object]    `json:"model_settings"`
	SpendLimits         wire.Nullable[wire.Object]    `json:"spend_limits"`
	Compaction          wire.Nullable[wire.Object]    `json:"compaction"`
	MemoryBlocks        wire.Nullable[[]block]        `json:"memory_blocks"`
	ContactMemory       wire.Nullable[int]            `json:"contact_memory_limit"`
	Answers             wire.Nullable[wire.Object]    `json:"answers"`
}

// apply changes what the input names, and returns what makes no sense before
// the agent's own rules are asked.
func (in *agentInput) apply(a *gateway.Agent) wire.Problems {
	p := wire.Problems{}
	in.Name.To(&a.Name)
	in.Description.To(&a.Description)
	in.SystemPrompt.To(&a.SystemPrompt)
	set(&a.Model, in.Model)
	set(&a.Temperature, in.Temperature)
	set(&a.MaxTokens, in.MaxTokens)
	set(&a.Active, in.Active)
	set(&a.AutoRun, in.AutoRun)
	setTime(&a.Quiet, in.Debounce, time.Second)
	setTime(&a.MaxWait, in.MaxWait, time.Second)
	if in.MaxWait == nil { // whom the contract is enough for need not know of it
		a.MaxWait = max(a.MaxWait, min(a.Quiet, time.Hour))
	}
	set(&a.MaxBatch, in.MaxBatch)
	set(&a.OnNewMessage, in.OnNewMessage)
	set(&a.MaxSupersedes, in.MaxSupersedes)
	setTime(&a.ContextTTL, in.ContextTTL, time.Minute)
	in.AllowedActions.To(&a.AllowedActions)
	setTime(&a.ConfirmationTimeout, in.ConfirmationTimeout, time.Minute)
	in.FallbackReply.To(&a.FallbackReply)
	if in.Account.Set {
		a.Account = gateway.AccountID(in.Account.Value)
	}
	if in.PayloadSchema.Set {
		a.PayloadSchema = make([]gateway.Field, len(in.PayloadSchema.Value))
		for i, f := range in.PayloadSchema.Value {
			a.PayloadSchema[i] = gateway.Field{Name: f.Name, Type: gateway.FieldType(f.FieldType), Required: f.Required}
		}
	}
	if mode := in.ConfirmationMode; mode != nil {
		if *mode != modeAuto && *mode != modeConfirm {
			p.Add("confirmation_mode", "must be auto or confirm")
		}
		a.Confirm = *mode == modeConfirm
	}
	if in.InboundConfig.Set {
		in.InboundConfig.Value.apply(a, p)
	}
	in.applySettings(a, p)
	return p
}

// inboundInput is an inboundConfig with what only we have.
type inboundInput struct {
	TriggerOn      string   `json:"trigger_on"`
	MinLength      int      `json:"min_message_length"`
	MaxPerHour     int      `json:"max_messages_per_hour"`
	IgnorePatterns []string `json:"ignore_patterns"`
	IgnoreEmoji    *bool    `json:"ignore_emoji_only"`
	IgnoreGreeting *bool    `json:"ignore_greetings"`
}

// apply replaces the filter; null opens it. What a client was not shown stays
// as it is where it does not name it: it may send back what it read.
func (in *inboundInput) apply(a *gateway.Agent, p wire.Problems) {
	if in == nil {
		a.Filter = gateway.InboundFilter{}
		return
	}
	switch in.TriggerOn {
	case "", triggerAll, triggerText:
	default:
		p.Add("inbound_config", "trigger_on must be all or text_only")
	}
	a.Filter.TextOnly = in.TriggerOn == triggerText
	a.Filter.MinLength, a.Filter.MaxPerHour, a.Filter.IgnorePatterns = in.MinLength, in.MaxPerHour, in.IgnorePatterns
	set(&a.Filter.IgnoreEmoji, in.IgnoreEmoji)
	set(&a.Filter.IgnoreGreeting, in.IgnoreGreeting)
}

// setTime keeps what a duration can't hold out of range instead of wrapping
// it around into it.
func setTime(dst *time.Duration, n *int, unit time.Duration) {
	if n != nil {
		*dst = time.Duration(min(max(*n, -1), 1_000_000)) * unit
	}
}

func (h *API) listAgents(c echo.Context) error {
	agents, err := h.Agents.Agents(c.Request().Context())
	if err != nil {
		return fmt.Errorf("list agents: %w", err)
	}
	out, err := h.encoded.list(agents)
	if err != nil {
		return fmt.Errorf("encode agents: %w", err)
	}
	return wire.List(c, out, len(out))
}

func (h *API) createAgent(c echo.Context) error {
	a := gateway.DefaultAgent()
	a.ID = gateway.NewAgentID()
	if try := idempotency.ID(c); try != "" {
		a.ID = gateway.AgentIDOf(try)
		switch made, err := h.Agents.Agent(c.Request().Context(), a.ID); {
		case err == nil: // by an earlier try, which was not answered
			return wire.Data(c, http.StatusCreated, newAgentBody(&made))
		case gateway.KindOf(err) != gateway.NotFound:
			return fmt.Errorf("find agent %s: %w", a.ID, err)
		}
	}
	if err := h.readAgent(c, &a); err != nil {
		return err
	}
	a.CreatedAt = time.Now()
	a.UpdatedAt = a.CreatedAt
	if err := h.Editor.CreateAgent(c.Request().Context(), &a); err != nil {
		return fmt.Errorf("create agent %s: %w", a.ID, err)
	}
	return wire.Data(c, http.StatusCreated, newAgentBody(&a))
}

func (h *API) retrieveAgent(c echo.Context) error {
	a, err := h.pathAgent(c)
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusOK, newAgentBody(&a))
}

func (h *API) updateAgent(c echo.Context) error {
	a, err := h.pathAgent(c)
	if err != nil {
		return err
	}
	var in agentInput
	if err := wire.ReadMember(c, "agent", &in); err != nil {
		return err
	}
	for try := 1; ; try++ {
		if err := h.applyAgent(c, &in, &a); err != nil {
			return err
		}
		err := h.Editor.UpdateAgent(c.Request().Context(), &a)
		if err == nil {
			return wire.Data(c, http.StatusOK, newAgentBody(&a))
		}
		// Two calls that change different settings both hold: what this one
		// names is applied to what the other one wrote.
		if gateway.KindOf(err) != gateway.Conflict || a.Key != "" || try == maxUpdates {
			return fmt.Errorf("update agent %s: %w", a.ID, err)
		}
		if a, err = h.pathAgent(c); err != nil {
			return err
		}
	}
}

// maxUpdates is how often a change is applied anew, because others came first.
const maxUpdates = 20

func (h *API) deleteAgent(c echo.Context) error {
	id, err := pathAgentID(c)
	if err != nil {
		return err
	}
	if err := h.Editor.DeleteAgent(c.Request().Context(), id); err != nil {
		return fmt.Errorf("delete agent %s: %w", id, err)
	}
	return c.NoContent(http.StatusNoContent)
}

// readAgent changes a as the request's body says, if what comes of it is valid.
func (h *API) readAgent(c echo.Context, a *gateway.Agent) error {
	var in agentInput
	if err := wire.ReadMember(c, "agent", &in); err != nil {
		return err
	}
	return h.applyAgent(c, &in, a)
}

func (h *API) applyAgent(c echo.Context, in *agentInput, a *gateway.Agent) error {
	bound := a.Account
	p := in.apply(a)
	if err := p.Merge(h.Limits.Validate(a)); err != nil {
		return err
	}
	if len(p) == 0 && h.Taken != nil {
		if err := p.Merge(h.Taken(a)); err != nil {
			return err
		}
	}
	if msgs := p["model"]; len(in.Models.Value) > 0 && len(msgs) > 0 { // whose first it is
		p["models"] = append(msgs, p["models"]...)
		delete(p, "model")
	}
	// One that it has already may have gone since: a client may send back what it read.
	if a.Account != bound && a.Account != "" {
		if err := h.checkAccount(c.Request().Context(), a.Account, p); err != nil {
			return err
		}
	}
	return p.Err()
}

func (h *API) checkAccount(ctx context.Context, id gateway.AccountID, p wire.Problems) error {
	accounts, err := h.Accounts.Accounts(ctx)
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	if !slices.ContainsFunc(accounts, func(a gateway.Account) bool { return a.ID == id }) {
		p.Add("business_account_id", "does not exist")
	}
	return nil
}

// pathAgent returns the agent that the path names.
func (h *API) pathAgent(c echo.Context) (gateway.Agent, error) {
	id, err := pathAgentID(c)
	if err != nil {
		return gateway.Agent{}, err
	}
	a, err := h.Agents.Agent(c.Request().Context(), id)
	if err != nil {
		return gateway.Agent{}, fmt.Errorf("find agent %s: %w", id, err)
	}
	return a, nil
}

func pathAgentID(c echo.Context) (gateway.AgentID, error) {
	s, _ := wire.PathID(c, "agent")
	id, ok := gateway.ParseAgentID(s)
	if !ok {
		return "", wire.NotFound("agent")
	}
	return id, nil
}

func set[T any](dst, value *T) {
	if value != nil {
		*dst = *value
	}
}
