package webhooks

import (
	"context"
	"encoding/json"
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

// try makes a request under a key, as often as one likes, and returns the secret
// that it is answered with.
func try(t *testing.T, h *API, key, path, body string) (status int, secret string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/api/v1"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", key)
	w := httptest.NewRecorder()
	repeats := idempotency.Middleware{
		Requests: forgetful{}, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler), Who: func(echo.Context) string { return "ops" },
	}
	wiretest.Echo(func(g *echo.Group) { g.Use(repeats.Handle); h.Mount(g) }).ServeHTTP(w, r)
	var answer struct{ Data struct{ Secret string } }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return w.Code, answer.Data.Secret
}

// TestASecretWhoseAnswerWasLostIsShownToItsRepetition, and to nobody else.
func TestASecretWhoseAnswerWasLostIsShownToItsRepetition(t *testing.T) {
	m := newMemory()
	const hook, rotate = `{"webhook":{"url":"https://example.com/hook"}}`, "/webhooks/1/rotate_secret"
	steps := []struct {
		key, path, body string
		status          int
		as              int // the step whose secret it shows; its own: a new one
	}{
		{"a", "/webhooks", hook, http.StatusCreated, 0},
		{"a", "/webhooks", hook, http.StatusCreated, 0},
		{"b", "/webhooks", hook, http.StatusCreated, 2},
		{"c", rotate, "", http.StatusOK, 3},
		{"c", rotate, "", http.StatusOK, 3},
		{"d", rotate, "", http.StatusConflict, -1},
	}
	secrets, numbers := make([]string, len(steps)), map[string]int{"": -1}
	for i, s := range steps {
		var code int
		code, secrets[i] = try(t, m.api(), s.key, s.path, s.body)
		if _, known := numbers[secrets[i]]; !known {
			numbers[secrets[i]] = i
		}
		if code != s.status || numbers[secrets[i]] != s.as {
			t.Errorf("step %d is answered %d with the secret of step %d", i, code, numbers[secrets[i]])
		}
	}
	if len(m.hooks) != 2 || string(m.hooks[0].PreviousSecret) != secrets[0] || string(m.hooks[0].Secret) != secrets[3] {
		t.Errorf("there are %d webhooks; the secret before the rotation or the new one is lost", len(m.hooks))
	}
}
