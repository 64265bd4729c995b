package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
	"wagent/gateway/api/accounts"
)

// nowhere has no link: each is not found.
type nowhere struct{ accounts.Connects }

func (nowhere) Connect(context.Context, gateway.ConnectID) (gateway.Connect, error) {
	return gateway.Connect{}, errNone
}

// visits opens links in turn, each from an address, until one is refused.
func visits(t *testing.T, h http.Handler, link, remote func(i int) string, forwarded string) (n int, last *httptest.ResponseRecorder) {
	t.Helper()
	for ; n < 1000; n++ {
		r := httptest.NewRequest(map[bool]string{true: http.MethodGet, false: http.MethodPost}[n%2 == 0], "/connect/"+link(n), nil)
		r.RemoteAddr = remote(n)
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", fmt.Sprintf(forwarded, n))
		}
		last = httptest.NewRecorder()
		if h.ServeHTTP(last, r); last.Code != http.StatusNotFound {
			return n, last
		}
	}
	return n, last
}

func TestLinksAreOpenedSoOften(t *testing.T) {
	one := func(s string) func(int) string { return func(int) string { return s } }
	each := func(format string) func(int) string { return func(i int) string { return fmt.Sprintf(format, i) } }
	tests := map[string]struct {
		link, remote func(int) string
		forwarded    string
		n            int
		after        string
	}{
		"a link, from everywhere":             {one("con_a"), each("203.0.%d.1:1"), "", 30, "2"},
		"many links, from one address":        {each("con_%d"), one("203.0.113.7:1"), "", 60, "1"},
		"whatever the client says it is":      {each("con_%d"), one("203.0.113.7:1"), "198.51.100.%d", 60, "1"},
		"of one network of a client":          {each("con_%d"), each("[2001:db8::%x]:1"), "", 60, "1"},
		"through a proxy, which says who":     {each("con_%d"), one("127.0.0.1:1"), "198.51.100.9", 60, "1"},
		"many clients, through a proxy":       {each("con_%d"), one("127.0.0.1:1"), "198.51.%d.9", 256, ""},
		"a client that invents one before it": {each("con_%d"), one("10.0.0.1:1"), "192.0.2.%d, 198.51.100.9", 60, "1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := deps(nil)
				for _, p := range d.Parts {
					if a, ok := p.(*accounts.API); ok {
						a.Connects = nowhere{}
					}
				}
				h := newHandler(t, d)
				n, last := visits(t, h, tt.link, tt.remote, tt.forwarded)
				if tt.after == "" {
					if n < tt.n {
						t.Errorf("after %d: %d", n, last.Code)
					}
					return
				}
				if n != tt.n || last.Code != http.StatusTooManyRequests || last.Header().Get("Retry-After") != tt.after {
					t.Errorf("after %d: %d, Retry-After %q", n, last.Code, last.Header().Get("Retry-After"))
				}
				if got := d.Auditor.(*owned).entries; len(got) != n/2 {
					t.Errorf("%d entries of what was let through", len(got))
				}
				time.Sleep(time.Minute)
				if n, _ := visits(t, h, tt.link, tt.remote, tt.forwarded); n != tt.n {
					t.Errorf("a minute later %d", n)
				}
			})
		})
	}
}

// TestANameIsNoTrust: a key that is called as those are who need none has a limit
// all the same.
func TestANameIsNoTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := guarded(t, &owned{}, gateway.APIKey{Name: localName, Scope: gateway.ScopeRead, PerMinute: 1})
		for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
			if w := ask(h, localName, http.MethodGet, "/agent_templates"); w.Code != want {
				t.Errorf("request %d: %d", i, w.Code)
			}
		}
	})
}
