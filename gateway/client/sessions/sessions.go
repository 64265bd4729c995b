// Package sessions is the phones of which a gateway is a linked device, as
// WhatsApp Web is.
package sessions

import (
	"context"
	"iter"
	"net/http"
	"time"

	"wagent/gateway/client/rest"
)

// Service is the sessions that the key reaches. It may be used concurrently.
type Service struct{ rest *rest.Client }

// New returns the sessions.
func New(c *rest.Client) *Service { return &Service{c} }

// The values of Session.Status.
const (
	Connecting   = "connecting"
	QRPending    = "qr_pending" // QRCode waits to be scanned
	Connected    = "connected"
	Disconnected = "disconnected"
)

// Session is one phone's.
type Session struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Status      string    `json:"status"`
	Connected   bool      `json:"connected"`
	PhoneNumber string    `json:"phone_number"` // "" until a phone scanned the code
	QRCode      string    `json:"qr_code"`      // a data:image/png;base64,… URL; "": there is none to scan
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// List returns the sessions, and how many there are.
func (s *Service) List(ctx context.Context) (rest.List[Session], error) {
	return rest.Many[Session](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: []string{"sessions"}})
}

// All ranges over what List returns.
func (s *Service) All(ctx context.Context) iter.Seq2[Session, error] {
	return rest.All(func() (rest.List[Session], error) { return s.List(ctx) })
}

// Create makes a session, whose QR code comes a moment later: Retrieve it until
// it is connected, since WhatsApp renews the code every 20 s or so.
func (s *Service) Create(ctx context.Context, name string) (Session, error) {
	in := map[string]map[string]string{"session": {"name": name}}
	return rest.One[Session](ctx, s.rest, rest.Call{Method: http.MethodPost, Path: []string{"sessions"}, In: in})
}

// Retrieve returns a session.
func (s *Service) Retrieve(ctx context.Context, id string) (Session, error) {
	return rest.One[Session](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: []string{"sessions", id}})
}

// Delete unlinks the phone.
func (s *Service) Delete(ctx context.Context, id string) error {
	return s.rest.Do(ctx, rest.Call{Method: http.MethodDelete, Path: []string{"sessions", id}}, nil)
}
