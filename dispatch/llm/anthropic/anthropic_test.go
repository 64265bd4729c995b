package anthropic

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
	key    = "sk-ant-Secret123"
	secret = "my card number is 4111"
)

var schema = json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`)

// serve returns a model that talks to s over real HTTP.
func serve(t *testing.T, s http.Handler) *Model {
	t.Helper()
	srv := httptest.NewServer(s)
	client := srv.Client()
	t.Cleanup(func() { client.CloseIdleConnections(); srv.Close() })
	return New(Config{BaseURL: srv.URL, APIKey: key, Name: "acme", HTTPClient: client})
}

func request() llm.Request {
	return llm.Request{
		Model: "claude-x", System: "be kind", Schema: schema, Strict: true, Temperature: 0.5, MaxTokens: 64,
		Turns: []transcript.Turn{
			{Role: transcript.User, Text: "hi"}, {Role: transcript.Assistant, Text: "hello"}, {Role: transcript.User, Text: secret},
		},
	}
}

func TestGenerateSendsWhatIsAsked(t *testing.T) {
	tests := map[string]struct {
		change     func(*llm.Request)
		wantFormat string
		wantTokens int
		wantSystem string // what it ends with
		wantFirst  string
	}{
		"a strict schema":                   {nil, "json_schema", 64, "be kind", "hi"},
		"a loose one, in words":             {func(r *llm.Request) { r.Strict = false }, "", 64, string(schema), "hi"},
		"free text":                         {func(r *llm.Request) { r.Schema = nil }, "", 64, "be kind", "hi"},
		"an answer without a limit has one": {func(r *llm.Request) { r.MaxTokens = 0 }, "json_schema", defaultTokens, "be kind", "hi"},
		"a very long answer":                {func(r *llm.Request) { r.MaxTokens = 60_000 }, "json_schema", 60_000, "be kind", "hi"},
		"words of ours come first":          {func(r *llm.Request) { r.Turns = r.Turns[1:] }, "json_schema", 64, "be kind", "…"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Key: key, Answer: llmtest.Queue(llmtest.Reply{Text: `{"a":"b"}`})}
			r := request()
			if tt.change != nil {
				tt.change(&r)
			}
			got, err := serve(t, s).Generate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string(nil), s.Problems()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			seen := s.Requests()[0]
			if got.Text != `{"a":"b"}` || got.Model != r.Model || got.InputTokens != len(seen.Body)/4 || got.OutputTokens == 0 || got.Latency <= 0 || got.Truncated || got.Refused {
				t.Errorf("response = %+v", got)
			}
			if seen.Path != "/v1/messages" || seen.Format != tt.wantFormat || seen.MaxTokens != tt.wantTokens || !seen.Cached || *seen.Temperature != 0.5 {
				t.Errorf("request = %+v", seen)
			}
			if tt.wantFormat != "" {
				var want, got any
				if json.Unmarshal(schema, &want) != nil || json.Unmarshal(seen.Schema, &got) != nil || !cmp.Equal(want, got) {
					t.Errorf("schema = %s", seen.Schema)
				}
			}
			first, last := seen.Messages[1], seen.Messages[len(seen.Messages)-1]
			if !strings.HasSuffix(seen.Messages[0].Content, tt.wantSystem) || first.Content != tt.wantFirst || last.Content != secret {
				t.Errorf("messages = %+v", seen.Messages)
			}
		})
	}
}

func TestGivesUpWhatAModelRefuses(t *testing.T) {
	refuses := func(code, word string, in func(*llmtest.Request) bool) func(llmtest.Request) llmtest.Reply {
		return func(r llmtest.Request) llmtest.Reply {
			if in(&r) {
				return llmtest.Reply{Status: 400, Code: code, Message: word}
			}
			return llmtest.Reply{Text: `{"a":"b"}`}
		}
	}
	format := func(r *llmtest.Request) bool { return r.Format != "" }
	warm := func(r *llmtest.Request) bool { return r.Temperature != nil }
	tests := map[string]struct {
		answer func(llmtest.Request) llmtest.Reply
		want   int // requests for two answers
		kept   quirks
	}{
		"output_config":      {refuses("invalid_request_error", "output_config.format: not supported by this model", format), 3, quirks{noFormat: true}},
		"a temperature":      {refuses("invalid_request_error", "`temperature` is deprecated for this model.", warm), 3, quirks{noTemperature: true}},
		"one agent's schema": {refuses("invalid_request_error", "The compiled grammar is too large", format), 4, quirks{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Answer: tt.answer}
			m := serve(t, s)
			for range 2 {
				if got, err := m.Generate(t.Context(), request()); err != nil || got.Text != `{"a":"b"}` {
					t.Fatalf("%+v, %v", got, err)
				}
			}
			if n := len(s.Requests()); n != tt.want || m.of("claude-x") != tt.kept || m.of("another") != (quirks{}) {
				t.Errorf("%d requests, want %d; kept %+v, want %+v", n, tt.want, m.of("claude-x"), tt.kept)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	tests := map[string]struct {
		reply     llmtest.Reply
		wantKind  gateway.Kind
		wantMsg   string
		wantAfter time.Duration
	}{
		"a wrong key":               {llmtest.Reply{Status: 401, Code: "authentication_error", Message: key}, gateway.Unauthorized, "acme answered 401 (authentication_error)", 0},
		"a bill to pay":             {llmtest.Reply{Status: 402, Code: "billing_error"}, gateway.Unauthorized, "acme answered 402 (billing_error)", 0},
		"no permission":             {llmtest.Reply{Status: 403, Code: "permission_error"}, gateway.Unauthorized, "acme answered 403 (permission_error)", 0},
		"an unknown model":          {llmtest.Reply{Status: 404, Code: "not_found_error"}, gateway.Invalid, "acme answered 404 (not_found_error)", 0},
		"too long":                  {llmtest.Reply{Status: 400, Code: "invalid_request_error", Message: "prompt is too long: " + secret}, gateway.Invalid, "acme answered 400 (invalid_request_error)", 0},
		"too many, for seconds":     {llmtest.Reply{Status: 429, Code: "rate_limit_error", Header: http.Header{"Retry-After": {"7"}}}, gateway.RateLimited, "acme answered 429 (rate_limit_error)", 7 * time.Second},
		"a broken server":           {llmtest.Reply{Status: 500, Code: "api_error"}, gateway.Unavailable, "acme answered 500 (api_error)", 0},
		"an overloaded server":      {llmtest.Reply{Status: 529, Code: "overloaded_error"}, gateway.Unavailable, "acme answered 529 (overloaded_error)", 0},
		"garbage":                   {llmtest.Reply{Fault: llmtest.Garbage}, gateway.Unavailable, "acme answered 200 with what is no JSON object", 0},
		"an empty body":             {llmtest.Reply{Fault: llmtest.Empty}, gateway.Unavailable, "acme answered 200 with what is no JSON object", 0},
		"what is no message":        {llmtest.Reply{Fault: llmtest.NoChoices}, gateway.Unavailable, "acme answered 200 without a message", 0},
		"an answer without end":     {llmtest.Reply{Fault: llmtest.Huge}, gateway.Unavailable, "acme answered 200 with more than 4 MiB", 0},
		"a cut in the middle of it": {llmtest.Reply{Fault: llmtest.Cut, Text: strings.Repeat("x", 1000)}, gateway.Unavailable, "acme broke off in the middle of its answer", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Answer: llmtest.Queue(tt.reply)}
			_, err := serve(t, s).Generate(t.Context(), request())
			checkError(t, err, tt.wantKind, tt.wantMsg)
			if e, ok := err.(*gateway.Error); ok && e.RetryAfter != tt.wantAfter { //nolint:errorlint // the contract is the type itself
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

func TestHowAnAnswerEnds(t *testing.T) {
	tests := map[string]struct {
		reply llmtest.Reply
		want  llm.Response
	}{
		"at the limit":             {llmtest.Reply{Text: "abc", FinishReason: "max_tokens"}, llm.Response{Text: "abc", Truncated: true}},
		"at the end of its window": {llmtest.Reply{Text: "abc", FinishReason: "model_context_window_exceeded"}, llm.Response{Text: "abc", Truncated: true}},
		"with a refusal":           {llmtest.Reply{Refusal: "I can't"}, llm.Response{Text: "I can't", Refused: true}},
		"in a filter":              {llmtest.Reply{Status: 400, Code: "invalid_request_error", Message: "Output blocked by content filtering policy"}, llm.Response{Refused: true}},
		"with nothing said":        {llmtest.Reply{}, llm.Response{}},
		"in a way that is new":     {llmtest.Reply{Text: "abc", FinishReason: "tired"}, llm.Response{Text: "abc"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := serve(t, &llmtest.Server{Answer: llmtest.Queue(tt.reply)}).Generate(t.Context(), request())
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
	m := serve(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Fault: llmtest.Hang})})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := m.Generate(ctx, request())
	checkError(t, err, gateway.Unavailable, "acme did not answer in time")
}

func TestWhatIsRefusedBeforeItIsSent(t *testing.T) {
	for _, base := range []string{"ftp://x", "::", "/v1", "https://user:" + key + "@host", "https://host?key=" + key} {
		cfg := Config{BaseURL: base, APIKey: key}
		if gateway.KindOf(cfg.Validate()) != gateway.Invalid || strings.Contains(cfg.Validate().Error(), key) {
			t.Errorf("%s: Validate = %v", base, cfg.Validate())
		}
		if _, err := New(cfg).Generate(t.Context(), request()); gateway.KindOf(err) != gateway.Invalid {
			t.Errorf("%s: Generate = %v", base, err)
		}
	}
	s := &llmtest.Server{}
	m := serve(t, s)
	for name, change := range map[string]func(*llm.Request){
		"a schema that is none": func(r *llm.Request) { r.Schema = json.RawMessage(`{`) },
		"too hot":               func(r *llm.Request) { r.Temperature = 1.5 },
	} {
		r := request()
		change(&r)
		if _, err := m.Generate(t.Context(), r); gateway.KindOf(err) != gateway.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(s.Requests()) + len(s.Problems()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestEnvironmentHasNoEffect(t *testing.T) {
	trap := &llmtest.Server{}
	lure := httptest.NewServer(trap)
	defer lure.Close()
	for k, v := range map[string]string{
		"ANTHROPIC_API_KEY": "sk-env", "ANTHROPIC_AUTH_TOKEN": "token-env", "ANTHROPIC_BASE_URL": lure.URL, "ANTHROPIC_CUSTOM_HEADERS": "X-Env: yes",
	} {
		t.Setenv(k, v)
	}
	s := &llmtest.Server{Key: key}
	if _, err := serve(t, s).Generate(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	if n := len(trap.Requests()) + len(trap.Problems()); n != 0 {
		t.Errorf("%d requests followed the environment", n)
	}
	for name, values := range s.Requests()[0].Header {
		if v := strings.Join(values, ""); strings.Contains(v, "env") || name == "X-Env" || name == "Authorization" {
			t.Errorf("header %s: %s", name, v)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		``, `{}`, `null`, `[]`, `{"type":"message","content":[]}`, `{"type":"message","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn"}`,
		`{"type":"message","content":[null],"usage":{"input_tokens":1e99}}`, `{"type":"error","error":{"type":"api_error"}}`, `{"content":{"a":1},"usage":[]}`,
	} {
		f.Add(200, []byte(s))
		f.Add(400, []byte(s))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		client := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			w.WriteHeader(status)
			_, _ = w.Write(body)
			return w.Result(), nil
		})}
		resp, err := New(Config{BaseURL: "http://llm.test", HTTPClient: client}).Generate(t.Context(), request())
		if err != nil && gateway.KindOf(err) == gateway.Internal {
			t.Errorf("unclassified: %v", err)
		}
		if err == nil && (resp.InputTokens < 0 || resp.OutputTokens < 0) {
			t.Errorf("response = %+v", resp)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
