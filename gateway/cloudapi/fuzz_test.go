package cloudapi

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

// FuzzPost posts any bytes under a right signature.
func FuzzPost(f *testing.F) {
	files, err := filepath.Glob("testdata/messages/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var g golden
		if err := json.Unmarshal(raw, &g); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(g.Payload))
	}
	f.Add(graphtest.Body(numberA.TemplateStatus(greeting, "REJECTED", "SCAM", templateTime)))
	for _, s := range []string{"", "null", "[]", "{}", `{"entry":{}}`, `{"entry":[{"changes":[{"value":{}}]}]}`, "{", "\xff", `"\ud800"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		store := newFakeStore()
		h := NewHandler(store, store, store, slog.New(slog.DiscardHandler), nil)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("X-Hub-Signature-256", graphtest.Sign(secretA, body))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		want := http.StatusBadRequest
		if json.Valid(body) {
			want = http.StatusOK
		}
		if w.Code != want {
			t.Fatalf("status %d, want %d", w.Code, want)
		}
		if len(store.received) > 1 || len(store.updates) > 1 {
			t.Fatalf("%d calls of Receive, %d of ApplyStatuses", len(store.received), len(store.updates))
		}
		for _, u := range store.told {
			if !served(u.Account) || u.Name == "" || u.Language == "" || u.Status == "" || u.At.IsZero() {
				t.Errorf("template %+v", u)
			}
		}
		for _, ms := range store.received {
			for i := range ms {
				wellFormed(t, &ms[i])
			}
		}
		for _, us := range store.updates {
			for _, u := range us {
				if !served(u.Account) || u.ExternalID == "" || u.At.IsZero() || (u.Status == gateway.StatusFailed) != (u.Reason != "") {
					t.Errorf("status %+v", u)
				}
			}
		}
	})
}

// FuzzSignature sends any header over a body that nobody signed.
func FuzzSignature(f *testing.F) {
	f.Add("sha256=")
	f.Add(graphtest.Sign("guess", []byte("{}")))
	f.Add(graphtest.Sign(secretA, []byte("{}")))
	f.Fuzz(func(t *testing.T, header string) {
		body := []byte("{}")
		mac, ok := parseSignature(header)
		right := ok && len(newBook(testAccounts(), nil).signers(mac, body)) > 0
		store := newFakeStore()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
		r.Header["X-Hub-Signature-256"] = []string{header}
		w := httptest.NewRecorder()
		NewHandler(store, store, store, slog.New(slog.DiscardHandler), nil).ServeHTTP(w, r)
		if refused := w.Code == http.StatusUnauthorized; refused == right {
			t.Errorf("%q got status %d; it is right: %v", header, w.Code, right)
		}
	})
}

// served reports whether the account's secret is the one that FuzzPost signs
// with.
func served(id gateway.AccountID) bool { return id == "acc_a" || id == "acc_c" }

func wellFormed(t *testing.T, m *gateway.Inbound) {
	t.Helper()
	known := m.Type == gateway.TypeUnsupported
	for _, f := range forms {
		known = known || f.kind == m.Type
	}
	switch {
	case !served(m.Account):
		t.Errorf("for account %q", m.Account)
	case m.ExternalID == "", len(m.Peer.Aliases()) == 0, len(m.Sender.Aliases()) == 0, !known:
		t.Errorf("message %+v", m)
	case m.Detail != nil && !json.Valid(m.Detail), bytes.Contains(m.Detail, []byte{0}):
		t.Errorf("detail %q", m.Detail)
	case m.SentAt.Before(time.Unix(whatsAppBegan, 0)), time.Until(m.SentAt) > clockSkew:
		t.Errorf("sent at %v", m.SentAt)
	case m.Origin == "", m.Peer.Group == "" && m.Origin != gateway.OriginEcho && m.Peer != m.Sender:
		t.Errorf("origin %q, peer %v, sender %v", m.Origin, m.Peer, m.Sender)
	}
}
