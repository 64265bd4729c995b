package llmtest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// post sends a body and returns the status and the answer.
func post(ctx context.Context, t *testing.T, s *Server, body string) (int, string, error) {
	t.Helper()
	srv := httptest.NewServer(s)
	defer srv.Close()
	defer srv.Client().CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer k")
	resp, err := srv.Client().Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

const user = `"model":"m","messages":[{"role":"user","content":"json"}]`

const tool = `{"type":"function","function":{"name":"answer","parameters":{"type":"object"}}}`

// nested is the schema of an object with so many levels.
func nested(levels int) string {
	s := `{"type":"string"}`
	for range levels {
		s = `{"type":"object","properties":{"a":` + s + `},"required":["a"],"additionalProperties":false}`
	}
	return s
}

func strictly(schema string) string {
	return `{` + user + `,"response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":` + schema + `}}}`
}

func TestRefusesWhatRealServersRefuse(t *testing.T) {
	tests := map[string]struct {
		body   string
		openai bool
		want   string // in the problem; empty: it is taken
	}{
		"the least that is taken":             {body: `{` + user + `}`},
		"all that is taken":                   {body: `{` + user + `,"temperature":0,"max_tokens":1,"response_format":{"type":"json_object"},"n":1,"seed":1}`},
		"parts of text":                       {body: `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}`},
		"no JSON":                             {body: `{`, want: "body"},
		"an unknown parameter":                {body: `{` + user + `,"top_k":1}`, want: "top_k"},
		"no model":                            {body: `{"messages":[{"role":"user","content":"x"}]}`, want: "model"},
		"no messages":                         {body: `{"model":"m","messages":[]}`, want: "messages"},
		"an unknown role":                     {body: `{"model":"m","messages":[{"role":"bot","content":"x"}]}`, want: "role"},
		"content that is a number":            {body: `{"model":"m","messages":[{"role":"user","content":7}]}`, want: "content"},
		"an empty assistant":                  {body: `{"model":"m","messages":[{"role":"assistant","content":""}]}`, want: "empty"},
		"too hot":                             {body: `{` + user + `,"temperature":2.5}`, want: "temperature"},
		"no tokens":                           {body: `{` + user + `,"max_tokens":0}`, want: "max_tokens"},
		"both limits":                         {body: `{` + user + `,"max_tokens":1,"max_completion_tokens":1}`, want: "max_completion_tokens"},
		"the old limit at OpenAI":             {body: `{` + user + `,"max_tokens":1}`, openai: true, want: "max_tokens"},
		"a temperature for a thinker":         {body: `{"model":"o3","messages":[{"role":"user","content":"x"}],"temperature":0}`, openai: true, want: "temperature"},
		"a stream":                            {body: `{` + user + `,"stream":true,"stream_options":{"include_usage":true}}`},
		"options without a stream":            {body: `{` + user + `,"stream_options":{"include_usage":true}}`, want: "stream_options"},
		"an effort":                           {body: `{` + user + `,"reasoning_effort":"low","prompt_cache_key":"agent-1"}`},
		"an effort that is none":              {body: `{` + user + `,"reasoning_effort":"hard"}`, want: "reasoning_effort"},
		"a key that is too long":              {body: `{` + user + `,"prompt_cache_key":"` + strings.Repeat("k", 65) + `"}`, want: "prompt_cache_key"},
		"a tool":                              {body: `{` + user + `,"tools":[` + tool + `],"tool_choice":"required","parallel_tool_calls":false}`},
		"a tool by its name":                  {body: `{` + user + `,"tools":[` + tool + `],"tool_choice":{"type":"function","function":{"name":"answer"}}}`},
		"a tool that is not there":            {body: `{` + user + `,"tools":[` + tool + `],"tool_choice":{"type":"function","function":{"name":"other"}}}`, want: "tool_choice"},
		"a choice of no tool":                 {body: `{` + user + `,"tool_choice":"required"}`, want: "tool_choice"},
		"parallel calls of no tool":           {body: `{` + user + `,"parallel_tool_calls":true}`, want: "parallel_tool_calls"},
		"no tools":                            {body: `{` + user + `,"tools":[]}`, want: "tools"},
		"two tools of one name":               {body: `{` + user + `,"tools":[` + tool + `,` + tool + `]}`, want: "tools[1]"},
		"a tool that takes a list":            {body: `{` + user + `,"tools":[{"type":"function","function":{"name":"answer","parameters":{"type":"array"}}}]}`, want: "parameters"},
		"a strict tool that is open":          {body: `{` + user + `,"tools":[{"type":"function","function":{"name":"answer","strict":true,"parameters":{"type":"object","properties":{},"required":[]}}}]}`, want: "additionalProperties"},
		"a tool for a thinker at OpenAI":      {body: `{"model":"gpt-5.4","messages":[{"role":"user","content":"x"}],"tools":[` + tool + `]}`, openai: true, want: "/v1/responses"},
		"an unknown format":                   {body: `{` + user + `,"response_format":{"type":"xml"}}`, want: "response_format.type"},
		"json_object without the word":        {body: `{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_object"}}`, want: "'json'"},
		"a schema without a name":             {body: `{` + user + `,"response_format":{"type":"json_schema","json_schema":{"schema":{}}}}`, want: "name"},
		"a schema that is a list":             {body: `{` + user + `,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":[]}}}`, want: "no object"},
		"a loose schema may be open":          {body: `{` + user + `,"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","minProperties":1}}}}`},
		"a strict schema":                     {body: strictly(`{"type":"object","properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"}]}},"required":["a"],"additionalProperties":false}`)},
		"a strict schema of a list":           {body: strictly(`{"type":"array"}`), want: "root"},
		"a strict schema that is open":        {body: strictly(`{"type":"object","properties":{},"required":[]}`), want: "additionalProperties"},
		"a strict schema with options":        {body: strictly(`{"type":"object","properties":{"a":{"type":"string"}},"required":[],"additionalProperties":false}`), want: "required"},
		"a range in a strict schema":          {body: strictly(`{"type":"object","properties":{"a":{"type":"number","minimum":0}},"required":["a"],"additionalProperties":false}`), want: "minimum"},
		"an open object deep inside":          {body: strictly(`{"type":"object","properties":{"a":{"type":"array","items":{"anyOf":[{"type":"object"}]}}},"required":["a"],"additionalProperties":false}`), want: "/a/items/anyOf/0"},
		"a strict schema that is deep":        {body: strictly(nested(10))},
		"a strict schema that is too deep":    {body: strictly(nested(11)), want: "levels"},
		"a strict schema of too many values":  {body: strictly(`{"type":"object","properties":{"a":{"enum":[` + strings.Repeat(`1,`, 1000) + `1]}},"required":["a"],"additionalProperties":false}`), want: "1001 values"},
		"a property without a type":           {body: strictly(`{"type":"object","properties":{"a":{}},"required":["a"],"additionalProperties":false}`), want: "'type'"},
		"a type that is none":                 {body: strictly(`{"type":"object","properties":{"a":{"type":"strin"}},"required":["a"],"additionalProperties":false}`), want: "'type'"},
		"a list of what nobody knows":         {body: strictly(`{"type":"object","properties":{"a":{"type":"array"}},"required":["a"],"additionalProperties":false}`), want: "missing items"},
		"an enum without values":              {body: strictly(`{"type":"object","properties":{"a":{"type":"string","enum":[]}},"required":["a"],"additionalProperties":false}`), want: "'enum'"},
		"a reference to nothing":              {body: strictly(`{"type":"object","properties":{"a":{"$ref":"#/$defs/b"}},"required":["a"],"additionalProperties":false}`), want: "'$ref'"},
		"a reference":                         {body: strictly(`{"type":"object","properties":{"a":{"$ref":"#/$defs/b"},"c":{"$ref":"#"}},"required":["a","c"],"additionalProperties":false,"$defs":{"b":{"type":"string"}}}`)},
		"an open object behind a reference":   {body: strictly(`{"type":"object","properties":{"a":{"$ref":"#/$defs/b"}},"required":["a"],"additionalProperties":false,"$defs":{"b":{"type":"object"}}}`), want: "/$defs/b"},
		"an open object or nothing":           {body: strictly(`{"type":"object","properties":{"a":{"type":["object","null"]}},"required":["a"],"additionalProperties":false}`), want: "additionalProperties"},
		"a property whose schema is a string": {body: strictly(`{"type":"object","properties":{"a":"string"},"required":["a"],"additionalProperties":false}`), want: "no object"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &Server{Key: "k", OpenAI: tt.openai}
			status, body, err := post(t.Context(), t, s, tt.body)
			if err != nil {
				t.Fatal(err)
			}
			problems := strings.Join(s.Problems(), "\n")
			if tt.want == "" {
				if status != 200 || problems != "" || len(s.Requests()) != 1 {
					t.Errorf("status %d, problems %q", status, problems)
				}
				return
			}
			if status != 400 || !strings.Contains(problems, tt.want) || len(s.Requests()) != 0 {
				t.Errorf("status %d, problems %q, want %q", status, problems, tt.want)
			}
			var e struct{ Error struct{ Message string } }
			if json.Unmarshal([]byte(body), &e) != nil || e.Error.Message != problems {
				t.Errorf("body = %s", body)
			}
		})
	}
}

func TestWrongKeyAndWrongPath(t *testing.T) {
	s := &Server{Key: "other"}
	if status, _, err := post(t.Context(), t, s, `{`+user+`}`); status != 401 || err != nil || len(s.Problems()) != 1 {
		t.Errorf("status %d, %v, problems %q", status, err, s.Problems())
	}
	w := httptest.NewRecorder()
	(&Server{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/models", nil))
	if w.Code != 404 {
		t.Errorf("status %d, want 404", w.Code)
	}
}

func TestFaults(t *testing.T) {
	tests := map[string]struct {
		reply Reply
		check func(status int, body string, err error) bool
	}{
		"a status": {Reply{Status: 503, Code: "down"}, func(s int, b string, err error) bool { return s == 503 && strings.Contains(b, `"down"`) && err == nil }},
		"garbage":  {Reply{Fault: Garbage}, func(s int, b string, err error) bool { return s == 200 && !json.Valid([]byte(b)) && err == nil }},
		"a cut":    {Reply{Fault: Cut}, func(s int, b string, err error) bool { return s == 200 && b != "" && err != nil }},
		"empty":    {Reply{Fault: Empty}, func(s int, b string, err error) bool { return s == 200 && b == "" && err == nil }},
		"no choices": {Reply{Fault: NoChoices}, func(s int, b string, err error) bool {
			return s == 200 && strings.Contains(b, `"choices":[]`) && err == nil
		}},
		"huge":    {Reply{Fault: Huge}, func(s int, b string, err error) bool { return s == 200 && len(b) > 5<<20 && err == nil }},
		"a hang":  {Reply{Fault: Hang}, func(_ int, _ string, err error) bool { return err != nil }},
		"a delay": {Reply{Delay: time.Hour}, func(_ int, _ string, err error) bool { return err != nil }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if tt.reply.Fault == Hang || tt.reply.Delay > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
			}
			status, body, err := post(ctx, t, &Server{Answer: Queue(tt.reply)}, `{`+user+`}`)
			if !tt.check(status, body, err) {
				t.Errorf("status %d, %d bytes, %v", status, len(body), err)
			}
		})
	}
}

func TestCountsWhatIsInHandAtOnce(t *testing.T) {
	var inside sync.WaitGroup
	inside.Add(3)
	s := &Server{Answer: func(Request) Reply { inside.Done(); inside.Wait(); return Reply{} }}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", bytes.NewBufferString(`{`+user+`}`))
			r.Header.Set("Content-Type", "application/json")
			s.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	wg.Wait()
	if s.MaxConcurrent() != 3 || len(s.Requests()) != 3 {
		t.Errorf("%d at once, %d in all; want 3 and 3", s.MaxConcurrent(), len(s.Requests()))
	}
}

func TestQueueRepeatsItsLast(t *testing.T) {
	q := Queue(Reply{Text: "a"}, Reply{Text: "b"})
	for i, want := range []string{"a", "b", "b"} {
		if got := q(Request{}).Text; got != want {
			t.Errorf("%d: %q, want %q", i, got, want)
		}
	}
}
