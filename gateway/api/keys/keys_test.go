package keys

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/api/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is every part of the API, over slices. It follows the rules that the
// interfaces state.
type memory struct {
	keys    []gateway.APIKey
	entries []gateway.AuditEntry // newest first
	err     error                // of every call
}

var then = time.Date(2031, 1, 2, 19, 16, 42, 0, time.UTC)

func newMemory() *memory {
	return &memory{
		keys: []gateway.APIKey{{Name: "ops", Declared: true, Scope: gateway.ScopeAdmin, LastUsedAt: then}},
		entries: []gateway.AuditEntry{
			{Seq: 2, At: then, Who: "ops", Action: "DELETE /api/v1/agents/:agent", Subject: "/api/v1/agents/agt_x", Status: 404, Request: "R2"},
			{Seq: 1, At: then, Who: "(local)", Action: "POST /api/v1/keys", Subject: "/api/v1/keys", Status: 201, Request: "R1"},
		},
	}
}

func (m *memory) api() *API { return &API{Keys: m, Audit: m} }

func (m *memory) APIKeys(context.Context) ([]gateway.APIKey, error) { return m.keys, m.err }

func (m *memory) CreateKey(_ context.Context, k *gateway.APIKey) error {
	i := slices.IndexFunc(m.keys, func(o gateway.APIKey) bool { return o.Name == k.Name })
	switch {
	case m.err != nil:
		return m.err
	case i >= 0 && k.ID != "" && m.keys[i].ID == k.ID && m.keys[i].RevokedAt.IsZero():
		m.keys[i].Hash = k.Hash
		*k = m.keys[i]
		return nil
	case i >= 0:
		return &gateway.Error{Kind: gateway.Conflict, Msg: "There is an API key of that name"}
	case slices.Contains(k.Accounts, "acc_none"):
		return &gateway.Error{Kind: gateway.Invalid, Msg: "Validation failed", Details: map[string][]string{"accounts": {`"acc_none" does not exist`}}}
	}
	if k.CreatedAt = then; k.ID == "" {
		k.ID = gateway.NewKeyID()
	}
	m.keys = append(m.keys, *k)
	return nil
}

func (m *memory) RevokeKey(_ context.Context, id string) error {
	i := slices.IndexFunc(m.keys, func(k gateway.APIKey) bool { return k.ID == id || k.Name == id })
	switch {
	case m.err != nil:
		return m.err
	case i < 0:
		return &gateway.Error{Kind: gateway.NotFound, Msg: "none"}
	case m.keys[i].Declared:
		return &gateway.Error{Kind: gateway.Conflict, Msg: "API key " + id + " is declared in the configuration file: remove it there"}
	}
	m.keys[i].RevokedAt = then
	return nil
}

func (m *memory) Audit(_ context.Context, before int64, limit int) ([]gateway.AuditEntry, int, error) {
	var out []gateway.AuditEntry
	for _, e := range m.entries {
		if (before == 0 || e.Seq < before) && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, len(m.entries), m.err
}

func TestParts(t *testing.T) { wiretest.Parts(t, func() *API { return newMemory().api() }) }

func TestContract(t *testing.T) {
	wiretest.Play(t, func() (func(*echo.Group), func(string) bool) {
		m := newMemory()
		return m.api().Mount, func(command string) bool {
			m.keys[1].LastUsedAt = then
			return command == "the first is used"
		}
	})
}

func TestAKeyIsItsHashAndEnoughRandomBits(t *testing.T) {
	seen := map[gateway.Secret]bool{}
	for _, test := range []bool{true, false, false} {
		k, secret, err := (&Draft{Name: "shop", Test: test}).Make()
		if err != nil {
			t.Fatal(err)
		}
		want := regexp.MustCompile(map[bool]string{true: `^wrb_test_[a-z2-7]{26}$`, false: `^wrb_live_[a-z2-7]{26}$`}[test]) // 26 × 5 bits
		if !want.MatchString(string(secret)) || seen[secret] {
			t.Errorf("the key is %q", string(secret))
		}
		seen[secret] = true
		if k.Hash != sha256.Sum256([]byte(secret)) || k.Scope != gateway.ScopeWrite || k.Test != test {
			t.Errorf("the key is kept as %+v", k)
		}
	}
}

func TestADatabaseThatIsAwayIsSaid(t *testing.T) {
	m := newMemory()
	m.err = &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}
	e := wiretest.Echo(m.api().Mount)
	for _, r := range []*http.Request{
		httptest.NewRequest(http.MethodGet, "/api/v1/keys", nil), httptest.NewRequest(http.MethodGet, "/api/v1/audit", nil),
		httptest.NewRequest(http.MethodDelete, "/api/v1/keys/k", nil),
		httptest.NewRequest(http.MethodPost, "/api/v1/keys", strings.NewReader(`{"key":{"name":"shop"}}`)),
	} {
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
		}
	}
}

// records remember what was written, and when.
type records struct {
	start time.Time

	mu     sync.Mutex // guards the others
	slow   time.Duration
	err    error
	wrote  []map[string]time.Duration
	pruned []time.Duration // when, and what is left then
}

// turn makes the database so slow and so broken.
func (r *records) turn(slow time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow, r.err = slow, err
}

func (r *records) KeysUsed(ctx context.Context, used map[string]time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	time.Sleep(r.slow)
	if r.err != nil {
		return r.err
	}
	out := map[string]time.Duration{}
	for name, at := range used {
		out[name] = at.Sub(r.start)
	}
	r.wrote = append(r.wrote, out)
	return ctx.Err()
}

func (r *records) PruneAudit(_ context.Context, before time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pruned = append(r.pruned, time.Since(r.start), time.Since(before))
	return r.err
}

// uses runs play beside Uses in virtual time, and ends it.
func uses(t *testing.T, play func(r *records, use func(name string))) *records {
	r := &records{}
	synctest.Test(t, func(t *testing.T) {
		r.start = time.Now()
		u := NewUses(r, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- u.Run(ctx) }()
		synctest.Wait()
		play(r, func(name string) { u.Use(&gateway.APIKey{Name: name}) })
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return r
}

func TestUsesAreWrittenOnceAMinute(t *testing.T) {
	r := uses(t, func(_ *records, use func(string)) {
		time.Sleep(time.Second) // not with the ticks
		for range 45 {          // for 90 s
			use("ops")
			time.Sleep(2 * time.Second)
		}
		use("shop")
		time.Sleep(10 * time.Minute)
		use("last")
	})
	want := []map[string]time.Duration{
		{"ops": 59 * time.Second},
		{"ops": 89 * time.Second, "shop": 91 * time.Second},
		{"last": 691 * time.Second}, // at the end
	}
	if diff := cmp.Diff(want, r.wrote); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

func TestUsesWaitForADatabaseThatIsAway(t *testing.T) {
	r := uses(t, func(r *records, use func(string)) {
		r.turn(2*time.Second, errors.New("away"))
		use("ops")
		use("shop")
		time.Sleep(61 * time.Second)
		use("ops") // while it is written
		time.Sleep(30 * time.Second)
		r.turn(0, nil)
		time.Sleep(time.Minute)
	})
	want := []map[string]time.Duration{{"ops": 61 * time.Second, "shop": 0}}
	if diff := cmp.Diff(want, r.wrote); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

func TestTheAuditForgetsWhatIsOld(t *testing.T) {
	r := uses(t, func(*records, func(string)) { time.Sleep(2*time.Hour + time.Second) })
	const old = 400 * 24 * time.Hour
	if diff := cmp.Diff([]time.Duration{0, old, time.Hour, old, 2 * time.Hour, old}, r.pruned); diff != "" {
		t.Errorf("pruned (-want +got):\n%s", diff)
	}
}
