package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
)

func TestAuth(t *testing.T) {
	const refused = `{"error":"Invalid or missing API key"}`
	tests := map[string]struct {
		header string
		path   string
		status int
		body   string
	}{
		"the key opens":                     {header: "Bearer " + key, path: "/api/v1/agents", status: 200, body: `{"data":[],"meta":{"total":0}}`},
		"the scheme's case does not matter": {header: "bearer " + key, path: "/api/v1/agents", status: 200, body: `{"data":[],"meta":{"total":0}}`},
		"no header":                         {path: "/api/v1/agents", status: 401, body: refused},
		"no token":                          {header: "Bearer ", path: "/api/v1/agents", status: 401, body: refused},
		"another scheme":                    {header: "Basic " + key, path: "/api/v1/agents", status: 401, body: refused},
		"a bare key":                        {header: key, path: "/api/v1/agents", status: 401, body: refused},
		"another key":                       {header: "Bearer " + key + "0", path: "/api/v1/agents", status: 401, body: refused},
		"part of the key":                   {header: "Bearer " + key[:10], path: "/api/v1/agents", status: 401, body: refused},
		"an unknown path is not told from a known":  {path: "/api/v1/nothing", status: 401, body: refused},
		"an unknown path with the key is not found": {header: "Bearer " + key, path: "/api/v1/nothing", status: 404, body: `{"error":"Not found"}`},
		"outside the API nothing is asked for":      {path: "/healthz", status: 200, body: "ok"},
	}
	srv := newServer(t, deps(nil))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			resp, body := do(t, srv, http.MethodGet, tt.path, nil, "Authorization", tt.header)
			if resp.StatusCode != tt.status || body != tt.body {
				t.Errorf("got %d %s", resp.StatusCode, body)
			}
			if got := resp.Header.Get("WWW-Authenticate"); (got == "Bearer") != (tt.status == 401) {
				t.Errorf("WWW-Authenticate is %q", got)
			}
		})
	}
}

// TestEveryRouteNeedsAKey asks the router itself, so that a new route can't be
// forgotten.
func TestEveryRouteNeedsAKey(t *testing.T) {
	h := newHandler(t, deps(nil))
	tried := 0
	for _, route := range h.(*echo.Echo).Routes() {
		if !strings.HasPrefix(route.Path, "/api/") || route.Method == echo.RouteNotFound {
			continue
		}
		tried++
		w := httptest.NewRecorder()
		r := httptest.NewRequest(route.Method, route.Path, nil)
		r.RemoteAddr = fmt.Sprintf("203.0.%d.%d:1", tried/256, tried%256) // one client is refused only so often
		h.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s %s without a key: %d %s", route.Method, route.Path, w.Code, w.Body)
		}
	}
	if tried == 0 {
		t.Error("no routes")
	}
}

// TestWhoIsRefusedTooOftenWaits, and nobody else does: neither a client elsewhere
// nor a good key at the same address.
func TestWhoIsRefusedTooOftenWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, deps(nil))
		asked := func(remote, key string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(http.MethodGet, "/api/v1/agents", nil)
			r.RemoteAddr = remote
			if key != "" {
				r.Header.Set("Authorization", "Bearer "+key)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		const here, elsewhere = "203.0.113.7:1", "203.0.113.8:1"
		for round := range 2 {
			for i := range perMinuteOfClient {
				if w := asked(here, []string{"", "wrong"}[i%2]); w.Code != http.StatusUnauthorized {
					t.Fatalf("round %d, request %d: %d", round, i, w.Code)
				}
			}
			for _, bad := range []string{"", "wrong"} {
				if w := asked(here, bad); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
					t.Errorf("after that, with the key %q: %d, Retry-After %q", bad, w.Code, w.Header().Get("Retry-After"))
				}
			}
			if w := asked(here, key); w.Code != http.StatusOK {
				t.Errorf("a good key at the same address: %d", w.Code)
			}
			if w := asked(elsewhere, "wrong"); w.Code != http.StatusUnauthorized {
				t.Errorf("a client elsewhere: %d", w.Code)
			}
			time.Sleep(time.Minute)
		}
	})
}

// TestTrustedConnectionsNeedNoKey serves one handler on two listeners, of which
// one is the operator's.
func TestTrustedConnectionsNeedNoKey(t *testing.T) {
	h := newHandler(t, deps(nil))
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ConnContext: func(ctx context.Context, _ net.Conn) context.Context { return Trusted(ctx) }}
	served := make(chan error)
	go func() { served <- srv.Serve(l) }()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	t.Cleanup(func() { client.CloseIdleConnections(); srv.Close(); <-served })

	for _, authorization := range []string{"", "Bearer wrong"} {
		req, err := http.NewRequest(http.MethodGet, "http://local/api/v1/agents", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", authorization)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("over the trusted connection with Authorization %q: %d", authorization, resp.StatusCode)
		}
	}

	tcp := httptest.NewServer(h)
	t.Cleanup(func() { http.DefaultClient.CloseIdleConnections(); tcp.Close() })
	for name, forged := range map[string][]string{
		"nothing":          nil,
		"our name for it":  {"Authorization", "Bearer " + localName, "X-Api-Key", localName, "X-Trusted", "true", "Trusted", "true"},
		"a loopback proxy": {"X-Forwarded-For", "127.0.0.1", "X-Real-Ip", "::1", "Forwarded", "for=127.0.0.1", "Via", "unix:" + socket},
		"a local host":     {"Host", "local", "X-Forwarded-Host", "local"},
	} {
		if resp, body := do(t, tcp, http.MethodGet, "/api/v1/agents?trusted=true", nil, append([]string{"Authorization", ""}, forged...)...); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("with %s: %d %s", name, resp.StatusCode, body)
		}
	}
}

func TestKeysThatCanNotBeLookedUp(t *testing.T) {
	d := deps(nil)
	d.Keys = awayKeys{}
	resp, body := do(t, newServer(t, d), http.MethodGet, "/api/v1/agents", nil)
	if resp.StatusCode != http.StatusServiceUnavailable || body != `{"error":"The database is away"}` {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
}

type awayKeys struct{}

func (awayKeys) KeyByHash(context.Context, [32]byte) (gateway.APIKey, error) {
	return gateway.APIKey{}, &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}
}
