// Package accounts is the business accounts of a gateway, which are numbers of
// Meta's Cloud API, and the connects by which somebody adds one.
package accounts

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"

	"wagent/gateway/client/rest"
)

// Service is the accounts that the key reaches. It may be used concurrently.
type Service struct{ rest *rest.Client }

// New returns the accounts.
func New(c *rest.Client) *Service { return &Service{c} }

// Account is a business account.
type Account struct {
	ID                    string    `json:"id"`
	WABAID                string    `json:"waba_id"`
	BusinessName          string    `json:"business_name"`
	DisplayName           string    `json:"display_name"`
	PhoneNumber           string    `json:"phone_number"`
	PhoneNumberID         string    `json:"phone_number_id"`
	Status                string    `json:"status"`
	QualityRating         string    `json:"quality_rating"`
	Connected             bool      `json:"connected"`
	HumanTakeoverDuration int       `json:"human_takeover_duration"` // minutes for which agents keep out once a person writes
	CreatedAt             time.Time `json:"created_at"`
	UpdatedAt             time.Time `json:"updated_at"`
}

// Params is an account to be made, by what Meta calls it.
type Params struct {
	WABAID          string `json:"waba_id,omitempty"`
	PhoneNumberID   string `json:"phone_number_id,omitempty"`
	BusinessName    string `json:"business_name,omitempty"`
	DisplayName     string `json:"display_name,omitempty"`
	PhoneNumber     string `json:"phone_number,omitempty"` // E.164
	MetaAccessToken string `json:"meta_access_token,omitempty"`
	AppSecret       string `json:"app_secret,omitempty"`   // with which Meta signs webhooks; "": that of the other accounts
	VerifyToken     string `json:"verify_token,omitempty"` // the same
	IdempotencyKey  string `json:"-"`                      // of Create, as [runs.Params] says
}

const path = "business_accounts"

// List returns the accounts, and how many there are.
func (s *Service) List(ctx context.Context) (rest.List[Account], error) {
	return rest.Many[Account](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: []string{path}})
}

// All ranges over what List returns.
func (s *Service) All(ctx context.Context) iter.Seq2[Account, error] {
	return rest.All(func() (rest.List[Account], error) { return s.List(ctx) })
}

// Create makes an account.
func (s *Service) Create(ctx context.Context, p Params) (Account, error) {
	return rest.One[Account](ctx, s.rest, rest.Call{
		Method: http.MethodPost, Path: []string{path}, In: map[string]Params{"business_account": p}, Key: p.IdempotencyKey,
	})
}

// Retrieve returns an account.
func (s *Service) Retrieve(ctx context.Context, id string) (Account, error) {
	return rest.One[Account](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: []string{path, id}})
}

// Delete deletes an account. One of the gateway's configuration file stays
// (client.ErrConflict).
func (s *Service) Delete(ctx context.Context, id string) error {
	return s.rest.Do(ctx, rest.Call{Method: http.MethodDelete, Path: []string{path, id}}, nil)
}

// Window is the 24 hours after a customer's message in which WhatsApp takes
// messages that are no template.
type Window struct {
	PhoneNumber   string    `json:"phone_number"`
	Open          bool      `json:"open"`
	LastInboundAt time.Time `json:"last_inbound_at"` // zero: the customer never wrote
	ExpiresAt     time.Time `json:"expires_at"`      // zero: the same
}

// Window returns the window with a customer, whose number is E.164.
func (s *Service) Window(ctx context.Context, id, phoneNumber string) (Window, error) {
	return rest.One[Window](ctx, s.rest, rest.Call{
		Method: http.MethodGet, Path: []string{path, id, "window"}, Query: url.Values{"phone_number": {phoneNumber}},
	})
}

// The values of Connect.Status.
const (
	Pending   = "pending"
	Completed = "completed"
	Expired   = "expired"
	Failed    = "failed"
)

// Connect is somebody's opportunity to add an account, at a URL.
type Connect struct {
	ID                string    `json:"id"`
	URL               string    `json:"url"`
	Status            string    `json:"status"`
	ExpiresAt         time.Time `json:"expires_at"`
	BusinessAccountID string    `json:"business_account_id"` // "" until it is completed
	Account           *Account  `json:"account"`             // of WhatsRB Cloud, in place of its id
	Error             string    `json:"error"`               // why it failed
}

// Connect begins one.
func (s *Service) Connect(ctx context.Context) (Connect, error) {
	return rest.One[Connect](ctx, s.rest, rest.Call{Method: http.MethodPost, Path: []string{path, "connect"}})
}

// RetrieveConnect returns one.
func (s *Service) RetrieveConnect(ctx context.Context, id string) (Connect, error) {
	return rest.One[Connect](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: []string{"connects", id}})
}

// connectPoll is how often WaitForConnect looks: people take minutes.
const connectPoll = 2 * time.Second

// WaitForConnect blocks until somebody has added the account, and returns it. It
// is an error that this can not be any more, or that ctx ended first.
func (s *Service) WaitForConnect(ctx context.Context, id string) (Account, error) {
	for {
		c, err := s.RetrieveConnect(ctx, id)
		switch {
		case err != nil:
			return Account{}, fmt.Errorf("wait for connect %s: %w", id, err)
		case c.Status == Completed && c.Account != nil:
			return *c.Account, nil
		case c.Status == Completed:
			return s.Retrieve(ctx, c.BusinessAccountID)
		case c.Status != Pending:
			return Account{}, fmt.Errorf("wait for connect %s: it is %s %s", id, c.Status, c.Error)
		}
		t := time.NewTimer(connectPoll)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return Account{}, fmt.Errorf("wait for connect %s: %w", id, context.Cause(ctx))
		}
	}
}
