package store

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
)

func TestAnswersAreSealedAndThenForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wagent.db")
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), Config{Path: path, Key: [32]byte{1}}, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		claim := func(key string) gateway.IdempotentRequest {
			r := gateway.IdempotentRequest{Who: "ops", Key: key, Request: "one"}
			if claimed, err := s.ClaimRequest(t.Context(), &r, time.Minute); !claimed || err != nil {
				t.Fatal(claimed, err)
			}
			return r
		}
		r := claim("answered")
		claim("abandoned")
		r.Status, r.Body = 201, `{"data":{"secret":"whsec_1"}}`
		if err := s.AnswerRequest(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
		body, err := one(t.Context(), s.q, scanText[string], `SELECT body FROM idempotency WHERE key = 'answered'`)
		if err != nil || body == "" || strings.Contains(body, "whsec") || strings.Contains(body, "data") {
			t.Errorf("the answer is kept as %q, %v", body, err)
		}
		for _, tt := range []struct {
			after time.Duration
			left  int64
		}{{24*time.Hour - time.Second, 2}, {24 * time.Hour, 0}} {
			time.Sleep(time.Until(r.Until.Add(tt.after - 24*time.Hour)))
			if err := s.ForgetRequests(t.Context()); err != nil {
				t.Fatal(err)
			}
			n, err := one(t.Context(), s.q, scanInt, `SELECT COUNT(*) FROM idempotency`)
			if err != nil || n != tt.left {
				t.Errorf("%v after the answer, %d requests are on record, %v; want %d", tt.after, n, err, tt.left)
			}
		}
	})
}
