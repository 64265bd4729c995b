package whatsrb

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

// try makes a request, if key is not empty under it, as often as one likes.
func try(h *API, key, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/v1"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	w := httptest.NewRecorder()
	repeats := idempotency.Middleware{
		Requests: forgetful{}, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler), Who: func(echo.Context) string { return "ops" },
	}
	wiretest.Echo(func(g *echo.Group) { g.Use(repeats.Handle); h.Mount(g) }).ServeHTTP(w, r)
	return w
}

func TestAnAgentThatATryMadeIsNotMadeAgain(t *testing.T) {
	m := newMemory()
	const body = `{"agent":{"name":"Desk","system_prompt":"Help.","model":"openai/gpt-4o-mini"}}`
	one, two, other := try(m.api(), "a", "/agents", body), try(m.api(), "a", "/agents", body), try(m.api(), "b", "/agents", body)
	if one.Code != http.StatusCreated || two.Code != http.StatusCreated || one.Body.String() != two.Body.String() {
		t.Errorf("answered %d %s, and then %d %s", one.Code, one.Body, two.Code, two.Body)
	}
	if other.Code != http.StatusCreated || len(m.agents) != 2 || m.agents[0].ID != gateway.AgentIDOf("a") || m.agents[1].ID != gateway.AgentIDOf("b") {
		t.Errorf("two requests made %d agents; the second was answered %d", len(m.agents), other.Code)
	}
}

func TestWhatATryDecidedIsNoConflict(t *testing.T) {
	const decisions, others = `{"actions":[{"index":0,"status":"confirmed"}]}`, `{"actions":[{"index":0,"status":"rejected"}]}`
	tests := map[string]struct {
		key, body string
		status    int
	}{
		"the same again":        {key: "a", body: decisions, status: http.StatusOK},
		"without a key":         {body: decisions, status: http.StatusConflict},
		"under another key":     {key: "b", body: decisions, status: http.StatusConflict},
		"decided otherwise":     {key: "a", body: others, status: http.StatusConflict},
		"one of two is pending": {key: "a", body: `{"actions":[{"index":0,"status":"confirmed"},{"index":1,"status":"confirmed"}]}`, status: http.StatusConflict},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			h := m.api()
			if w := try(h, "", "/agents", `{"agent":{"name":"Desk","system_prompt":"Help.","model":"openai/gpt-4o-mini"}}`); w.Code != http.StatusCreated {
				t.Fatalf("the agent: %d %s", w.Code, w.Body)
			}
			path := "/agents/" + m.agents[0].ID.String() + "/runs"
			if w := try(h, "", path, `{"run":{"input":"hello"}}`); w.Code != http.StatusCreated {
				t.Fatalf("the run: %d %s", w.Code, w.Body)
			}
			m.complete(true)
			path += "/" + string(m.runs[0].ID) + "/actions"
			if w := try(h, "a", path, decisions); w.Code != http.StatusOK {
				t.Fatalf("the first try: %d %s", w.Code, w.Body)
			}
			if w := try(h, tt.key, path, tt.body); w.Code != tt.status {
				t.Errorf("answered %d %s, want %d", w.Code, w.Body, tt.status)
			}
		})
	}
}
