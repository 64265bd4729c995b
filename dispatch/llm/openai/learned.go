package openai

import (
	"regexp"
	"sync"

	"wagent/dispatch/llm/remote"
)

// A format is a way to ask for JSON, strongest first.
type format uint8

const (
	formatSchema format = iota // response_format json_schema
	formatObject               // response_format json_object
	formatPlain                // nothing but the prompt's words
)

// quirks is what a server takes for one model.
type quirks struct {
	format           format
	noTemperature    bool
	completionTokens bool // max_completion_tokens, not max_tokens
	swappedTokens    bool // the other one was refused already
}

// learned keeps the quirks of the models that refused something.
type learned struct {
	traits Traits // of the server

	mu     sync.Mutex
	models map[string]quirks // by model
}

// reasoning matches the models that OpenAI says take no temperature but 1; a
// router's prefix ("openai/o3") may stand before the name.
var reasoning = regexp.MustCompile(`^(?:.*/)?(?:o[0-9]+(?:-|$)|gpt-5)`)

func (l *learned) of(model string) quirks {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q, ok := l.models[model]; ok {
		return q
	}
	q := quirks{completionTokens: l.traits.CompletionTokens, noTemperature: reasoning.MatchString(model)}
	if l.traits.NoSchema {
		q.format = formatObject
	}
	return q
}

// keep remembers q. What two requests learned at once adds up.
func (l *learned) keep(model string, q quirks) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.models == nil {
		l.models = map[string]quirks{}
	}
	if old, ok := l.models[model]; ok {
		q.format = max(q.format, old.format)
		q.noTemperature = q.noTemperature || old.noTemperature
		if old.swappedTokens && !q.swappedTokens {
			q.completionTokens, q.swappedTokens = old.completionTokens, true
		}
	}
	l.models[model] = q
}

// without returns q less what the server refused, and whether that changed
// anything. Servers name it in the error's param, or in words only.
func (q quirks) without(a *remote.Refusal, asked bool) (quirks, bool) {
	if a.Status != 400 && a.Status != 422 {
		return q, false
	}
	switch {
	case !q.swappedTokens && a.About("max_tokens", "max_completion_tokens") && a.About("unsupported", "not supported", "unrecognized", "unknown", "extra inputs", "not permitted"):
		q.completionTokens, q.swappedTokens = !q.completionTokens, true
		return q, true
	case !q.noTemperature && a.About("temperature") && a.About("unsupported", "not supported", "does not support", "deprecated", "only 1 is allowed"):
		q.noTemperature = true
		return q, true
	case asked && q.format != formatPlain && a.About("response_format", "response format", "json_schema", "json_object", "structured output", "guided_json"):
		q.format++
		return q, true
	}
	return q, false
}
