package config

import (
	"errors"
	"strings"
	"time"

	"wagent/cmd/wagent/internal/config/document"
	"wagent/cmd/wagent/internal/config/spelling"
	"wagent/dispatch/llm"
	"wagent/gateway"
)

func (v value) agents(c *Config) {
	ids := document.Places{}
	var sets []map[string]document.Value
	v.list(func(v value) {
		a := gateway.DefaultAgent()
		set, named := v.agent(c, &a)
		if !given(set, "max_wait_seconds") {
			a.MaxWait = max(a.MaxWait, min(a.Quiet, time.Hour))
		}
		v.Require(set, "", map[string]bool{"id": a.Key == "", "name": a.Name == "", "system_prompt": a.SystemPrompt == ""})
		v.validate(c, &a, set)
		ids.Once(set["id"], a.Key)
		v.answersOn(c, &a, set)
		for _, n := range named {
			if !v.Faulty(n.Path) {
				n.model(c, n.handle, llm.Request{Temperature: a.Temperature, MaxTokens: a.MaxTokens, Settings: a.Settings})
			}
		}
		c.Agents, sets = append(c.Agents, a), append(sets, set)
	})
	if !v.Faulty("accounts") {
		teams(c, sets)
	}
}

// agent reads an agent, and returns its keys, and the models that are to answer.
func (v value) agent(c *Config, a *gateway.Agent) (map[string]document.Value, []namedModel) {
	var account string
	var named []namedModel
	confirmation, onNewMessage := "auto", string(a.OnNewMessage)
	set := v.mapping(fields{
		"id":                           func(v value) { v.id(&a.Key) },
		"name":                         func(v value) { v.Text(&a.Name) },
		"description":                  func(v value) { v.Text(&a.Description) },
		"account":                      func(v value) { v.Text(&account) },
		"model":                        func(v value) { v.handle(&a.Model, &named) },
		"models":                       func(v value) { v.models(a, &named) },
		"model_settings":               func(v value) { v.modelSettings(&a.Settings) },
		"system_prompt":                func(v value) { v.Text(&a.SystemPrompt) },
		"temperature":                  func(v value) { v.Number(&a.Temperature) },
		"max_tokens":                   func(v value) { v.Integer(&a.MaxTokens) },
		"active":                       func(v value) { v.Boolean(&a.Active) },
		"auto_run_inbound":             func(v value) { v.Boolean(&a.AutoRun) },
		"debounce_seconds":             func(v value) { v.Span(&a.Quiet, time.Second) },
		"max_wait_seconds":             func(v value) { v.Span(&a.MaxWait, time.Second) },
		"max_batch_messages":           func(v value) { v.Integer(&a.MaxBatch) },
		"context_ttl_minutes":          func(v value) { v.Span(&a.ContextTTL, time.Minute) },
		"on_new_message":               func(v value) { v.OneOf(&onNewMessage, string(gateway.FollowUp), string(gateway.Supersede)) },
		"max_supersedes":               func(v value) { v.Integer(&a.MaxSupersedes) },
		"allowed_actions":              func(v value) { v.list(func(v value) { v.action(&a.AllowedActions) }) },
		"payload_schema":               func(v value) { v.payload(&a.PayloadSchema) },
		"confirmation_mode":            func(v value) { v.OneOf(&confirmation, "auto", "confirm") },
		"confirmation_timeout_minutes": func(v value) { v.Span(&a.ConfirmationTimeout, time.Minute) },
		"inbound_config":               func(v value) { v.inbound(&a.Filter) },
		"fallback_reply":               func(v value) { v.Text(&a.FallbackReply) },
		"answers":                      func(v value) { v.answers(&a.Route) },
		"spend_limits":                 func(v value) { v.spendLimits(&a.Spend) },
		"compaction":                   func(v value) { v.compaction(c, &a.Compaction) },
		"memory_blocks":                func(v value) { v.blocks(&a.Blocks) },
		"contact_memory_limit":         func(v value) { v.Integer(&a.ContactMemory) },
	})
	v.oneOfModels(set)
	if !given(set, "model") && !given(set, "models") {
		named = append(named, namedModel{value{v.At(set, "model")}, a.Model})
	}
	a.Account, a.Confirm = gateway.AccountID(account), confirmation == "confirm"
	a.OnNewMessage = gateway.NewMessagePolicy(onNewMessage)
	return set, named
}

func (v value) action(to *[]string) {
	s, ok := v.Scalar("the type of an action")
	if ok && v.allow(gateway.Agent{AllowedActions: []string{s}}, "allowed_actions") {
		*to = append(*to, s)
	}
}

func (v value) payload(to *[]gateway.Field) {
	names := document.Places{}
	v.list(func(v value) { v.field(to, names) })
}

func (v value) field(to *[]gateway.Field, names document.Places) {
	var f gateway.Field
	var fieldType string
	set := v.mapping(fields{
		"name":       func(v value) { v.Text(&f.Name) },
		"field_type": func(v value) { v.Text(&fieldType) },
		"required":   func(v value) { v.Boolean(&f.Required) },
	})
	f.Type = gateway.FieldType(fieldType)
	v.Require(set, "", map[string]bool{"name": f.Name == "", "field_type": fieldType == ""})
	names.Once(set["name"], f.Name)
	if !v.Faulty(v.Path) && v.allow(gateway.Agent{PayloadSchema: []gateway.Field{f}}, "payload_schema") {
		*to = append(*to, f)
	}
}

func (v value) inbound(f *gateway.InboundFilter) {
	trigger := "all"
	v.mapping(fields{
		"trigger_on":            func(v value) { v.OneOf(&trigger, "all", "text_only") },
		"min_message_length":    func(v value) { v.IntegerIn(&f.MinLength, 0, 4096) },
		"max_messages_per_hour": func(v value) { v.IntegerIn(&f.MaxPerHour, 0, 100_000) },
		"ignore_patterns":       func(v value) { v.list(func(v value) { v.ignorePattern(&f.IgnorePatterns) }) },
		"ignore_emoji_only":     func(v value) { v.Boolean(&f.IgnoreEmoji) },
		"ignore_greetings":      func(v value) { v.Boolean(&f.IgnoreGreeting) },
	})
	f.TextOnly = trigger == "text_only"
}

func (v value) ignorePattern(to *[]string) {
	s, ok := v.Scalar("a regular expression")
	if ok && v.allow(gateway.Agent{Filter: gateway.InboundFilter{IgnorePatterns: []string{s}}}, "inbound_config") {
		*to = append(*to, s)
	}
}

// allow asks the agents' own rules about one setting, so that the fault stands
// at its line and the rules stand in one place. What they say begins with the
// setting's name, where that is one of several under key.
func (v value) allow(a gateway.Agent, key string) bool {
	wrong := detailsOf(a.Validate())[key]
	name, _, _ := strings.Cut(v.Path[strings.LastIndex(v.Path, ".")+1:], "[")
	for _, msg := range wrong {
		if about, ok := strings.CutPrefix(msg, name); ok {
			msg = strings.TrimLeft(about, ": ")
		}
		v.Fault("%s", msg)
	}
	return len(wrong) == 0
}

// validate holds the agent against the agents' own rules. What is known to be
// wrong is not said twice.
func (v value) validate(c *Config, a *gateway.Agent, set map[string]document.Value) {
	for key, msgs := range detailsOf(c.AgentLimits.Validate(a)) {
		if key == "model" && given(set, "models") {
			key = "models" // whose first it is
		}
		if at := v.At(set, key); !v.Faulty(at.Path) {
			at.Fault("%s", strings.Join(msgs, ", "))
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
func (v value) answersOn(c *Config, a *gateway.Agent, set map[string]document.Value) {
	if a.Account == "" {
		if at, ok := set["auto_run_inbound"]; ok && a.AutoRun {
			at.Fault("needs an account to take messages from, set account")
		}
		return
	}
	ids := make([]string, len(c.Accounts))
	for i, acc := range c.Accounts {
		if acc.ID == a.Account {
			if len(acc.Hours) == 0 && a.Route.Hours != "" && !v.Faulty("accounts") {
				v.At(set, "answers").Fault("hours mean nothing on account %s, which has no business_hours", acc.ID)
			}
			return
		}
		ids[i] = string(acc.ID)
	}
	at := set["account"]
	if v.Faulty("accounts") && len(ids) == 0 {
		return // the accounts could not be read
	}
	at.Fault("no account with this id stands under accounts%s", spelling.Suggest(string(a.Account), ids, "accounts"))
}
