package agent

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/anthropic"
	"wagent/dispatch/llm/llmtest"
	"wagent/dispatch/llm/openai"
	"wagent/gateway"
)

const (
	key    = "sk-Proj-Secret123"
	secret = "my card number is 4111"
)

// registry knows models by their provider's name.
type registry map[string]llm.Model

func (r registry) Model(handle string) (llm.Model, string, string, error) {
	provider, name, ok := strings.Cut(handle, "/")
	if !ok {
		provider, name = "openai", handle
	}
	m, ok := r[provider]
	if !ok {
		return nil, "", "", &gateway.Error{Kind: gateway.Invalid, Msg: "no provider is called " + provider}
	}
	return m, provider, name, nil
}

// pipes is a listener whose connections are in memory, so that HTTP works in
// a synctest bubble.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error { l.once.Do(func() { close(l.done) }); return nil }

func (l *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (l *pipes) Dial(context.Context, string, string) (net.Conn, error) {
	c, s := net.Pipe()
	select {
	case l.conns <- s:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// bench is an Answerer in front of a model server.
type bench struct {
	*Answerer
	registry registry
	server   *llmtest.Server // openai's
	reg      *prometheus.Registry
	log      *bytes.Buffer
}

// overTCP serves s on a real socket.
func overTCP(t *testing.T, s *llmtest.Server) *bench {
	t.Helper()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	client := srv.Client()
	t.Cleanup(client.CloseIdleConnections)
	return newBench(s, srv.URL, client)
}

// overPipes serves s over pipes, at http://llm.test. The caller is in a
// synctest bubble.
func overPipes(t *testing.T, s *llmtest.Server) *http.Client {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := httptest.NewUnstartedServer(s)
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	client := &http.Client{Transport: &http.Transport{DialContext: l.Dial}}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// inBubble is overTCP in a synctest bubble.
func inBubble(t *testing.T, s *llmtest.Server) *bench {
	t.Helper()
	return newBench(s, "http://llm.test", overPipes(t, s))
}

func newBench(s *llmtest.Server, url string, client *http.Client) *bench {
	s.Key = key
	b := &bench{server: s, reg: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	b.registry = registry{"openai": openai.New(openai.Config{BaseURL: url + "/v1", APIKey: key, HTTPClient: client, Traits: openai.Traits{CacheKey: true}})}
	b.Answerer = New(b.registry, slog.New(slog.NewTextHandler(b.log, nil)), b.reg)
	return b
}

// provider adds a provider that speaks Anthropic's protocol. The caller is in
// a synctest bubble.
func (b *bench) provider(t *testing.T, name string, s *llmtest.Server) {
	t.Helper()
	s.Key = key
	b.registry[name] = anthropic.New(anthropic.Config{Name: name, BaseURL: "http://llm.test", APIKey: key, HTTPClient: overPipes(t, s)})
}

// requests reads wagent_llm_requests_total for an outcome.
func (b *bench) requests(outcome string) float64 {
	return testutil.ToFloat64(b.metrics.requests.WithLabelValues("openai", "m-1", outcome))
}
