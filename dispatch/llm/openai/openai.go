// Package openai asks models over the Chat Completions protocol: those of
// OpenAI, and of every server that speaks it at another base URL.
//
// It uses OpenAI's own library, but neither its environment variables nor its
// retries: what is asked, of whom and with which key is decided by [Config]
// alone, and a failed request is the caller's to repeat. Redirects are not
// followed, since they could carry a prompt or a key elsewhere.
//
// Servers differ in what they take. A [Model] starts from its server's [Traits]
// and what the protocol's newest form has, and gives up, one at a time, what a server refuses by name:
// json_schema becomes a tool that must be called, json_object and then plain text, max_tokens and
// max_completion_tokens stand in for each other, temperature is left out. What
// it learned is kept in memory per model and learned again after a restart.
package openai

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"

	"wagent/context/transcript"
	"wagent/dispatch/llm"
	"wagent/dispatch/llm/remote"
	"wagent/gateway"
)

// DefaultBaseURL is where OpenAI itself answers.
const DefaultBaseURL = "https://api.openai.com/v1"

// Config says whom to ask.
type Config struct {
	BaseURL    string         // with its version, such as https://host/v1; empty: DefaultBaseURL
	APIKey     gateway.Secret // sent as a bearer token; empty: none is sent, as local servers like it
	Name       string         // what errors call the provider; empty: openai
	HTTPClient *http.Client   // nil: a client of its own; what its CheckRedirect says is not asked
	Traits     Traits         // of the server
}

// Validate returns nil, or an Error of kind Invalid that says what is wrong
// with the base URL, without repeating it: it may hold credentials.
func (c *Config) Validate() error {
	_, err := c.base()
	return err
}

func (c *Config) base() (*url.URL, error) {
	return remote.BaseURL(c.name(), cmp.Or(c.BaseURL, DefaultBaseURL))
}

func (c *Config) name() string {
	if c.Name == "" {
		return "openai"
	}
	return c.Name
}

// A Model is a provider that speaks Chat Completions. It is safe for
// concurrent use.
type Model struct {
	who         remote.Provider
	invalid     error // what is wrong with the configuration
	completions openai.ChatCompletionService
	traits      Traits // of the server
	learned     remote.Forms[form]
}

// New returns a provider. It dials nothing. With a base URL that Validate
// refuses, every Generate fails with what Validate says.
func New(cfg Config) *Model {
	m := &Model{who: remote.Provider{Name: cfg.name(), Key: cfg.APIKey}}
	base, err := cfg.base()
	if err != nil {
		m.invalid = err
		return m
	}
	m.traits = cfg.Traits
	m.traits.CompletionTokens = cfg.Traits.CompletionTokens || isOpenAI(base.Hostname())
	opts := []option.RequestOption{
		option.WithBaseURL(strings.TrimSuffix(base.String(), "/") + "/"),
		option.WithHTTPClient(remote.Client(cfg.HTTPClient)),
		option.WithMaxRetries(0),
		option.WithMiddleware(m.who.Read),
	}
	switch {
	case cfg.APIKey == "":
	case cfg.Traits.KeyHeader != "":
		opts = append(opts, option.WithHeader(cfg.Traits.KeyHeader, string(cfg.APIKey)))
	default:
		opts = append(opts, option.WithAPIKey(string(cfg.APIKey)))
	}
	// Unlike openai.NewClient, the service's constructor reads no environment.
	m.completions = openai.NewChatCompletionService(opts...)
	return m
}

// isOpenAI reports whether a host is OpenAI's own API, regional hosts and
// Azure's included: they take max_completion_tokens where the servers that
// imitate them mostly know max_tokens only.
func isOpenAI(host string) bool {
	return host == "api.openai.com" || strings.HasSuffix(host, ".api.openai.com") || strings.HasSuffix(host, ".openai.azure.com")
}

// Generate asks for one completion. See [llm.Model].
func (m *Model) Generate(ctx context.Context, r llm.Request) (llm.Response, error) {
	if m.invalid != nil {
		return llm.Response{}, m.invalid
	}
	if r.Schema != nil && !json.Valid(r.Schema) {
		return llm.Response{}, &gateway.Error{Kind: gateway.Invalid, Msg: m.who.Name + ": the request's schema is not JSON"}
	}
	f := m.form(r.Model)
	if err := m.traits.Check(m.who.Name, &r); err != nil {
		return llm.Response{}, err
	}
	return remote.Ask(ctx, &m.who, &m.learned, f, &r, func(f form) (llm.Response, error) {
		completion, err := m.completions.New(ctx, params(&r, f), m.options(&r, f)...)
		if err != nil {
			return llm.Response{}, err
		}
		return m.response(completion)
	})
}

// toolName is the tool that carries an answer.
const toolName = "answer"

// options are what a request has beside its parameters.
func (m *Model) options(r *llm.Request, f form) []option.RequestOption {
	out := m.traits.settings(r)
	if r.Schema != nil && f.format == formatTool {
		// The library's type would lose the order of the schema's members, in which
		// models write them.
		out = append(out, option.WithJSONSet("tools.0.function.parameters", r.Schema))
	}
	return out
}

// params is the body of the request.
func params(r *llm.Request, f form) openai.ChatCompletionNewParams {
	p := openai.ChatCompletionNewParams{Model: r.Model}
	system := r.System
	if r.Schema != nil && f.format != formatSchema && f.format != formatTool {
		// The server does not carry the schema, so the prompt must; OpenAI
		// also wants the word JSON in a prompt that asks for json_object.
		system = strings.TrimSpace(system + "\n\nAnswer with one JSON object and nothing else. It must satisfy this JSON Schema:\n" + string(r.Schema))
	}
	if system != "" {
		p.Messages = append(p.Messages, openai.SystemMessage(system))
	}
	for _, t := range r.Turns {
		if t.Role == transcript.Assistant {
			p.Messages = append(p.Messages, openai.AssistantMessage(t.Text))
		} else {
			p.Messages = append(p.Messages, openai.UserMessage(t.Text))
		}
	}
	if !f.noTemperature {
		p.Temperature = openai.Float(r.Temperature)
	}
	switch {
	case r.MaxTokens <= 0:
	case f.completionTokens:
		p.MaxCompletionTokens = openai.Int(int64(r.MaxTokens))
	default:
		p.MaxTokens = openai.Int(int64(r.MaxTokens))
	}
	if r.Schema == nil {
		return p
	}
	switch f.format {
	case formatSchema:
		p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
			JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
				Name: "answer", Schema: r.Schema, Strict: openai.Bool(r.Strict),
			},
		}
	case formatTool:
		fn := shared.FunctionDefinitionParam{Name: toolName, Description: openai.String("Gives the answer. Call it once."), Parameters: shared.FunctionParameters{}}
		if r.Strict && !f.looseTools {
			fn.Strict = openai.Bool(true)
		}
		p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(fn)}
		// A choice by name is passed over by some servers (llama.cpp); there is but
		// one tool.
		p.ToolChoice.OfAuto = openai.String("required")
		if parallel := r.Settings.ParallelToolCalls; parallel != nil {
			p.ParallelToolCalls = openai.Bool(*parallel)
		}
	case formatObject:
		p.ResponseFormat.OfJSONObject = &shared.ResponseFormatJSONObjectParam{}
	case formatPlain:
	}
	return p
}

// response reads the first choice; we never ask for more.
func (m *Model) response(c *openai.ChatCompletion) (llm.Response, error) {
	if c == nil || len(c.Choices) == 0 {
		return llm.Response{}, m.hollow(c)
	}
	choice := &c.Choices[0]
	text := choice.Message.Content
	// Where a tool had to be called, its first call is the answer; some models
	// write one nevertheless.
	if calls := choice.Message.ToolCalls; len(calls) > 0 && calls[0].Function.Arguments != "" {
		text = calls[0].Function.Arguments
	}
	resp := llm.Response{
		Text:         strings.ToValidUTF8(text, "\uFFFD"),
		Truncated:    choice.FinishReason == "length",
		Refused:      choice.FinishReason == "content_filter" || choice.Message.Refusal != "",
		Model:        strings.ToValidUTF8(c.Model, "\uFFFD"),
		InputTokens:  remote.Tokens(c.Usage.PromptTokens),
		OutputTokens: remote.Tokens(c.Usage.CompletionTokens),
	}
	if choice.Message.Refusal != "" {
		resp.Text = strings.ToValidUTF8(choice.Message.Refusal, "\uFFFD")
	}
	return resp, nil
}

// hollow is the error of an answer without choices. Some routers answer 200
// and put the error of the server behind them into the body, its status as
// the code.
func (m *Model) hollow(c *openai.ChatCompletion) error {
	if c != nil {
		a := remote.NewRefusal(http.StatusOK, nil, []byte(c.RawJSON()))
		if a.Inner >= 400 && a.Inner < 600 {
			a.Status = a.Inner
			return a
		}
	}
	return &gateway.Error{Kind: gateway.Unavailable, Msg: fmt.Sprintf("%s answered 200 without choices", m.who.Name)}
}
