package openai

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/llmtest"
)

// withTool asks s, which is known to take no json_schema, and returns what it saw.
func withTool(t *testing.T, s *llmtest.Server, r llm.Request) (llm.Response, []llmtest.Request) {
	t.Helper()
	m := serve(t, s, "acme")
	m.traits.NoSchema = true
	got, err := m.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string(nil), s.Problems()); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	return got, s.Requests()
}

func TestAToolCarriesTheAnswer(t *testing.T) {
	tests := map[string]struct {
		reply llmtest.Reply
		want  llm.Response
	}{
		"in one call":              {llmtest.Reply{Text: `{"a":"b"}`}, llm.Response{Text: `{"a":"b"}`}},
		"in the first of two":      {llmtest.Reply{Text: `{"a":"b"}`, Calls: 2}, llm.Response{Text: `{"a":"b"}`}},
		"as text nevertheless":     {llmtest.Reply{Text: `{"a":"b"}`, Plain: true}, llm.Response{Text: `{"a":"b"}`}},
		"cut at the limit":         {llmtest.Reply{Text: `{"a":`, FinishReason: "length"}, llm.Response{Text: `{"a":`, Truncated: true}},
		"not at all, as a refusal": {llmtest.Reply{Refusal: "no"}, llm.Response{Text: "no", Refused: true}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, _ := withTool(t, &llmtest.Server{Answer: llmtest.Queue(tt.reply)}, request())
			got.Model, got.InputTokens, got.OutputTokens, got.Latency = "", 0, 0, 0
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatAToolIsAskedFor(t *testing.T) {
	no := false
	tests := map[string]struct {
		change func(*llm.Request)
		strict bool
		want   map[string]string // of the body
	}{
		"strictly":                   {func(*llm.Request) {}, true, map[string]string{"tool_choice": `"required"`, "parallel_tool_calls": ``, "response_format": ``}},
		"loosely":                    {func(r *llm.Request) { r.Strict = false }, false, map[string]string{"tool_choice": `"required"`}},
		"with one call only":         {func(r *llm.Request) { r.Settings.ParallelToolCalls = &no }, true, map[string]string{"parallel_tool_calls": `false`}},
		"not at all, for free text":  {func(r *llm.Request) { r.Schema = nil }, false, map[string]string{"tools": ``, "tool_choice": ``}},
		"parallel, but for no tools": {func(r *llm.Request) { r.Schema, r.Settings.ParallelToolCalls = nil, &no }, false, map[string]string{"parallel_tool_calls": ``}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := request()
			tt.change(&r)
			_, seen := withTool(t, &llmtest.Server{}, r)
			var body map[string]json.RawMessage
			if err := json.Unmarshal(seen[0].Body, &body); err != nil {
				t.Fatal(err)
			}
			for field, want := range tt.want {
				if got := string(body[field]); got != want {
					t.Errorf("%s = %s, want %q", field, got, want)
				}
			}
			if seen[0].Strict != tt.strict || r.Schema != nil && string(seen[0].Schema) != string(schema) {
				t.Errorf("strict %v, schema %s", seen[0].Strict, seen[0].Schema)
			}
		})
	}
}

func TestWhatServersRefuseOfATool(t *testing.T) {
	tests := map[string]struct {
		message string
		refuses func(*llmtest.Request) bool
		want    form   // what is kept
		formats string // of the requests for two answers
	}{
		"its strictness":       {"strict mode is not supported for tools", func(r *llmtest.Request) bool { return r.Strict }, form{format: formatTool, noSchema: true, looseTools: true, noCacheKey: true}, "tool tool tool "},
		"that it is forced":    {"model does not support this tool_choice", func(r *llmtest.Request) bool { return r.Choice != "" }, form{format: formatObject, noSchema: true, noCacheKey: true}, "tool json_object json_object "},
		"one agent's schema":   {"Invalid schema for function 'answer'", func(r *llmtest.Request) bool { return r.Strict }, form{}, "tool tool tool tool "},
		"an answer as it came": {"tool_use_failed: did not call a tool", func(r *llmtest.Request) bool { return r.Choice != "" }, form{}, "tool json_object tool json_object "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
				if tt.refuses(&r) {
					return llmtest.Reply{Status: 400, Code: "invalid_request_error", Message: tt.message}
				}
				return llmtest.Reply{}
			}}
			m := serve(t, s, "acme")
			m.traits.NoSchema = true
			for range 2 {
				if _, err := m.Generate(t.Context(), request()); err != nil {
					t.Fatal(err)
				}
			}
			formats := ""
			for _, r := range s.Requests() {
				formats += r.Format + " "
			}
			if got := m.learned.Of("m-1", form{}); got != tt.want || formats != tt.formats {
				t.Errorf("kept %+v, asked for %s; want %+v and %s", got, formats, tt.want, tt.formats)
			}
		})
	}
}
