// Package anthropic asks Anthropic's models over the Messages protocol.
//
// It uses Anthropic's own library, but neither its environment, its retries nor
// its traces: what is asked, of whom and with which key is decided by [Config]
// alone, and a failed request is the caller's to repeat.
//
// A model that can is held to the schema by the server (output_config.format of
// the Messages API); one that refuses that, and any for a schema that a strict
// mode can't express, has to call a tool whose input is the schema's, or, where it
// thinks and can't be made to, is asked in the prompt's words. Newer models refuse a
// temperature, which is then left out. What a model refused is kept in memory,
// and learned again after a restart. What a system prompt begins with in all of an
// agent's runs is a block of its own, marked to be cached.
package anthropic

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"wagent/context/transcript"
	"wagent/dispatch/llm"
	"wagent/dispatch/llm/remote"
	"wagent/gateway"
)

// DefaultBaseURL is where Anthropic itself answers.
const DefaultBaseURL = "https://api.anthropic.com"

// defaultTokens is the limit of an answer where none is asked for: the protocol
// has no answer without one.
const defaultTokens = 4096

// Config says whom to ask.
type Config struct {
	BaseURL    string         // without /v1; empty: DefaultBaseURL
	APIKey     gateway.Secret // sent as X-Api-Key; empty: none is sent
	Name       string         // what errors call the provider; empty: anthropic
	HTTPClient *http.Client   // nil: a client of its own; what its CheckRedirect says is not asked
	Stream     bool           // answers are asked for as a stream, so that a server which has stalled is told from one that works
	Idle       time.Duration  // how long a stream may be silent; 0: a minute
}

// Validate returns nil, or an Error of kind Invalid that says what is wrong
// with the base URL, without repeating it: it may hold credentials.
func (c *Config) Validate() error {
	_, err := c.base()
	return err
}

func (c *Config) base() (*url.URL, error) {
	return remote.BaseURL(cmp.Or(c.Name, "anthropic"), cmp.Or(c.BaseURL, DefaultBaseURL))
}

// A Model is a provider that speaks Messages. It is safe for concurrent use.
type Model struct {
	who      remote.Provider
	invalid  error // what is wrong with the configuration
	stream   bool
	messages anthropic.MessageService
	learned  remote.Forms[form]
}

// A form is how a model is asked: less what it does not take.
type form struct {
	format        format
	looseTools    bool // a tool is not said to be strict
	noTemperature bool
}

// A format is a way to ask for JSON, strongest first.
type format uint8

const (
	formatSchema format = iota // output_config.format
	formatTool                 // a tool that must be called, and whose input is the schema's
	formatWords                // nothing but the prompt's words
)

// New returns a provider. It dials nothing. With a base URL that Validate
// refuses, every Generate fails with what Validate says.
func New(cfg Config) *Model {
	m := &Model{who: remote.Provider{Name: cmp.Or(cfg.Name, "anthropic"), Key: cfg.APIKey, Idle: cfg.Idle}, stream: cfg.Stream}
	base, err := cfg.base()
	if err != nil {
		m.invalid = err
		return m
	}
	opts := []option.RequestOption{
		option.WithBaseURL(strings.TrimSuffix(base.String(), "/") + "/"),
		option.WithHTTPClient(remote.Client(cfg.HTTPClient)),
		option.WithMaxRetries(0),
		option.WithMiddleware(m.read),
		option.WithoutOpenTelemetry(),
		// The library refuses long answers that are not streamed unless it is told
		// how long they may take; the caller's context says so.
		option.WithRequestTimeout(time.Hour),
	}
	if cfg.APIKey != "" {
		opts = append(opts, option.WithAPIKey(string(cfg.APIKey)))
	}
	// Unlike anthropic.NewClient, the service's constructor reads no environment.
	m.messages = anthropic.NewMessageService(opts...)
	return m
}

// read is what stands between the library and the server.
func (m *Model) read(req *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	if m.stream {
		return m.who.ReadStream(req, next)
	}
	return m.who.Read(req, next)
}

// Generate asks for one message. See [llm.Model].
func (m *Model) Generate(ctx context.Context, r llm.Request) (llm.Response, error) {
	if m.invalid != nil {
		return llm.Response{}, m.invalid
	}
	var object map[string]json.RawMessage
	if r.Schema != nil && json.Unmarshal(r.Schema, &object) != nil {
		return llm.Response{}, &gateway.Error{Kind: gateway.Invalid, Msg: m.who.Name + ": the request's schema is no JSON object"}
	}
	f := m.learned.Of(r.Model, form{noTemperature: adaptiveOnly(r.Model)})
	if err := Check(m.who.Name, &r); err != nil {
		return llm.Response{}, err
	}
	return remote.Ask(ctx, &m.who, &m.learned, f, &r, func(f form) (llm.Response, error) {
		if m.stream {
			return m.streamed(ctx, &r, f)
		}
		message, err := m.messages.New(ctx, params(&r, f), options(&r, f)...)
		if err != nil {
			return llm.Response{}, err
		}
		return m.response(message)
	})
}

// streamed asks for one message as a stream.
func (m *Model) streamed(ctx context.Context, r *llm.Request, f form) (llm.Response, error) {
	var message anthropic.Message
	ended := false
	s := m.messages.NewStreaming(ctx, params(r, f), options(r, f)...)
	defer func() { _ = s.Close() }()
	for s.Next() {
		event := s.Current()
		if err := message.Accumulate(event); err != nil {
			return llm.Response{}, m.who.Unusable("with a stream whose parts do not fit")
		}
		ended = ended || event.Type == "message_stop"
	}
	if err := s.Err(); err != nil {
		if e, ok := errors.AsType[*anthropic.Error](err); ok {
			return llm.Response{}, remote.NewLateRefusal([]byte(e.RawJSON()))
		}
		return llm.Response{}, m.who.StreamError(err)
	}
	if !ended {
		return llm.Response{}, m.who.Unusable("with a stream that did not come to its end")
	}
	return m.response(&message)
}

// Less satisfies [remote.Form].
func (f form) Less(a *remote.Refusal, r *llm.Request) (next form, lasting, changed bool) {
	// What is unknown to the model is so whoever asks. All else that is said of a
	// schema, or of a tool that has it, may be one agent's: it says nothing of the
	// model.
	unknown := a.About("not supported", "unsupported", "does not support", "extra inputs", "not permitted", "deprecated", "may only be set to 1")
	switch {
	case a.Status != http.StatusBadRequest:
		return f, false, false
	case !f.noTemperature && unknown && a.About("temperature"):
		f.noTemperature = true
		return f, true, true
	case f.of(r) == formatSchema && a.About("output_config", "output_format", "structured output", "json_schema", "grammar is too large", "schema"):
		f.format = formatTool
	case f.of(r) == formatTool && r.Strict && !f.looseTools && a.About("strict", "grammar is too large", "schema"):
		f.looseTools = true
	case f.of(r) == formatTool && a.About("tool"):
		f.format = formatWords
	default:
		return f, false, false
	}
	return f, unknown && !a.About("grammar is too large", ".schema", "_schema:", "_schema.", "invalid schema", "schema is too complex", "too many"), true
}

// Join satisfies [remote.Form].
func (f form) Join(old form) form {
	return form{
		format: max(f.format, old.format), looseTools: f.looseTools || old.looseTools,
		noTemperature: f.noTemperature || old.noTemperature,
	}
}

// of returns how a request asks for JSON. The server takes no schema that is not
// closed, and forces no tool on a model that thinks.
func (f form) of(r *llm.Request) format {
	way := f.format
	switch {
	case r.Schema == nil:
		return formatWords
	case way == formatSchema && !r.Strict:
		way = formatTool
	}
	s := &r.Settings
	thinks := s.ThinkingBudget > 0 || s.ReasoningEffort != "" && s.ReasoningEffort != "none" && adaptive(r.Model)
	if way == formatTool && thinks {
		way = formatWords
	}
	return way
}

// toolName is the tool that carries an answer.
const toolName = "answer"

// tool is the one that must be called. Its schema is set apart.
func tool(p *anthropic.MessageNewParams, r *llm.Request, f form) {
	t := anthropic.ToolParam{Name: toolName, Description: anthropic.String("Gives the answer. Call it once.")}
	if r.Strict && !f.looseTools {
		t.Strict = anthropic.Bool(true)
	}
	p.Tools = []anthropic.ToolUnionParam{{OfTool: &t}}
	p.ToolChoice = anthropic.ToolChoiceParamOfTool(toolName)
	if parallel := r.Settings.ParallelToolCalls; parallel != nil {
		p.ToolChoice.OfTool.DisableParallelToolUse = anthropic.Bool(!*parallel)
	}
}

// options are what a request has beside its parameters: what the library's types
// would spoil.
func options(r *llm.Request, f form) (out []option.RequestOption) {
	// Its maps lose the order of a schema's members, in which models write them.
	switch f.of(r) {
	case formatSchema:
		out = append(out, option.WithJSONSet("output_config.format.schema", r.Schema))
	case formatTool:
		out = append(out, option.WithJSONSet("tools.0.input_schema", r.Schema))
	case formatWords:
	}
	// It prints a warning to the standard error for each budget of some models.
	if n := r.Settings.ThinkingBudget; n > 0 {
		out = append(out, option.WithJSONSet("thinking", map[string]any{"type": "enabled", "budget_tokens": n}))
	}
	return out
}

// params is the body of the request.
func params(r *llm.Request, f form) anthropic.MessageNewParams {
	p := anthropic.MessageNewParams{Model: r.Model, MaxTokens: int64(r.MaxTokens)}
	if r.MaxTokens <= 0 {
		p.MaxTokens = defaultTokens
	}
	system := r.System
	switch {
	case f.of(r) == formatSchema:
		p.OutputConfig.Format.Schema = map[string]any{}
	case f.of(r) == formatTool:
		tool(&p, r, f)
	case r.Schema != nil:
		system = strings.TrimSpace(system + "\n\nAnswer with one JSON object and nothing else. It must satisfy this JSON Schema:\n" + string(r.Schema))
	}
	if n := min(r.Stable, len(system)); n > 0 {
		p.System = []anthropic.TextBlockParam{{Text: system[:n], CacheControl: anthropic.NewCacheControlEphemeralParam()}}
		system = system[n:]
	}
	if system != "" {
		p.System = append(p.System, anthropic.TextBlockParam{Text: system})
	}
	think(&p, r)
	if !f.noTemperature && r.Settings.ThinkingBudget == 0 && p.Thinking.OfAdaptive == nil {
		p.Temperature = anthropic.Float(r.Temperature) // thinkers take none
	}
	for i, t := range r.Turns {
		block := anthropic.NewTextBlock(t.Text)
		if t.Role != transcript.Assistant {
			p.Messages = append(p.Messages, anthropic.NewUserMessage(block))
			continue
		}
		if i == 0 { // the protocol's first turn is a user's
			p.Messages = append(p.Messages, anthropic.NewUserMessage(anthropic.NewTextBlock("…")))
		}
		p.Messages = append(p.Messages, anthropic.NewAssistantMessage(block))
	}
	return p
}

// response reads a message. What was read from the cache, or written to it, is
// counted beside the other input.
func (m *Model) response(msg *anthropic.Message) (llm.Response, error) {
	if msg == nil || msg.Type != "message" {
		return llm.Response{}, m.who.Unusable("without a message")
	}
	var text strings.Builder
	for i := range msg.Content {
		b := &msg.Content[i]
		// Where a tool had to be called, its first call is the answer.
		if b.Type == "tool_use" && len(b.Input) > 0 {
			text.Reset()
			text.Write(b.Input)
			break
		}
		if b.Type == "text" {
			text.WriteString(b.Text)
		}
	}
	if msg.StopReason == anthropic.StopReasonModelContextWindowExceeded {
		return llm.Response{}, &gateway.Error{Kind: gateway.TooLong, Msg: m.who.Name + " answered 200 (" + string(msg.StopReason) + ")"}
	}
	u := &msg.Usage
	return llm.Response{
		Text:         strings.ToValidUTF8(text.String(), "\uFFFD"),
		Truncated:    msg.StopReason == anthropic.StopReasonMaxTokens,
		Refused:      msg.StopReason == anthropic.StopReasonRefusal,
		Model:        strings.ToValidUTF8(msg.Model, "\uFFFD"),
		InputTokens:  remote.Tokens(u.InputTokens) + remote.Tokens(u.CacheCreationInputTokens) + remote.Tokens(u.CacheReadInputTokens),
		CachedTokens: remote.Tokens(u.CacheReadInputTokens),
		OutputTokens: remote.Tokens(u.OutputTokens),
	}, nil
}
