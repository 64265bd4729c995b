package openai

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// picky answers like a server that takes only some ways to ask for JSON.
func picky(taken ...string) func(llmtest.Request) llmtest.Reply {
	return func(r llmtest.Request) llmtest.Reply {
		if slices.Contains(taken, r.Format) {
			return llmtest.Reply{Text: r.Format}
		}
		if r.Format == "tool" {
			return llmtest.Reply{Status: 404, Code: "invalid_request_error", Message: "No endpoints found that support tool use"}
		}
		return llmtest.Reply{Status: 400, Code: "invalid_request_error", Message: "This response_format type is unavailable now"}
	}
}

func TestFallsBackToWhatTheServerTakes(t *testing.T) {
	tests := map[string]struct {
		answer func(llmtest.Request) llmtest.Reply
		want   []string // the formats of three requests' attempts
	}{
		"json_schema is taken": {picky("json_schema"), []string{"json_schema", "json_schema", "json_schema"}},
		"a tool is":            {picky("tool"), []string{"json_schema", "tool", "tool", "tool"}},
		"json_object is":       {picky("json_object"), []string{"json_schema", "tool", "json_object", "json_object", "json_object"}},
		"nothing is":           {picky(""), []string{"json_schema", "tool", "json_object", "", "", ""}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Answer: tt.answer}
			m := serve(t, s, "")
			for range 3 {
				if _, err := m.Generate(t.Context(), request()); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for _, r := range s.Requests() {
				got = append(got, r.Format)
				if told := strings.Contains(r.Messages[0].Content, string(schema)); told != (r.Format != "json_schema" && r.Format != "tool") {
					t.Errorf("format %q: prompt carries the schema: %v", r.Format, told)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("formats (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string(nil), s.Problems()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsLearnedIsPerModel(t *testing.T) {
	s := &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
		if r.Model == "old" {
			return picky("")(r)
		}
		return llmtest.Reply{}
	}}
	m := serve(t, s, "")
	r := request()
	for _, model := range []string{"old", "new"} {
		r.Model = model
		if _, err := m.Generate(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	all := s.Requests()
	if last := all[len(all)-1]; last.Format != "json_schema" {
		t.Errorf("the new model was asked with %q", last.Format)
	}
}

func TestOneBadSchemaIsNotHeldAgainstTheModel(t *testing.T) {
	s := &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
		if r.Format == "json_schema" {
			return llmtest.Reply{Status: 400, Param: "response_format", Message: "Invalid schema for response_format 'answer'"}
		}
		return llmtest.Reply{}
	}}
	m := serve(t, s, "")
	if _, err := m.Generate(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	if f := m.form("m-1"); f.format != formatSchema {
		t.Errorf("format = %v, want json_schema to be tried again", f.format)
	}
}

func TestARefusalThatNoFallbackCuresTeachesNothing(t *testing.T) {
	// Some servers repeat the whole request in each error, response_format
	// included.
	s := &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
		return llmtest.Reply{Status: 422, Code: "too_long", Message: "response_format temperature not supported " + string(r.Body)}
	}}
	m := serve(t, s, "acme")
	_, err := m.Generate(t.Context(), request())
	checkError(t, err, gateway.Invalid, "acme answered 422 (too_long)")
	if diff := cmp.Diff(form{noCacheKey: true}, m.form("m-1"), cmp.AllowUnexported(form{})); diff != "" {
		t.Errorf("learned (-want +got):\n%s", diff)
	}
}

func TestLearnsTheParametersOfNewModels(t *testing.T) {
	// A host that we don't know for OpenAI's, but which is as strict.
	s := &llmtest.Server{OpenAI: true}
	m := serve(t, s, "")
	r := request()
	r.Model = "o9"
	for range 2 {
		if _, err := m.Generate(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.Requests()) != 2 || len(s.Problems()) != 1 {
		t.Errorf("%d requests taken, %d refused; want 2 and 1: what was refused once is not tried again", len(s.Requests()), len(s.Problems()))
	}
}

func TestLearnsThatAModelTakesNoTemperature(t *testing.T) {
	s := &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
		if r.Temperature != nil {
			return llmtest.Reply{Status: 400, Param: "temperature", Message: "invalid temperature: only 1 is allowed for this model"}
		}
		return llmtest.Reply{}
	}}
	m := serve(t, s, "")
	for range 2 {
		if _, err := m.Generate(t.Context(), request()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Requests()); n != 3 {
		t.Errorf("%d requests for two answers, want 3", n)
	}
}

// TestAnAnswerThatTheServerFindsMalformed is Groq's: it is an answer as bad ones
// are, for the caller to repair, and nothing is learned from what the model wrote.
func TestAnAnswerThatTheServerFindsMalformed(t *testing.T) {
	const text = `insufficient balance, prompt is too long, response_format temperature not supported, {"a":`
	for name, stream := range map[string]bool{"in one piece": false, "streamed": true} {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{
				Status: 400, Code: "json_validate_failed", Text: text,
				Message: "Generated JSON does not match the expected json_schema. See 'failed_generation' for more details.",
			})}
			m := serve(t, s, "")
			m.stream = stream
			got, err := m.Generate(t.Context(), request())
			if err != nil || got.Text != text || got.Truncated || got.Refused || len(s.Requests()) != 1 {
				t.Errorf("%+v, %v after %d requests", got, err, len(s.Requests()))
			}
			if diff := cmp.Diff(form{noCacheKey: true}, m.form("m-1"), cmp.AllowUnexported(form{})); diff != "" {
				t.Errorf("learned (-want +got):\n%s", diff)
			}
		})
	}
}
