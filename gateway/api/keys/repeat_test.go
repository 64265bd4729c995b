package keys

import (
	"context"
	"crypto/sha256"
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
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// forgetful is a database whose process dies before an answer is on record.
type forgetful struct{ *store.Store }

func (f forgetful) AnswerRequest(ctx context.Context, r *gateway.IdempotentRequest) error {
	return f.ReleaseRequest(ctx, r)
}

// TestAKeyThatNobodySawGetsAnotherSecret: its name is not lost, and what the try
// that was cut short made opens nothing.
func TestAKeyThatNobodySawGetsAnotherSecret(t *testing.T) {
	s := storetest.Open(t)
	h := &API{Keys: s, Audit: s}
	repeats := idempotency.Middleware{
		Requests: forgetful{s}, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler), Who: func(echo.Context) string { return "ops" },
	}
	e := wiretest.Echo(func(g *echo.Group) { g.Use(repeats.Handle); h.Mount(g) })
	create := func(try string) (int, createdBody) {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/keys", strings.NewReader(`{"key":{"name":"shop","scope":"read","per_minute":7}}`))
		r.Header.Set("Content-Type", "application/json")
		if try != "" {
			r.Header.Set("Idempotency-Key", try)
		}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		var answer struct{ Data createdBody }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		return w.Code, answer.Data
	}
	opens := func(secret string) bool {
		_, err := s.KeyByHash(t.Context(), sha256.Sum256([]byte(secret)))
		return err == nil
	}
	code, first := create("a")
	if code != http.StatusCreated || !opens(first.Secret) {
		t.Fatalf("the first try is answered %d", code)
	}
	code, again := create("a")
	if code != http.StatusCreated || *again.ID != *first.ID || again.Name != "shop" || again.Scope != "read" || *again.PerMinute != 7 {
		t.Errorf("its repetition is answered %d %+v", code, again.keyBody)
	}
	if opens(first.Secret) || !opens(again.Secret) {
		t.Errorf("the first secret opens: %v, the second: %v", opens(first.Secret), opens(again.Secret))
	}
	for _, try := range []string{"b", ""} {
		if code, _ := create(try); code != http.StatusConflict {
			t.Errorf("another request for that name (%q) is answered %d", try, code)
		}
	}
	if !opens(again.Secret) {
		t.Error("another request changed the key")
	}
	if err := s.RevokeKey(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	if code, _ := create("a"); code != http.StatusConflict {
		t.Errorf("a repetition after the key was revoked is answered %d", code)
	}
}
