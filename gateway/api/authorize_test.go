package api

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/access"
)

// owned are a sandbox account and a real one, each with an agent and a contact,
// an agent of no account, and an audit.
type owned struct {
	mu      sync.Mutex // guards entries
	entries []gateway.AuditEntry
	err     error // of every call
}

const (
	tryAgent  gateway.AgentID = "11111111-1111-4111-8111-111111111111"
	mainAgent gateway.AgentID = "22222222-2222-4222-8222-222222222222"
	noAgent   gateway.AgentID = "33333333-3333-4333-8333-333333333333"
)

func (o *owned) Accounts(context.Context) ([]gateway.Account, error) {
	return []gateway.Account{{ID: "acc_try", Kind: gateway.Sandbox}, {ID: "acc_try2", Kind: gateway.Sandbox}, {ID: "acc_main", Kind: gateway.CloudAPI}}, o.err
}

func (o *owned) Agent(_ context.Context, id gateway.AgentID) (gateway.Agent, error) {
	account, ok := map[gateway.AgentID]gateway.AccountID{tryAgent: "acc_try", mainAgent: "acc_main", noAgent: ""}[id]
	if !ok {
		return gateway.Agent{}, errNone
	}
	return gateway.Agent{ID: id, Account: account}, o.err
}

func (o *owned) Contact(_ context.Context, id gateway.ContactID) (gateway.Contact, error) {
	account, ok := map[gateway.ContactID]gateway.AccountID{"ctc_try": "acc_try", "ctc_main": "acc_main"}[id]
	if !ok {
		return gateway.Contact{}, errNone
	}
	return gateway.Contact{ID: id, Account: account}, o.err
}

func (o *owned) AddAudit(_ context.Context, e *gateway.AuditEntry) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.entries = append(o.entries, *e)
	return o.err
}

// guarded serves one route of each kind behind the middleware that real ones are
// behind. What is let through answers 204.
func guarded(t *testing.T, o *owned, keys ...gateway.APIKey) http.Handler {
	t.Helper()
	ring := keyring{}
	for _, k := range keys {
		k.Hash = sha256.Sum256([]byte(k.Name))
		ring[k.Hash] = k
	}
	d := deps(nil)
	d.Keys, d.Owners, d.Auditor = ring, o, o
	h := newHandler(t, d)
	e := h.(*echo.Echo)
	v1 := e.Group("/api/v1", authenticate(ring, nil), new(limiter).limit, audit(o, ofKey, d.Log), authorize(o))
	for _, route := range []string{
		"GET /things/:thing", "GET /accounts/:account/things/:thing", "PUT /accounts/:account/things", "GET /agents/:agent/things",
		"POST /contacts/:contact/agents/:agent/things", "GET /webhooks", "DELETE /business_accounts/:account",
	} {
		method, path, _ := strings.Cut(route, " ")
		v1.Add(method, path, func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	}
	return h
}

// ask makes a request with the key of that name.
func ask(h http.Handler, key, method, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/api/v1"+path, nil)
	r.Header.Set("Authorization", "Bearer "+key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestScopes(t *testing.T) {
	h := guarded(t, &owned{},
		gateway.APIKey{Name: "reader", Scope: gateway.ScopeRead}, gateway.APIKey{Name: "writer", Scope: gateway.ScopeWrite},
		gateway.APIKey{Name: "admin", Scope: gateway.ScopeAdmin}, gateway.APIKey{Name: "odd", Scope: "owner"})
	tests := map[string]struct {
		route string
		may   []string
		needs string
	}{
		"reading":               {"GET /accounts/acc_main/things/x", []string{"reader", "writer", "admin"}, "read"},
		"reading something new": {"GET /things/x", []string{"reader", "writer", "admin"}, "read"},
		"writing":               {"PUT /accounts/acc_main/things", []string{"writer", "admin"}, "write"},
		"reading webhooks":      {"GET /webhooks", []string{"admin"}, "admin"},
		"deleting an account":   {"DELETE /business_accounts/acc_main", []string{"admin"}, "admin"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			method, path, _ := strings.Cut(tt.route, " ")
			for key, scope := range map[string]string{"reader": "read", "writer": "write", "admin": "admin", "odd": "owner"} {
				w := ask(h, key, method, path)
				if slices.Contains(tt.may, key) {
					if w.Code != http.StatusNoContent {
						t.Errorf("%s: %d %s", key, w.Code, w.Body)
					}
					continue
				}
				want := fmt.Sprintf(`{"error":"This needs an API key of scope %s, and yours has scope %s"}`, tt.needs, scope)
				if w.Code != http.StatusForbidden || w.Body.String() != want {
					t.Errorf("%s: %d %s", key, w.Code, w.Body)
				}
			}
		})
	}
}

// The keys are admin's, so that nothing but their reach is in the way.
func TestReachOfKeys(t *testing.T) {
	everywhere := []string{
		"GET /things/x", "GET /webhooks", "DELETE /business_accounts/acc_main", "DELETE /business_accounts/acc_try",
		"GET /accounts/acc_main/things/x", "GET /accounts/acc_try/things/x", "GET /accounts/acc_try2/things/x", "PUT /accounts/acc_none/things",
		"GET /agents/" + tryAgent.String() + "/things", "GET /agents/" + mainAgent.String() + "/things", "GET /agents/" + noAgent.String() + "/things",
		"GET /agents/agt_none/things", "GET /agents/agt_99999999999949998999999999999999/things",
		"POST /contacts/ctc_try/agents/" + tryAgent.String() + "/things", "POST /contacts/ctc_try/agents/" + mainAgent.String() + "/things",
		"POST /contacts/ctc_main/agents/" + tryAgent.String() + "/things", "POST /contacts/ctc_none/agents/" + tryAgent.String() + "/things",
		"GET /agent_templates",
	}
	try := []string{
		"DELETE /business_accounts/acc_try", "GET /accounts/acc_try/things/x", "GET /agents/" + tryAgent.String() + "/things",
		"POST /contacts/ctc_try/agents/" + tryAgent.String() + "/things", "GET /agent_templates",
	}
	tests := map[string]struct {
		key  gateway.APIKey
		want []string
	}{
		"of all accounts":                  {gateway.APIKey{}, everywhere},
		"of one account":                   {gateway.APIKey{Accounts: []gateway.AccountID{"acc_try"}}, try},
		"of sandbox accounts":              {gateway.APIKey{Test: true}, append([]string{"GET /accounts/acc_try2/things/x"}, try...)},
		"of both, and one is none of them": {gateway.APIKey{Test: true, Accounts: []gateway.AccountID{"acc_try", "acc_main"}}, try},
		"of another account": {gateway.APIKey{Accounts: []gateway.AccountID{"acc_main"}}, []string{
			"DELETE /business_accounts/acc_main", "GET /accounts/acc_main/things/x", "GET /agents/" + mainAgent.String() + "/things", "GET /agent_templates",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.key.Name, tt.key.Scope = "key", gateway.ScopeAdmin
			h := guarded(t, &owned{}, tt.key)
			var got []string
			for _, route := range everywhere {
				method, path, _ := strings.Cut(route, " ")
				switch w := ask(h, "key", method, path); {
				case w.Code < 300:
					got = append(got, route)
				case w.Code != http.StatusNotFound || w.Body.String() != `{"error":"Not found"}`:
					t.Errorf("%s: %d %s", route, w.Code, w.Body)
				}
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.SortSlices(strings.Compare)); diff != "" {
				t.Errorf("reached (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReachThatCanNotBeFoundIsNoReach(t *testing.T) {
	o := &owned{err: &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}}
	h := guarded(t, o, gateway.APIKey{Name: "try", Scope: gateway.ScopeAdmin, Test: true},
		gateway.APIKey{Name: "one", Scope: gateway.ScopeAdmin, Accounts: []gateway.AccountID{"acc_try"}})
	for key, path := range map[string]string{"try": "/accounts/acc_try/things/x", "one": "/agents/" + tryAgent.String() + "/things"} {
		if w := ask(h, key, http.MethodGet, path); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", key, w.Code, w.Body)
		}
	}
}

// TestEveryRouteIsDecided asks the router itself: whoever adds a route that no
// account's id stands in says in package access who may reach it. Each is asked
// with a key of another account, and with one whose scope is less.
func TestEveryRouteIsDecided(t *testing.T) {
	o := &owned{}
	h := guarded(t, o, gateway.APIKey{Name: "other", Scope: gateway.ScopeAdmin, Accounts: []gateway.AccountID{"acc_try2"}, PerMinute: 10_000},
		gateway.APIKey{Name: "none", PerMinute: 10_000}, gateway.APIKey{Name: "reader", Scope: gateway.ScopeRead, PerMinute: 10_000},
		gateway.APIKey{Name: "writer", Scope: gateway.ScopeWrite, PerMinute: 10_000})
	ids := strings.NewReplacer(":account", "acc_main", ":session", "acc_main", ":agent", mainAgent.String(), ":contact", "ctc_main", ":", "")
	routes := newHandler(t, deps(nil)).(*echo.Echo).Routes()
	for _, route := range routes {
		path, ok := strings.CutPrefix(route.Path, "/api/v1")
		if !ok || route.Method == echo.RouteNotFound {
			continue
		}
		rule, ok := access.RuleOf(route.Method, route.Path)
		if !ok {
			t.Errorf("%s %s: package access does not say which keys reach it", route.Method, route.Path)
		}
		if rule.Bound == access.Nowhere || rule.Bound == access.ByPath {
			if w := ask(h, "other", route.Method, ids.Replace(path)); w.Code != http.StatusNotFound {
				t.Errorf("%s %s with a key of another account: %d", route.Method, route.Path, w.Code)
			}
		}
		lesser := map[gateway.KeyScope]string{gateway.ScopeRead: "none", gateway.ScopeWrite: "reader", gateway.ScopeAdmin: "writer"}[rule.Scope]
		if w := ask(h, lesser, route.Method, ids.Replace(path)); w.Code != http.StatusForbidden {
			t.Errorf("%s %s with a key of a lesser scope: %d", route.Method, route.Path, w.Code)
		}
		if reads := route.Method == http.MethodGet; reads && rule.Scope == gateway.ScopeWrite || !reads && rule.Scope == gateway.ScopeRead {
			t.Errorf("%s %s takes a key of scope %s", route.Method, route.Path, rule.Scope)
		}
	}
	if len(routes) < 30 {
		t.Errorf("%d routes", len(routes))
	}
}

func TestRequestsPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := guarded(t, &owned{}, gateway.APIKey{Name: "ops", Scope: gateway.ScopeAdmin}, gateway.APIKey{Name: "till", Scope: gateway.ScopeRead, PerMinute: 4})
		all := func(key string) (n int, last *httptest.ResponseRecorder) {
			for {
				if last = ask(h, key, http.MethodGet, "/agent_templates"); last.Code != http.StatusOK {
					return n, last
				}
				n++
			}
		}
		n, refused := all("till")
		if n != 4 || refused.Code != http.StatusTooManyRequests || refused.Header().Get("Retry-After") != "15" ||
			refused.Body.String() != `{"error":"Too many requests with this API key"}` {
			t.Errorf("%d requests, then %d %v %s", n, refused.Code, refused.Header(), refused.Body)
		}
		if n, refused := all("ops"); n != 600 || refused.Header().Get("Retry-After") != "1" {
			t.Errorf("%d requests of another key, then %v", n, refused.Header())
		}
		time.Sleep(15*time.Second - time.Millisecond)
		if n, refused := all("till"); n != 0 || refused.Header().Get("Retry-After") != "1" { // of a millisecond
			t.Errorf("%d requests too early, then %v", n, refused.Header())
		}
		time.Sleep(time.Millisecond)
		if n, _ := all("till"); n != 1 {
			t.Errorf("%d requests after what Retry-After said", n)
		}
		time.Sleep(time.Hour)
		if n, _ := all("till"); n != 4 {
			t.Errorf("%d requests after an hour", n)
		}
		local := httptest.NewRequest(http.MethodGet, "/api/v1/agent_templates", nil)
		local = local.WithContext(Trusted(local.Context()))
		for range 700 {
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, local); w.Code != http.StatusOK {
				t.Fatalf("the operator's own request: %d %s", w.Code, w.Body)
			}
		}
	})
}

func TestALimiterForgetsWhoDoesNotAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(limiter)
		for i := range 10 * fewBuckets {
			l.take(fmt.Sprint(i), perMinute, time.Now())
			time.Sleep(time.Second)
		}
		if n := len(l.buckets); n > fewBuckets {
			t.Errorf("%d buckets are kept", n)
		}
		busy, now := new(limiter), time.Now()
		for i := range 2 * fewBuckets {
			busy.take(fmt.Sprint(i), 1, now)
		}
		if busy.take("0", 1, now) == 0 {
			t.Error("a bucket that is empty was forgotten")
		}
		if busy.take("0", 2, now) != 0 {
			t.Error("a key that may make more now still has what it had")
		}
	})
}

func TestTheAudit(t *testing.T) {
	o := &owned{}
	h := guarded(t, o, gateway.APIKey{Name: "ops", Scope: gateway.ScopeAdmin}, gateway.APIKey{Name: "reader", Scope: gateway.ScopeRead},
		gateway.APIKey{Name: "slow", Scope: gateway.ScopeAdmin, PerMinute: 1})
	ops := authenticate(keyring{sha256.Sum256([]byte("ops")): {Name: "ops", Scope: gateway.ScopeAdmin}}, nil)
	for path, answer := range map[string]echo.HandlerFunc{
		"/broken":    func(echo.Context) error { return fmt.Errorf("broken after the change") },
		"/panicking": func(echo.Context) error { panic("after the change") },
		"/unknown":   func(echo.Context) error { return &gateway.Error{Kind: gateway.Ambiguous, Msg: "done or not"} },
		"/away":      func(echo.Context) error { return &gateway.Error{Kind: gateway.Unavailable, Msg: "away"} },
		"/repeated": func(c echo.Context) error {
			c.Response().Header().Set("Idempotent-Replayed", "true")
			return c.NoContent(http.StatusCreated)
		},
		"/unknown/repeated": func(c echo.Context) error {
			c.Response().Header().Set("Idempotent-Replayed", "true")
			return c.NoContent(http.StatusBadGateway)
		},
	} {
		h.(*echo.Echo).POST("/api/v1"+path, answer, ops, audit(o, ofKey, slog.New(slog.DiscardHandler)))
	}
	ask(h, "ops", http.MethodGet, "/agents")
	ask(h, "nobody", http.MethodPut, "/accounts/acc_main/things")
	for _, path := range []string{"/broken", "/panicking", "/unknown", "/away", "/repeated", "/unknown/repeated"} {
		ask(h, "ops", http.MethodPost, path)
	}
	ask(h, "ops", http.MethodPut, "/accounts/acc_main/things?token=secret")
	ask(h, "reader", http.MethodPut, "/accounts/acc_main/things")
	ask(h, "ops", http.MethodPost, "/nothing/"+strings.Repeat("x", 1000))
	ask(h, "slow", http.MethodPost, "/sessions")
	refused := ask(h, "slow", http.MethodPost, "/sessions")
	if refused.Code != http.StatusTooManyRequests {
		t.Errorf("got %d", refused.Code)
	}
	want := []gateway.AuditEntry{
		{Who: "ops", Action: "POST /api/v1/broken", Subject: "/api/v1/broken", Status: 500},
		{Who: "ops", Action: "POST /api/v1/panicking", Subject: "/api/v1/panicking", Status: 500},
		{Who: "ops", Action: "POST /api/v1/unknown", Subject: "/api/v1/unknown", Status: 502},
		{Who: "ops", Action: "POST /api/v1/away", Subject: "/api/v1/away", Status: 503},
		{Who: "ops", Action: "PUT /api/v1/accounts/:account/things", Subject: "/api/v1/accounts/acc_main/things", Status: 204},
		{Who: "reader", Action: "PUT /api/v1/accounts/:account/things", Subject: "/api/v1/accounts/acc_main/things", Status: 403},
		{Who: "slow", Action: "POST /api/v1/sessions", Subject: "/api/v1/sessions", Status: 400},
	}
	if diff := cmp.Diff(want, o.entries, cmpopts.IgnoreFields(gateway.AuditEntry{}, "At", "Request")); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
	for _, e := range o.entries {
		if time.Since(e.At) > time.Minute || e.Request == "" {
			t.Errorf("the entry is %+v", e)
		}
	}
}

func TestAnAnswerDoesNotFailWithTheAudit(t *testing.T) {
	o := &owned{}
	var said strings.Builder
	h := guarded(t, o, gateway.APIKey{Name: "ops", Scope: gateway.ScopeAdmin})
	o.err = &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}
	h.(*echo.Echo).POST("/api/v1/kept", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) },
		authenticate(keyring{sha256.Sum256([]byte("ops")): {Name: "ops", Scope: gateway.ScopeAdmin}}, nil),
		audit(o, ofKey, slog.New(slog.NewTextHandler(&said, nil))))
	if w := ask(h, "ops", http.MethodPost, "/kept"); w.Code != http.StatusNoContent {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if log := said.String(); !strings.Contains(log, "a change is missing in the audit") || !strings.Contains(log, "key=ops") {
		t.Errorf("the log says %q", log)
	}
}
