package anthropic

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

func TestGenerationsOfModels(t *testing.T) {
	for model, want := range map[string]int{
		"claude-opus-4-7": 47, "claude-sonnet-5": 50, "claude-fable-5-1": 51, "claude-haiku-4-5-20251001": 45, "claude-opus-4-20250514": 40,
		"claude-3-7-sonnet-20250219": 37, "anthropic.claude-sonnet-4-6": 46, "anthropic/claude-opus-4.6": 46, "claude-x": 0, "gpt-5": 0, "claude-opus-latest": 0,
	} {
		if got := generation(model); got != want {
			t.Errorf("%s: %d, want %d", model, got, want)
		}
	}
}

func TestThinking(t *testing.T) {
	const old, mixed, newest = "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-4-7"
	tests := map[string]struct {
		model    string
		settings gateway.ModelSettings
		tokens   int
		want     map[string]string // of the body
		wantErr  string
	}{
		"nothing asked":                   {model: old, want: map[string]string{"thinking": ``, "temperature": `0.5`}},
		"nothing asked of a newer one":    {model: newest, want: map[string]string{"thinking": ``, "temperature": ``}},
		"a budget":                        {model: old, settings: gateway.ModelSettings{ThinkingBudget: 1024}, tokens: 2048, want: map[string]string{"thinking": `{"budget_tokens":1024,"type":"enabled"}`, "temperature": ``}},
		"a budget that is too small":      {model: old, settings: gateway.ModelSettings{ThinkingBudget: 1023}, wantErr: "acme takes thinking_budget_tokens of at least 1024"},
		"a budget for more than is said":  {model: old, settings: gateway.ModelSettings{ThinkingBudget: 4096}, tokens: 4096, wantErr: "acme takes thinking_budget_tokens below max_tokens, which is 4096"},
		"a budget beside the default":     {model: old, settings: gateway.ModelSettings{ThinkingBudget: 4096}, wantErr: "acme takes thinking_budget_tokens below max_tokens, which is 4096"},
		"a budget for a newer one":        {model: newest, settings: gateway.ModelSettings{ThinkingBudget: 1024}, wantErr: "acme has no thinking_budget_tokens for claude-opus-4-7, it takes a reasoning_effort"},
		"an effort":                       {model: newest, settings: gateway.ModelSettings{ReasoningEffort: "max"}, want: map[string]string{"thinking": `{"type":"adaptive"}`, "temperature": ``}},
		"an effort of one between":        {model: mixed, settings: gateway.ModelSettings{ReasoningEffort: "low"}, want: map[string]string{"thinking": `{"type":"adaptive"}`, "temperature": ``}},
		"an effort of an older one":       {model: old, settings: gateway.ModelSettings{ReasoningEffort: "low"}, want: map[string]string{"thinking": ``, "temperature": `0.5`}},
		"an effort and a budget":          {model: mixed, settings: gateway.ModelSettings{ReasoningEffort: "low", ThinkingBudget: 1024}, tokens: 2048, want: map[string]string{"thinking": `{"budget_tokens":1024,"type":"enabled"}`}},
		"no effort":                       {model: mixed, settings: gateway.ModelSettings{ReasoningEffort: "none"}, want: map[string]string{"thinking": `{"type":"disabled"}`, "temperature": `0.5`}},
		"no effort, but a budget":         {model: old, settings: gateway.ModelSettings{ReasoningEffort: "none", ThinkingBudget: 1024}, tokens: 2048, wantErr: "acme takes no thinking_budget_tokens with a reasoning_effort of none"},
		"an effort that there is not":     {model: old, settings: gateway.ModelSettings{ReasoningEffort: "minimal"}, wantErr: "acme takes a reasoning_effort of none, low, medium, high, xhigh, max, not minimal"},
		"a seed":                          {model: old, settings: gateway.ModelSettings{Seed: new(int64)}, wantErr: "acme has no seed"},
		"parallel calls without any tool": {model: old, settings: gateway.ModelSettings{ParallelToolCalls: new(bool)}, want: map[string]string{"tool_choice": ``}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{}
			r := request()
			r.Model, r.Settings, r.MaxTokens = tt.model, tt.settings, tt.tokens
			_, err := serve(t, s).Generate(t.Context(), r)
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr || gateway.KindOf(err) != gateway.Invalid || len(s.Requests()) > 0 {
					t.Errorf("error = %v, want %q and no request", err, tt.wantErr)
				}
				return
			}
			if diff := cmp.Diff([]string(nil), s.Problems()); diff != "" || err != nil {
				t.Fatalf("%v, problems (-want +got):\n%s", err, diff)
			}
			var body map[string]json.RawMessage
			if err := json.Unmarshal(s.Requests()[0].Body, &body); err != nil {
				t.Fatal(err)
			}
			for field, want := range tt.want {
				if got := string(body[field]); got != want {
					t.Errorf("%s = %s, want %q", field, got, want)
				}
			}
		})
	}
}

func TestAToolCarriesTheAnswer(t *testing.T) {
	tests := map[string]struct {
		reply llmtest.Reply
		want  llm.Response
	}{
		"in one call":          {llmtest.Reply{Text: `{"a":"b"}`}, llm.Response{Text: `{"a":"b"}`}},
		"in the first of two":  {llmtest.Reply{Text: `{"a":"b"}`, Calls: 2}, llm.Response{Text: `{"a":"b"}`}},
		"as text nevertheless": {llmtest.Reply{Text: `{"a":"b"}`, Plain: true}, llm.Response{Text: `{"a":"b"}`}},
		"cut at the limit":     {llmtest.Reply{Text: `{}`, FinishReason: "max_tokens"}, llm.Response{Text: `{}`, Truncated: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Answer: llmtest.Queue(tt.reply)}
			r, no := request(), false
			r.Strict, r.Settings.ParallelToolCalls = false, &no
			got, err := serve(t, s).Generate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			got.Model, got.InputTokens, got.OutputTokens, got.Latency = "", 0, 0, 0
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
			seen := s.Requests()[0]
			var body struct {
				Choice json.RawMessage `json:"tool_choice"`
			}
			if err := json.Unmarshal(seen.Body, &body); err != nil || string(body.Choice) != `{"name":"answer","disable_parallel_tool_use":true,"type":"tool"}` {
				t.Errorf("tool_choice = %s, %v", body.Choice, err)
			}
			if string(seen.Schema) != string(testSchema) || seen.Strict {
				t.Errorf("schema = %s, strict %v", seen.Schema, seen.Strict)
			}
		})
	}
}
