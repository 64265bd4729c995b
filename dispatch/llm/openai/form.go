package openai

import (
	"regexp"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/remote"
)

// A format is a way to ask for JSON, strongest first.
type format uint8

const (
	formatSchema format = iota // response_format json_schema
	formatTool                 // a tool that must be called, and whose parameters are the schema
	formatObject               // response_format json_object
	formatPlain                // nothing but the prompt's words
)

// A form is how a model is asked. The zero form is the protocol's newest.
type form struct {
	format           format
	noTools          bool // formatTool is passed over
	looseTools       bool // a tool is not said to be strict
	noTemperature    bool
	completionTokens bool // max_completion_tokens, not max_tokens
	swappedTokens    bool // the other one was refused already
}

// reasoning matches the models that OpenAI says take no temperature but 1; a
// router's prefix ("openai/o3") may stand before the name.
var reasoning = regexp.MustCompile(`^(?:.*/)?(?:o[0-9]+(?:-|$)|gpt-5)`)

// form returns how a model is asked first, or what was learned of it.
func (m *Model) form(model string) form {
	f := form{completionTokens: m.traits.CompletionTokens, noTemperature: reasoning.MatchString(model)}
	f.noTools = m.traits.NoTools
	if m.traits.NoSchema {
		f = f.weaker()
	}
	return m.learned.Of(model, f)
}

// weaker returns the form that asks for JSON in the next way.
func (f form) weaker() form {
	if f.format++; f.format == formatTool && f.noTools {
		f.format++
	}
	return f
}

// Join satisfies [remote.Form].
func (f form) Join(old form) form {
	f.format = max(f.format, old.format)
	f.looseTools = f.looseTools || old.looseTools
	f.noTemperature = f.noTemperature || old.noTemperature
	if old.swappedTokens && !f.swappedTokens {
		f.completionTokens, f.swappedTokens = old.completionTokens, true
	}
	return f
}

// Less satisfies [remote.Form]. Servers name what they refuse in the error's
// param, or in words only.
func (f form) Less(a *remote.Refusal, r *llm.Request) (next form, lasting, changed bool) {
	asked := f.format
	if r.Schema == nil {
		asked = formatPlain
	}
	// Routers say that nobody behind them has tools with a 404.
	if a.Status != 400 && a.Status != 422 && (a.Status != 404 || asked != formatTool) {
		return f, false, false
	}
	switch {
	case !f.swappedTokens && a.About("max_tokens", "max_completion_tokens") && a.About("unsupported", "not supported", "unrecognized", "unknown", "extra inputs", "not permitted"):
		f.completionTokens, f.swappedTokens = !f.completionTokens, true
	case !f.noTemperature && a.About("temperature") && a.About("unsupported", "not supported", "does not support", "deprecated", "only 1 is allowed"):
		f.noTemperature = true
	case asked == formatTool && !f.looseTools && r.Strict && a.About("strict", "invalid schema"):
		f.looseTools = true
	case asked == formatTool && a.About("tool", "function"),
		(asked == formatSchema || asked == formatObject) && a.About("response_format", "response format", "json_schema", "json_object", "structured output", "guided_json"):
		f = f.weaker()
	default:
		return f, false, false
	}
	// That one agent's schema is not liked says nothing of the model, nor that it
	// did once not call the tool that it had to (Groq answers 400 then).
	return f, !a.About("invalid schema", "tool_use_failed"), true
}
