package openai

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// overResponses asks over Responses and returns what s saw.
func overResponses(t *testing.T, s http.Handler, r llm.Request) (llm.Response, error) {
	t.Helper()
	m := serve(t, s, "acme")
	m.traits.API, m.traits.CacheKey = Responses, true
	return m.Generate(t.Context(), r)
}

func TestWhatResponsesAreAskedFor(t *testing.T) {
	const input = `[{"content":"hi","role":"user"},{"content":"hello","role":"assistant"},{"content":"` + secret + `","role":"user"}]`
	format := func(strict, schema string) string {
		return `{"format":{"name":"answer","schema":` + schema + `,"strict":` + strict + `,"type":"json_schema"}}`
	}
	tests := map[string]struct {
		change func(*llm.Request)
		want   map[string]string // of the body
	}{
		"a strict schema": {func(*llm.Request) {}, map[string]string{
			"instructions": `"be kind"`, "input": input, "store": `false`, "max_output_tokens": `64`, "temperature": `0`,
			"text": format("true", string(schema)), "reasoning": ``, "prompt_cache_key": ``, "stream": ``,
		}},
		"a loose schema":   {func(r *llm.Request) { r.Strict = false }, map[string]string{"text": format("false", string(schema))}},
		"free text":        {func(r *llm.Request) { r.Schema = nil }, map[string]string{"text": ``}},
		"a short answer":   {func(r *llm.Request) { r.MaxTokens = 1 }, map[string]string{"max_output_tokens": `16`}},
		"no limit":         {func(r *llm.Request) { r.MaxTokens = 0 }, map[string]string{"max_output_tokens": ``}},
		"an effort":        {func(r *llm.Request) { r.Settings.ReasoningEffort = "low" }, map[string]string{"reasoning": `{"effort":"low"}`}},
		"a reasoner":       {func(r *llm.Request) { r.Model = "gpt-5.4" }, map[string]string{"temperature": ``}},
		"a key":            {func(r *llm.Request) { r.CacheKey = "agent-1" }, map[string]string{"prompt_cache_key": `"agent-1"`}},
		"no prompt at all": {func(r *llm.Request) { r.System = "" }, map[string]string{"instructions": ``}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Key: key, Answer: llmtest.Queue(llmtest.Reply{Text: `{"a":"b"}`})}
			r := request()
			tt.change(&r)
			got, err := overResponses(t, s, r)
			if err != nil || got.Text != `{"a":"b"}` {
				t.Fatalf("%+v, %v", got, err)
			}
			if diff := cmp.Diff([]string(nil), s.Problems()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			var body map[string]json.RawMessage
			if err := json.Unmarshal(s.Requests()[0].Body, &body); err != nil || s.Requests()[0].Path != "/v1/responses" {
				t.Fatalf("%s: %v", s.Requests()[0].Path, err)
			}
			for field, want := range tt.want {
				if got := string(body[field]); got != want {
					t.Errorf("%s = %s, want %q", field, got, want)
				}
			}
		})
	}
}

func TestHowAResponseEnds(t *testing.T) {
	tests := map[string]struct {
		reply llmtest.Reply
		want  llm.Response
		kind  gateway.Kind // of the error
		msg   string
	}{
		"at the limit":           {reply: llmtest.Reply{Text: "abc", FinishReason: "length"}, want: llm.Response{Text: "abc", Truncated: true}},
		"in a filter":            {reply: llmtest.Reply{FinishReason: "content_filter"}, want: llm.Response{Refused: true}},
		"with a refusal":         {reply: llmtest.Reply{Refusal: "I can't"}, want: llm.Response{Text: "I can't", Refused: true}},
		"before it, in a filter": {reply: llmtest.Reply{Status: 400, Code: "content_filter"}, want: llm.Response{Refused: true}},
		"with an error":          {reply: llmtest.Reply{Fault: llmtest.Late, Code: "server_error"}, kind: gateway.Unavailable, msg: "acme broke off its answer with an error (server_error)"},
		"with a limit":           {reply: llmtest.Reply{Fault: llmtest.Late, Code: "rate_limit_exceeded"}, kind: gateway.RateLimited, msg: "acme broke off its answer with an error (rate_limit_exceeded)"},
		"with a prompt refused":  {reply: llmtest.Reply{Fault: llmtest.Late, Code: "invalid_prompt"}, kind: gateway.Invalid, msg: "acme broke off its answer with an error (invalid_prompt)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := overResponses(t, &llmtest.Server{Answer: llmtest.Queue(tt.reply)}, request())
			if tt.msg != "" {
				checkError(t, err, tt.kind, tt.msg)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got.Model, got.InputTokens, got.OutputTokens, got.Latency = "", 0, 0, 0
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
		})
	}
	queued := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"object":"response","status":"queued"}`))
	})
	_, err := overResponses(t, queued, request())
	checkError(t, err, gateway.Unavailable, "acme answered 200 with a response that is not complete")
}

func TestResponsesFallBackToAnObject(t *testing.T) {
	s := &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
		if r.Format == "json_schema" {
			return llmtest.Reply{Status: 400, Param: "text.format", Code: "invalid_value", Message: "text.format of type json_schema is not supported with this model"}
		}
		return llmtest.Reply{Text: r.Format}
	}}
	got, err := overResponses(t, s, request())
	if err != nil || got.Text != "json_object" || len(s.Problems()) > 0 {
		t.Errorf("%+v, %v, %q", got, err, s.Problems())
	}
	if last := s.Requests()[1]; !strings.Contains(last.Messages[0].Content, string(schema)) {
		t.Errorf("the prompt does not carry the schema: %+v", last.Messages)
	}
}

// TestModelsThatNeedResponses are asked over it at once at OpenAI's own, if they
// are known for it, and else once it says so.
func TestModelsThatNeedResponses(t *testing.T) {
	for model, want := range map[string]bool{
		"gpt-4o-mini": false, "gpt-5": false, "gpt-5.3": false, "gpt-5.4": true, "gpt-5.4-mini": true, "gpt-5.12": true, "gpt-6": true,
		"gpt-5-pro": true, "o3-pro": true, "gpt-5.1-codex-max": true, "o4-mini": false, "o3-deep-research": true, "ft:gpt-5.4": false,
	} {
		m := New(Config{})
		if got := m.form(model).responses; got != want {
			t.Errorf("%s: over Responses %v, want %v", model, got, want)
		}
		if New(Config{BaseURL: "https://llm.test/v1"}).form(model).responses || New(Config{Traits: Traits{API: Chat}}).form(model).responses {
			t.Errorf("%s: over Responses where it is not spoken, or not wanted", model)
		}
	}
	for _, status := range []int{400, 404} {
		s := &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
			if strings.HasSuffix(r.Path, "/chat/completions") {
				return llmtest.Reply{Status: status, Code: "invalid_request_error", Message: "This model is only supported in v1/responses and not in v1/chat/completions."}
			}
			return llmtest.Reply{Text: "x"}
		}}
		m := serve(t, s, "acme")
		for range 2 {
			if got, err := m.Generate(t.Context(), request()); err != nil || got.Text != "x" {
				t.Fatalf("%+v, %v", got, err)
			}
		}
		if n := len(s.Requests()); n != 3 {
			t.Errorf("%d: %d requests for two answers, want 3", status, n)
		}
	}
}

// TestTheSchemaGoesOverToResponses where Chat Completions refused it first, and the
// model then, in the same request or in two at once.
func TestTheSchemaGoesOverToResponses(t *testing.T) {
	for name, tt := range map[string]struct {
		noSchema bool
		want     string // the format over Responses
	}{
		"which have a schema of their own":   {false, "json_schema"},
		"whose server is known to have none": {true, "json_object"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
				switch {
				case r.Path == "/v1/responses":
					return llmtest.Reply{Text: r.Format}
				case r.Format == "json_schema":
					return picky("tool")(r)
				}
				return llmtest.Reply{Status: 400, Message: "To use tools with this model, please use /v1/responses instead."}
			}}
			m := serve(t, s, "acme")
			m.traits.NoSchema = tt.noSchema
			for range 2 {
				if got, err := m.Generate(t.Context(), request()); err != nil || got.Text != tt.want {
					t.Errorf("%+v, %v, want to be asked for %s", got, err, tt.want)
				}
			}
			if diff := cmp.Diff([]string(nil), s.Problems()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	over, tool := form{responses: true}, form{format: formatTool}
	if a, b := over.Join(tool), tool.Join(over); a != over || b != over {
		t.Errorf("joined to %+v and %+v, want %+v", a, b, over)
	}
}

func TestSettingsThatResponsesDoNotHave(t *testing.T) {
	seed := int64(1)
	tests := map[string]struct {
		traits   Traits
		model    string
		settings gateway.ModelSettings
		want     string
	}{
		"a seed":                    {Traits{API: Responses}, "m", gateway.ModelSettings{Seed: &seed}, "acme has no seed in Responses"},
		"a seed of one that needs":  {Traits{API: Auto}, "gpt-5.4", gateway.ModelSettings{Seed: &seed}, "acme has no seed in Responses, which gpt-5.4 needs"},
		"a budget":                  {Traits{API: Responses, Budget: "reasoning.max_tokens"}, "m", gateway.ModelSettings{ThinkingBudget: 2000}, "acme has no thinking_budget_tokens"},
		"a budget and an effort":    {Traits{Budget: "reasoning.max_tokens"}, "m", gateway.ModelSettings{ThinkingBudget: 2000, ReasoningEffort: "low"}, "acme takes a reasoning_effort or thinking_budget_tokens, not both"},
		"an effort that it lacks":   {Traits{Efforts: "low high"}, "m", gateway.ModelSettings{ReasoningEffort: "max"}, "acme takes a reasoning_effort of low, high, not max"},
		"no effort":                 {Traits{Effort: None}, "m", gateway.ModelSettings{ReasoningEffort: "low"}, "acme has no reasoning_effort"},
		"no parallel calls":         {Traits{NoParallel: true}, "m", gateway.ModelSettings{ParallelToolCalls: new(bool)}, "acme has no parallel_tool_calls"},
		"a seed over completions":   {Traits{API: Auto}, "gpt-4o", gateway.ModelSettings{Seed: &seed}, ""},
		"a budget where it has one": {Traits{Budget: "reasoning.max_tokens"}, "m", gateway.ModelSettings{ThinkingBudget: 2000}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.traits.Check("acme", &llm.Request{Model: tt.model, Settings: tt.settings})
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("error = %v, want none", err)
			case tt.want != "":
				checkError(t, err, gateway.Invalid, tt.want)
			}
		})
	}
}

// streamed is a model that streams, and what it asks.
func streamed(t *testing.T, s *llmtest.Server) *Model {
	t.Helper()
	srv := httptest.NewServer(s)
	client := srv.Client()
	t.Cleanup(func() { client.CloseIdleConnections(); srv.Close() })
	return New(Config{BaseURL: srv.URL + "/v1", APIKey: key, Name: "acme", HTTPClient: client, Stream: true})
}

func TestAToolIsStreamed(t *testing.T) {
	s := &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: `{"a":"` + strings.Repeat("b", 100) + `"}`, Calls: 2})}
	m := streamed(t, s)
	m.traits.NoSchema = true
	got, err := m.Generate(t.Context(), request())
	if err != nil || got.Text != `{"a":"`+strings.Repeat("b", 100)+`"}` || len(s.Problems()) > 0 || s.Requests()[0].Format != "tool" {
		t.Errorf("%+v, %v, %q", got, err, s.Problems())
	}
}

func TestAStreamWithoutUsageIsOne(t *testing.T) {
	s := &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
		if r.Usage {
			return llmtest.Reply{Status: 400, Param: "stream_options", Message: "Unrecognized request argument supplied: stream_options"}
		}
		return llmtest.Reply{Text: "x"}
	}}
	m := streamed(t, s)
	for range 2 {
		if got, err := m.Generate(t.Context(), request()); err != nil || got.Text != "x" || got.InputTokens != 0 {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if n := len(s.Requests()); n != 3 {
		t.Errorf("%d requests for two answers, want 3", n)
	}
}

func TestAServerThatHasNoCacheKey(t *testing.T) {
	s := &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
		if r.CacheKey != "" {
			return llmtest.Reply{Status: 422, Message: "prompt_cache_key: Extra inputs are not permitted"}
		}
		return llmtest.Reply{Text: "x"}
	}}
	m := serve(t, s, "acme")
	m.traits.CacheKey = true
	r := request()
	r.CacheKey = "agent-1"
	for range 2 {
		if _, err := m.Generate(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Requests()); n != 3 {
		t.Errorf("%d requests for two answers, want 3", n)
	}
}

func TestTheSettingThatAServerRefusesIsNamed(t *testing.T) {
	seed, no := int64(1), false
	tests := map[string]struct {
		settings gateway.ModelSettings
		words    string
		want     string
	}{
		"a seed":                   {gateway.ModelSettings{Seed: &seed}, "Unrecognized request argument supplied: seed", "acme answered 400 (x) about seed"},
		"an effort":                {gateway.ModelSettings{ReasoningEffort: "max"}, "Unsupported value: reasoning.effort", "acme answered 400 (x) about reasoning_effort"},
		"a switch":                 {gateway.ModelSettings{ReasoningEffort: "none"}, "thinking: Extra inputs are not permitted", "acme answered 400 (x) about reasoning_effort"},
		"a budget":                 {gateway.ModelSettings{ThinkingBudget: 2000}, "thinking_token_budget must be set at start", "acme answered 400 (x) about thinking_budget_tokens"},
		"parallel calls":           {gateway.ModelSettings{ParallelToolCalls: &no}, "parallel calls are not supported", "acme answered 400 (x) about parallel_tool_calls"},
		"parallel calls of a tool": {gateway.ModelSettings{ParallelToolCalls: &no}, "Unsupported parameter: 'parallel_tool_calls' is not supported with this model.", "acme answered 400 (x) about parallel_tool_calls"},
		"one that was not set":     {gateway.ModelSettings{Seed: &seed}, "Unsupported value: reasoning.effort", "acme answered 400 (x)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := serve(t, &llmtest.Server{Extra: []string{"budget"}, Answer: llmtest.Queue(llmtest.Reply{Status: 400, Code: "x", Message: tt.words + secret})}, "acme")
			m.traits.Budget = "budget"
			m.traits.NoSchema = strings.Contains(name, "of a tool")
			r := request()
			r.Settings = tt.settings
			first := m.form(r.Model)
			_, err := m.Generate(t.Context(), r)
			checkError(t, err, gateway.Invalid, tt.want)
			if m.form(r.Model) != first {
				t.Errorf("of the model is remembered %+v, where it began with %+v", m.form(r.Model), first)
			}
		})
	}
}

// A deployment whose name says nothing needs Responses, which is learned from a 404.
func TestASettingIsNotLostOnTheWayToResponses(t *testing.T) {
	seed := int64(7)
	tests := map[string]struct {
		settings gateway.ModelSettings
		want     string
	}{
		"a seed":   {gateway.ModelSettings{Seed: &seed}, "acme has no seed in Responses, which m-1 needs"},
		"a budget": {gateway.ModelSettings{ThinkingBudget: 2000}, "acme has no thinking_budget_tokens in Responses, which m-1 needs"},
		"none":     {},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Extra: []string{"budget"}, Answer: func(r llmtest.Request) llmtest.Reply {
				if strings.HasSuffix(r.Path, "/chat/completions") {
					return llmtest.Reply{Status: 404, Message: "This model is only supported in v1/responses and not in v1/chat/completions."}
				}
				return llmtest.Reply{Text: `{"a":"b"}`}
			}}
			m := serve(t, s, "acme")
			m.traits.Budget = "budget"
			r := request()
			r.Settings = tt.settings
			for range 2 { // when it is learned, and when it is known
				got, err := m.Generate(t.Context(), r)
				if tt.want != "" {
					checkError(t, err, gateway.Invalid, tt.want)
				} else if err != nil || got.Text != `{"a":"b"}` {
					t.Errorf("%+v, %v", got, err)
				}
			}
		})
	}
}

// Azure's filter that works beside the answer adds chunks without an id.
func TestAStreamWithPartsThatHaveNoID(t *testing.T) {
	const head = `data: {"object":"chat.completion.chunk","created":1,"model":"m-1",`
	parts := []string{
		head + `"id":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}`,
		head + `"id":"c1","choices":[{"index":0,"delta":{"role":"assistant","content":"{\"a\":"}}]}`,
		head + `"id":"","choices":[{"index":0,"delta":{},"content_filter_offsets":{"check_offset":0}}]}`,
		head + `"id":"c1","choices":[{"index":0,"delta":{"content":"1}"},"finish_reason":"stop"}]}`,
		head + `"id":"","choices":[{"index":0,"delta":{},"content_filter_results":{}}]}`,
		`data: [DONE]`,
	}
	m := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write([]byte(strings.Join(parts, "\n\n") + "\n\n"))
	}), "acme")
	m.stream = true
	if got, err := m.Generate(t.Context(), request()); err != nil || got.Text != `{"a":1}` {
		t.Errorf("%+v, %v", got, err)
	}
}
