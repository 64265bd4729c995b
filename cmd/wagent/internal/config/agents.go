package config

import (
	"errors"
	"strings"
	"time"

	"wagent/cmd/wagent/internal/config/spelling"
	"wagent/gateway"
)

func (v value) agents(c *Config) {
	ids := places{}
	v.list(func(v value) {
		a := gateway.DefaultAgent()
		set := v.agent(&a)
		v.require(set, "", map[string]bool{"id": a.Key == "", "name": a.Name == "", "system_prompt": a.SystemPrompt == ""})
		v.validate(&a, set)
		ids.once(set["id"], a.Key)
		v.answersOn(c, &a, set)
		if at := v.at(set, "model"); !v.p.faulty(at.path) {
			at.model(c, &a)
		}
		c.Agents = append(c.Agents, a)
	})
}

func (v value) agent(a *gateway.Agent) map[string]value {
	var account string
	confirmation, onNewMessage := "auto", string(a.OnNewMessage)
	set := v.mapping(fields{
		"id":                           func(v value) { v.id(&a.Key) },
		"name":                         func(v value) { v.text(&a.Name) },
		"description":                  func(v value) { v.text(&a.Description) },
		"account":                      func(v value) { v.text(&account) },
		"model":                        func(v value) { v.text(&a.Model) },
		"system_prompt":                func(v value) { v.text(&a.SystemPrompt) },
		"temperature":                  func(v value) { v.number(&a.Temperature) },
		"max_tokens":                   func(v value) { v.integer(&a.MaxTokens) },
		"active":                       func(v value) { v.boolean(&a.Active) },
		"auto_run_inbound":             func(v value) { v.boolean(&a.AutoRun) },
		"debounce_seconds":             func(v value) { v.span(&a.Quiet, time.Second) },
		"max_wait_seconds":             func(v value) { v.span(&a.MaxWait, time.Second) },
		"max_batch_messages":           func(v value) { v.integer(&a.MaxBatch) },
		"context_ttl_minutes":          func(v value) { v.span(&a.ContextTTL, time.Minute) },
		"on_new_message":               func(v value) { v.oneOf(&onNewMessage, string(gateway.FollowUp), string(gateway.Supersede)) },
		"max_supersedes":               func(v value) { v.integer(&a.MaxSupersedes) },
		"allowed_actions":              func(v value) { v.list(func(v value) { v.action(&a.AllowedActions) }) },
		"payload_schema":               func(v value) { v.payload(&a.PayloadSchema) },
		"confirmation_mode":            func(v value) { v.oneOf(&confirmation, "auto", "confirm") },
		"confirmation_timeout_minutes": func(v value) { v.span(&a.ConfirmationTimeout, time.Minute) },
		"inbound_config":               func(v value) { v.inbound(&a.Filter) },
		"fallback_reply":               func(v value) { v.text(&a.FallbackReply) },
	})
	a.Account, a.Confirm = gateway.AccountID(account), confirmation == "confirm"
	a.OnNewMessage = gateway.NewMessagePolicy(onNewMessage)
	return set
}

// span reads a whole number of units.
func (v value) span(to *time.Duration, unit time.Duration) {
	n := int(*to / unit)
	v.integer(&n)
	*to = time.Duration(n) * unit
}

func (v value) action(to *[]string) {
	s, ok := v.scalar("the type of an action")
	if ok && v.allow(gateway.Agent{AllowedActions: []string{s}}, "allowed_actions") {
		*to = append(*to, s)
	}
}

func (v value) payload(to *[]gateway.Field) {
	names := places{}
	v.list(func(v value) { v.field(to, names) })
}

func (v value) field(to *[]gateway.Field, names places) {
	var f gateway.Field
	var fieldType string
	set := v.mapping(fields{
		"name":       func(v value) { v.text(&f.Name) },
		"field_type": func(v value) { v.text(&fieldType) },
		"required":   func(v value) { v.boolean(&f.Required) },
	})
	f.Type = gateway.FieldType(fieldType)
	v.require(set, "", map[string]bool{"name": f.Name == "", "field_type": fieldType == ""})
	names.once(set["name"], f.Name)
	if !v.p.faulty(v.path) && v.allow(gateway.Agent{PayloadSchema: []gateway.Field{f}}, "payload_schema") {
		*to = append(*to, f)
	}
}

func (v value) inbound(f *gateway.InboundFilter) {
	trigger := "all"
	v.mapping(fields{
		"trigger_on":            func(v value) { v.oneOf(&trigger, "all", "text_only") },
		"min_message_length":    func(v value) { v.integerIn(&f.MinLength, 0, 4096) },
		"max_messages_per_hour": func(v value) { v.integerIn(&f.MaxPerHour, 0, 100_000) },
		"ignore_patterns":       func(v value) { v.list(func(v value) { v.ignorePattern(&f.IgnorePatterns) }) },
	})
	f.TextOnly = trigger == "text_only"
}

func (v value) ignorePattern(to *[]string) {
	s, ok := v.scalar("a regular expression")
	if ok && v.allow(gateway.Agent{Filter: gateway.InboundFilter{IgnorePatterns: []string{s}}}, "inbound_config") {
		*to = append(*to, s)
	}
}

// allow asks the agents' own rules about one setting, so that the fault stands
// at its line and the rules stand in one place.
func (v value) allow(a gateway.Agent, key string) bool {
	wrong := detailsOf(a.Validate())[key]
	for _, msg := range wrong {
		v.fault("%s", strings.TrimPrefix(msg, "ignore_patterns: "))
	}
	return len(wrong) == 0
}

// validate holds the agent against the agents' own rules. What is known to be
// wrong is not said twice.
func (v value) validate(a *gateway.Agent, set map[string]value) {
	for key, msgs := range detailsOf(a.Validate()) {
		if at := v.at(set, key); !v.p.faulty(at.path) {
			at.fault("%s", strings.Join(msgs, ", "))
		}
	}
}

func detailsOf(err error) map[string][]string {
	if e, ok := errors.AsType[*gateway.Error](err); ok {
		return e.Details
	}
	return nil
}

// answersOn checks the account that an agent names.
func (v value) answersOn(c *Config, a *gateway.Agent, set map[string]value) {
	if a.Account == "" {
		if at, ok := set["auto_run_inbound"]; ok && a.AutoRun {
			at.fault("needs an account to take messages from, set account")
		}
		return
	}
	ids := make([]string, len(c.Accounts))
	for i, acc := range c.Accounts {
		if acc.ID == a.Account {
			return
		}
		ids[i] = string(acc.ID)
	}
	at := set["account"]
	if v.p.faulty("accounts") && len(ids) == 0 {
		return // the accounts could not be read
	}
	at.fault("no account with this id stands under accounts%s", spelling.Suggest(string(a.Account), ids, "accounts"))
}
