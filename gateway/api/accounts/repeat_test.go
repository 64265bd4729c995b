package accounts

import (
	"context"
	"encoding/json"
	"fmt"
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

// absent is Meta that is asked once, and then away.
type absent struct{ asked int }

func (m *absent) CheckAccount(context.Context, *gateway.Account) error {
	if m.asked++; m.asked > 1 {
		return &gateway.Error{Kind: gateway.Unavailable, Msg: "away"}
	}
	return nil
}

func TestAnAccountThatATryAddedIsNotTaken(t *testing.T) {
	s := storetest.Open(t)
	h := newMemory().api()
	h.Accounts, h.Apps, h.Meta = s, s, &absent{}
	repeats := idempotency.Middleware{
		Requests: forgetful{s}, Timeout: time.Minute, Log: slog.New(slog.DiscardHandler), Who: func(echo.Context) string { return "ops" },
	}
	e := wiretest.Echo(func(g *echo.Group) { g.Use(repeats.Handle); h.Mount(g) })
	create := func(try string) (int, string, string) {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/business_accounts", strings.NewReader(fmt.Sprintf(posted, "")))
		r.Header.Set("Content-Type", "application/json")
		if try != "" {
			r.Header.Set("Idempotency-Key", try)
		}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		var answer struct{ Data accountBody }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		return w.Code, answer.Data.ID, w.Body.String()
	}
	code, first, answer := create("a")
	if code != http.StatusCreated {
		t.Fatalf("the first try is answered %d %s", code, answer)
	}
	if code, again, answer := create("a"); code != http.StatusCreated || again != first {
		t.Errorf("its repetition is answered %d %s, want account %s", code, answer, first)
	}
	h.Meta = newMemory()
	for _, try := range []string{"b", ""} {
		if code, _, answer := create(try); code != http.StatusUnprocessableEntity || !strings.Contains(answer, `"phone_number_id":["has already been taken"]`) {
			t.Errorf("another request for that number (%q) is answered %d %s", try, code, answer)
		}
	}
	all, err := s.Accounts(t.Context())
	if err != nil || len(all) != 1 {
		t.Errorf("there are %+v, %v", all, err)
	}
}
