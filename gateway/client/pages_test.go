package client_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"wagent/gateway/client"
	"wagent/gateway/client/messages"
	"wagent/gateway/client/runs"
)

// A shelf is a server with n things, msg_1 the oldest: of messages, or of runs,
// whose pages are of full things each.
type shelf struct {
	n, full int
	counts  int  // no further; 0: all of them
	unpaged bool // it passes over before and limit
	grows   int  // so many more between two calls
	calls   int
}

func (s *shelf) client(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New("http://wagent.test", testKey, client.WithRetries(0), client.WithHTTPClient(&http.Client{Transport: scripted(s.answer)}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *shelf) answer(r *http.Request) string {
	if s.calls++; s.calls > 1 {
		s.n += s.grows
	}
	newest, limit := s.n, s.full
	if q := r.URL.Query(); !s.unpaged {
		if before := q.Get("before"); before != "" {
			_, _ = fmt.Sscanf(before, "id_%d", &newest)
			newest--
		}
		if n, err := strconv.Atoi(q.Get("limit")); err == nil {
			limit = min(n, limit)
		}
	}
	items := []string{}
	for i := newest; i > max(0, newest-limit); i-- {
		items = append(items, fmt.Sprintf(`{"id":"id_%d"}`, i))
	}
	total := s.n
	if s.counts > 0 {
		total = min(total, s.counts)
	}
	return fmt.Sprintf(`{"data":[%s],"meta":{"total":%d}}`, strings.Join(items, ","), total)
}

// ids ranges over what a client lists, in ids alone.
func ids[T any](all iter.Seq2[T, error], id func(*T) string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for item, err := range all {
			if !yield(id(&item), err) {
				return
			}
		}
	}
}

func TestAllIsReadPageByPage(t *testing.T) {
	lists := map[string]struct {
		full int
		all  func(context.Context, *client.Client) iter.Seq2[string, error]
	}{
		"messages": {100, func(ctx context.Context, c *client.Client) iter.Seq2[string, error] {
			return ids(c.Messages("acc_1").All(ctx), func(m *messages.Message) string { return m.ID })
		}},
		"runs": {50, func(ctx context.Context, c *client.Client) iter.Seq2[string, error] {
			return ids(c.AgentRuns("agt_1").All(ctx), func(r *runs.Run) string { return r.ID })
		}},
	}
	for name, c := range map[string]struct {
		pages, more int // what the server has: full pages, and more
		server      shelf
		stop        int // after so many full pages and one
		want, calls int // things beyond the full pages; calls
		wantPages   int
	}{
		"none":                                          {calls: 1},
		"less than a page":                              {more: 7, want: 7, calls: 1},
		"a full page":                                   {pages: 1, wantPages: 1, calls: 2},
		"two pages and a part":                          {pages: 2, more: 9, wantPages: 2, want: 9, calls: 3},
		"a loop that ends before":                       {pages: 2, more: 9, stop: 1, wantPages: 1, want: 1, calls: 2},
		"more than the server counts":                   {pages: 3, more: 9, server: shelf{counts: 60}, wantPages: 3, want: 9, calls: 4},
		"a server whose pages are shorter":              {more: 49, server: shelf{full: 20}, want: 49, calls: 3},
		"things that come while it reads":               {pages: 2, more: 9, server: shelf{grows: 3}, wantPages: 2, want: 9, calls: 4},
		"a server without pages":                        {pages: 2, more: 9, server: shelf{unpaged: true}, wantPages: 1, calls: 2},
		"a server without pages, to which things come":  {pages: 2, more: 9, server: shelf{unpaged: true, grows: 3}, wantPages: 1, calls: 2},
		"a server without pages that counts no further": {pages: 2, server: shelf{unpaged: true, counts: 10}, wantPages: 1, calls: 2},
	} {
		for what, list := range lists {
			t.Run(name+", of "+what, func(t *testing.T) {
				s := c.server
				s.n = c.pages*list.full + c.more
				if s.full == 0 {
					s.full = list.full
				}
				seen := map[string]bool{}
				for id, err := range list.all(t.Context(), s.client(t)) {
					if err != nil || seen[id] {
						t.Fatalf("%s after %d: %v", id, len(seen), err)
					}
					seen[id] = true
					if c.stop > 0 && len(seen) == c.stop*list.full+1 {
						break
					}
				}
				if want := c.wantPages*list.full + c.want; len(seen) != want || s.calls != c.calls {
					t.Errorf("%d in %d calls, want %d in %d", len(seen), s.calls, want, c.calls)
				}
			})
		}
	}
}

func TestAPageThatFailsIsToldOnce(t *testing.T) {
	s := &shelf{n: 120, full: 50}
	c, err := client.New("http://wagent.test", testKey, client.WithRetries(0), client.WithHTTPClient(&http.Client{Transport: scripted(func(r *http.Request) string {
		if s.calls == 1 {
			return "<html>"
		}
		return s.answer(r)
	})}))
	if err != nil {
		t.Fatal(err)
	}
	items, errs := 0, 0
	for _, err := range c.AgentRuns("agt_1").All(t.Context()) {
		if items++; err != nil {
			items--
			errs++
		}
	}
	if items != 50 || errs != 1 {
		t.Errorf("%d runs and %d errors, want 50 and one", items, errs)
	}
}

// What was read on a later page can be used as what was read on the first.
func TestARunOfALaterPageCanBeReadAgain(t *testing.T) {
	s := &shelf{n: 60, full: 50}
	c, err := client.New("http://wagent.test", testKey, client.WithHTTPClient(&http.Client{Transport: scripted(func(r *http.Request) string {
		if strings.HasSuffix(r.URL.Path, "/runs/id_1") {
			return `{"data":{"id":"id_1","status":"completed"}}`
		}
		return s.answer(r)
	})}))
	if err != nil {
		t.Fatal(err)
	}
	var last runs.Run
	for run, err := range c.AgentRuns("agt_1").All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		last = run
	}
	if err := last.Refresh(t.Context()); err != nil || last.Status != runs.Completed {
		t.Errorf("Refresh of %s = %v, %s", last.ID, err, last.Status)
	}
}
