package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/wire"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const timeout = 30 * time.Second

// server answers POSTs to any path with what answer says. Who calls is in a
// header, and a body may have at most a hundred bytes.
func server(requests idempotency.Requests, answer echo.HandlerFunc) http.Handler {
	log := slog.New(slog.DiscardHandler)
	m := idempotency.Middleware{
		Requests: requests, Timeout: timeout, Log: log,
		Who: func(c echo.Context) string { return c.Request().Header.Get("Who") },
	}
	limit := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			ctx, cancel := context.WithTimeout(r.Context(), timeout)
			defer cancel()
			r.Body = http.MaxBytesReader(c.Response(), r.Body, 100)
			c.SetRequest(r.WithContext(ctx))
			return next(c)
		}
	}
	e := echo.New()
	e.HTTPErrorHandler = wire.ErrorHandler(log)
	e.Any("/*", answer, limit, m.Handle)
	return e
}

// A call is a request to repeat.
type call struct {
	method, path, who, key, body string
}

var first = call{http.MethodPost, "/runs", "ops", "key-1", `{"run":1}`}

func (x call) to(ctx context.Context, h http.Handler) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, x.method, x.path, strings.NewReader(x.body))
	r.Header.Set("Who", x.who)
	if x.key != "" {
		r.Header.Set("Idempotency-Key", x.key)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// counter answers with how often it was called, and what the body was.
type counter struct {
	mu sync.Mutex
	n  int
}

func (n *counter) add() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.n++
	return n.n
}

func (n *counter) answer(c echo.Context) error {
	body, err := wire.ReadObject(c)
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusCreated, map[string]any{"n": n.add(), "got": body})
}

func TestWhatIsTheSameRequest(t *testing.T) {
	with := func(change func(*call)) call { x := first; change(&x); return x }
	tests := map[string]struct {
		second call
		status int
		says   string
		replay bool
	}{
		"the same again":               {first, 201, `"n":1`, true},
		"another body":                 {with(func(x *call) { x.body = `{"run":2}` }), 409, "was used for another request", false},
		"another path":                 {with(func(x *call) { x.path = "/agents" }), 409, "was used for another request", false},
		"another query":                {with(func(x *call) { x.path += "?x=1" }), 409, "was used for another request", false},
		"another key":                  {with(func(x *call) { x.key = "key-2" }), 201, `"n":2`, false},
		"somebody else's key":          {with(func(x *call) { x.who = "shop" }), 201, `"n":2`, false},
		"no key":                       {with(func(x *call) { x.key = "" }), 201, `"n":2`, false},
		"a method that is no POST":     {with(func(x *call) { x.method = http.MethodPatch }), 201, `"n":2`, false},
		"the longest key":              {with(func(x *call) { x.key = strings.Repeat("k", 255) }), 201, `"n":2`, false},
		"a key that is too long":       {with(func(x *call) { x.key = strings.Repeat("k", 256) }), 400, "1 to 255 bytes", false},
		"a control character":          {with(func(x *call) { x.key = "a\tb" }), 400, "control characters", false},
		"a key that is not UTF-8":      {with(func(x *call) { x.key = "\xff" }), 400, "Idempotency-Key must be", false},
		"a body that is too large":     {with(func(x *call) { x.key, x.body = "key-2", strings.Repeat(" ", 101) }), 413, "too large", false},
		"a body that is not an object": {with(func(x *call) { x.key, x.body = "key-2", "[]" }), 400, "must be a JSON object", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := server(storetest.Open(t), new(counter).answer)
			if w := first.to(t.Context(), h); w.Code != 201 || w.Header().Get("Idempotent-Replayed") != "" {
				t.Fatalf("the first was answered %d %s", w.Code, w.Body)
			}
			w := tt.second.to(t.Context(), h)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("answered %d %s, want %d and %q", w.Code, w.Body, tt.status, tt.says)
			}
			if replayed := w.Header().Get("Idempotent-Replayed") == "true"; replayed != tt.replay {
				t.Errorf("replayed: %v, want %v", replayed, tt.replay)
			}
			if w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("the content type is %q", w.Header().Get("Content-Type"))
			}
		})
	}
	t.Run("two keys in one request", func(t *testing.T) {
		h := server(storetest.Open(t), new(counter).answer)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/runs", strings.NewReader("{}"))
		r.Header["Idempotency-Key"] = []string{"a", "b"}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != 400 {
			t.Errorf("answered %d %s", w.Code, w.Body)
		}
	})
}

func TestWhatIsRemembered(t *testing.T) {
	tests := map[string]struct {
		answer     echo.HandlerFunc
		status     int
		remembered bool
	}{
		"a success":         {func(c echo.Context) error { return wire.Data(c, 200, "yes") }, 200, true},
		"no content":        {func(c echo.Context) error { return c.NoContent(204) }, 204, true},
		"a refusal":         {func(echo.Context) error { return wire.Problems{"name": {"is odd"}}.Err() }, 422, false},
		"not found":         {func(echo.Context) error { return wire.NotFound("agent") }, 404, false},
		"a conflict":        {func(echo.Context) error { return &gateway.Error{Kind: gateway.Conflict, Msg: "not connected"} }, 409, false},
		"a closed window":   {func(echo.Context) error { return &gateway.Error{Kind: gateway.WindowClosed, Msg: "closed"} }, 422, false},
		"a bad token":       {func(echo.Context) error { return &gateway.Error{Kind: gateway.Unauthorized, Msg: "Meta's"} }, 401, false},
		"an error of ours":  {func(echo.Context) error { return errors.New("broken") }, 500, false},
		"an answer of 500":  {func(c echo.Context) error { return wire.Data(c, 500, nil) }, 500, false},
		"a database away":   {func(echo.Context) error { return &gateway.Error{Kind: gateway.Unavailable, Msg: "away"} }, 503, false},
		"nobody can tell":   {func(echo.Context) error { return &gateway.Error{Kind: gateway.Ambiguous, Msg: "done or not"} }, 502, true},
		"too many requests": {func(echo.Context) error { return &gateway.Error{Kind: gateway.RateLimited, Msg: "slow"} }, 429, false},
		"a request timeout": {func(echo.Context) error { return echo.NewHTTPError(408, "slow") }, 408, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			done, ids := 0, map[string]bool{}
			h := server(storetest.Open(t), func(c echo.Context) error {
				done++
				ids[idempotency.ID(c)] = true
				return tt.answer(c)
			})
			one, two := first.to(t.Context(), h), first.to(t.Context(), h)
			if one.Code != tt.status || two.Code != tt.status || one.Body.String() != two.Body.String() {
				t.Errorf("answered %d %s and then %d %s", one.Code, one.Body, two.Code, two.Body)
			}
			if done == 1 != tt.remembered || two.Header().Get("Idempotent-Replayed") == "true" != tt.remembered {
				t.Errorf("it was done %d times, and the second answer is a replay: %q", done, two.Header().Get("Idempotent-Replayed"))
			}
			if len(ids) != 1 || ids[""] {
				t.Errorf("the tries have the ids %v, want one", ids)
			}
		})
	}
}

// TestARefusalIsOverWhenItsReasonIs: who repeats a request that was refused has it
// done once the reason is gone, and not twice.
func TestARefusalIsOverWhenItsReasonIs(t *testing.T) {
	connected := false
	var n counter
	h := server(storetest.Open(t), func(c echo.Context) error {
		if !connected {
			return &gateway.Error{Kind: gateway.Conflict, Msg: "not connected"}
		}
		return n.answer(c)
	})
	for range 2 {
		if w := first.to(t.Context(), h); w.Code != 409 || w.Body.String() != `{"error":"not connected"}` {
			t.Fatalf("before it is connected: %d %s", w.Code, w.Body)
		}
	}
	connected = true
	for i, replayed := range []string{"", "true"} {
		if w := first.to(t.Context(), h); w.Code != 201 || w.Header().Get("Idempotent-Replayed") != replayed {
			t.Errorf("try %d after it: %d %s, replayed %q", i+1, w.Code, w.Body, w.Header().Get("Idempotent-Replayed"))
		}
	}
	if n.n != 1 {
		t.Errorf("it was done %d times", n.n)
	}
}

// TestAKeyIsFreeForTheRequestThatIsMended: nothing was done under it.
func TestAKeyIsFreeForTheRequestThatIsMended(t *testing.T) {
	h := server(storetest.Open(t), func(c echo.Context) error {
		body, err := wire.ReadObject(c)
		if err == nil && string(body["run"]) == "1" {
			err = wire.Problems{"run": {"is odd"}}.Err()
		}
		if err != nil {
			return err
		}
		return wire.Data(c, 201, nil)
	})
	mended, other := first, first
	mended.body, other.body = `{"run":2}`, `{"run":3}`
	for i, tt := range []struct {
		call   call
		status int
	}{{first, 422}, {mended, 201}, {other, 409}, {first, 409}, {mended, 201}} {
		if w := tt.call.to(t.Context(), h); w.Code != tt.status {
			t.Errorf("call %d: %d %s, want %d", i, w.Code, w.Body, tt.status)
		}
	}
}

// TestAPanicReleasesTheRequest: nobody waits a minute for what will not come.
func TestAPanicReleasesTheRequest(t *testing.T) {
	broken := true
	h := server(storetest.Open(t), func(c echo.Context) error {
		if broken {
			panic("broken")
		}
		return wire.Data(c, 201, nil)
	})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic does not reach who answers it")
			}
		}()
		first.to(t.Context(), h)
	}()
	broken = false
	if w := first.to(t.Context(), h); w.Code != 201 {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

// TestAPanicIsAnswered: whoever recovers it has the client's connection again, whatever
// was written before.
func TestAPanicIsAnswered(t *testing.T) {
	for name, before := range map[string]func(echo.Context) error{
		"before an answer": func(echo.Context) error { return nil },
		"after it":         func(c echo.Context) error { return wire.Data(c, 201, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			e := echo.New()
			e.HTTPErrorHandler = wire.ErrorHandler(slog.New(slog.DiscardHandler))
			m := idempotency.Middleware{
				Requests: storetest.Open(t), Timeout: timeout, Log: slog.New(slog.DiscardHandler),
				Who: func(echo.Context) string { return "ops" },
			}
			recovers := func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c echo.Context) (err error) {
					defer func() {
						if r := recover(); r != nil {
							err = fmt.Errorf("panic: %v", r)
						}
					}()
					return next(c)
				}
			}
			e.POST("/*", func(c echo.Context) error {
				if err := before(c); err != nil {
					return err
				}
				panic("broken")
			}, recovers, m.Handle)
			if w := first.to(t.Context(), e); w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "Internal error") {
				t.Errorf("answered %d %q", w.Code, w.Body)
			}
		})
	}
}

func TestARepetitionWaitsForTheAnswer(t *testing.T) {
	tests := map[string]struct {
		takes, after time.Duration // of the first; until it is repeated
		status       int
		waits        [2]time.Duration // at least and at most
	}{
		"a moment":              {time.Second, 100 * time.Millisecond, 201, [2]time.Duration{900 * time.Millisecond, 1150 * time.Millisecond}},
		"longer than it waits":  {20 * time.Second, time.Second, 409, [2]time.Duration{4750 * time.Millisecond, 5 * time.Second}},
		"until it is over":      {time.Second, 2 * time.Second, 201, [2]time.Duration{}},
		"as long as it is kept": {time.Second, 24*time.Hour - time.Second, 201, [2]time.Duration{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := storetest.At(t, store.Config{Path: dir + "/wagent.db", Key: storetest.Key})
				var n counter
				h := server(s, func(c echo.Context) error {
					time.Sleep(tt.takes)
					return n.answer(c)
				})
				done := make(chan *httptest.ResponseRecorder)
				go func() { done <- first.to(t.Context(), h) }()
				var one *httptest.ResponseRecorder
				if tt.after > tt.takes {
					one = <-done
				}
				time.Sleep(tt.after - map[bool]time.Duration{true: tt.takes}[one != nil])
				start := time.Now()
				two := first.to(t.Context(), h)
				waited := time.Since(start)
				if one == nil {
					one = <-done
				}
				if one.Code != 201 || two.Code != tt.status || waited < tt.waits[0] || waited > tt.waits[1] {
					t.Errorf("answered %d, and then %d %s after %v, want %d", one.Code, two.Code, two.Body, waited, tt.status)
				}
				if tt.status == 201 && one.Body.String() != two.Body.String() {
					t.Errorf("answered %s and then %s", one.Body, two.Body)
				}
				if tt.status == 409 && two.Header().Get("Retry-After") != "5" {
					t.Errorf("Retry-After is %q", two.Header().Get("Retry-After"))
				}
				if n.n != 1 {
					t.Errorf("it was done %d times", n.n)
				}
			})
		})
	}
}

func TestADayLaterItIsANewRequest(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := storetest.At(t, store.Config{Path: dir + "/wagent.db", Key: storetest.Key})
		ids := map[string]bool{}
		h := server(s, func(c echo.Context) error { ids[idempotency.ID(c)] = true; return wire.Data(c, 201, nil) })
		first.to(t.Context(), h)
		time.Sleep(24 * time.Hour)
		if w := first.to(t.Context(), h); w.Code != 201 || w.Header().Get("Idempotent-Replayed") != "" || len(ids) != 2 {
			t.Errorf("answered %d, replayed %q, under %d ids", w.Code, w.Header().Get("Idempotent-Replayed"), len(ids))
		}
	})
}

// TestAClientThatGoesFindsItsAnswer: the request is done to its end, and its
// answer waits for who comes back.
func TestAClientThatGoesFindsItsAnswer(t *testing.T) {
	var n counter
	ctx, hangUp := context.WithCancel(t.Context())
	h := server(storetest.Open(t), func(c echo.Context) error {
		hangUp()
		if err := c.Request().Context().Err(); err != nil {
			return err
		}
		if _, ok := c.Request().Context().Deadline(); !ok {
			t.Error("a request whose client is gone may take forever")
		}
		return n.answer(c)
	})
	first.to(ctx, h)
	w := first.to(t.Context(), h)
	if w.Code != 201 || w.Header().Get("Idempotent-Replayed") != "true" || n.n != 1 {
		t.Errorf("answered %d %s; it was done %d times", w.Code, w.Body, n.n)
	}
}

// forgetful is a store that is away when the answer is to be kept.
type forgetful struct{ idempotency.Requests }

func (forgetful) AnswerRequest(context.Context, *gateway.IdempotentRequest) error {
	return &gateway.Error{Kind: gateway.Unavailable, Msg: "away"}
}

// TestAnAbandonedRequestIsDoneAgain once its lease is over, under the ID that it
// had: so it is with a process that dies before it kept the answer.
func TestAnAbandonedRequestIsDoneAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := storetest.At(t, store.Config{Path: dir + "/wagent.db", Key: storetest.Key})
		var ids []string
		answer := func(c echo.Context) error {
			ids = append(ids, idempotency.ID(c))
			return wire.Data(c, 201, len(ids))
		}
		start := time.Now()
		if w := first.to(t.Context(), server(forgetful{s}, answer)); w.Code != 201 || w.Body.String() != `{"data":1}` {
			t.Fatalf("a client whose answer is not kept gets %d %s", w.Code, w.Body)
		}
		h := server(s, answer)
		if w := first.to(t.Context(), h); w.Code != 409 {
			t.Errorf("before its lease was over, a repetition was answered %d %s", w.Code, w.Body)
		}
		time.Sleep(time.Until(start.Add(timeout + 30*time.Second)))
		if w := first.to(t.Context(), h); w.Code != 201 || w.Body.String() != `{"data":2}` {
			t.Errorf("after it: %d %s", w.Code, w.Body)
		}
		if len(ids) != 2 || ids[0] == "" || ids[0] != ids[1] {
			t.Errorf("the tries have the ids %v", ids)
		}
	})
}

// TestAnAbandonedRequestIsNoOthers: what it did is not known, so that only its
// repetition has its key, whoever lets its lease pass.
func TestAnAbandonedRequestIsNoOthers(t *testing.T) {
	tests := map[string]func(t *testing.T, s *store.Store){
		"its lease is over": func(*testing.T, *store.Store) { time.Sleep(timeout + 30*time.Second) },
		"the process starts anew": func(t *testing.T, s *store.Store) {
			if err := s.ReleaseLeases(t.Context()); err != nil {
				t.Error(err)
			}
		},
	}
	for name, pass := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := storetest.At(t, store.Config{Path: dir + "/wagent.db", Key: storetest.Key})
				if w := first.to(t.Context(), server(forgetful{s}, new(counter).answer)); w.Code != 201 {
					t.Fatalf("the first was answered %d %s", w.Code, w.Body)
				}
				pass(t, s)
				other, h := first, server(s, new(counter).answer)
				other.body = `{"run":2}`
				for i, tt := range []struct {
					call   call
					status int
				}{{other, 409}, {first, 201}, {other, 409}} {
					if w := tt.call.to(t.Context(), h); w.Code != tt.status {
						t.Errorf("call %d: %d %s, want %d", i, w.Code, w.Body, tt.status)
					}
				}
			})
		})
	}
}

// slow is a store that answers no sooner than the request's time is over.
type slow struct{ idempotency.Requests }

func (slow) ClaimRequest(ctx context.Context, _ *gateway.IdempotentRequest, _ time.Duration) (bool, error) {
	<-ctx.Done()
	return false, ctx.Err()
}

// held is a store in which somebody else does every request.
type held struct{ idempotency.Requests }

func (held) ClaimRequest(context.Context, *gateway.IdempotentRequest, time.Duration) (bool, error) {
	return false, nil
}

// TestATimeThatEndsBeforeTheRequestIsBegun says that nothing was done, and is no
// error of ours.
func TestATimeThatEndsBeforeTheRequestIsBegun(t *testing.T) {
	for name, requests := range map[string]idempotency.Requests{"at the store": slow{}, "while it waits": held{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				w := first.to(ctx, server(requests, new(counter).answer))
				if w.Code != http.StatusServiceUnavailable || w.Body.String() != `{"error":"The request took too long"}` {
					t.Errorf("answered %d %s", w.Code, w.Body)
				}
			})
		})
	}
}

// TestReplicasDoARequestOnce: two servers on one database, each asked the same
// many times at the same moment.
func TestReplicasDoARequestOnce(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		var n counter
		hs := []http.Handler{server(storetest.At(t, cfg), n.answer), server(storetest.At(t, cfg), n.answer)}
		const rounds, each = 5, 4
		for round := range rounds {
			x := first
			x.key = fmt.Sprint("round ", round)
			var all sync.WaitGroup
			begin, replays := make(chan struct{}), counter{}
			for i := range each * len(hs) {
				all.Go(func() {
					<-begin
					w := x.to(t.Context(), hs[i%len(hs)])
					if want := fmt.Sprintf(`{"data":{"got":{"run":1},"n":%d}}`, round+1); w.Code != 201 || w.Body.String() != want {
						t.Errorf("answered %d %s, want %s", w.Code, w.Body, want)
					}
					if w.Header().Get("Idempotent-Replayed") == "true" {
						replays.add()
					}
				})
			}
			close(begin)
			all.Wait()
			if n.n != round+1 || replays.n != each*len(hs)-1 {
				t.Errorf("in %d rounds it was done %d times; %d answers of the last are replays", round+1, n.n, replays.n)
			}
		}
	})
}
