package llmtest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// at sends a body to a path and returns the status and the answer.
func at(t *testing.T, s *Server, path, body string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Anthropic-Version", "2023-06-01")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

const closed = `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`

func TestRefusesWhatResponsesRefuse(t *testing.T) {
	const in = `"model":"m","input":"json"`
	tests := map[string]struct {
		body string
		want string // in the problem; empty: it is taken
	}{
		"the least that is taken":     {`{` + in + `}`, ""},
		"all that is taken":           {`{` + in + `,"instructions":"x","max_output_tokens":16,"temperature":1,"store":false,"stream":false,"reasoning":{"effort":"low"},"prompt_cache_key":"k","text":{"format":{"type":"json_schema","name":"x","strict":true,"schema":` + closed + `}}}`, ""},
		"items":                       {`{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"x"}]},{"type":"message","role":"assistant","content":"y"}]}`, ""},
		"a seed":                      {`{` + in + `,"seed":1}`, "seed"},
		"chat's messages":             {`{"model":"m","messages":[]}`, "messages"},
		"no model":                    {`{"input":"x"}`, "model"},
		"no input":                    {`{"model":"m","input":[]}`, "input"},
		"an unknown role":             {`{"model":"m","input":[{"role":"bot","content":"x"}]}`, "role"},
		"an unknown item":             {`{"model":"m","input":[{"type":"song","role":"user","content":"x"}]}`, "song"},
		"chat's parts":                {`{"model":"m","input":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`, "type of part"},
		"too few tokens":              {`{` + in + `,"max_output_tokens":15}`, "max_output_tokens"},
		"too hot":                     {`{` + in + `,"temperature":3}`, "temperature"},
		"a temperature for a thinker": {`{"model":"gpt-5.4","input":"x","temperature":1}`, "temperature"},
		"an effort that is none":      {`{` + in + `,"reasoning":{"effort":"hard"}}`, "reasoning.effort"},
		"chat's effort":               {`{` + in + `,"reasoning_effort":"low"}`, "reasoning_effort"},
		"an unknown format":           {`{` + in + `,"text":{"format":{"type":"xml"}}}`, "text.format.type"},
		"a format without a name":     {`{` + in + `,"text":{"format":{"type":"json_schema","schema":{}}}}`, "text.format.name"},
		"a strict schema that isn't":  {`{` + in + `,"text":{"format":{"type":"json_schema","name":"x","strict":true,"schema":{"type":"object"}}}}`, "additionalProperties"},
		"an object without the word":  {`{"model":"m","input":"x","text":{"format":{"type":"json_object"}}}`, "'json'"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { taken(t, "/v1/responses", tt.body, tt.want) })
	}
}

func TestRefusesWhatMessagesRefuse(t *testing.T) {
	const tool = `{"name":"answer","input_schema":{"type":"object"}}`
	message := func(more string) string {
		return `{"model":"claude-x","max_tokens":4096,"messages":[{"role":"user","content":"x"}]` + more + `}`
	}
	newer := func(more string) string { return strings.Replace(message(more), "claude-x", "claude-opus-5", 1) }
	tests := map[string]struct {
		body string
		want string
	}{
		"the least that is taken":       {message(``), ""},
		"all that is taken":             {message(`,"system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}],"temperature":1,"stream":false,"output_config":{"effort":"max","format":{"type":"json_schema","schema":` + closed + `}}`), ""},
		"a cache for an hour":           {message(`,"system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}]`), ""},
		"a cache for a day":             {message(`,"system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1d"}}]`), "cache_control.ttl"},
		"a cache for good":              {message(`,"system":[{"type":"text","text":"x","cache_control":{"type":"forever"}}]`), "cache_control.type"},
		"a seed":                        {message(`,"seed":1`), "seed"},
		"no model":                      {`{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}`, "model"},
		"no limit":                      {`{"model":"m","messages":[{"role":"user","content":"x"}]}`, "max_tokens"},
		"too hot":                       {message(`,"temperature":1.1`), "temperature"},
		"a temperature for a newer one": {newer(`,"temperature":1`), "temperature"},
		"an assistant first":            {`{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":"x"},{"role":"user","content":"x"}]}`, "first message"},
		"an assistant last":             {`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"x"}]}`, "end with a user"},
		"a system in between":           {`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"},{"role":"system","content":"x"}]}`, "role"},
		"an empty system":               {message(`,"system":[{"type":"text","text":""}]`), "system.0"},
		"a budget":                      {message(`,"thinking":{"type":"enabled","budget_tokens":1024}`), ""},
		"a budget too small":            {message(`,"thinking":{"type":"enabled","budget_tokens":1023}`), "budget_tokens"},
		"a budget too large":            {message(`,"thinking":{"type":"enabled","budget_tokens":4096}`), "max_tokens"},
		"a budget for a newer one":      {newer(`,"thinking":{"type":"enabled","budget_tokens":1024}`), "adaptive"},
		"a budget of an adaptive one":   {newer(`,"thinking":{"type":"adaptive","budget_tokens":1024}`), "budget_tokens"},
		"a temperature that thinks":     {message(`,"temperature":0.5,"thinking":{"type":"enabled","budget_tokens":1024}`), "temperature"},
		"an unknown thought":            {message(`,"thinking":{"type":"deep"}`), "thinking.type"},
		"an unknown effort":             {message(`,"output_config":{"effort":"minimal"}`), "effort"},
		"an unknown format":             {message(`,"output_config":{"format":{"type":"json_object"}}`), "format.type"},
		"a schema that is open":         {message(`,"output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}}`), "additionalProperties"},
		"a tool":                        {message(`,"tools":[` + tool + `],"tool_choice":{"type":"tool","name":"answer","disable_parallel_tool_use":true}`), ""},
		"a tool that is not there":      {message(`,"tools":[` + tool + `],"tool_choice":{"type":"tool","name":"other"}`), "tool_choice.name"},
		"a choice of no tool":           {message(`,"tool_choice":{"type":"any"}`), "tool_choice"},
		"a thinker that is forced":      {message(`,"thinking":{"type":"enabled","budget_tokens":1024},"tools":[` + tool + `],"tool_choice":{"type":"any"}`), "forces"},
		"a tool without a schema":       {message(`,"tools":[{"name":"answer"}]`), "input_schema"},
		"a strict tool that is open":    {message(`,"tools":[{"name":"answer","strict":true,"input_schema":{"type":"object"}}]`), "additionalProperties"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { taken(t, "/v1/messages", tt.body, tt.want) })
	}
}

// taken checks whether a body is, and that the refusal says why not.
func taken(t *testing.T, path, body, want string) {
	t.Helper()
	s := &Server{}
	status, answer := at(t, s, path, body)
	problems := strings.Join(s.Problems(), "\n")
	switch {
	case want == "" && (status != 200 || problems != "" || len(s.Requests()) != 1):
		t.Errorf("status %d, problems %q", status, problems)
	case want != "" && (status != 400 || !strings.Contains(problems, want) || len(s.Requests()) != 0 || !strings.Contains(answer, `"message"`)):
		t.Errorf("status %d, problems %q, want %q; answer %s", status, problems, want, answer)
	}
}

func TestStreamsOfEachProtocol(t *testing.T) {
	tests := map[string]struct {
		path, body string
		want       []string // in this order
	}{
		"chat":      {"/v1/chat/completions", `{` + user + `,"stream":true,"stream_options":{"include_usage":true}}`, []string{`"role":"assistant"`, ": a comment", `"content":"he"`, `"finish_reason":"stop"`, `"usage"`, "data: [DONE]"}},
		"responses": {"/v1/responses", `{"model":"m","input":"x","stream":true}`, []string{"event: response.created", `"delta":"h"`, "event: response.completed", `"output_tokens"`}},
		"messages":  {"/v1/messages", `{"model":"m","max_tokens":1,"stream":true,"messages":[{"role":"user","content":"x"}]}`, []string{"event: message_start", "event: ping", "text_delta", "event: content_block_stop", "event: message_delta", "event: message_stop"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := "hello, hello"
			if name == "responses" {
				text = "hello"
			}
			status, body := at(t, &Server{Answer: Queue(Reply{Text: text})}, tt.path, tt.body)
			rest := body
			for _, want := range tt.want {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("status %d, no %s (in that order) in:\n%s", status, want, body)
				}
				rest = after
			}
		})
	}
}

// TestAThousandWaitAtOnce for as long as one does.
func TestAThousandWaitAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, wait = 1000, 5 * time.Second
		s := &Server{Discard: true, Answer: Queue(Reply{Text: "x", Delay: wait})}
		start := time.Now()
		var wg sync.WaitGroup
		for range clients {
			wg.Go(func() {
				if status, body := at(t, s, "/v1/chat/completions", `{`+user+`}`); status != 200 {
					t.Errorf("status %d: %s", status, body)
				}
			})
		}
		wg.Wait()
		if n, took := s.MaxConcurrent(), time.Since(start); n != clients || took != wait || len(s.Requests()) > 0 {
			t.Errorf("%d at once, in %v, %d kept; want %d, in %v, and none", n, took, len(s.Requests()), clients, wait)
		}
	})
}
