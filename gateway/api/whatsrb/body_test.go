package whatsrb

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// posted is a request with a body.
func posted(body string) echo.Context {
	return echo.New().NewContext(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), httptest.NewRecorder())
}

// TestBodyOfNoBytes is what the JS SDK sends to a POST without parameters: no
// bytes, no Content-Type. It must mean the same as {}, which the Ruby SDK sends.
func TestBodyOfNoBytes(t *testing.T) {
	tests := map[string]string{
		"no bytes":             "",
		"white space":          " \n",
		"an empty object":      "{}",
		"members nobody knows": `{"x":{"y":[1]}}`,
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			o, err := wire.ReadObject(posted(body))
			if err != nil {
				t.Fatal(err)
			}
			var in agentInput
			if err := o.Into(&in); err != nil {
				t.Fatal(err)
			}
			a := gateway.DefaultAgent()
			if p := in.apply(&a); len(p) > 0 {
				t.Errorf("problems: %v", p)
			}
		})
	}
}

func TestActionStatuses(t *testing.T) {
	status := func(ss ...gateway.ActionStatus) []gateway.Action {
		out := make([]gateway.Action, len(ss))
		for i, s := range ss {
			out[i] = gateway.Action{Index: i, Status: s}
		}
		return out
	}
	tests := map[string]struct {
		actions []gateway.Action
		confirm bool
		want    string
	}{
		"no actions":                      {nil, false, `null`},
		"all automatic":                   {status("auto", "auto"), false, `null`},
		"automatic beside a pending one":  {status("auto", "pending"), true, `["confirmed","pending"]`},
		"every way in which one can end":  {status("confirmed", "rejected", "expired"), true, `["confirmed","rejected","expired"]`},
		"pending, and nobody decided yet": {status("pending"), true, `["pending"]`},
		"none that would need it":         {nil, true, `[]`},
		"of a run of an older version":    {status("pending"), false, `["pending"]`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			if ss := actionStatuses(&gateway.Run{Actions: tt.actions, Confirm: tt.confirm}); ss != nil {
				got = []string{}
				for _, s := range ss {
					got = append(got, s.Status)
				}
			}
			if b, _ := json.Marshal(got); string(b) != tt.want {
				t.Errorf("got %s, want %s", b, tt.want)
			}
		})
	}
}

// FuzzBody holds that whatever a body says, it is refused or read, and what
// was read can be stored: UTF-8 without the zero character.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		`{"agent":{"name":"x","system_prompt":"y"}}`, `{"agent":{"name":"\ud800"}}`, `{"agent":null}`, `[`, "\xff",
		`{"agent":{` + ours + `}}`, `{"agent":{"models":[1],"model_settings":{"seed":1e400},"answers":{"tags":[null]}}}`,
		`{"agent":{"payload_schema":[{"name":1}],"inbound_config":{"ignore_patterns":["("]}}}`, `{"agent":{"name":"\`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := wire.ReadObject(posted(string(b)))
		if err != nil {
			return
		}
		agent, err := o.Member("agent")
		if err != nil {
			return
		}
		var in agentInput
		if err := agent.Into(&in); err != nil {
			if gateway.KindOf(err) != gateway.Invalid {
				t.Errorf("Into: %v", err)
			}
			return
		}
		a := gateway.DefaultAgent()
		_ = in.apply(&a)
		texts := slices.Concat(a.AllowedActions, a.Fallbacks, a.Route.Keywords, a.Route.Languages, a.Route.Tags)
		for _, b := range a.Blocks {
			texts = append(texts, b.Label, b.Value)
		}
		for _, s := range append(texts, a.Compaction.Model, a.Settings.ReasoningEffort, a.Name, a.SystemPrompt, a.Description, string(a.Account)) {
			if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
				t.Errorf("%q can't be stored", s)
			}
		}
	})
}

// FuzzRequest holds that no request of a stranger's ends in a 5xx or a panic,
// and that every answer but 204 is JSON.
func FuzzRequest(f *testing.F) {
	a := gateway.DefaultAgent()
	a.ID, a.Name, a.SystemPrompt, a.Confirm = "11111111-1111-4111-8111-111111111111", "x", "y", true
	agent := "/api/v1/agents/" + a.ID.String()
	run := agent + "/runs/run_1"
	for _, path := range []string{
		"/api/v1/agents", agent, "/api/v1/agent_templates", agent + "/runs", run, run + "/actions",
		"/api/v1/sandbox/acc_try/messages", "/api/v1/sandbox/acc_try/messages?phone_number=%2B336&limit=9e9", "/api/v1/agents/%00/runs/%zz",
	} {
		for _, method := range []string{"GET", "POST", "PATCH", "DELETE", "PUT"} {
			for _, body := range []string{
				``, `{}`, `{"agent":{"name":1}}`, `{"run":{"input":[]}}`, `{"actions":[{"index":0,"status":"confirmed"}]}`,
				`{"message":{"from":"+33612345678","text":"Hi"}}`, "\xff", `{"run":{"input":"x","metadata":{"conversation_key":1e400}}}`,
			} {
				f.Add(method, path, []byte(body))
			}
		}
	}
	f.Fuzz(func(t *testing.T, method, path string, body []byte) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(string(body)))
		if err != nil {
			return // such a request does not reach a server
		}
		m := newMemory()
		m.agents = []gateway.Agent{a}
		m.runs = []gateway.Run{{ID: "run_1", Agent: a.ID, Trigger: gateway.TriggerAPI, Input: json.RawMessage(`{}`)}}
		m.complete(true)
		w := httptest.NewRecorder()
		newEcho(m).ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError {
			t.Errorf("%s %q %q: %d %s", method, path, body, w.Code, w.Body)
		}
		if w.Code != http.StatusNoContent && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %q %q: %d %q is not JSON", method, path, body, w.Code, w.Body)
		}
	})
}
