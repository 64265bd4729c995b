package anthropic

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"

	"github.com/anthropics/anthropic-sdk-go"

	"wagent/dispatch/llm"
	"wagent/gateway"
)

const (
	maxTemperature = 1.0
	minBudget      = 1024
)

// Check returns an Error of kind Invalid that names the first setting of a
// request which the protocol does not have, or not with that value; nil if there
// is none. name is what the error calls the provider.
//
// The facts are those of platform.claude.com, build-with-claude/thinking and
// /effort: an effort is low to max, a budget is at least 1024 and less than
// max_tokens, and the models from Opus 4.7 and the fifth generation on take an
// effort instead of a budget.
func Check(name string, r *llm.Request) error {
	s := &r.Settings
	wrong := func(format string, args ...any) error {
		return &gateway.Error{Kind: gateway.Invalid, Msg: name + " " + fmt.Sprintf(format, args...)}
	}
	limit := cmp.Or(max(r.MaxTokens, 0), defaultTokens)
	switch {
	case r.Temperature > maxTemperature:
		return wrong("takes a temperature of at most %v", maxTemperature)
	case s.Seed != nil:
		return wrong("has no seed")
	case s.ReasoningEffort == "minimal":
		return wrong("takes a reasoning_effort of none, low, medium, high, xhigh, max, not minimal")
	case s.ThinkingBudget == 0:
	case adaptiveOnly(r.Model):
		return wrong("has no thinking_budget_tokens for %s, it takes a reasoning_effort", r.Model)
	case s.ReasoningEffort == "none":
		return wrong("takes no thinking_budget_tokens with a reasoning_effort of none")
	case s.ThinkingBudget < minBudget:
		return wrong("takes thinking_budget_tokens of at least %d", minBudget)
	case s.ThinkingBudget >= limit:
		return wrong("takes thinking_budget_tokens below max_tokens, which is %d", limit)
	}
	return nil
}

// think asks for as much thought as an effort says; a budget is one of the
// options.
func think(p *anthropic.MessageNewParams, r *llm.Request) {
	s := &r.Settings
	switch effort := s.ReasoningEffort; {
	case effort == "none":
		off := anthropic.NewThinkingConfigDisabledParam()
		p.Thinking.OfDisabled = &off
		return
	case effort != "":
		p.OutputConfig.Effort = anthropic.OutputConfigEffort(effort)
	}
	if s.ThinkingBudget == 0 && s.ReasoningEffort != "" && adaptive(r.Model) {
		p.Thinking.OfAdaptive = &anthropic.ThinkingConfigAdaptiveParam{}
	}
}

// version matches the generation in a model's name, which stands after the
// family or, in older ones, before it. Dates are no generation.
var version = regexp.MustCompile(`claude-(?:[a-z]+-)?([0-9]{1,2})(?:[-.]([0-9]{1,2}))?(?:[^0-9]|$)`)

// generation returns a model's, 47 for 4.7, or 0 where its name tells none.
func generation(model string) int {
	m := version.FindStringSubmatch(model)
	if m == nil {
		return 0
	}
	major, _ := strconv.Atoi(m[1])
	minor, _ := strconv.Atoi(m[2])
	return major*10 + min(minor, 9)
}

// adaptive reports whether a model is known to decide by itself how much it
// thinks, within an effort.
func adaptive(model string) bool { return generation(model) >= 46 || preview.MatchString(model) }

// adaptiveOnly reports whether a model is known to take neither a budget nor a
// temperature.
func adaptiveOnly(model string) bool { return generation(model) >= 47 || preview.MatchString(model) }

var preview = regexp.MustCompile(`claude-mythos-preview`)
