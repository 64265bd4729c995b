// Package pauses is human takeover: the conversations of an account that agents
// keep out of, because a person answers there.
package pauses

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"wagent/gateway/client/rest"
)

// Service is the pauses of one account of any kind. It may be used concurrently.
type Service struct {
	rest    *rest.Client
	account string
}

// New returns the pauses of an account, which is not looked up.
func New(c *rest.Client, account string) *Service { return &Service{c, account} }

// Pause is one conversation's.
type Pause struct {
	ID               int64     `json:"id"`
	PhoneNumber      string    `json:"phone_number"` // "" where WhatsApp does not tell it, and of a group
	Reason           string    `json:"reason"`       // manual, outbound_detected, agent_proposed, and the gateway's own
	ExpiresAt        time.Time `json:"expires_at"`
	ResumedAt        time.Time `json:"resumed_at"`        // zero: it was not ended
	RemainingMinutes int       `json:"remaining_minutes"` // rounded up; 0 once it is over
	CreatedAt        time.Time `json:"created_at"`
}

// Params is a pause to be made, or extended.
type Params struct {
	PhoneNumber     string `json:"phone_number"`               // the customer's, E.164
	DurationMinutes int    `json:"duration_minutes,omitempty"` // 0: as long as the account has it
	IdempotencyKey  string `json:"-"`                          // as runs.Params says
}

func (s *Service) path(more ...string) []string {
	return append([]string{"business_accounts", s.account, "conversation_pauses"}, more...)
}

// List returns the pauses, newest first, and how many there are: those in force
// or, with includeExpired, all.
func (s *Service) List(ctx context.Context, includeExpired bool) (rest.List[Pause], error) {
	call := rest.Call{Method: http.MethodGet, Path: s.path()}
	if includeExpired {
		call.Query = url.Values{"include_expired": {"true"}}
	}
	return rest.Many[Pause](ctx, s.rest, call)
}

// All ranges over what List returns.
func (s *Service) All(ctx context.Context, includeExpired bool) iter.Seq2[Pause, error] {
	return rest.All(func() (rest.List[Pause], error) { return s.List(ctx, includeExpired) })
}

// Create keeps agents out of a conversation, or for longer.
func (s *Service) Create(ctx context.Context, p Params) (Pause, error) {
	return rest.One[Pause](ctx, s.rest, rest.Call{Method: http.MethodPost, Path: s.path(), In: p, Key: p.IdempotencyKey})
}

// Check returns the pause in force in the conversation with a customer, or nil
// if agents answer there.
func (s *Service) Check(ctx context.Context, phoneNumber string) (*Pause, error) {
	var out struct { // it has no envelope
		Paused bool
		Pause  *Pause
	}
	err := s.rest.Do(ctx, rest.Call{
		Method: http.MethodGet, Path: s.path("check"), Query: url.Values{"phone_number": {phoneNumber}},
	}, &out)
	if err != nil || !out.Paused {
		return nil, err
	}
	return out.Pause, nil
}

// Retrieve returns a pause.
func (s *Service) Retrieve(ctx context.Context, id int64) (Pause, error) {
	return s.byID(ctx, http.MethodGet, id)
}

// Resume ends a pause and returns it: agents answer again.
func (s *Service) Resume(ctx context.Context, id int64) (Pause, error) {
	return s.byID(ctx, http.MethodDelete, id)
}

func (s *Service) byID(ctx context.Context, method string, id int64) (Pause, error) {
	return rest.One[Pause](ctx, s.rest, rest.Call{Method: method, Path: s.path(strconv.FormatInt(id, 10))})
}
