package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wagent/cmd/wagent/internal/config"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

// seeded are secrets that nothing may show.
var seeded = map[string]string{
	"a token of Meta's":               "EAAseeded1token1of1meta",
	"an app secret":                   "seeded2app2secret",
	"a verify token":                  "seeded3verify3token",
	"a model's key":                   "sk-seeded4key4of4a4model",
	"a webhook's secret":              "whsec_c2VlZGVkNXNlY3JldDVvZjVhNXdlYmhvb2s=",
	"a header of a webhook's":         "Bearer seeded6header6value",
	"a key of the API":                "wrb_live_seeded7key7of7the7api",
	"a key of the API that is none":   "wrb_live_seeded8and8unknown8key",
	"a secret that the API made":      "", // once it is there
	"one that it made instead":        "",
	"a header that came over the API": "seeded9header9over9the9api",
}

// shown is all that somebody got to see, by where.
type shown struct {
	mu    sync.Mutex
	texts map[string]*bytes.Buffer
}

func (s *shown) of(where string) io.Writer { return &showing{s, where} }

type showing struct {
	all   *shown
	where string
}

func (w *showing) Write(b []byte) (int, error) {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	if w.all.texts[w.where] == nil {
		w.all.texts[w.where] = &bytes.Buffer{}
	}
	return w.all.texts[w.where].Write(b)
}

// TestNoSecretIsShown lets all kinds of things go right and wrong, and then looks for
// secrets in whatever anybody could see of it: the log with all of its lines, what
// webhooks were sent, what the API and the commands answer, the metrics, the audit, and
// the database's files.
func TestNoSecretIsShown(t *testing.T) {
	all := &shown{texts: map[string]*bytes.Buffer{}}
	// An endpoint that answers with all that it got, as those do that people try things
	// out with: the first time it refuses.
	hooks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.TeeReader(r.Body, all.of("what webhooks are sent")))
		if err != nil {
			return
		}
		w.Header().Set("X-Echo", r.Header.Get("Authorization")+r.Header.Get("X-Shop"))
		if r.URL.Path == "/refuses" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, r.Header.Get("Authorization"), r.Header.Get("X-Shop"), string(body))
	}))
	defer hooks.Close()
	model := &llmtest.Server{Key: seeded["a model's key"], Answer: func(q llmtest.Request) llmtest.Reply {
		switch {
		case strings.Contains(asked(q), "wrong"):
			return llmtest.Reply{Status: http.StatusUnauthorized, Code: "invalid_api_key", Message: "Incorrect API key provided: " + seeded["a model's key"]}
		default:
			return output("It comes.", "They asked.", "204")
		}
	}}
	graph := graphtest.New()
	graph.AddNumber("1001", seeded["a token of Meta's"])
	serve := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
		return s.URL
	}
	dir, err := os.MkdirTemp("", "w") //nolint:usetesting // t.TempDir's may be longer than a socket's path
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cfg := worldConfig(dir)
	cfg.Accounts, cfg.Agents = cfg.Accounts[:1], cfg.Agents[:1]
	cfg.Agents[0].Quiet = time.Second
	cfg.Accounts[0].Cloud.AccessToken, cfg.Accounts[0].Cloud.AppSecret = gateway.Secret(seeded["a token of Meta's"]), gateway.Secret(seeded["an app secret"])
	cfg.Accounts[0].Cloud.VerifyToken, cfg.Accounts[0].Cloud.GraphURL = gateway.Secret(seeded["a verify token"]), serve(graph)+"/v23.0"
	cfg.Providers["fake"] = config.Provider{Kind: config.OpenAI, BaseURL: serve(model) + "/v1", APIKey: gateway.Secret(model.Key)}
	cfg.WebhookDelivery.AllowAddresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	cfg.WebhookDelivery.Schedule = []time.Duration{100 * time.Millisecond}
	cfg.APIKeys = []config.APIKey{{Name: "ops", Key: gateway.Secret(seeded["a key of the API"]), Scope: "admin"}}
	headers := map[string]gateway.Secret{"Authorization": gateway.Secret(seeded["a header of a webhook's"])}
	cfg.Webhooks = []gateway.Webhook{
		{Key: "takes", URL: hooks.URL + "/takes?token=seeded0query", Secret: gateway.Secret(seeded["a webhook's secret"]), Active: true, Headers: headers},
		{Key: "refuses", URL: hooks.URL + "/refuses?token=seeded0query", Secret: gateway.Secret(seeded["a webhook's secret"]), Active: true, Headers: headers},
		{Key: "away", URL: "http://127.0.0.1:1/?token=seeded0query", Secret: gateway.Secret(seeded["a webhook's secret"]), Active: true, Headers: headers},
	}
	a, stop := served(t, cfg, slog.New(slog.NewTextHandler(all.of("the log"), &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer a.Close()
	defer stop()
	c := caller{t, all, "http://" + a.listener.Addr().String(), &http.Client{Timeout: time.Minute}}
	defer c.http.CloseIdleConnections()

	// What happens.
	secrets := maps.Clone(seeded)
	secrets["a query of a webhook's URL"] = "seeded0query"
	c.happen(secrets, graph, func() bool {
		runs, _, err := a.store.Runs(t.Context(), gateway.RunFilter{Limit: 9})
		return err == nil && slices.ContainsFunc(runs, func(r gateway.Run) bool { return r.Status == gateway.RunFailed })
	})
	for id, state := range map[int64]gateway.DeliveryState{1: gateway.DeliverySucceeded, 2: gateway.DeliveryDead, 3: gateway.DeliveryDead, 4: gateway.DeliveryDead} {
		until(t, fmt.Sprintf("deliveries of webhook %d that are %s", id, state), func() bool {
			_, n, err := a.store.WebhookDeliveries(t.Context(), gateway.DeliveryFilter{Webhook: id, State: state, Limit: 9})
			return err == nil && n > 0
		})
	}

	// What is seen of it.
	for _, path := range c.paths() {
		c.call(seeded["a key of the API"], http.MethodGet, path, "")
	}
	for _, args := range [][]string{{"webhooks"}, {"list", "1"}, {"list", "2"}, {"list", "3", "--json"}} {
		_, out, errs := try(t, append(append([]string{"deliveries"}, args...), "--config", secretsConfig(t, dir))...)
		fmt.Fprint(all.of("the commands"), out, errs)
	}
	stop()
	files, err := filepath.Glob(filepath.Join(dir, "wagent.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = all.of("the database").Write(b)
	}
	all.prove(t, secrets)
}

// secretsConfig is a configuration by which commands find the data directory.
func secretsConfig(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "wagent.yaml")
	if err := os.WriteFile(path, []byte("data_dir: "+dir+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *shown) prove(t *testing.T, secrets map[string]string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, where := range []string{"the log", "what webhooks are sent", "the API", "the commands", "the database"} {
		if s.texts[where] == nil || s.texts[where].Len() < 100 {
			t.Errorf("nothing is seen of %s", where)
		}
	}
	for where, text := range s.texts {
		for what, secret := range secrets {
			if secret == "" {
				t.Fatalf("%s is not known", what)
			}
			// The URL of a webhook is an admin's to read and to set, and on record.
			if what == "a query of a webhook's URL" && (where == "the API" || where == "the database") {
				continue
			}
			if i := bytes.Index(text.Bytes(), []byte(secret)); i >= 0 {
				t.Errorf("%s shows %s: …%q…", where, what, text.Bytes()[max(0, i-80):min(text.Len(), i+len(secret)+20)])
			}
		}
	}
}

// A caller calls the program, and shows what it answers.
type caller struct {
	*testing.T
	all  *shown
	base string
	http *http.Client
}

func (c caller) call(key, method, path, body string) string {
	c.Helper()
	req, err := http.NewRequestWithContext(c.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := c.http.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatal(err)
	}
	if !bytes.Contains(b, []byte(`"secret":"whsec_`)) { // which is told this once
		asked, _, _ := strings.Cut(path, "?")
		fmt.Fprintln(c.all.of("the API"), method, asked, string(b))
	}
	return string(b)
}

// happen has customers write, things go wrong, and people look after webhooks.
func (c caller) happen(secrets map[string]string, graph *graphtest.Server, failed func() bool) {
	c.Helper()
	key := seeded["a key of the API"]
	ada := graphtest.Customer{Phone: "15550000001", Name: "Ada"}
	post := func(secret string, e graphtest.Event) {
		req, err := graphtest.Request(c.Context(), c.base+"/webhooks/whatsapp", secret, graphtest.Body(numbers["acc_a"].Entry(e)))
		if err != nil {
			c.Fatal(err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			c.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	c.call(key, http.MethodGet, "/webhooks/whatsapp?hub.mode=subscribe&hub.verify_token="+seeded["a verify token"]+"&hub.challenge=1", "")
	c.call(key, http.MethodGet, "/webhooks/whatsapp?hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=1", "")
	c.call(seeded["a key of the API that is none"], http.MethodGet, "/api/v1/agents", "")
	secretOf := func(path, body string) string {
		_, after, _ := strings.Cut(c.call(key, http.MethodPost, path, body), `"secret":"`)
		secret, _, _ := strings.Cut(after, `"`)
		return secret
	}
	const in = `{"webhook":{"url":"https://webhook.invalid/in"}}`
	secrets["a secret that the API made"] = secretOf("/api/v1/webhooks", in)
	secrets["one that it made instead"] = secretOf("/api/v1/webhooks/4/rotate_secret", "")
	c.call(key, http.MethodPatch, "/api/v1/webhooks/4/settings", `{"settings":{"headers":{"X-Shop":"`+seeded["a header that came over the API"]+`"}}}`)
	c.call(key, http.MethodPatch, "/api/v1/webhooks/4/settings", `{"settings":{"headers":{"Host":"`+seeded["a header that came over the API"]+`"}}}`)
	for _, id := range []string{"1", "2", "3"} {
		c.call(key, http.MethodPost, "/api/v1/webhooks/"+id+"/test", "")
	}
	post(seeded["an app secret"], ada.Text("wamid.1", "towels, please"))
	post("another secret", ada.Text("wamid.2", "forged"))
	until(c.T, "an answer", func() bool { return len(graph.Sent()) > 0 })
	graph.Fail(1, graphtest.Fault{Code: 190, Message: "Error validating access token: " + seeded["a token of Meta's"], Status: http.StatusUnauthorized})
	post(seeded["an app secret"], ada.Text("wamid.3", "more"))
	post(seeded["an app secret"], ada.Text("wamid.4", "wrong"))
	until(c.T, "a run that fails", func() bool { return failed() })
	c.call(key, http.MethodPost, "/api/v1/webhooks/2/deliveries/replay", `{"replay":{"since":"2020-01-01T00:00:00Z"}}`)
}

// paths are those that show something, and what they name.
func (c caller) paths() []string {
	c.Helper()
	key := seeded["a key of the API"]
	out := []string{"/metrics", "/healthz", "/readyz", "/docs"}
	for _, p := range []string{
		"/agents", "/business_accounts", "/sessions", "/webhooks", "/keys", "/audit", "/contacts", "/usage", "/usage/metrics", "/business_accounts/acc_a",
		"/business_accounts/acc_a/messages", "/business_accounts/acc_a/templates", "/webhooks/1", "/webhooks/4/settings", "/webhooks/1/settings",
	} {
		out = append(out, "/api/v1"+p)
	}
	for id := range 4 {
		list := fmt.Sprintf("/api/v1/webhooks/%d/deliveries", id+1)
		out = append(out, list)
		for part := range strings.SplitSeq(c.call(key, http.MethodGet, list, ""), `"id":"`) {
			if name, _, _ := strings.Cut(part, `"`); strings.HasPrefix(name, "del_") {
				out = append(out, list+"/"+name)
			}
		}
	}
	for part := range strings.SplitSeq(c.call(key, http.MethodGet, "/api/v1/agents", ""), `"id":"`) {
		if name, _, _ := strings.Cut(part, `"`); strings.HasPrefix(name, "agt_") {
			out = append(out, "/api/v1/agents/"+name, "/api/v1/agents/"+name+"/settings", "/api/v1/agents/"+name+"/runs")
		}
	}
	if !slices.ContainsFunc(out, func(p string) bool { return strings.Contains(p, "/deliveries/del_") }) {
		c.Error("there are no deliveries")
	}
	return out
}
