package whatsrb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
	"wagent/gateway/api/wire/wiretest"
)

// broken fails every read of an agent with err.
type broken struct {
	*memory
	err error
}

func (b broken) Agent(context.Context, gateway.AgentID) (gateway.Agent, error) {
	return gateway.Agent{}, b.err
}

func TestErrors(t *testing.T) {
	secret := errors.New("dial postgres://user:hunter2@db: refused")
	tests := map[string]struct {
		err        error
		status     int
		body       string
		retryAfter string
		logged     string // level; empty: nothing
	}{
		"what nobody classified is internal, and says nothing": {
			err: secret, status: 500, body: `{"error":"Internal error"}`, logged: "ERROR",
		},
		"an internal error keeps its words for the log": {
			err: &gateway.Error{Msg: "hunter2", Err: secret}, status: 500, body: `{"error":"Internal error"}`, logged: "ERROR",
		},
		"invalid comes with its details": {
			err:    &gateway.Error{Kind: gateway.Invalid, Msg: "Validation failed", Details: map[string][]string{"name": {"can't be blank"}}},
			status: 422, body: `{"error":"Validation failed","details":{"name":["can't be blank"]}}`,
		},
		"not found has the contract's words": {
			err: &gateway.Error{Kind: gateway.NotFound, Msg: "no agent agt_1"}, status: 404, body: `{"error":"Not found"}`,
		},
		"a conflict says what it is": {
			err: &gateway.Error{Kind: gateway.Conflict, Msg: "already decided"}, status: 409, body: `{"error":"already decided"}`,
		},
		"a conflict without words has those of HTTP": {
			err: &gateway.Error{Kind: gateway.Conflict}, status: 409, body: `{"error":"Conflict"}`,
		},
		"a rate limit says when to come back, rounded up": {
			err:    &gateway.Error{Kind: gateway.RateLimited, Msg: "Too many requests", RetryAfter: 1500 * time.Millisecond},
			status: 429, body: `{"error":"Too many requests"}`, retryAfter: "2",
		},
		"a rate limit that does not know says a second": {
			err: &gateway.Error{Kind: gateway.RateLimited, Msg: "Too many requests"}, status: 429, body: `{"error":"Too many requests"}`, retryAfter: "1",
		},
		"unavailable hides its cause": {
			err: &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away", Err: secret}, status: 503, body: `{"error":"The database is away"}`, logged: "WARN",
		},
		"unauthorized": {
			err: &gateway.Error{Kind: gateway.Unauthorized, Msg: "Invalid or missing API key"}, status: 401, body: `{"error":"Invalid or missing API key"}`,
		},
		"ambiguous": {
			err: &gateway.Error{Kind: gateway.Ambiguous, Msg: "No answer"}, status: 502, body: `{"error":"No answer"}`, logged: "WARN",
		},
		"the service window is over": {
			err: &gateway.Error{Kind: gateway.WindowClosed, Msg: "The window is closed"}, status: 422, body: `{"error":"The window is closed"}`,
		},
		"what is too long": {
			err: &gateway.Error{Kind: gateway.TooLong, Msg: "The messages are too long for the model"}, status: 413, body: `{"error":"The messages are too long for the model"}`,
		},
		"an echo error of 5xx is internal": {
			err: echo.NewHTTPError(http.StatusBadGateway, "hunter2"), status: 500, body: `{"error":"Internal error"}`, logged: "ERROR",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			api := m.api()
			api.Agents = broken{m, fmt.Errorf("load agent: %w", tt.err)}
			var log bytes.Buffer
			e := echo.New()
			e.HTTPErrorHandler = wire.ErrorHandler(slog.New(slog.NewTextHandler(&log, nil)))
			api.Mount(e.Group("/api/v1"))
			w := httptest.NewRecorder()
			e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/agents/agt_"+strings.Repeat("0", 32), nil))
			if w.Code != tt.status || w.Body.String() != tt.body || w.Header().Get("Retry-After") != tt.retryAfter {
				t.Errorf("got %d %s, Retry-After %q", w.Code, w.Body, w.Header().Get("Retry-After"))
			}
			if got := w.Header().Get("WWW-Authenticate"); (got != "") != (tt.status == 401) {
				t.Errorf("WWW-Authenticate is %q", got)
			}
			level := ""
			if _, rest, ok := strings.Cut(log.String(), "level="); ok {
				level, _, _ = strings.Cut(rest, " ")
			}
			if level != tt.logged {
				t.Errorf("logged %q, want level %q", log.String(), tt.logged)
			}
		})
	}
}

func TestNothingIsLoggedForAClientThatHasGone(t *testing.T) {
	m := newMemory()
	api := m.api()
	api.Agents = broken{m, fmt.Errorf("query: %w", context.Canceled)}
	var log bytes.Buffer
	e := echo.New()
	e.HTTPErrorHandler = wire.ErrorHandler(slog.New(slog.NewTextHandler(&log, nil)))
	api.Mount(e.Group("/api/v1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequest(http.MethodGet, "/api/v1/agents/agt_"+strings.Repeat("0", 32), nil).WithContext(ctx)
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	if log.Len() > 0 || w.Code != 499 {
		t.Errorf("status %d, logged %q", w.Code, log.String())
	}
}

func TestAccountLookupThatFailsIsNotTheClientsFault(t *testing.T) {
	m := newMemory()
	api := m.api()
	api.Accounts = awayAccounts{}
	e := echo.New()
	e.HTTPErrorHandler = wire.ErrorHandler(slog.New(slog.DiscardHandler))
	api.Mount(e.Group("/api/v1"))
	for path, body := range map[string]string{
		"/api/v1/agents":                   `{"agent":{"name":"x","system_prompt":"y","business_account_id":"acc_try"}}`,
		"/api/v1/sandbox/acc_try/messages": `{"message":{"from":"+33612345678","text":"Hi"}}`,
	} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
		if diff := cmp.Diff(`503 {"error":"The database is away"}`, fmt.Sprint(w.Code, " ", w.Body)); diff != "" {
			t.Errorf("POST %s: -want +got:\n%s", path, diff)
		}
	}
}

type awayAccounts struct{}

func (awayAccounts) Accounts(context.Context) ([]gateway.Account, error) {
	return nil, &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}
}

func (awayAccounts) Account(context.Context, gateway.AccountID) (gateway.Account, error) {
	return gateway.Account{}, &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}
}

func TestValidateNamesTheMissingPart(t *testing.T) {
	wiretest.Parts(t, func() *API { return newMemory().api() })
}
