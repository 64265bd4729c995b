// Package client is the Go SDK of wagent's agents API: agents and their runs,
// decisions about actions, conversations, messages, webhooks.
//
//	c, err := client.New("https://wagent.example.com", key)
//	agent, err := c.Agents.Retrieve(ctx, "agt_…")
//	run, err := agent.Run(ctx, "Clean room 204 tomorrow at 8")
//	report, err := run.Dispatch(ctx, &registry)
//
// Each resource has a package of its own: [wagent/gateway/client/agents],
// runs, accounts and so on. Actions are routed by
// [wagent/gateway/client/actions], and webhooks verified and routed by
// [wagent/gateway/client/events].
//
// Everything that calls takes a context and ends with it. A call is repeated
// after a network error, a 429 or a 5xx, where that is safe, as
// [wagent/gateway/client/rest] says; what the gateway refuses is an [APIError],
// of a kind that errors.Is tells. Members of an answer that this package does
// not know are passed over, and what is null is the zero value: "", 0, the zero
// time, nil. Nothing is logged or kept.
package client

import (
	"net/http"
	"time"

	"wagent/gateway/client/accounts"
	"wagent/gateway/client/agents"
	"wagent/gateway/client/messages"
	"wagent/gateway/client/pauses"
	"wagent/gateway/client/rest"
	"wagent/gateway/client/runs"
	"wagent/gateway/client/sessions"
	"wagent/gateway/client/templates"
	"wagent/gateway/client/usage"
	"wagent/gateway/client/webhooks"
)

const (
	defaultTimeout = 30 * time.Second // of one try
	defaultRetries = 3
)

// Client calls one gateway with one API key. It may be used concurrently.
type Client struct {
	Agents   *agents.Service
	Accounts *accounts.Service // business accounts, and connects
	Sessions *sessions.Service // linked devices
	Webhooks *webhooks.Service
	Usage    *usage.Service

	rest *rest.Client
}

// Option changes how a Client calls.
type Option func(*rest.Config)

// WithHTTPClient has calls made by h, which is copied, rather than by one that
// gives each try 30 s. Redirects are not followed in either case.
func WithHTTPClient(h *http.Client) Option { return func(cfg *rest.Config) { cfg.HTTP = h } }

// WithRetries has a failed call repeated at most n times, rather than 3 times.
// 0 is never.
func WithRetries(n int) Option { return func(cfg *rest.Config) { cfg.Retries = n } }

// New returns a client of the gateway at baseURL, for instance
// http://127.0.0.1:8080: /api/v1 is added to it. It dials nothing; an error
// says what is wrong with an argument.
func New(baseURL, key string, options ...Option) (*Client, error) {
	cfg := rest.Config{
		BaseURL: baseURL, Key: key, Retries: defaultRetries, Refused: refused,
		HTTP: &http.Client{Timeout: defaultTimeout},
	}
	for _, o := range options {
		o(&cfg)
	}
	r, err := rest.New(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{
		Agents: agents.New(r), Accounts: accounts.New(r), Sessions: sessions.New(r),
		Webhooks: webhooks.New(r), Usage: usage.New(r), rest: r,
	}, nil
}

// AgentRuns are the runs of one agent.
func (c *Client) AgentRuns(agent string) *runs.Service { return runs.New(c.rest, agent) }

// Messages are those of one business account.
func (c *Client) Messages(account string) *messages.Service {
	return messages.New(c.rest, "business_accounts", account)
}

// SessionMessages are those of one session.
func (c *Client) SessionMessages(session string) *messages.Service {
	return messages.New(c.rest, "sessions", session)
}

// Pauses are the conversations of one account that a person has taken over.
func (c *Client) Pauses(account string) *pauses.Service { return pauses.New(c.rest, account) }

// Templates are the message templates of one business account.
func (c *Client) Templates(account string) *templates.Service {
	return templates.New(c.rest, account)
}

// REST makes calls that have no service here.
func (c *Client) REST() *rest.Client { return c.rest }
