package anthropic

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
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
	key    = "sk-ant-Secret123"
	secret = "my card number is 4111"
)

var testSchema = json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`)

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
		Model: "claude-x", System: "be kind", Stable: len("be kind"), Schema: testSchema, Strict: true, Temperature: 0.5, MaxTokens: 64,
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
		"a strict schema":          {nil, "json_schema", 64, "be kind", "hi"},
		"a loose one, as a tool's": {func(r *llm.Request) { r.Strict = false }, "tool", 64, "be kind", "hi"},
		"a loose one, of a model that thinks": {func(r *llm.Request) {
			r.Strict, r.MaxTokens, r.Settings.ThinkingBudget = false, 4096, 1024
		}, "", 4096, string(testSchema), "hi"},
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
			if seen.Path != "/v1/messages" || seen.Format != tt.wantFormat || seen.MaxTokens != tt.wantTokens || !seen.Cached || seen.Temperature != nil && *seen.Temperature != 0.5 {
				t.Errorf("request = %+v", seen)
			}
			if tt.wantFormat != "" {
				var want, got any
				if json.Unmarshal(testSchema, &want) != nil || json.Unmarshal(seen.Schema, &got) != nil || !cmp.Equal(want, got) {
					t.Errorf("schema = %s", seen.Schema)
				}
			}
			turn := slices.IndexFunc(seen.Messages, func(m llmtest.Message) bool { return m.Role != "system" })
			first, last := seen.Messages[turn], seen.Messages[len(seen.Messages)-1]
			if !strings.HasSuffix(seen.Messages[turn-1].Content, tt.wantSystem) || first.Content != tt.wantFirst || last.Content != secret {
				t.Errorf("messages = %+v", seen.Messages)
			}
		})
	}
}

// A cache is written for what other requests begin with, and for nothing else.
func TestTheCacheEndsWhereRequestsDiffer(t *testing.T) {
	const marked, plain = `{"text":"be kind\n\n","cache_control":{"type":"ephemeral"},"type":"text"}`, `{"text":"it is noon","type":"text"}`
	for name, tt := range map[string]struct {
		system string
		stable int
		want   string
	}{
		"two parts":             {"be kind\n\nit is noon", 9, "[" + marked + "," + plain + "]"},
		"all of it is the same": {"be kind\n\n", 9, "[" + marked + "]"},
		"it is asked once":      {"it is noon", 0, "[" + plain + "]"},
	} {
		s := &llmtest.Server{Key: key, Answer: llmtest.Queue(llmtest.Reply{Text: `{"a":"b"}`})}
		r := request()
		r.System, r.Stable = tt.system, tt.stable
		if _, err := serve(t, s).Generate(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		var body struct{ System json.RawMessage }
		if err := json.Unmarshal(s.Requests()[0].Body, &body); err != nil || string(body.System) != tt.want {
			t.Errorf("%s: the system prompt is %s, want %s; %v", name, body.System, tt.want, err)
		}
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
	format := func(r *llmtest.Request) bool { return r.Format == "json_schema" }
	tool := func(r *llmtest.Request) bool { return r.Format != "" }
	strict := func(r *llmtest.Request) bool { return r.Format == "json_schema" || r.Format == "tool" && r.Strict }
	warm := func(r *llmtest.Request) bool { return r.Temperature != nil }
	tests := map[string]struct {
		answer func(llmtest.Request) llmtest.Reply
		want   int // requests for two answers
		kept   form
	}{
		"output_config":      {refuses("invalid_request_error", "output_config.format: not supported by this model", format), 3, form{format: formatTool}},
		"any format":         {refuses("invalid_request_error", "output_config.format and tools: Extra inputs are not permitted", tool), 4, form{format: formatWords}},
		"a strict tool":      {refuses("invalid_request_error", "output_config.format, tools.0.strict: Extra inputs are not permitted", strict), 4, form{format: formatTool, looseTools: true}},
		"a temperature":      {refuses("invalid_request_error", "`temperature` is deprecated for this model.", warm), 3, form{noTemperature: true}},
		"one agent's schema": {refuses("invalid_request_error", "The compiled grammar is too large", format), 4, form{}},
		"another's":          {refuses("invalid_request_error", "output_config.format.schema: 'minimum' is not supported for 'integer'", format), 4, form{}},
		"in other words":     {refuses("invalid_request_error", "The schema has a cycle", format), 4, form{}},
		"of a tool as well":  {refuses("invalid_request_error", "tools.0.custom.input_schema: 'minimum' is not supported", tool), 8, form{}},
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
			if n := len(s.Requests()); n != tt.want || m.learned.Of("claude-x", form{}) != tt.kept || m.learned.Of("another", form{}) != (form{}) {
				t.Errorf("%d requests, want %d; kept %+v, want %+v", n, tt.want, m.learned.Of("claude-x", form{}), tt.kept)
			}
		})
	}
}

func TestHowAnAnswerEnds(t *testing.T) {
	tests := map[string]struct {
		reply llmtest.Reply
		want  llm.Response
	}{
		"at the limit":         {llmtest.Reply{Text: "abc", FinishReason: "max_tokens"}, llm.Response{Text: "abc", Truncated: true}},
		"with a refusal":       {llmtest.Reply{Refusal: "I can't"}, llm.Response{Text: "I can't", Refused: true}},
		"in a filter":          {llmtest.Reply{Status: 400, Code: "invalid_request_error", Message: "Output blocked by content filtering policy"}, llm.Response{Refused: true}},
		"with nothing said":    {llmtest.Reply{}, llm.Response{}},
		"in a way that is new": {llmtest.Reply{Text: "abc", FinishReason: "tired"}, llm.Response{Text: "abc"}},
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

func TestTheEndOfItsWindowIsAPromptThatIsTooLong(t *testing.T) {
	reply := llmtest.Reply{Text: "abc", FinishReason: "model_context_window_exceeded"}
	_, err := serve(t, &llmtest.Server{Answer: llmtest.Queue(reply)}).Generate(t.Context(), request())
	if gateway.KindOf(err) != gateway.TooLong || !strings.Contains(err.Error(), "(model_context_window_exceeded)") {
		t.Errorf("Generate = %v", err)
	}
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
