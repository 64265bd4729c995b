package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"wagent/cmd/wagent/internal/config"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
	"wagent/gateway/api/wire/wiretest"
	"wagent/gateway/cloudapi/graphtest"
)

// pipes is a network without sockets: real sockets freeze a bubble's clock.
type pipes struct {
	mu   sync.Mutex
	open map[string]*pipeListener // by host:port
}

func (p *pipes) listen(address string) *pipeListener {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	if p.open == nil {
		p.open = map[string]*pipeListener{}
	}
	p.open[address] = l
	return l
}

func (p *pipes) dial(ctx context.Context, _, address string) (net.Conn, error) {
	p.mu.Lock()
	l, ok := p.open[address]
	p.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.done:
		return nil, fmt.Errorf("dial %s: connection refused", address)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// world is the whole program in a bubble, between a WhatsApp, a model provider
// and a customer's endpoint that are fakes on the real wire.
type world struct {
	*testing.T
	net    pipes
	client *http.Client
	graph  *graphtest.Server
	model  *llmtest.Server
	hooks  *endpoint
	app    *app
	start  time.Time
}

const appSecret = "app secret"

var numbers = map[gateway.AccountID]graphtest.Number{
	"acc_a": {PhoneNumberID: "1001", Phone: "15550001001", WABA: "9001"},
	"acc_b": {PhoneNumberID: "1002", Phone: "15550001002", WABA: "9002"},
}

// worldConfig is two Cloud API accounts with an agent each, and one webhook.
func worldConfig(dir string) config.Config {
	cfg := config.Default()
	cfg.DataDir = dir
	cfg.Debounce.Shards = 1 // each is looked at every 5 s, in virtual time too
	cfg.Providers["fake"] = config.Provider{Kind: config.OpenAI, BaseURL: "http://model.test/v1", APIKey: "model-key"}
	for _, id := range []gateway.AccountID{"acc_a", "acc_b"} {
		n := numbers[id]
		cfg.Accounts = append(cfg.Accounts, gateway.Account{
			ID: id, Kind: gateway.CloudAPI, PhoneNumber: "+" + n.Phone, Declared: true,
			Cloud: gateway.Cloud{
				PhoneNumberID: n.PhoneNumberID, WABAID: n.WABA, AccessToken: gateway.Secret("token of " + id),
				AppSecret: appSecret, VerifyToken: "verify", GraphURL: "http://graph.test/v23.0",
			},
		})
		a := gateway.DefaultAgent()
		a.Key, a.Account, a.Name = "agent of "+string(id), id, "Concierge"
		a.SystemPrompt, a.Model, a.AutoRun = "You answer for "+string(id)+".", "fake/model", true
		a.AllowedActions = []string{"hotel.room.clean"}
		a.PayloadSchema = []gateway.Field{{Name: "room", Type: gateway.FieldText, Required: true}}
		cfg.Agents = append(cfg.Agents, a)
	}
	cfg.Webhooks = []gateway.Webhook{{Key: "tickets", URL: "http://hooks.test/in", Secret: receiverSecret, Active: true}}
	return cfg
}

// inWorld runs play beside the program, in virtual time from the first message
// to the last, and then stops it gracefully.
func inWorld(t *testing.T, change func(*config.Config), answer func(llmtest.Request) llmtest.Reply, play func(*world)) {
	t.Helper()
	dir := t.TempDir()
	var w *world
	client := &http.Client{Transport: wiretest.Transport(t, &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return w.net.dial(ctx, network, address)
		},
	})}
	synctest.Test(t, func(t *testing.T) {
		w = &world{T: t, graph: graphtest.New(), model: &llmtest.Server{Key: "model-key", Answer: answer}, hooks: newEndpoint(t)}
		w.client = client
		for id, n := range numbers {
			w.graph.AddNumber(n.PhoneNumberID, "token of "+string(id))
		}
		var servers sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		for host, h := range map[string]http.Handler{"graph.test:80": w.graph, "model.test:80": w.model, "hooks.test:80": w.hooks} {
			ln := w.net.listen(host)
			servers.Go(func() { _ = serveHTTP(ctx, ln, h, 0, slog.New(slog.DiscardHandler)) })
		}
		cfg := worldConfig(dir)
		if change != nil {
			change(&cfg)
		}
		var err error
		w.app, err = build(ctx, cfg, host{listener: w.net.listen("wagent.test:80"), dial: w.net.dial, graphURL: "http://graph.test/v23.0", noSocket: true}, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
		if err != nil {
			t.Fatal(err)
		}
		run, end := context.WithCancel(ctx)
		done := make(chan error)
		go func() { done <- w.app.Run(run) }()
		synctest.Wait()
		w.start = time.Now()
		play(w)
		end()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
		w.app.Close()
		w.client.CloseIdleConnections()
		stop()
		servers.Wait()
		for _, p := range w.model.Problems() {
			t.Errorf("a real provider would refuse this request: %s", p)
		}
	})
}

// at waits until a moment of the play.
func (w *world) at(after time.Duration) {
	time.Sleep(time.Until(w.start.Add(after)))
	synctest.Wait()
}

// post delivers events of one account as Meta does, and expects them taken.
func (w *world) post(account gateway.AccountID, events ...graphtest.Event) {
	w.Helper()
	if code := w.deliver(appSecret, graphtest.Body(numbers[account].Entry(events...))); code != http.StatusOK {
		w.Fatalf("the webhook answered %d", code)
	}
}

func (w *world) deliver(secret string, body []byte) int {
	w.Helper()
	req, err := graphtest.Request(w.Context(), "http://wagent.test/webhooks/whatsapp", secret, body)
	if err != nil {
		w.Fatal(err)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// describedClient is a client that looks whether the API is as it is described.
func describedClient(t testing.TB) *http.Client {
	t.Helper()
	return &http.Client{Transport: wiretest.Transport(t, nil)}
}

// call calls the agents API.
func (w *world) call(method, path string, in, out any) int {
	w.Helper()
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			w.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(w.Context(), method, "http://wagent.test"+path, &body)
	if err != nil {
		w.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.app.home.newKey)
	resp, err := w.client.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(b, &struct{ Data any }{out}); err != nil {
			w.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	}
	return resp.StatusCode
}

// sent is what customers got so far: when, to whom and what.
func (w *world) sent() []string {
	var out []string
	for _, s := range w.graph.Sent() {
		out = append(out, fmt.Sprintf("%v %s %s", s.At.Sub(w.start), s.To, s.Text))
	}
	return out
}

// runs returns the runs of an account's agent, oldest first.
func (w *world) runs(account gateway.AccountID) []gateway.Run {
	w.Helper()
	agents, err := w.app.store.Agents(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	var out []gateway.Run
	for _, a := range agents {
		if a.Account != account {
			continue
		}
		runs, _, err := w.app.store.Runs(w.Context(), gateway.RunFilter{Agent: a.ID, Limit: 1000})
		if err != nil {
			w.Fatal(err)
		}
		slices.Reverse(runs)
		out = append(out, runs...)
	}
	return out
}

// endpoint is a customer's webhook receiver: it verifies with the published
// library and remembers what came.
type endpoint struct {
	t        testing.TB
	verifier *standardwebhooks.Webhook
	before   func() // called first of all; may be nil
	mu       sync.Mutex
	answer   func(n int) int                  // status for the n-th request, from 0; nil: 204
	says     func(data map[string]any) string // the body of a success; nil: none
	n        int
	got      []hook
}

type hook struct {
	id, event string
	at        time.Time
	data      map[string]any
}

func newEndpoint(t testing.TB) *endpoint {
	v, err := standardwebhooks.NewWebhook(receiverSecret)
	if err != nil {
		t.Fatal(err)
	}
	return &endpoint{t: t, verifier: v}
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if e.before != nil {
		e.before()
		if r.Context().Err() != nil {
			return // whoever called is gone: it was not delivered
		}
	}
	// The library reads the real clock; in a bubble the time is another.
	if err := e.verifier.VerifyIgnoringTimestamp(body, r.Header); err != nil {
		e.t.Errorf("a delivery's signature: %v", err)
	}
	var envelope struct {
		Event string
		Data  map[string]any
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		e.t.Errorf("a delivery's body: %v", err)
	}
	e.mu.Lock()
	status := http.StatusNoContent
	if e.answer != nil {
		status = e.answer(e.n)
	}
	e.n++
	if status < 300 {
		e.got = append(e.got, hook{id: r.Header.Get("webhook-id"), event: envelope.Event, at: time.Now(), data: envelope.Data})
	}
	says := e.says
	e.mu.Unlock()
	if says != nil && status < 300 {
		_, _ = io.WriteString(w, says(envelope.Data)) // of 200
		return
	}
	w.WriteHeader(status)
}

func (e *endpoint) events(event string) []hook {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []hook
	for _, h := range e.got {
		if h.event == event {
			out = append(out, h)
		}
	}
	return out
}

// output is an agent's answer as a model writes it.
func output(reply, summary string, actions ...string) llmtest.Reply {
	out := gateway.Output{Intent: "test", Confidence: 1, Language: "en", SuggestedReply: reply, ContextSummary: summary, Actions: []gateway.OutputAction{}}
	for _, room := range actions {
		out.Actions = append(out.Actions, gateway.OutputAction{Type: "hotel.room.clean", Payload: map[string]any{"room": room}})
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	return llmtest.Reply{Text: string(b)}
}

// asked is the customer's words in a request: what stands between the fences of
// the last turn, on one line.
func asked(r llmtest.Request) string {
	var words []string
	inside := false
	for line := range strings.Lines(r.Messages[len(r.Messages)-1].Content) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "<<<END "):
			inside = false
		case strings.HasPrefix(line, "<<<DATA "):
			inside = true
		case inside:
			words = append(words, line)
		}
	}
	return strings.Join(words, " ")
}
