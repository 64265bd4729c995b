package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// valid is an agent without a fault.
func valid() Agent {
	a := DefaultAgent()
	a.Name, a.SystemPrompt = "Concierge", "Be kind."
	return a
}

func TestAnOperatorMayRaiseLimits(t *testing.T) {
	raised := AgentLimits{MaxTokens: 8192, Quiet: 10 * time.Minute, ContextTTL: 48 * time.Hour, ConfirmationTimeout: 48 * time.Hour, Actions: 11, Fields: 11}
	for field, grow := range map[string]func(a *Agent, by int){
		"max_tokens": func(a *Agent, by int) { a.MaxTokens = 8192 + by },
		"debounce_seconds": func(a *Agent, by int) {
			a.Quiet = 10*time.Minute + time.Duration(by)*time.Second
			a.MaxWait = time.Hour
		},
		"context_ttl_minutes":          func(a *Agent, by int) { a.ContextTTL = 48*time.Hour + time.Duration(by)*time.Minute },
		"confirmation_timeout_minutes": func(a *Agent, by int) { a.ConfirmationTimeout = 48*time.Hour + time.Duration(by)*time.Minute },
		"allowed_actions": func(a *Agent, by int) {
			for i := range 11 + by {
				a.AllowedActions = append(a.AllowedActions, fmt.Sprintf("a.b.c%d", i))
			}
		},
		"payload_schema": func(a *Agent, by int) {
			for i := range 11 + by {
				a.PayloadSchema = append(a.PayloadSchema, Field{Name: fmt.Sprintf("f%d", i), Type: FieldText})
			}
		},
	} {
		within, beyond := valid(), valid()
		grow(&within, 0)
		grow(&beyond, 1)
		if err := raised.Validate(&within); err != nil {
			t.Errorf("%s at the limit that was raised: %v", field, detailsOf(err))
		}
		if d := detailsOf(raised.Validate(&beyond)); len(d) != 1 || len(d[field]) != 1 {
			t.Errorf("%s beyond the limit that was raised: %v", field, d)
		}
		if d := detailsOf(within.Validate()); len(d) != 1 || len(d[field]) != 1 {
			t.Errorf("%s beyond the limit of the agents API: %v", field, d)
		}
	}
	a := valid()
	a.Quiet, a.MaxWait = 5*time.Minute, time.Minute
	if d := detailsOf(raised.ValidateWindow(&a)); len(d["max_wait_seconds"]) != 1 {
		t.Errorf("a wait that is shorter than the silence: %v", d)
	}
}

func TestNamesOfAgentsAreLabels(t *testing.T) {
	long := strings.Repeat("x", maxAction)
	for name, tt := range map[string]struct {
		change func(a *Agent)
		field  string
	}{
		"a model of two lines":                {func(a *Agent) { a.Model = "openai/a\nb" }, "model"},
		"a fallback with a control character": {func(a *Agent) { a.Fallbacks = []string{"openai/\x01"} }, "models"},
		"an action that is too long":          {func(a *Agent) { a.AllowedActions = []string{"a.b." + long} }, "allowed_actions"},
		"an action that stands there twice":   {func(a *Agent) { a.AllowedActions = []string{"a.b.c", "a.b.c"} }, "allowed_actions"},
		"a field whose name is too long":      {func(a *Agent) { a.PayloadSchema = []Field{{Name: long, Type: FieldText}} }, "payload_schema"},
		"a label that is too long":            {func(a *Agent) { a.Blocks = []Block{{Label: long, Value: "x"}} }, "memory_blocks"},
		"a pattern that ignores all":          {func(a *Agent) { a.Filter.IgnorePatterns = []string{""} }, "inbound_config"},
	} {
		a := valid()
		tt.change(&a)
		if d := detailsOf(a.Validate()); len(d) != 1 || len(d[tt.field]) != 1 {
			t.Errorf("%s: %v", name, d)
		}
	}
}

// A body of 1 MiB holds a hundred thousand entries: what goes beyond a limit is
// counted, and not looked at.
func TestEntriesBeyondALimitAreOnlyCounted(t *testing.T) {
	const n = 100_000
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("%d\x01", i)
	}
	for name, tt := range map[string]struct {
		change func(a *Agent)
		field  string
		most   int // messages: one for the number, and those of the entries within it
	}{
		"models":          {func(a *Agent) { a.Fallbacks = texts }, "models", 1 + maxFallbacks},
		"actions":         {func(a *Agent) { a.AllowedActions = texts }, "allowed_actions", 1 + 10},
		"keywords":        {func(a *Agent) { a.Route.Keywords = make([]string, n) }, "answers", 1 + maxRuleEntries},
		"languages":       {func(a *Agent) { a.Route.Languages = texts }, "answers", 1 + maxRuleEntries},
		"tags of a route": {func(a *Agent) { a.Route.Tags = texts }, "answers", 1 + maxRuleEntries},
		"patterns":        {func(a *Agent) { a.Filter.IgnorePatterns = make([]string, n) }, "inbound_config", 1 + maxPatterns},
		"fields": {func(a *Agent) {
			a.PayloadSchema = make([]Field, n)
		}, "payload_schema", 1 + 3*10}, // no name, the same name, no type
		"blocks": {func(a *Agent) {
			a.Blocks = make([]Block, n)
		}, "memory_blocks", 1 + 2*maxBlocks},
	} {
		a := valid()
		tt.change(&a)
		d := detailsOf(a.Validate())
		if got := len(d[tt.field]); len(d) != 1 || got < 2 || got > tt.most {
			t.Errorf("%s: %d messages, want 2 to %d", name, got, tt.most)
		}
	}
	if got := len(detailsOf(CheckTags(texts))["tags"]); got != 1+maxTags {
		t.Errorf("tags of a contact: %d messages, want %d", got, 1+maxTags)
	}
}

func TestALanguageIsNotToldBackWhole(t *testing.T) {
	a := valid()
	a.Route.Languages = []string{strings.Repeat("x", 1<<20)}
	if d := detailsOf(a.Validate()); len(d["answers"]) != 1 || len(d["answers"][0]) > 200 {
		t.Errorf("%d messages", len(d["answers"]))
	}
}
