// Package runs is what agents did: a run begins with an input and ends with an
// output whose actions are dispatched by the client, at once or after somebody
// confirmed them.
//
// A run goes from pending over running to completed or failed, by itself: the
// gateway finishes it whether or not anybody waits, also across its own
// restarts.
package runs

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"wagent/gateway/client/rest"
)

// Service is the runs of one agent. It may be used concurrently.
type Service struct {
	rest  *rest.Client
	agent string
}

// New returns the runs of an agent, which is not looked up.
func New(c *rest.Client, agent string) *Service { return &Service{c, agent} }

// Input is the input of a run in full. A plain string stands for one that has
// only LastMessage, and any other value that encodes to JSON is taken as well.
type Input struct {
	LastMessage    string   `json:"last_message"`
	RecentMessages []string `json:"recent_messages,omitempty"` // oldest first; nil: none
}

// Params is a run to be made.
type Params struct {
	Input any `json:"input"` // a string, an Input, or anything else that encodes to JSON
	// Metadata is kept with the run; nil: none. Its "conversation_key", a
	// string, has the run continue what earlier runs of this key left in the
	// agent's memory; without it a run knows nothing of others.
	Metadata map[string]any `json:"metadata,omitempty"`
	// IdempotencyKey makes it one run, however often it is created within 24 h:
	// name what caused it. "": each Create is a run.
	IdempotencyKey string `json:"-"`
}

func (s *Service) path(more ...string) []string {
	return append([]string{"agents", s.agent, "runs"}, more...)
}

// Create makes a run and returns it pending: [Run.Wait] waits for its end.
func (s *Service) Create(ctx context.Context, p Params) (*Run, error) {
	return s.one(ctx, rest.Call{Method: http.MethodPost, Path: s.path(), In: map[string]Params{"run": p}, Key: p.IdempotencyKey})
}

// Retrieve returns a run of the agent.
func (s *Service) Retrieve(ctx context.Context, id string) (*Run, error) {
	return s.one(ctx, rest.Call{Method: http.MethodGet, Path: s.path(id)})
}

// fullPage is how many runs a page has at most.
const fullPage = 50

// List returns the agent's last 50 runs, newest first, and how many it has.
func (s *Service) List(ctx context.Context) (rest.List[Run], error) { return s.list(ctx, nil) }

func (s *Service) list(ctx context.Context, q url.Values) (rest.List[Run], error) {
	l, err := rest.Many[Run](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: s.path(), Query: q})
	for i := range l.Items {
		l.Items[i].service = s
	}
	return l, err
}

// All ranges over all runs of the agent, newest first: it reads a page when the
// loop comes to it, so break where it is enough. Of a server that knows no pages,
// as WhatsRB Cloud, these are the last 50.
func (s *Service) All(ctx context.Context) iter.Seq2[Run, error] {
	return rest.Pages(fullPage, func(before string) (rest.List[Run], error) {
		q := url.Values{"limit": {strconv.Itoa(fullPage)}}
		if before != "" {
			q.Set("before", before)
		}
		return s.list(ctx, q)
	}, func(r *Run) string { return r.ID })
}

type decision struct {
	Index  int    `json:"index"`
	Status string `json:"status"`
}

func (s *Service) decide(ctx context.Context, id string, ds []decision) (*Run, error) {
	return s.one(ctx, rest.Call{Method: http.MethodPost, Path: s.path(id, "actions"), In: map[string][]decision{"actions": ds}})
}

func (s *Service) one(ctx context.Context, call rest.Call) (*Run, error) {
	r, err := rest.One[Run](ctx, s.rest, call)
	if err != nil {
		return nil, err
	}
	r.service = s
	return &r, nil
}

// FromEvent returns the run that the data of an agent_run.… webhook describes.
// It has what the webhook tells, and can be dispatched; [Run.Refresh] reads the
// rest.
func (s *Service) FromEvent(data json.RawMessage) (*Run, error) {
	r := &Run{service: s}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("decode run of a webhook: %w", err)
	}
	return r, nil
}
