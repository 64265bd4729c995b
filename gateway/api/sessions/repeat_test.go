package sessions

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/wire/wiretest"
)

// forgetful requests are done anew, under the id that they have: none of their
// answers is kept.
type forgetful struct{}

func (forgetful) ClaimRequest(_ context.Context, r *gateway.IdempotentRequest, _ time.Duration) (bool, error) {
	r.ID = r.Key
	return true, nil
}
func (forgetful) AnswerRequest(context.Context, *gateway.IdempotentRequest) error  { return nil }
func (forgetful) ReleaseRequest(context.Context, *gateway.IdempotentRequest) error { return nil }

// failing starts no pairing.
type failing struct{ *memory }

func (failing) StartPairing(context.Context, gateway.AccountID, gateway.PairingMethod, string) (gateway.Pairing, error) {
	return gateway.Pairing{}, &gateway.Error{Kind: gateway.Unavailable, Msg: "away"}
}

func TestASessionThatATryMadeIsNotMadeAgain(t *testing.T) {
	m := newMemory()
	create := func(h *API) int {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/sessions", strings.NewReader(`{"session":{"name":"Desk"}}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "a")
		w := httptest.NewRecorder()
		repeats := idempotency.Middleware{
			Requests: forgetful{}, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler), Who: func(echo.Context) string { return "ops" },
		}
		wiretest.Echo(func(g *echo.Group) { g.Use(repeats.Handle); h.Mount(g) }).ServeHTTP(w, r)
		return w.Code
	}
	broken := m.api()
	broken.Pairings = failing{m}
	before := len(m.accounts)
	if code := create(broken); code != http.StatusServiceUnavailable {
		t.Fatalf("a try whose pairing does not start is answered %d", code)
	}
	if code := create(m.api()); code != http.StatusCreated || m.pairings[m.last()].Step != gateway.StepWanted {
		t.Errorf("the next try is answered %d, with the pairing %+v", code, m.pairings[m.last()])
	}
	if !m.do("the phone is linked") {
		t.Fatal("no phone is linked")
	}
	if code := create(m.api()); code != http.StatusCreated {
		t.Errorf("one after a phone is linked is answered %d", code)
	}
	if n := len(m.accounts) - before; n != 1 || m.last() != gateway.AccountIDOf("a") {
		t.Errorf("three tries made %d accounts, %s the last", n, m.last())
	}
}
