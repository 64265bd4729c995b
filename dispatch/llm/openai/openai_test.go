package openai

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"wagent/context/transcript"
	"wagent/dispatch/llm"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key    = "sk-Proj-Secret123"
	secret = "my card number is 4111"
)

var schema = json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`)

// serve returns a model that talks to s over real HTTP.
func serve(t *testing.T, s http.Handler, name string) *Model {
	t.Helper()
	srv := httptest.NewServer(s)
	client := srv.Client()
	t.Cleanup(func() { client.CloseIdleConnections(); srv.Close() })
	return New(Config{BaseURL: srv.URL + "/v1", APIKey: key, Name: name, HTTPClient: client})
}

func request() llm.Request {
	return llm.Request{
		Model: "m-1", System: "be kind", Schema: schema, Strict: true, Temperature: 0, MaxTokens: 64,
		Turns: []transcript.Turn{
			{Role: transcript.User, Text: "hi"}, {Role: transcript.Assistant, Text: "hello"}, {Role: transcript.User, Text: secret},
		},
	}
}

func TestGenerateSendsWhatIsAsked(t *testing.T) {
	tests := map[string]struct {
		change     func(*llm.Request)
		openai     bool
		wantFormat string
		wantStrict bool
		wantField  string // how the limit is called
		wantNoTemp bool
	}{
		"a strict schema":                         {wantFormat: "json_schema", wantStrict: true, wantField: "max_tokens"},
		"a loose schema":                          {change: func(r *llm.Request) { r.Strict = false }, wantFormat: "json_schema", wantField: "max_tokens"},
		"free text":                               {change: func(r *llm.Request) { r.Schema = nil }, wantField: "max_tokens"},
		"a reasoning model gets no temperature":   {change: func(r *llm.Request) { r.Model = "o3-mini" }, wantFormat: "json_schema", wantStrict: true, wantField: "max_tokens", wantNoTemp: true},
		"a router's name of one neither":          {change: func(r *llm.Request) { r.Model = "openai/gpt-5-nano" }, wantFormat: "json_schema", wantStrict: true, wantField: "max_tokens", wantNoTemp: true},
		"an orca is no reasoning model":           {change: func(r *llm.Request) { r.Model = "orca-2" }, wantFormat: "json_schema", wantStrict: true, wantField: "max_tokens"},
		"OpenAI itself wants another limit":       {openai: true, wantFormat: "json_schema", wantStrict: true, wantField: "max_completion_tokens"},
		"without a limit there is none by a name": {change: func(r *llm.Request) { r.MaxTokens = 0 }, wantFormat: "json_schema", wantStrict: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Key: key, OpenAI: tt.openai, Answer: llmtest.Queue(llmtest.Reply{Text: `{"a":"b"}`})}
			m := serve(t, s, "")
			m.learned.traits.CompletionTokens = tt.openai
			r := request()
			if tt.change != nil {
				tt.change(&r)
			}
			got, err := m.Generate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got.Text != `{"a":"b"}` || got.Model != r.Model || got.InputTokens == 0 || got.OutputTokens == 0 || got.Latency <= 0 || got.Truncated || got.Refused {
				t.Errorf("response = %+v", got)
			}
			if diff := cmp.Diff([]string(nil), s.Problems()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			seen := s.Requests()[0]
			want := []llmtest.Message{{Role: "system", Content: "be kind"}, {Role: "user", Content: "hi"}, {Role: "assistant", Content: "hello"}, {Role: "user", Content: secret}}
			if diff := cmp.Diff(want, seen.Messages); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			if seen.Path != "/v1/chat/completions" || seen.Format != tt.wantFormat || seen.Strict != tt.wantStrict {
				t.Errorf("path %q, format %q, strict %v", seen.Path, seen.Format, seen.Strict)
			}
			var body map[string]any
			if err := json.Unmarshal(seen.Body, &body); err != nil {
				t.Fatal(err)
			}
			for _, field := range []string{"max_tokens", "max_completion_tokens"} {
				if _, ok := body[field]; ok != (field == tt.wantField) {
					t.Errorf("%s sent: %v", field, ok)
				}
			}
			if temp, ok := body["temperature"]; ok == tt.wantNoTemp || ok && temp != 0.0 {
				t.Errorf("temperature = %v, sent: %v", temp, ok)
			}
		})
	}
}

func TestHostsOfOpenAI(t *testing.T) {
	for host, want := range map[string]bool{
		"api.openai.com": true, "eu.api.openai.com": true, "x.openai.azure.com": true,
		"api.openai.com.evil.example": false, "127.0.0.1": false, "notapi.openai.com": false, "fakeapi.openai.com": false,
	} {
		if got := New(Config{BaseURL: "https://" + host + "/v1"}).learned.traits.CompletionTokens; got != want {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
	if !New(Config{}).learned.traits.CompletionTokens {
		t.Error("without a base URL it is not OpenAI")
	}
}

// TestFailures is the table of what servers do instead of answering.
func TestFailures(t *testing.T) {
	quota := llmtest.Reply{Status: 429, Code: "insufficient_quota", Message: "You exceeded your current quota"}
	header := func(k, v string) http.Header { return http.Header{k: {v}} }
	tests := map[string]struct {
		reply     llmtest.Reply
		wantKind  gateway.Kind
		wantMsg   string
		wantAfter time.Duration
	}{
		"a wrong key":              {llmtest.Reply{Status: 401, Code: "invalid_api_key", Message: "Incorrect key " + key}, gateway.Unauthorized, "acme answered 401 (invalid_api_key)", 0},
		"a region that is refused": {llmtest.Reply{Status: 403, Code: "unsupported_country_region_territory"}, gateway.Unauthorized, "acme answered 403 (unsupported_country_region_territory)", 0},
		"no money":                 {quota, gateway.Unauthorized, "acme answered 429 (insufficient_quota)", 0},
		"a bill to pay":            {llmtest.Reply{Status: 402}, gateway.Unauthorized, "acme answered 402 (invalid_request_error)", 0},
		"too many requests":        {llmtest.Reply{Status: 429, Code: "rate_limit_exceeded"}, gateway.RateLimited, "acme answered 429 (rate_limit_exceeded)", 0},
		"too many, for seconds":    {llmtest.Reply{Status: 429, Code: "rate_limit_exceeded", Header: header("Retry-After", "7")}, gateway.RateLimited, "acme answered 429 (rate_limit_exceeded)", 7 * time.Second},
		"too many, for half a second": {
			llmtest.Reply{Status: 429, Code: "rate_limit_exceeded", Header: http.Header{"Retry-After": {"1"}, "Retry-After-Ms": {"500"}}},
			gateway.RateLimited, "acme answered 429 (rate_limit_exceeded)", 500 * time.Millisecond,
		},
		"too many, absurdly long":     {llmtest.Reply{Status: 429, Code: "x", Header: header("Retry-After", "1e300")}, gateway.RateLimited, "acme answered 429 (x)", 24 * time.Hour},
		"too many, before now":        {llmtest.Reply{Status: 429, Code: "x", Header: header("Retry-After", "-3")}, gateway.RateLimited, "acme answered 429 (x)", 0},
		"a request that timed out":    {llmtest.Reply{Status: 408, Code: "timeout"}, gateway.Unavailable, "acme answered 408 (timeout)", 0},
		"a broken server":             {llmtest.Reply{Status: 500, Code: "server_error"}, gateway.Unavailable, "acme answered 500 (server_error)", 0},
		"an overloaded server":        {llmtest.Reply{Status: 503, Code: "overloaded", Header: header("Retry-After", "2")}, gateway.Unavailable, "acme answered 503 (overloaded)", 2 * time.Second},
		"a bad request":               {llmtest.Reply{Status: 400, Code: "context_length_exceeded", Param: "messages", Message: secret}, gateway.Invalid, "acme answered 400 (context_length_exceeded: messages)", 0},
		"an unknown model":            {llmtest.Reply{Status: 404, Code: "model_not_found"}, gateway.Invalid, "acme answered 404 (model_not_found)", 0},
		"what can't be processed":     {llmtest.Reply{Status: 422, Code: "unprocessable"}, gateway.Invalid, "acme answered 422 (unprocessable)", 0},
		"a redirect is not followed":  {llmtest.Reply{Status: 307, Code: "moved", Header: header("Location", "/v2")}, gateway.Invalid, "acme answered 307 (moved)", 0},
		"words where a code belongs":  {llmtest.Reply{Status: 400, Code: secret, Param: key}, gateway.Invalid, "acme answered 400 (invalid_request_error)", 0},
		"garbage":                     {llmtest.Reply{Fault: llmtest.Garbage}, gateway.Unavailable, "acme answered 200 with what is no JSON object", 0},
		"an empty body":               {llmtest.Reply{Fault: llmtest.Empty}, gateway.Unavailable, "acme answered 200 with what is no JSON object", 0},
		"no choices":                  {llmtest.Reply{Fault: llmtest.NoChoices}, gateway.Unavailable, "acme answered 200 without choices", 0},
		"an answer without end":       {llmtest.Reply{Fault: llmtest.Huge}, gateway.Unavailable, "acme answered 200 with more than 4 MiB", 0},
		"a cut in the middle of it":   {llmtest.Reply{Fault: llmtest.Cut, Text: strings.Repeat("x", 1000)}, gateway.Unavailable, "acme broke off in the middle of its answer", 0},
		"an error that isn't in JSON": {llmtest.Reply{Status: 502}, gateway.Unavailable, "acme answered 502 (invalid_request_error)", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Answer: llmtest.Queue(tt.reply)}
			_, err := serve(t, s, "acme").Generate(t.Context(), request())
			checkError(t, err, tt.wantKind, tt.wantMsg)
			e, ok := err.(*gateway.Error) //nolint:errorlint // the contract is the type itself
			if ok && e.RetryAfter != tt.wantAfter {
				t.Errorf("retry after %v, want %v", e.RetryAfter, tt.wantAfter)
			}
			if n := len(s.Requests()); n != 1 {
				t.Errorf("%d requests, want 1: the caller repeats them", n)
			}
		})
	}
}

func checkError(t *testing.T, err error, kind gateway.Kind, msg string) {
	t.Helper()
	e, ok := err.(*gateway.Error) //nolint:errorlint // the contract is the type itself
	if !ok {
		t.Fatalf("error = %T %v, want a gateway.Error", err, err)
	}
	if e.Kind != kind || e.Msg != msg {
		t.Errorf("error = %v %q, want %v %q", e.Kind, e.Msg, kind, msg)
	}
	for _, no := range []string{key, secret} {
		if strings.Contains(err.Error(), no) {
			t.Errorf("error tells %q: %v", no, err)
		}
	}
}

func TestErrorBodiesOfOtherServers(t *testing.T) {
	tests := map[string]struct {
		status   int
		body     string
		wantKind gateway.Kind
		wantMsg  string
	}{
		"an array, as Google's":                  {400, `[{"error":{"code":400,"message":"x","status":"INVALID_ARGUMENT"}}]`, gateway.Invalid, "acme answered 400"},
		"a string, as Ollama's":                  {404, `{"error":"model \"x\" not found"}`, gateway.Invalid, "acme answered 404"},
		"no envelope, as vLLM's":                 {400, `{"object":"error","message":"x","type":"bad_request","code":400}`, gateway.Invalid, "acme answered 400 (bad_request)"},
		"HTML, as a proxy's":                     {502, `<html>`, gateway.Unavailable, "acme answered 502"},
		"nothing":                                {500, ``, gateway.Unavailable, "acme answered 500"},
		"null":                                   {500, `null`, gateway.Unavailable, "acme answered 500"},
		"types that nobody expects":              {500, `{"error":{"code":{"a":1},"type":[1],"param":7}}`, gateway.Unavailable, "acme answered 500"},
		"a router's 200 around another's 429":    {200, `{"error":{"code":429,"message":"x"}}`, gateway.RateLimited, "acme answered 429"},
		"a router's 200 around what is no error": {200, `{"error":{"code":7}}`, gateway.Unavailable, "acme answered 200 without choices"},
		"choices that are no list":               {200, `{"choices":"x"}`, gateway.Unavailable, "acme answered 200 without choices"},
		"a status that isn't 200":                {204, ``, gateway.Invalid, "acme answered 204"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				if tt.body != "" {
					_, _ = w.Write([]byte(tt.body))
				}
			})
			_, err := serve(t, h, "acme").Generate(t.Context(), request())
			checkError(t, err, tt.wantKind, tt.wantMsg)
		})
	}
}

func TestHowAnAnswerEnds(t *testing.T) {
	tests := map[string]struct {
		reply llmtest.Reply
		want  llm.Response
	}{
		"at the limit":              {llmtest.Reply{Text: "abc", FinishReason: "length"}, llm.Response{Text: "abc", Truncated: true}},
		"in a filter":               {llmtest.Reply{FinishReason: "content_filter"}, llm.Response{Refused: true}},
		"with a refusal":            {llmtest.Reply{Refusal: "I can't"}, llm.Response{Text: "I can't", Refused: true}},
		"before it, in a filter":    {llmtest.Reply{Status: 400, Code: "content_filter"}, llm.Response{Refused: true}},
		"with nothing said":         {llmtest.Reply{}, llm.Response{}},
		"with text that isn't JSON": {llmtest.Reply{Text: "hello"}, llm.Response{Text: "hello"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := serve(t, &llmtest.Server{Answer: llmtest.Queue(tt.reply)}, "").Generate(t.Context(), request())
			if err != nil {
				t.Fatal(err)
			}
			got.Model, got.InputTokens, got.OutputTokens, got.Latency = "", 0, 0, 0
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
		})
	}
}

func TestContextEnds(t *testing.T) {
	s := &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Fault: llmtest.Hang})}
	m := serve(t, s, "acme")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := m.Generate(ctx, request())
	checkError(t, err, gateway.Unavailable, "acme did not answer in time")
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	_, err = m.Generate(cancelled, request())
	checkError(t, err, gateway.Unavailable, "acme was not waited for")
}

func TestUnreachableServer(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	_, err := New(Config{BaseURL: srv.URL, APIKey: key, Name: "acme"}).Generate(t.Context(), request())
	checkError(t, err, gateway.Unavailable, "acme can not be reached")
}

func TestBadConfigurationFailsEachRequest(t *testing.T) {
	for _, base := range []string{"ftp://x", "::", "/v1", "https://user:" + key + "@host/v1", "https://host/v1?key=" + key} {
		cfg := Config{BaseURL: base, APIKey: key}
		if gateway.KindOf(cfg.Validate()) != gateway.Invalid || strings.Contains(cfg.Validate().Error(), key) {
			t.Errorf("%s: Validate = %v", base, cfg.Validate())
		}
		if _, err := New(cfg).Generate(t.Context(), request()); gateway.KindOf(err) != gateway.Invalid {
			t.Errorf("%s: Generate = %v", base, err)
		}
	}
	r := request()
	r.Schema = json.RawMessage(`{`)
	if _, err := New(Config{}).Generate(t.Context(), r); gateway.KindOf(err) != gateway.Invalid {
		t.Errorf("broken schema: %v", err)
	}
}

func TestEnvironmentHasNoEffect(t *testing.T) {
	trap := &llmtest.Server{}
	lure := httptest.NewServer(trap)
	defer lure.Close()
	for k, v := range map[string]string{
		"OPENAI_API_KEY": "sk-env", "OPENAI_BASE_URL": lure.URL, "OPENAI_ORG_ID": "org-env",
		"OPENAI_PROJECT_ID": "proj-env", "OPENAI_CUSTOM_HEADERS": "X-Env: yes",
	} {
		t.Setenv(k, v)
	}
	s := &llmtest.Server{Key: key}
	m := serve(t, s, "")
	if _, err := m.Generate(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	if n := len(trap.Requests()) + len(trap.Problems()); n != 0 {
		t.Errorf("%d requests followed the environment", n)
	}
	for name, values := range s.Requests()[0].Header {
		if v := strings.Join(values, ""); strings.Contains(v, "env") || name == "X-Env" {
			t.Errorf("header %s: %s", name, v)
		}
	}
	keyless := &llmtest.Server{}
	srv := httptest.NewServer(keyless)
	defer srv.Close()
	if _, err := New(Config{BaseURL: srv.URL, HTTPClient: srv.Client()}).Generate(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	if got := keyless.Requests()[0].Header.Get("Authorization"); got != "" {
		t.Errorf("authorization = %q without a key", got)
	}
	srv.Client().CloseIdleConnections()
}
