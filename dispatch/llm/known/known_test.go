package known

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	diff "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"wagent/context/transcript"
	"wagent/dispatch/llm"
	"wagent/dispatch/llm/anthropic"
	"wagent/dispatch/llm/llmtest"
	"wagent/dispatch/llm/openai"
	"wagent/gateway"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "key-of-a-test"

var schema = json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`)

// TestRequests: what each provider of the table is sent, over real HTTP.
func TestRequests(t *testing.T) {
	for p := range All() {
		t.Run(p.Name, func(t *testing.T) {
			s := &llmtest.Server{OpenAI: p.Name == "openai" || p.Name == "azure", Answer: llmtest.Queue(llmtest.Reply{Text: `{"a":"b"}`})}
			srv := httptest.NewServer(s)
			defer srv.Close()
			base, err := url.Parse(strings.ReplaceAll(cmp.Or(p.BaseURL, "https://given.example/openai/v1"), RegionMark, "eu-west-1"))
			if err != nil {
				t.Fatal(err)
			}
			m := model(&p, srv.URL+base.Path, srv.Client())
			resp, err := m.Generate(t.Context(), llm.Request{
				Model: "model", System: "Be kind.", Stable: len("Be kind."), Schema: schema, Strict: true, Temperature: 0.5, MaxTokens: 64, CacheKey: "agent-1",
				Turns: []transcript.Turn{{Role: transcript.User, Text: "Hello"}},
			})
			srv.Client().CloseIdleConnections()
			if err != nil || resp.Text != `{"a":"b"}` {
				t.Fatalf("%+v, %v", resp, err)
			}
			if d := diff.Diff([]string(nil), s.Problems()); d != "" {
				t.Errorf("problems (-want +got):\n%s", d)
			}
			golden(t, p.Name, append(show(t, &p, base, &s.Requests()[0]), settings(t, &p)...))
		})
	}
}

// each is every setting for itself, and what else the request then needs.
func each() []llm.Request {
	seed, parallel := int64(7), false
	r := func(s gateway.ModelSettings) llm.Request {
		return llm.Request{
			Model: "model", Schema: schema, Strict: true, Temperature: 0.5, MaxTokens: 4096, Settings: s,
			Turns: []transcript.Turn{{Role: transcript.User, Text: "Hello"}},
		}
	}
	return []llm.Request{
		r(gateway.ModelSettings{Seed: &seed}),
		r(gateway.ModelSettings{ReasoningEffort: "none"}),
		r(gateway.ModelSettings{ReasoningEffort: "high"}),
		r(gateway.ModelSettings{ThinkingBudget: 2048}),
		r(gateway.ModelSettings{ParallelToolCalls: &parallel}),
	}
}

// settings shows what each setting adds to a request, or why it is refused.
func settings(t *testing.T, p *Provider) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("\n")
	for _, r := range each() {
		plain := r
		plain.Settings = gateway.ModelSettings{}
		before, err := body(t, p, plain)
		if err != nil {
			t.Fatal(err)
		}
		name := label(&r.Settings)
		after, err := body(t, p, r)
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", name, err)
			continue
		}
		for k := range before {
			if string(after[k]) == string(before[k]) {
				delete(after, k)
			} else if after[k] == nil {
				after[k] = json.RawMessage(`"(left out)"`)
			}
		}
		added, err := json.Marshal(after)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s: %s\n", name, added)
	}
	return b.Bytes()
}

func label(s *gateway.ModelSettings) string {
	switch {
	case s.Seed != nil:
		return "seed"
	case s.ReasoningEffort != "":
		return "reasoning_effort " + s.ReasoningEffort
	case s.ThinkingBudget > 0:
		return "thinking_budget_tokens"
	default:
		return "parallel_tool_calls, which only a tool's request has"
	}
}

// body is what a request has, or the error that it has before it is made.
func body(t *testing.T, p *Provider, r llm.Request) (map[string]json.RawMessage, error) {
	t.Helper()
	s := &llmtest.Server{Extra: []string{"extra_body", "thinking", "reasoning", "random_seed", "thinking_budget_tokens", "thinking_token_budget", "chat_template_kwargs"}}
	srv := httptest.NewServer(s)
	defer srv.Close()
	defer srv.Client().CloseIdleConnections()
	_, err := model(p, srv.URL+"/v1", srv.Client()).Generate(t.Context(), r)
	if static := Check(p.Kind(), p.Name, &p.Traits, &r); fmt.Sprint(static) != fmt.Sprint(err) {
		t.Errorf("Check says %v, the request %v", static, err)
	}
	if err != nil {
		return nil, err
	}
	if d := diff.Diff([]string(nil), s.Problems()); d != "" {
		t.Errorf("problems (-want +got):\n%s", d)
	}
	var out map[string]json.RawMessage
	if err := json.Unmarshal(s.Requests()[0].Body, &out); err != nil {
		t.Fatal(err)
	}
	return out, nil
}

// model asks a provider at another base URL.
func model(p *Provider, baseURL string, client *http.Client) llm.Model {
	if p.Anthropic {
		return anthropic.New(anthropic.Config{BaseURL: baseURL, APIKey: key, Name: p.Name, HTTPClient: client})
	}
	return openai.New(openai.Config{BaseURL: baseURL, APIKey: key, Name: p.Name, HTTPClient: client, Traits: p.Traits})
}

// show is a request as it would go to the provider.
func show(t *testing.T, p *Provider, base *url.URL, r *llmtest.Request) []byte {
	t.Helper()
	var b bytes.Buffer
	path := base.Path + "/chat/completions"
	if p.Anthropic {
		path = base.Path + "/v1/messages"
	}
	if r.Path != path {
		t.Errorf("path %q, want %q", r.Path, path)
	}
	fmt.Fprintf(&b, "POST %s://%s%s\n", base.Scheme, base.Host, path)
	for _, name := range []string{"Authorization", "Api-Key", "X-Api-Key"} {
		if v := r.Header.Get(name); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", http.CanonicalHeaderKey(name), v)
		}
	}
	b.WriteString("\n")
	if err := json.Indent(&b, r.Body, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n")
	return b.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff.Diff(string(want), string(got)); d != "" {
		t.Errorf("request (-want +got):\n%s", d)
	}
}

func TestEveryRowIsWhole(t *testing.T) {
	var names []string
	for p := range All() {
		names = append(names, p.Name)
		if got, ok := Find(p.Name); !ok || got.Name != p.Name {
			t.Errorf("%s is not found", p.Name)
		}
		if len(p.Keys) == 0 {
			t.Errorf("%s: no variable holds its key", p.Name)
		}
		u, err := url.Parse(strings.ReplaceAll(p.BaseURL, RegionMark, "region"))
		if err != nil || p.BaseURL != "" && (u.Host == "" || strings.HasSuffix(p.BaseURL, "/")) {
			t.Errorf("%s: base URL %q, %v", p.Name, p.BaseURL, err)
		}
		if local := err == nil && u.Hostname() == "127.0.0.1"; local != p.Keyless || p.BaseURL != "" && local != (u.Scheme == "http") {
			t.Errorf("%s: keys and words go to %q, keyless %v", p.Name, p.BaseURL, p.Keyless)
		}
	}
	if !slices.IsSorted(names) || len(slices.Compact(names)) != len(names) {
		t.Errorf("names are not in order, or twice there: %q", names)
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) != len(names) {
		t.Errorf("%d golden files for %d rows, %v", len(files), len(names), err)
	}
	if _, ok := Find("nobody"); ok {
		t.Error("nobody is found")
	}
}

func TestATemperatureBeyondAProvidersRangeIsRefused(t *testing.T) {
	for p := range All() {
		srv := httptest.NewServer(&llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: "x"})})
		m := model(&p, srv.URL, srv.Client())
		_, err := m.Generate(t.Context(), llm.Request{Model: "model", Temperature: 1.9, Turns: []transcript.Turn{{Role: transcript.User, Text: "Hello"}}})
		srv.Client().CloseIdleConnections()
		srv.Close()
		if refused := gateway.KindOf(err) == gateway.Invalid; refused != (p.Anthropic || p.Traits.MaxTemperature > 0) || refused && !strings.Contains(err.Error(), p.Name+" takes") {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}
