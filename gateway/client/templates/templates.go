// Package templates is the message templates of a business account: texts that
// Meta has approved, and that may be sent to a customer who did not write in the
// last 24 hours.
package templates

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"time"

	"wagent/gateway/client/messages"
	"wagent/gateway/client/rest"
)

// Service is the templates of one account. It may be used concurrently.
type Service struct {
	rest    *rest.Client
	account string
}

// New returns the templates of an account, which is not looked up.
func New(c *rest.Client, account string) *Service { return &Service{c, account} }

// Template is a template as Meta had it when it was last read.
type Template struct {
	ID               string          `json:"id"`
	MetaTemplateID   string          `json:"meta_template_id"`
	Name             string          `json:"name"`
	Language         string          `json:"language"`
	Category         string          `json:"category"` // MARKETING, UTILITY, AUTHENTICATION
	Status           string          `json:"status"`   // pending, approved, rejected, …
	HeaderType       string          `json:"header_type"`
	Components       json.RawMessage `json:"components"`        // an object by kind: header, body, …
	VariableExamples json.RawMessage `json:"variable_examples"` // an object by kind
	RejectionReason  string          `json:"rejection_reason"`
	CreatedAt        time.Time       `json:"created_at"`
	UpdatedAt        time.Time       `json:"updated_at"`
}

// Params is a template to be made.
type Params struct {
	Name             string `json:"name"`     // [a-z0-9_]+
	Language         string `json:"language"` // en_US
	Category         string `json:"category"`
	HeaderType       string `json:"header_type,omitempty"`
	Components       any    `json:"components"`                  // a list, in Meta's form, which has a BODY
	VariableExamples any    `json:"variable_examples,omitempty"` // by kind; nil: those of the components
	IdempotencyKey   string `json:"-"`                           // of Create, as runs.Params says
}

// Filter limits a list; what is "" does not.
type Filter struct{ Status, Category string }

func (s *Service) path(more ...string) []string {
	return append([]string{"business_accounts", s.account, "templates"}, more...)
}

// List returns the templates that pass the filter, and how many these are.
func (s *Service) List(ctx context.Context, f Filter) (rest.List[Template], error) {
	q := url.Values{}
	if f.Status != "" {
		q.Set("status", f.Status)
	}
	if f.Category != "" {
		q.Set("category", f.Category)
	}
	return rest.Many[Template](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: s.path(), Query: q})
}

// All ranges over what List returns.
func (s *Service) All(ctx context.Context, f Filter) iter.Seq2[Template, error] {
	return rest.All(func() (rest.List[Template], error) { return s.List(ctx, f) })
}

// Create submits a template to Meta, which approves or rejects it later.
func (s *Service) Create(ctx context.Context, p Params) (Template, error) {
	return rest.One[Template](ctx, s.rest, rest.Call{
		Method: http.MethodPost, Path: s.path(), In: map[string]Params{"template": p}, Key: p.IdempotencyKey,
	})
}

// Retrieve returns a template.
func (s *Service) Retrieve(ctx context.Context, id string) (Template, error) {
	return rest.One[Template](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: s.path(id)})
}

// Delete deletes a template, at Meta too.
func (s *Service) Delete(ctx context.Context, id string) error {
	return s.rest.Do(ctx, rest.Call{Method: http.MethodDelete, Path: s.path(id)}, nil)
}

// Sync has the gateway read all templates from Meta, and returns them.
func (s *Service) Sync(ctx context.Context) (rest.List[Template], error) {
	return rest.Many[Template](ctx, s.rest, rest.Call{Method: http.MethodPost, Path: s.path("sync")})
}

// Clone submits a template once more, under another name; "": one that the
// gateway chooses.
func (s *Service) Clone(ctx context.Context, id, name string) (Template, error) {
	call := rest.Call{Method: http.MethodPost, Path: s.path(id, "clone")}
	if name != "" {
		call.In = map[string]map[string]string{"template": {"name": name}}
	}
	return rest.One[Template](ctx, s.rest, call)
}

// SendTest sends a template to a number, E.164, with the values of its
// variables in order.
func (s *Service) SendTest(ctx context.Context, id, to string, variables ...string) (messages.Message, error) {
	in := struct {
		To        string   `json:"to"`
		Variables []string `json:"variables,omitempty"`
	}{to, variables}
	return rest.One[messages.Message](ctx, s.rest, rest.Call{Method: http.MethodPost, Path: s.path(id, "send_test"), In: in})
}
