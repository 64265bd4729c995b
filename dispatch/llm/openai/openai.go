// Package openai asks models over OpenAI's protocols: Chat Completions, which
// many servers speak at base URLs of their own, and Responses, which some of
// OpenAI's own models need.
//
// It uses OpenAI's own library, but neither its environment variables nor its
// retries: what is asked, of whom and with which key is decided by [Config]
// alone, and a failed request is the caller's to repeat. Redirects are not
// followed, since they could carry a prompt or a key elsewhere.
//
// Servers differ in what they take. A [Model] starts from its server's [Traits]
// and what the protocol's newest form has, and gives up, one at a time, what a
// server refuses by name: json_schema becomes a tool that must be called,
// json_object and then plain text, max_tokens and max_completion_tokens stand in
// for each other, Chat Completions becomes Responses, and temperature, the key of
// the cache and a stream's usage are left out. What it learned is kept in memory
// per model and learned again after a restart. Settings of an agent are never left
// out: what refuses them fails the request, and the error names the setting.
//
// An answer may be asked for as a stream. It is used only once it is whole; the
// stream tells a server that has stalled from one that works.
package openai

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

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
	return remote.BaseURL(c.name(), cmp.Or(c.BaseURL, DefaultBaseURL))
}

func (c *Config) name() string {
	if c.Name == "" {
		return "openai"
	}
	return c.Name
}

// A Model is a provider that speaks Chat Completions, or Responses. It is safe
// for concurrent use.
type Model struct {
	who         remote.Provider
	invalid     error // what is wrong with the configuration
	stream      bool
	completions openai.ChatCompletionService
	responses   responses.ResponseService
	traits      Traits // of the server
	learned     remote.Forms[form]
}

// New returns a provider. It dials nothing. With a base URL that Validate
// refuses, every Generate fails with what Validate says.
func New(cfg Config) *Model {
	m := &Model{who: remote.Provider{Name: cfg.name(), Key: cfg.APIKey, Idle: cfg.Idle}, stream: cfg.Stream}
	base, err := cfg.base()
	if err != nil {
		m.invalid = err
		return m
	}
	m.traits = cfg.Traits
	if isOpenAI(base.Hostname()) {
		m.traits.CompletionTokens, m.traits.CacheKey = true, true
		m.traits.API = cmp.Or(m.traits.API, Auto)
	}
	opts := []option.RequestOption{
		option.WithBaseURL(strings.TrimSuffix(base.String(), "/") + "/"),
		option.WithHTTPClient(remote.Client(cfg.HTTPClient)),
		option.WithMaxRetries(0),
		option.WithMiddleware(m.read),
	}
	switch {
	case cfg.APIKey == "":
	case cfg.Traits.KeyHeader != "":
		opts = append(opts, option.WithHeader(cfg.Traits.KeyHeader, string(cfg.APIKey)))
	default:
		opts = append(opts, option.WithAPIKey(string(cfg.APIKey)))
	}
	// Unlike openai.NewClient, the services' constructors read no environment.
	m.completions = openai.NewChatCompletionService(opts...)
	m.responses = responses.NewResponseService(opts...)
	return m
}

// read is what stands between the library and the server.
func (m *Model) read(req *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	if m.stream {
		return m.who.ReadStream(req, next)
	}
	return m.who.Read(req, next)
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
		if f.responses {
			if err := notOverResponses(m.who.Name, &r); err != nil {
				return llm.Response{}, err
			}
			return m.respond(ctx, &r, f)
		}
		return m.complete(ctx, &r, f)
	})
}
