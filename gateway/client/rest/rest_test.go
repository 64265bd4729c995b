package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type refusal struct{ status int }

func (r *refusal) Error() string { return fmt.Sprint("refused with ", r.status) }

func refused(status int, _ http.Header, _ []byte) error { return &refusal{status} }

// pipe is a listener whose connections stay in the process: a socket would
// freeze a bubble's clock.
type pipe struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipe) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipe) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipe) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.conns <- far
	return near, nil
}

// served runs play in virtual time with a client of a server that answers with h.
func served(t *testing.T, retries int, h http.HandlerFunc, play func(*testing.T, *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ln := &pipe{conns: make(chan net.Conn), done: make(chan struct{})}
		s := &http.Server{Handler: h}
		var serving sync.WaitGroup
		serving.Go(func() { _ = s.Serve(ln) })
		transport := &http.Transport{DialContext: ln.dial}
		c, err := New(Config{BaseURL: "http://wagent.test", Key: "wrb_test_1", HTTP: &http.Client{Transport: transport}, Retries: retries, Refused: refused})
		if err != nil {
			t.Fatal(err)
		}
		play(t, c)
		transport.CloseIdleConnections()
		_ = s.Close()
		serving.Wait()
	})
}

// lost is an answer that never comes: the connection is cut.
const lost = 0

func TestACallIsRepeatedWhereThatIsSafe(t *testing.T) {
	for name, c := range map[string]struct {
		method     string
		answers    []int // the last one stays
		retryAfter string
		tries      int
		refused    int           // 0: no error
		least      time.Duration // that passes
		most       time.Duration
	}{
		"success is success":                                 {method: "GET", answers: []int{200}, tries: 1},
		"a 503 is repeated, with doubling bounds":            {method: "GET", answers: []int{503, 503, 200}, tries: 3, most: 1500 * time.Millisecond},
		"a POST is repeated":                                 {method: "POST", answers: []int{500, 502, 504, 201}, tries: 4, most: 3500 * time.Millisecond},
		"a PATCH is repeated":                                {method: "PATCH", answers: []int{500, 200}, tries: 2, most: 500 * time.Millisecond},
		"a lost answer is repeated":                          {method: "POST", answers: []int{lost, 201}, tries: 2, most: 500 * time.Millisecond},
		"three repetitions are enough":                       {method: "GET", answers: []int{503}, tries: 4, refused: 503, most: 3500 * time.Millisecond},
		"a 429 without a time is repeated":                   {method: "GET", answers: []int{429, 200}, tries: 2, most: 500 * time.Millisecond},
		"Retry-After is honoured":                            {method: "GET", answers: []int{429, 200}, retryAfter: "7", tries: 2, least: 7 * time.Second, most: 7500 * time.Millisecond},
		"Retry-After of a 503 is honoured":                   {method: "GET", answers: []int{503, 200}, retryAfter: "7", tries: 2, least: 7 * time.Second, most: 7500 * time.Millisecond},
		"a Retry-After of an hour is told":                   {method: "GET", answers: []int{429, 200}, retryAfter: "3600", tries: 1, refused: 429},
		"a Retry-After that is none is passed over":          {method: "GET", answers: []int{429, 200}, retryAfter: "-5", tries: 2, most: 500 * time.Millisecond},
		"a POST whose first try is in hand waits":            {method: "POST", answers: []int{409, 201}, retryAfter: "1", tries: 2, least: time.Second, most: 1500 * time.Millisecond},
		"however long that takes":                            {method: "POST", answers: inHand(60, 201), retryAfter: "1", tries: 61, least: time.Minute, most: 90 * time.Second},
		"and tries that failed are counted apart":            {method: "POST", answers: []int{409, 409, 500, 409, 409, 500, 409, 500, 409, 500, 201}, retryAfter: "1", tries: 10, refused: 500, least: 6 * time.Second, most: time.Minute},
		"a conflict is told":                                 {method: "POST", answers: []int{409, 201}, tries: 1, refused: 409},
		"a PATCH that conflicts is told":                     {method: "PATCH", answers: []int{409, 200}, retryAfter: "1", tries: 1, refused: 409},
		"what is invalid is told":                            {method: "POST", answers: []int{422, 201}, tries: 1, refused: 422},
		"what the server can not do is told":                 {method: "POST", answers: []int{501, 201}, tries: 1, refused: 501},
		"what is gone after a lost DELETE is what it wanted": {method: "DELETE", answers: []int{lost, 404}, tries: 2, most: 500 * time.Millisecond},
		"what is gone after a DELETE that failed, too":       {method: "DELETE", answers: []int{502, 429, 404}, tries: 3, most: 1500 * time.Millisecond},
		"what was not there is told to a DELETE":             {method: "DELETE", answers: []int{404}, tries: 1, refused: 404},
		"and to one that only had to wait":                   {method: "DELETE", answers: []int{429, 404}, tries: 2, refused: 404, most: 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			var keys []string
			served(t, 3, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				status := c.answers[min(len(keys), len(c.answers)-1)]
				keys = append(keys, r.Header.Get("Idempotency-Key"))
				if status == lost {
					panic(http.ErrAbortHandler)
				}
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.WriteHeader(status)
			}, func(t *testing.T, client *Client) {
				start := time.Now()
				err := client.Do(t.Context(), Call{Method: c.method, Path: []string{"agents"}, In: map[string]int{"n": 1}}, nil)
				if took := time.Since(start); took < c.least || took > c.most {
					t.Errorf("took %v, want %v to %v", took, c.least, c.most)
				}
				var r *refusal
				switch errors.As(err, &r); {
				case c.refused == 0 && err != nil:
					t.Errorf("Do = %v", err)
				case c.refused != 0 && (r == nil || r.status != c.refused):
					t.Errorf("Do = %v, want a refusal with %d", err, c.refused)
				}
			})
			if len(keys) != c.tries {
				t.Errorf("%d tries, want %d", len(keys), c.tries)
			}
			if distinct := slices.Compact(slices.Clone(keys)); len(distinct) != 1 || (distinct[0] != "") != (c.method == http.MethodPost) {
				t.Errorf("a %s with the keys %q", c.method, keys)
			}
		})
	}
}

func TestEachPostHasAKeyOfItsOwnOrTheCallers(t *testing.T) {
	var keys []string
	served(t, 0, func(_ http.ResponseWriter, r *http.Request) {
		keys = append(keys, r.Header.Get("Idempotency-Key"))
	}, func(t *testing.T, c *Client) {
		for _, key := range []string{"", "", "order 1234"} {
			if err := c.Do(t.Context(), Call{Method: http.MethodPost, Path: []string{"agents"}, Key: key}, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
	if keys[0] == keys[1] || len(keys[0]) < 20 || keys[2] != "order 1234" {
		t.Errorf("keys %q", keys)
	}
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	h := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	call := Call{Method: http.MethodGet, Path: []string{"agents"}}
	var r *refusal
	t.Run("a deadline that comes first is not waited for", func(t *testing.T) {
		served(t, 3, h, func(t *testing.T, c *Client) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			start := time.Now()
			if err := c.Do(ctx, call, nil); !errors.As(err, &r) || errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 0 {
				t.Errorf("Do = %v after %v, want the refusal at once", err, time.Since(start))
			}
		})
	})
	t.Run("a cancellation ends it, and both are told", func(t *testing.T) {
		served(t, 3, h, func(t *testing.T, c *Client) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			start := time.Now()
			if err := c.Do(ctx, call, nil); !errors.As(err, &r) || !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
				t.Errorf("Do = %v after %v, want both errors after 1 s", err, time.Since(start))
			}
		})
	})
	t.Run("a try that hangs ends with the deadline", func(t *testing.T) {
		served(t, 3, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(t *testing.T, c *Client) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := c.Do(ctx, call, nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Do = %v, want the deadline", err)
			}
		})
	})
}

func TestIDsAreOneSegmentOfThePath(t *testing.T) {
	var got []string
	served(t, 0, func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.EscapedPath()+"?"+r.URL.RawQuery)
	}, func(t *testing.T, c *Client) {
		for _, id := range []string{"agt_1", "a/b?c#d%2e"} {
			call := Call{Method: http.MethodGet, Path: []string{"agents", id}, Query: url.Values{"phone_number": {"+1"}}}
			if err := c.Do(t.Context(), call, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []string{"", ".", ".."} {
			err := c.Do(t.Context(), Call{Method: http.MethodDelete, Path: []string{"agents", id}}, nil)
			if err == nil || !strings.Contains(err.Error(), "is no id") {
				t.Errorf("DELETE of %q: %v", id, err)
			}
		}
	})
	want := []string{"/api/v1/agents/agt_1?phone_number=%2B1", "/api/v1/agents/a%2Fb%3Fc%23d%252e?phone_number=%2B1"}
	if !slices.Equal(got, want) {
		t.Errorf("called %q, want %q", got, want)
	}
}

func TestAnAnswerThatIsNoneIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		body, want string
	}{
		"a page of a proxy": {"<html>hello</html>", "decode answer 200"},
		"nothing":           {"", "decode answer 200"},
		"no envelope":       {`{"id":"agt_1"}`, `has no "data"`},
		"null":              {`{"data":null}`, `has no "data"`},
		"of another type":   {`{"data":"x"}`, "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			served(t, 0, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.body) }, func(t *testing.T, client *Client) {
				type thing struct{ ID string }
				call := Call{Method: http.MethodGet, Path: []string{"agents", "agt_1"}}
				if _, err := One[thing](t.Context(), client, call); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "GET /agents/agt_1") {
					t.Errorf("One = %v, want %q", err, c.want)
				}
				if _, err := Many[thing](t.Context(), client, call); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("Many = %v, want %q", err, c.want)
				}
			})
		})
	}
}

func TestAllEndsWithItsLoopAndTellsItsErrorOnce(t *testing.T) {
	calls := 0
	all := All(func() (List[int], error) { calls++; return List[int]{Items: []int{1, 2, 3}, Total: 3}, nil })
	for n, err := range all {
		if err != nil {
			t.Fatal(err)
		}
		if n == 2 {
			break
		}
	}
	if calls != 1 {
		t.Errorf("%d calls in one range", calls)
	}
	errs := 0
	for _, err := range All(func() (List[int], error) { return List[int]{Items: []int{1}}, &refusal{500} }) {
		if err == nil {
			t.Error("an item beside the error")
		}
		errs++
	}
	if errs != 1 {
		t.Errorf("the error came %d times", errs)
	}
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		base, key, want string
		retries         int
	}{
		"a URL without a scheme":    {base: "localhost:8080", key: "k", want: "must begin with http://"},
		"a path":                    {base: "/api", key: "k", want: "must begin with http://"},
		"no URL":                    {base: "http://[::1", key: "k", want: "parse base URL"},
		"a query":                   {base: "http://a/?b=c", key: "k", want: "no user, query"},
		"no key":                    {base: "http://a", want: "key is empty"},
		"a key with its line break": {base: "http://a", key: "wrb_live_1\n", want: "line break"},
		"fewer than no retries":     {base: "http://a", key: "k", retries: -1, want: "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Config{BaseURL: c.base, Key: c.key, HTTP: http.DefaultClient, Retries: c.retries, Refused: refused})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New = %v, want %q", err, c.want)
			}
		})
	}
	for given, want := range map[string]string{
		"http://a": "http://a/api/v1", "http://a/": "http://a/api/v1", "https://a/b/": "https://a/b/api/v1", "http://a/api/v1": "http://a/api/v1",
	} {
		c, err := New(Config{BaseURL: given, Key: "k", HTTP: http.DefaultClient, Refused: refused})
		if err != nil || c.base != want {
			t.Errorf("the base of %s is %s, %v, want %s", given, c.base, err, want)
		}
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	called := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called++
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer s.Close()
	c, err := New(Config{BaseURL: s.URL, Key: "k", HTTP: s.Client(), Refused: refused})
	if err != nil {
		t.Fatal(err)
	}
	var r *refusal
	if err := c.Do(t.Context(), Call{Method: http.MethodPost, Path: []string{"agents"}}, nil); !errors.As(err, &r) || r.status != http.StatusFound || called != 1 {
		t.Errorf("Do = %v after %d calls, want the 302 after one", err, called)
	}
}

func TestErrorsTellNeitherKeyNorQuery(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // nobody listens there now
	c, err := New(Config{BaseURL: "http://" + ln.Addr().String(), Key: "wrb_live_secret", HTTP: http.DefaultClient, Refused: refused})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Do(t.Context(), Call{Method: http.MethodGet, Path: []string{"check"}, Query: url.Values{"phone_number": {"+15550001234"}}}, nil)
	if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "5550001234") || !strings.HasPrefix(err.Error(), "GET /check: ") {
		t.Errorf("Do = %v", err)
	}
}

func TestARequestIsAsTheContractHasIt(t *testing.T) {
	var got []string
	served(t, 0, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, fmt.Sprintf("%s %s %q %q %s", r.Method, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), r.Header.Get("Accept"), body))
	}, func(t *testing.T, c *Client) {
		for _, in := range []any{nil, map[string]json.RawMessage{"n": json.RawMessage("1")}} {
			if err := c.Do(t.Context(), Call{Method: http.MethodPost, Path: []string{"agents"}, In: in}, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
	want := []string{`POST Bearer wrb_test_1 "" "application/json" `, `POST Bearer wrb_test_1 "application/json" "application/json" {"n":1}`}
	if !slices.Equal(got, want) {
		t.Errorf("called %q, want %q", got, want)
	}
}
