package openai

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
			m.traits.CompletionTokens = tt.openai
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
		if got := New(Config{BaseURL: "https://" + host + "/v1"}).traits.CompletionTokens; got != want {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
	if !New(Config{}).traits.CompletionTokens {
		t.Error("without a base URL it is not OpenAI")
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

func TestAnswersOfRouters(t *testing.T) {
	tests := map[string]struct {
		status   int
		body     string
		wantKind gateway.Kind
		wantMsg  string
	}{
		"a router's 200 around another's 429":    {200, `{"error":{"code":429,"message":"x"}}`, gateway.RateLimited, "acme answered 429"},
		"a router's 200 around what is no error": {200, `{"error":{"code":7}}`, gateway.Unavailable, "acme answered 200 without choices"},
		"choices that are no list":               {200, `{"choices":"x"}`, gateway.Unavailable, "acme answered 200 without choices"},
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

func TestWithoutAKeyNoneIsSent(t *testing.T) {
	s := &llmtest.Server{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	if _, err := New(Config{BaseURL: srv.URL, HTTPClient: srv.Client()}).Generate(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	if got := s.Requests()[0].Header.Get("Authorization"); got != "" {
		t.Errorf("authorization = %q without a key", got)
	}
	srv.Client().CloseIdleConnections()
}
