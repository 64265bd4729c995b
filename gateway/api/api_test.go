package api

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/api/accounts"
	"wagent/gateway/api/contacts"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/keys"
	"wagent/gateway/api/messages"
	"wagent/gateway/api/pauses"
	"wagent/gateway/api/sessions"
	"wagent/gateway/api/templates"
	"wagent/gateway/api/usage"
	"wagent/gateway/api/webhooks"
	"wagent/gateway/api/whatsrb"
	"wagent/gateway/api/windows"
	"wagent/gateway/api/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "wrb_test_0123456789"

// keyring holds keys as the store does, by their hash.
type keyring map[[32]byte]gateway.APIKey

func (k keyring) KeyByHash(_ context.Context, hash [32]byte) (gateway.APIKey, error) {
	if found, ok := k[hash]; ok {
		return found, nil
	}
	return gateway.APIKey{}, &gateway.Error{Kind: gateway.NotFound, Msg: "no such key"}
}

func newKeyring() keyring {
	hash := sha256.Sum256([]byte(key))
	return keyring{hash: {Name: "ops", Hash: hash, Scope: gateway.ScopeAdmin}}
}

// parts are the agents API's: the tests of package whatsrb have the honest
// ones; here there are no agents, or what list does.
type parts struct {
	list func(ctx context.Context) error
}

var errNone = &gateway.Error{Kind: gateway.NotFound, Msg: "none"}

func (p parts) Agents(ctx context.Context) ([]gateway.Agent, error) {
	if p.list != nil {
		return nil, p.list(ctx)
	}
	return nil, nil
}

func (parts) Agent(context.Context, gateway.AgentID) (gateway.Agent, error) {
	return gateway.Agent{}, errNone
}
func (parts) CreateAgent(context.Context, *gateway.Agent) error  { return nil }
func (parts) UpdateAgent(context.Context, *gateway.Agent) error  { return errNone }
func (parts) DeleteAgent(context.Context, gateway.AgentID) error { return errNone }
func (parts) Account(context.Context, gateway.AccountID) (gateway.Account, error) {
	return gateway.Account{}, errNone
}

func (parts) Accounts(context.Context) ([]gateway.Account, error) { return nil, errNone }

func (parts) Run(context.Context, gateway.AgentID, gateway.RunID) (gateway.Run, error) {
	return gateway.Run{}, errNone
}

func (parts) Runs(context.Context, gateway.RunFilter) ([]gateway.Run, int, error) {
	return nil, 0, errNone
}

func (parts) Start(context.Context, gateway.RunID, *gateway.Agent, json.RawMessage, json.RawMessage) (gateway.Run, error) {
	return gateway.Run{}, errNone
}

func (parts) Decide(context.Context, gateway.AgentID, gateway.RunID, []gateway.Decision, string) (gateway.Run, error) {
	return gateway.Run{}, errNone
}

func (parts) Inject(context.Context, gateway.AccountID, string, string, string) (gateway.Outcome, string, error) {
	return "", "", errNone
}

func (parts) SandboxMessages(context.Context, gateway.AccountID, string, int) ([]gateway.Message, error) {
	return nil, errNone
}

// idle are the parts of sessions and pauses: the tests of those packages have
// the honest ones, and here nobody calls them.
type idle struct {
	used
	links
	sessions.Pairings
	sessions.Person
	sessions.Files
	pauses.Conversations
	paused
	pauses.Editor
	windowing
}

type (
	used   interface{ sessions.Accounts }
	links  interface{ sessions.Links }
	paused interface{ pauses.Pauses }
	listed interface{ webhooks.Webhooks }

	said struct {
		messages.Messages
		messages.Sender
	}

	catalogue interface{ templates.Templates }
	approved  struct {
		catalogue
		templates.Editor
		templates.Meta
		templates.Sender
	}
	numbers struct {
		ours
		accounts.Connects
		accounts.Meta
	}
	ours interface{ accounts.Accounts }

	windowing struct {
		windows.Agents
		windows.Overrides
		windows.Answerer
	}
)

// unasked is idle, too: no request here may be repeated.
type unasked struct{ idempotency.Requests }

// people is idle, too.
type people struct {
	contacts.People
	contacts.Agents
	contacts.Memories
	contacts.Contexts
	contacts.Messages
	keys.Keys
}

// hooks are idle, too.
type hooks struct {
	listed
	webhooks.Editor
	webhooks.Deliveries
	webhooks.Network
}
type (
	auditLog interface{ keys.Audit }
	audited  struct{ auditLog }
)

// counting is idle, too.
type counting struct {
	usage.Records
	usage.Accounts
}

func deps(list func(context.Context) error) Deps {
	p := parts{list: list}
	return Deps{
		Keys: newKeyring(), Owners: &owned{}, Auditor: &owned{}, Requests: unasked{}, Log: slog.New(slog.DiscardHandler),
		Parts: []Part{
			&whatsrb.API{Agents: p, Editor: p, Accounts: p, Runs: p, Runner: p, Sandbox: p},
			&sessions.API{Accounts: idle{}, Links: idle{}, Pairings: idle{}, Person: idle{}, Files: idle{}},
			&pauses.API{Conversations: idle{}, Pauses: idle{}, Editor: idle{}},
			&windows.API{Conversations: idle{}, Agents: idle{}, Overrides: idle{}, Answerer: idle{}},
			&keys.API{Keys: people{}, Audit: audited{}},
			&contacts.API{People: people{}, Agents: people{}, Memories: people{}, Contexts: people{}, Messages: people{}},
			&messages.API{Accounts: idle{}, Messages: said{}, Sender: said{}},
			&templates.API{Templates: approved{}, Editor: approved{}, Meta: approved{}, Sender: approved{}},
			&usage.API{Records: counting{}, Accounts: counting{}},
			&accounts.API{Accounts: numbers{}, Conversations: idle{}, Connects: numbers{}, Apps: numbers{}, Meta: numbers{}, GraphURL: "https://graph.example.com"},
			&webhooks.API{Webhooks: hooks{}, Editor: hooks{}, Deliveries: hooks{}, Network: hooks{}},
		},
	}
}

func newHandler(t *testing.T, d Deps) http.Handler {
	t.Helper()
	h, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func newServer(t *testing.T, d Deps) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(newHandler(t, d))
	t.Cleanup(func() { http.DefaultClient.CloseIdleConnections(); srv.Close() })
	return srv
}

// answer is a response that was read and closed.
type answer struct {
	StatusCode int
	Header     http.Header
}

// do makes a request with the key and returns the answer and its body.
func do(t *testing.T, srv *httptest.Server, method, path string, body io.Reader, header ...string) (answer, string) {
	t.Helper()
	req, err := http.NewRequest(method, srv.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Transport: wiretest.Transport(t, nil)}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header}, string(b)
}

func TestEveryResourceIsServed(t *testing.T) {
	h := newHandler(t, deps(nil))
	served := map[string]bool{}
	for _, route := range h.(*echo.Echo).Routes() {
		served[route.Method+" "+route.Path] = true
	}
	for _, route := range []string{"GET /api/v1/agents", "GET /api/v1/sessions", "GET /api/v1/business_accounts/:account/conversation_pauses", "GET /api/v1/webhooks", "GET /api/v1/usage"} {
		if !served[route] {
			t.Errorf("%s is not served", route)
		}
	}
}

func TestNothingElseIsServed(t *testing.T) {
	srv := newServer(t, deps(nil))
	for _, path := range []string{"/", "/nothing", "/api", "/webhooks/whatsapp", "/metrics/x"} {
		resp, body := do(t, srv, http.MethodGet, path, nil)
		if resp.StatusCode != http.StatusNotFound || body != `{"error":"Not found"}` || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("GET %s: %d %s", path, resp.StatusCode, body)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	agent := func(size int) string {
		const frame = `{"agent":{"name":"x","system_prompt":""}}`
		return strings.Replace(frame, `""`, `"`+strings.Repeat("a", size-len(frame))+`"`, 1)
	}
	tests := map[string]struct {
		body   io.Reader
		status int
	}{
		"as large as it may be":              {strings.NewReader(agent(maxBody)), 201},
		"a byte more":                        {strings.NewReader(agent(maxBody + 1)), 413},
		"a byte more, and no Content-Length": {io.MultiReader(strings.NewReader(agent(maxBody + 1))), 413},
	}
	srv := newServer(t, deps(nil))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			resp, body := do(t, srv, http.MethodPost, "/api/v1/agents", tt.body)
			if resp.StatusCode != tt.status {
				t.Errorf("got %d %.100s", resp.StatusCode, body)
			}
			if tt.status == 413 && body != `{"error":"The body is too large"}` {
				t.Errorf("got %s", body)
			}
		})
	}
}

func TestRequestsEndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(t, deps(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }))
		r := httptest.NewRequest(http.MethodGet, "/api/v1/agents", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || w.Body.String() != `{"error":"The request took too long"}` {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}

// pipes is a listener whose connections stay within a bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestBodyThatTrickles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		srv := &http.Server{Handler: newHandler(t, deps(nil))}
		served := make(chan error)
		go func() { served <- srv.Serve(l) }()
		client, server := net.Pipe()
		l.conns <- server
		start := time.Now()
		go func() {
			_, _ = io.WriteString(client, "POST /api/v1/agents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+key+"\r\nContent-Length: 99\r\n\r\n{")
		}()
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if took := time.Since(start); resp.StatusCode != http.StatusRequestTimeout || took != requestTimeout {
			t.Errorf("got %d after %v", resp.StatusCode, took)
		}
		client.Close()
		srv.Close()
		<-served
	})
}

func TestWebhookIsServedAsItIs(t *testing.T) {
	d := deps(nil)
	d.Webhook = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.Method+" "+r.URL.RawQuery+" "+string(b[max(0, len(b)-3):]))
	})
	srv := newServer(t, d)
	body := strings.Repeat("x", 2*maxBody) + "end" // limits are the handler's own
	resp, got := do(t, srv, http.MethodPost, "/webhooks/whatsapp?hub.mode=a", strings.NewReader(body), "Authorization", "")
	if resp.StatusCode != http.StatusTeapot || got != "POST hub.mode=a end" {
		t.Errorf("got %d %s", resp.StatusCode, got)
	}
	if resp, got = do(t, srv, http.MethodGet, "/webhooks/whatsapp", nil); got != "GET  " {
		t.Errorf("got %d %s", resp.StatusCode, got)
	}
}

func TestReady(t *testing.T) {
	fine := func(context.Context) error { return nil }
	away := func(context.Context) error { return errors.New("dial redis://:hunter2@r: refused") }
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	tests := map[string]struct {
		checks map[string]Check
		status int
		body   string
	}{
		"nothing to ask":     {nil, 200, "ok"},
		"all answer":         {map[string]Check{"database": fine, "redis": fine}, 200, "ok"},
		"one is away":        {map[string]Check{"database": fine, "redis": away}, 503, `{"error":"Not ready","details":{"redis":["does not answer"]}}`},
		"one hangs, one not": {map[string]Check{"database": hangs, "redis": fine}, 503, `{"error":"Not ready","details":{"database":["does not answer"]}}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := deps(nil)
				d.Ready = tt.checks
				w := httptest.NewRecorder()
				newHandler(t, d).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
				if body := strings.TrimSpace(w.Body.String()); w.Code != tt.status || body != tt.body {
					t.Errorf("got %d %s", w.Code, body)
				}
			})
		})
	}
}

func TestAliveWhateverIsAway(t *testing.T) {
	d := deps(nil)
	d.Ready = map[string]Check{"database": func(context.Context) error { return errors.New("away") }}
	srv := newServer(t, d)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if resp, body := do(t, srv, method, "/healthz", nil); resp.StatusCode != 200 || method == http.MethodGet && body != "ok" {
			t.Errorf("%s /healthz: %d %q", method, resp.StatusCode, body)
		}
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	tests := map[string]func(*Deps){
		"no Keys":     func(d *Deps) { d.Keys = nil },
		"no Log":      func(d *Deps) { d.Log = nil },
		"no Owners":   func(d *Deps) { d.Owners = nil },
		"no Auditor":  func(d *Deps) { d.Auditor = nil },
		"no Requests": func(d *Deps) { d.Requests = nil },
		"no Runner":   func(d *Deps) { d.Parts[0].(*whatsrb.API).Runner = nil },
	}
	for _, want := range slices.Sorted(maps.Keys(tests)) {
		d := deps(nil)
		tests[want](&d)
		if _, err := New(d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
