// Package webhooks is where a gateway delivers its events. What arrives there is
// verified and routed by package events.
package webhooks

import (
	"context"
	"iter"
	"net/http"
	"strconv"
	"time"

	"wagent/gateway/client/rest"
)

// Service is the webhooks. It may be used concurrently.
type Service struct{ rest *rest.Client }

// New returns the webhooks.
func New(c *rest.Client) *Service { return &Service{c} }

// Webhook is a URL that is told of events.
type Webhook struct {
	ID        int64     `json:"id"`
	URL       string    `json:"url"`
	Events    []string  `json:"events"`  // empty: all
	Actions   []string  `json:"actions"` // patterns of the action types that it takes (support.*.*)
	Active    bool      `json:"active"`
	Disabled  string    `json:"disabled"` // why the gateway turned it off, which Active ends; "": it did not
	Secret    string    `json:"secret"`   // only in what Create and RotateSecret return: keep it
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Params is a webhook to be made, or what is to change of one: what is nil or ""
// is left out, and so takes its default or stays.
type Params struct {
	URL            string   `json:"url,omitempty"`
	Active         *bool    `json:"active,omitempty"` // true
	Events         []string `json:"events,omitzero"`  // empty but not nil: all
	Actions        []string `json:"actions,omitzero"` // empty but not nil: none
	IdempotencyKey string   `json:"-"`                // of Create, as runs.Params says
}

// List returns the webhooks, and how many there are.
func (s *Service) List(ctx context.Context) (rest.List[Webhook], error) {
	return rest.Many[Webhook](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: path()})
}

// All ranges over what List returns.
func (s *Service) All(ctx context.Context) iter.Seq2[Webhook, error] {
	return rest.All(func() (rest.List[Webhook], error) { return s.List(ctx) })
}

// Create makes a webhook. The Secret that it returns is told only here.
func (s *Service) Create(ctx context.Context, p Params) (Webhook, error) {
	return rest.One[Webhook](ctx, s.rest, rest.Call{Method: http.MethodPost, Path: path(), In: wrap(p), Key: p.IdempotencyKey})
}

// Retrieve returns a webhook.
func (s *Service) Retrieve(ctx context.Context, id int64) (Webhook, error) {
	return rest.One[Webhook](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: path(id)})
}

// Update changes what p names.
func (s *Service) Update(ctx context.Context, id int64, p Params) (Webhook, error) {
	return rest.One[Webhook](ctx, s.rest, rest.Call{Method: http.MethodPatch, Path: path(id), In: wrap(p)})
}

// Delete deletes a webhook.
func (s *Service) Delete(ctx context.Context, id int64) error {
	return s.rest.Do(ctx, rest.Call{Method: http.MethodDelete, Path: path(id)}, nil)
}

// RotateSecret makes a new secret, which is told only here. For a day the old one
// signs as well, in the header of Standard Webhooks: events.Verify takes either.
func (s *Service) RotateSecret(ctx context.Context, id int64) (Webhook, error) {
	return rest.One[Webhook](ctx, s.rest, rest.Call{Method: http.MethodPost, Path: append(path(id), "rotate_secret")})
}

func wrap(p Params) map[string]Params { return map[string]Params{"webhook": p} }

func path(id ...int64) []string {
	out := []string{"webhooks"}
	for _, n := range id {
		out = append(out, strconv.FormatInt(n, 10))
	}
	return out
}
