package openai

import (
	"fmt"
	"slices"
	"strings"

	"github.com/openai/openai-go/v3/option"

	"wagent/dispatch/llm"
	"wagent/gateway"
)

// None says of a setting that a server has no parameter for it.
const None = "-"

// The protocols that a server may be asked over.
const (
	Chat      = "chat"      // Chat Completions, at …/chat/completions
	Responses = "responses" // Responses, at …/responses
	Auto      = "auto"      // Chat Completions, but Responses for the models of OpenAI's that need it
)

// Traits are in what a server differs from most that speak the protocol. It also
// learns from what a server refuses; traits are for what is not said, and save
// the first request. The zero Traits are those of a server that has what
// OpenAI's own documentation has.
type Traits struct {
	NoSchema         bool    // it takes no json_schema; the next way to ask for JSON is used
	NoTools          bool    // it takes no tool that must be called
	CompletionTokens bool    // the limit is max_completion_tokens, not max_tokens; OpenAI's hosts are known
	API              string  // Chat, Responses or Auto; empty: Auto at OpenAI's hosts, else Chat
	CacheKey         bool    // it has prompt_cache_key; OpenAI's hosts are known
	KeyHeader        string  // carries the key; empty: Authorization, as a bearer token
	MaxTemperature   float64 // 0: 2, as OpenAI has it

	// Where in the request a setting goes, as a path with dots, or None.
	Seed   string // empty: seed
	Effort string // empty: reasoning_effort
	Budget string // of thought, in tokens; empty: None

	Efforts    string // those that it takes, with spaces between; empty: it says so itself
	ThinkingNo bool   // the effort none is sent as thinking {type: disabled}
	NoParallel bool   // it has no parallel_tool_calls
}

// Check returns an Error of kind Invalid that names the first setting of a
// request which the provider of that name is known not to have, or not with that
// value; nil if there is none. What a server knows of its models it says itself,
// once it is asked.
func (t *Traits) Check(name string, r *llm.Request) error {
	s := &r.Settings
	wrong := func(format string, args ...any) error {
		return &gateway.Error{Kind: gateway.Invalid, Msg: name + " " + fmt.Sprintf(format, args...)}
	}
	switch {
	case t.MaxTemperature > 0 && r.Temperature > t.MaxTemperature && !reasoning.MatchString(r.Model):
		return wrong("takes a temperature of at most %v", t.MaxTemperature)
	case s.Seed != nil && t.Seed == None:
		return wrong("has no seed")
	case s.Seed != nil && t.API == Responses:
		return wrong("has no seed in Responses")
	case s.Seed != nil && t.API == Auto && needsResponses.MatchString(r.Model):
		return wrong("has no seed in Responses, which %s needs", r.Model)
	case s.ReasoningEffort != "" && t.Effort == None:
		return wrong("has no reasoning_effort")
	case s.ReasoningEffort != "" && t.Efforts != "" && !slices.Contains(strings.Fields(t.Efforts), s.ReasoningEffort):
		return wrong("takes a reasoning_effort of %s, not %s", strings.ReplaceAll(t.Efforts, " ", ", "), s.ReasoningEffort)
	case s.ThinkingBudget > 0 && (t.Budget == "" || t.Budget == None || t.API == Responses):
		return wrong("has no thinking_budget_tokens")
	case s.ThinkingBudget > 0 && s.ReasoningEffort != "":
		// Google and OpenRouter refuse both, others let one win.
		return wrong("takes a reasoning_effort or thinking_budget_tokens, not both")
	case s.ParallelToolCalls != nil && t.NoParallel:
		return wrong("has no parallel_tool_calls")
	}
	return nil
}

// notOverResponses returns an Error of kind Invalid for the first setting that
// Responses does not have, of a model of which it is known only now that it needs
// them; nil if there is none.
func notOverResponses(name string, r *llm.Request) error {
	var what string
	switch s := &r.Settings; {
	case s.Seed != nil:
		what = "seed"
	case s.ThinkingBudget > 0:
		what = "thinking_budget_tokens"
	default:
		return nil
	}
	return &gateway.Error{Kind: gateway.Invalid, Msg: fmt.Sprintf("%s has no %s in Responses, which %s needs", name, what, r.Model)}
}

// settings puts a request's settings where the server has them in Chat
// Completions.
func (t *Traits) settings(r *llm.Request) []option.RequestOption {
	var out []option.RequestOption
	set := func(path, standard string, value any) {
		if path == "" {
			path = standard
		}
		out = append(out, option.WithJSONSet(path, value))
	}
	s := &r.Settings
	if s.Seed != nil {
		set(t.Seed, "seed", *s.Seed)
	}
	switch {
	case s.ReasoningEffort == "":
	case s.ReasoningEffort == "none" && t.ThinkingNo:
		set("thinking.type", "", "disabled")
	default:
		set(t.Effort, "reasoning_effort", s.ReasoningEffort)
	}
	if s.ThinkingBudget > 0 {
		set(t.Budget, "", s.ThinkingBudget)
	}
	return out
}
