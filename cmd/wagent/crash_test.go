package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"wagent/debounce/redistest"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
	"wagent/gateway/store/storetest"
)

var binaryDir string // set by TestMain

// binary is the program as it is shipped, built once for all tests.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaryDir, "wagent")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "wagent-test-")
	if err != nil {
		panic(err)
	}
	binaryDir = dir
	m.Run()
	_ = os.RemoveAll(dir)
}

// rig is a WhatsApp, a model provider, a customer's endpoint and the databases
// around processes that may be killed.
type rig struct {
	*testing.T
	graph  *graphtest.Server
	model  *llmtest.Server
	hooks  *endpoint
	db     *sql.DB                // nil where the program keeps its own
	redis  *redistest.Server      // nil where the program keeps its own
	config string                 // path
	build  func() (string, error) // nil: binary
	env    []string               // beside ours
	proc   *replica
}

// newRig returns a rig on PostgreSQL and Redis, or one on what the program
// brings itself.
func newRig(t *testing.T, embedded bool, answer func(llmtest.Request) llmtest.Reply) *rig {
	t.Helper()
	r := newRigWith(t, embedded, answer, nil)
	r.proc = r.start()
	return r
}

// newRigWith returns a rig whose configuration was changed and whose process
// does not run yet.
func newRigWith(t *testing.T, embedded bool, answer func(llmtest.Request) llmtest.Reply, change func(map[string]any)) *rig {
	t.Helper()
	t.Parallel()
	r := &rig{T: t, graph: graphtest.New(), model: &llmtest.Server{Answer: answer}, hooks: newEndpoint(t)}
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
		return s.URL
	}
	cfg := map[string]any{
		"listen":   "127.0.0.1:0",
		"data_dir": t.TempDir(),
		"log":      map[string]any{"level": "info"},
		"drain":    "5s",
		"api_keys": []any{map[string]any{"name": "test", "key": "key-of-the-crash-test", "per_minute": 1_000_000}},
		"debounce": map[string]any{"lease": "2s"},
		"webhook_delivery": map[string]any{
			"timeout": "2s", "allow_addresses": []any{"127.0.0.0/8"},
		},
		"providers": map[string]any{"fake": map[string]any{"kind": "openai", "base_url": serve(r.model) + "/v1"}},
		"accounts": []any{map[string]any{
			"id": "acc_a", "kind": "cloud_api", "phone_number": "+15550001001", "phone_number_id": "1001", "waba_id": "9001",
			"access_token": "token", "app_secret": appSecret, "verify_token": "verify", "graph_url": serve(r.graph) + "/v23.0",
		}},
		"agents": []any{map[string]any{
			"id": "concierge", "name": "Concierge", "account": "acc_a", "model": "fake/model", "system_prompt": "You answer.",
			"auto_run_inbound": true, "debounce_seconds": 1,
			"allowed_actions": []any{"hotel.room.clean"},
			"payload_schema":  []any{map[string]any{"name": "room", "field_type": "text", "required": true}},
		}},
		"webhooks": []any{map[string]any{"id": "tickets", "url": serve(r.hooks), "secret": receiverSecret, "actions": []any{"hotel.*.*"}}},
	}
	if !embedded {
		url := storetest.Postgres(t)
		r.redis = redistest.Start(t)
		cfg["database"] = map[string]any{"url": url}
		cfg["redis"] = map[string]any{"url": "redis://" + r.redis.Addr()}
		cfg["secret_key"] = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
		db, err := sql.Open("pgx", url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		r.db = db
	}
	if change != nil {
		change(cfg)
	}
	src, err := json.Marshal(cfg) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	r.config = filepath.Join(t.TempDir(), "wagent.yaml")
	if err := os.WriteFile(r.config, src, 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// A replica is one running wagent.
type replica struct {
	cmd *exec.Cmd
	url string
	end chan error
}

func (r *rig) start() *replica {
	r.Helper()
	if r.build == nil {
		r.build = binary
	}
	path, err := r.build()
	if err != nil {
		r.Fatal(err)
	}
	p := &replica{cmd: exec.Command(path, "serve", "--config", r.config), end: make(chan error, 1)}
	p.cmd.Env = append(os.Environ(), r.env...)
	logs := &logWriter{t: r.T}
	p.cmd.Stderr = logs
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		r.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { p.kill(); logs.close() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "wagent listens on ")
	if err != nil || !ok {
		_ = p.cmd.Process.Kill() // it may have ended by itself
		p.end <- p.cmd.Wait()
		r.Fatalf("wagent printed %q, %v", line, err)
	}
	p.url = url
	go func() { p.end <- p.cmd.Wait() }()
	return p
}

// kill is kill -9; it returns when the process is gone.
func (p *replica) kill() {
	_ = p.cmd.Process.Kill()
	p.end <- <-p.end
}

// crash kills the process and starts another one in its place.
func (r *rig) crash() {
	r.Helper()
	r.proc.kill()
	r.proc = r.start()
}

// logWriter shows a process's log with the test, as long as that runs.
type logWriter struct {
	mu sync.Mutex
	t  *testing.T
}

func (w *logWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Logf("%s", bytes.TrimSpace(b))
	}
	return len(b), nil
}

func (w *logWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t = nil
}

// post delivers a webhook body as Meta does and returns the answer's status.
func (r *rig) post(secret string, body []byte) int {
	r.Helper()
	req, err := graphtest.Request(r.Context(), r.proc.url+"/webhooks/whatsapp", secret, body)
	if err != nil {
		r.Fatal(err)
	}
	return r.do(req)
}

func (r *rig) do(req *http.Request) int {
	r.Helper()
	resp, err := describedClient(r).Do(req)
	if err != nil {
		r.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}

// say has a customer write texts, which Meta delivers in one POST: a burst is one
// on a slow machine, too.
func (r *rig) say(who graphtest.Customer, texts ...string) {
	r.Helper()
	events := make([]graphtest.Event, len(texts))
	for i, text := range texts {
		events[i] = who.Text("wamid."+who.Phone+"."+text, text)
	}
	if code := r.post(appSecret, graphtest.Body(numbers["acc_a"].Entry(events...))); code != http.StatusOK {
		r.Fatalf("the webhook answered %d", code)
	}
}

// until waits for something to become true; it looks every 20 ms.
func (r *rig) until(what string, limit time.Duration, ok func() bool) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			r.Fatalf("waiting for %s: %v", what, ctx.Err())
		case <-tick.C:
		}
	}
}

// settled waits until nothing is left to do: no message waits, no run, send or
// delivery is under way.
func (r *rig) settled(limit time.Duration) {
	r.Helper()
	r.until("everything to be settled", limit, func() bool {
		m := r.metrics()
		return m["wagent_oldest_unanswered_seconds"] == 0 && m["wagent_deliveries_pending"] == 0 &&
			m[`wagent_windows{state="waiting"}`] == 0 && m[`wagent_windows{state="in_flight"}`] == 0 &&
			m["wagent_oldest_unsent_seconds"] == 0
	})
}

// metrics reads the process's metrics by name and labels.
func (r *rig) metrics() map[string]float64 {
	r.Helper()
	resp, err := http.Get(r.proc.url + "/metrics")
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	out := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		var v float64
		i := strings.LastIndexByte(lines.Text(), ' ')
		if i > 0 && !strings.HasPrefix(lines.Text(), "#") {
			if _, err := fmt.Sscan(lines.Text()[i+1:], &v); err == nil {
				out[lines.Text()[:i]] = v
			}
		}
	}
	return out
}

// once checks the outcome of a burst: one reply, and each of its two actions
// delivered under one id.
func (r *rig) once(reply string) {
	r.Helper()
	sent := r.graph.Sent()
	if len(sent) != 1 || sent[0].Text != reply {
		r.Errorf("the customer got %+v, want once %q", sent, reply)
	}
	ids := map[string]any{}
	for _, h := range r.hooks.events(gateway.EventAction) {
		ids[h.id] = h.data["index"]
	}
	got := slices.Collect(maps.Values(ids))
	slices.SortFunc(got, func(a, b any) int { return int(a.(float64) - b.(float64)) })
	if len(got) != 2 || got[0] != 0.0 || got[1] != 1.0 {
		r.Errorf("delivered actions by id: %v, want 0 and 1 under an id each", ids)
	}
}

// gate blocks callers until it is opened; it tells that somebody came.
type gate struct {
	came chan struct{}
	open chan struct{}
	once sync.Once
}

func newGate() *gate { return &gate{came: make(chan struct{}, 100), open: make(chan struct{})} }

func (g *gate) pass() {
	g.came <- struct{}{}
	<-g.open
}

func (g *gate) lift() { g.once.Do(func() { close(g.open) }) }

func (r *rig) wait(what string, c <-chan struct{}) {
	r.Helper()
	select {
	case <-c:
	case <-time.NewTimer(20 * time.Second).C:
		r.Fatalf("waiting for %s", what)
	}
}

// exec runs SQL in the program's database.
func (r *rig) exec(stmt string) {
	r.Helper()
	if _, err := r.db.ExecContext(r.Context(), stmt); err != nil {
		r.Fatalf("%s: %v", stmt, err)
	}
}

// locked waits until a statement that contains text waits for a lock.
func (r *rig) locked(text string) {
	r.Helper()
	r.until("a blocked "+text, 20*time.Second, func() bool {
		var n int
		err := r.db.QueryRowContext(r.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ILIKE '%' || $1 || '%'`, text).Scan(&n)
		return err == nil && n > 0
	})
}
