package openai

import (
	"regexp"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/remote"
)

// A format is a way to ask for JSON, strongest first.
type format uint8

const (
	formatSchema format = iota // json_schema, in response_format or, of Responses, text.format
	formatTool                 // a tool that must be called, and whose parameters are the schema
	formatObject               // json_object, in the same place
	formatPlain                // nothing but the prompt's words
)

// A form is how a model is asked. The zero form is the protocol's newest.
type form struct {
	responses        bool // it is asked over Responses
	format           format
	noSchema         bool // formatSchema is passed over, of either protocol
	noTools          bool // formatTool is passed over
	looseTools       bool // a tool is not said to be strict
	noTemperature    bool
	noCacheKey       bool
	noUsage          bool // a stream's usage is not asked for
	completionTokens bool // max_completion_tokens, not max_tokens
	swappedTokens    bool // the other one was refused already
}

// reasoning matches the models that OpenAI says take no temperature but 1; a
// router's prefix ("openai/o3") may stand before the name.
var reasoning = regexp.MustCompile(`^(?:.*/)?(?:o[0-9]+(?:-|$)|gpt-5)`)

// needsResponses matches the models that Chat Completions does not serve (-pro and
// codex: "only supported in v1/responses"), or not with tools and an effort
// (https://github.com/openai/openai-openapi/issues/541).
var needsResponses = regexp.MustCompile(`^(?:gpt-5\.(?:[4-9]|[1-9][0-9])|gpt-(?:[6-9]|[1-9][0-9])|(?:gpt|o)[0-9.-]*-(?:pro|codex|deep-research))`)

// form returns how a model is asked first, or what was learned of it.
func (m *Model) form(model string) form {
	f := form{
		completionTokens: m.traits.CompletionTokens, noTemperature: reasoning.MatchString(model),
		noTools: m.traits.NoTools, noCacheKey: !m.traits.CacheKey,
		noSchema:  m.traits.NoSchema,
		responses: m.traits.API == Responses || m.traits.API == Auto && needsResponses.MatchString(model),
	}
	if f.noSchema {
		f = f.weaker()
	}
	return m.learned.Of(model, f)
}

// weaker returns the form that asks for JSON in the next way. Tools are Chat
// Completions' alone: what speaks Responses has a json_schema.
func (f form) weaker() form {
	if f.format++; f.format == formatTool && (f.noTools || f.responses) {
		f.format++
	}
	return f
}

// overResponses returns the form for the other protocol, which carries a schema
// whatever the first one did.
func (f form) overResponses() form {
	f.responses, f.format = true, formatSchema
	if f.noSchema {
		f = f.weaker()
	}
	return f
}

// Join satisfies [remote.Form]. What one protocol refused says nothing of the
// format of the other.
func (f form) Join(old form) form {
	switch {
	case f.responses == old.responses:
		f.format = max(f.format, old.format)
	case old.responses:
		f.format = old.format
	}
	f.looseTools = f.looseTools || old.looseTools
	f.responses = f.responses || old.responses
	f.noCacheKey = f.noCacheKey || old.noCacheKey
	f.noUsage = f.noUsage || old.noUsage
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
	// Routers say that nobody behind them has tools with a 404, and OpenAI that a
	// model needs Responses.
	if a.Status != 400 && a.Status != 422 && (a.Status != 404 || asked != formatTool && !a.About("v1/responses")) {
		return f, false, false
	}
	switch unknown := a.About("unsupported", "not supported", "unrecognized", "unknown", "extra inputs", "not permitted"); {
	case !f.responses && a.About("only supported in v1/responses", "use /v1/responses"):
		f = f.overResponses()
	case r.Settings.ParallelToolCalls != nil && a.About("parallel_tool_calls"):
		return f, false, false // it is the agent's setting, and not the tools
	case !f.noCacheKey && r.CacheKey != "" && unknown && a.About("prompt_cache_key"):
		f.noCacheKey = true
	case !f.noUsage && unknown && a.About("stream_options", "include_usage"):
		f.noUsage = true
	case !f.swappedTokens && unknown && a.About("max_tokens", "max_completion_tokens"):
		f.completionTokens, f.swappedTokens = !f.completionTokens, true
	case !f.noTemperature && a.About("temperature") && a.About("unsupported", "not supported", "does not support", "deprecated", "only 1 is allowed"):
		f.noTemperature = true
	case asked == formatTool && !f.looseTools && r.Strict && a.About("strict", "invalid schema"):
		f.looseTools = true
	case asked == formatTool && a.About("tool", "function"),
		(asked == formatSchema || asked == formatObject) && a.About("response_format", "response format", "text.format", "json_schema", "json_object", "structured output", "guided_json"):
		f = f.weaker()
	default:
		return f, false, false
	}
	// That one agent's schema is not liked says nothing of the model, nor that it
	// did once not call the tool that it had to (Groq answers 400 then).
	return f, !a.About("invalid schema", "schema is too complex", "tool_use_failed"), true
}
