package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// logs collects records as maps.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) records(t *testing.T) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []map[string]any
	for dec := json.NewDecoder(&l.b); ; {
		var r map[string]any
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestAccessLog(t *testing.T) {
	var l logs
	d := deps(nil)
	d.Log = l.logger()
	h := newHandler(t, d)
	r := httptest.NewRequest(http.MethodPost, "/api/v1/agents?token=hunter2", strings.NewReader(`{"agent":{"name":"hunter2"}}`))
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("X-Request-Id", "from-outside")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)

	records := l.records(t)
	if len(records) != 1 {
		t.Fatalf("%d lines: %v", len(records), records)
	}
	got := records[0]
	delete(got, "time")
	delete(got, "took")
	want := map[string]any{
		"level": "DEBUG", "msg": "request", "request": "from-outside", "method": "POST", "route": "/api/v1/agents",
		"status": 422.0, "bytes": float64(w.Body.Len()), "key": "ops",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRequestIDOfAStranger(t *testing.T) {
	srv := newServer(t, deps(nil))
	resp, _ := do(t, srv, http.MethodGet, "/healthz", nil, "X-Request-Id", `"}{`+strings.Repeat("x", 500))
	if got := resp.Header.Get("X-Request-Id"); !requestID.MatchString(got) {
		t.Errorf("X-Request-Id is %q", got)
	}
}

func TestSecurityHeaders(t *testing.T) {
	resp, _ := do(t, newServer(t, deps(nil)), http.MethodGet, "/api/v1/agents", nil)
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
}

func TestPanicIsAnswered(t *testing.T) {
	var l logs
	d := deps(func(context.Context) error { panic("something broke") })
	d.Log = l.logger()
	resp, body := do(t, newServer(t, d), http.MethodGet, "/api/v1/agents", nil)
	if resp.StatusCode != 500 || body != `{"error":"Internal error"}` {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	records := l.records(t)
	if len(records) != 2 {
		t.Fatalf("%d lines: %v", len(records), records)
	}
	if err, _ := records[0]["err"].(string); records[0]["level"] != "ERROR" ||
		!strings.Contains(err, "something broke") || !strings.Contains(err, "api_test.go") {
		t.Errorf("no error with its stack: %v", records[0])
	}
	if records[1]["level"] != "INFO" || records[1]["request"] != records[0]["request"] {
		t.Errorf("the access line is %v", records[1])
	}
}

// The request's own context has ended when its error is answered; the log must
// not take that for a client that has gone.
func TestInternalErrorIsLogged(t *testing.T) {
	var l logs
	d := deps(func(context.Context) error { return errors.New("disk is full") })
	d.Log = l.logger()
	resp, body := do(t, newServer(t, d), http.MethodGet, "/api/v1/agents", nil)
	if resp.StatusCode != 500 || body != `{"error":"Internal error"}` {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	records := l.records(t)
	if len(records) != 2 || records[0]["level"] != "ERROR" || records[0]["err"] != "list agents: disk is full" {
		t.Errorf("logged %v", records)
	}
}

func TestMetrics(t *testing.T) {
	d := deps(nil)
	d.Registry = prometheus.NewRegistry()
	srv := newServer(t, d)
	do(t, srv, http.MethodGet, "/api/v1/agents", nil)
	do(t, srv, http.MethodGet, "/api/v1/agents/agt_x", nil)
	do(t, srv, http.MethodGet, "/stranger/1", nil)
	do(t, srv, http.MethodGet, "/api/v1/stranger/2", nil)
	resp, text := do(t, srv, http.MethodGet, "/metrics", nil, "Accept", "application/openmetrics-text")
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/openmetrics-text") {
		t.Errorf("got %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	for _, want := range []string{
		`wagent_http_requests_total{code="200",route="/api/v1/agents"} 1.0`,
		`wagent_http_requests_total{code="500",route="/api/v1/agents"} 0.0`,
		`wagent_http_requests_total{code="404",route="/api/v1/agents/:agent"} 1.0`,
		`wagent_http_requests_total{code="404",route="unmatched"} 2.0`,
		`wagent_http_request_seconds_count{route="/api/v1/agents"} 1`,
		`wagent_http_request_seconds_count{route="/api/v1/agents/:agent/runs/:run/actions"} 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(text, "stranger") {
		t.Error("a stranger's path became a label")
	}
	problems, err := testutil.GatherAndLint(d.Registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}
