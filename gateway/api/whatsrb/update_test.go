package whatsrb

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/labstack/echo/v4"

	"wagent/gateway"
)

// meddler has somebody else change the agent just before our change.
type meddler struct {
	*memory
	times int
}

func (m *meddler) UpdateAgent(ctx context.Context, a *gateway.Agent) error {
	if m.times > 0 {
		m.times--
		other := m.agents[0]
		other.Description = "theirs"
		if err := m.memory.UpdateAgent(ctx, &other); err != nil {
			return err
		}
	}
	return m.memory.UpdateAgent(ctx, a)
}

func TestTwoChangesOfDifferentSettingsBothHold(t *testing.T) {
	for name, tt := range map[string]struct{ times, want int }{
		"one came first": {1, http.StatusOK},
		"they never end": {maxUpdates, http.StatusConflict},
	} {
		t.Run(name, func(t *testing.T) {
			a := gateway.DefaultAgent()
			a.ID, a.Name, a.SystemPrompt, a.UpdatedAt = gateway.NewAgentID(), "before", "p", time.Now()
			m := &meddler{memory: &memory{agents: []gateway.Agent{a}}, times: tt.times}
			h := API{Agents: m, Editor: m, Accounts: m, Runs: m, Runner: m, Sandbox: m}
			c := echo.New().NewContext(httptest.NewRequest(http.MethodPatch, "/", strings.NewReader(`{"agent":{"name":"ours"}}`)), httptest.NewRecorder())
			c.SetParamNames("agent")
			c.SetParamValues(a.ID.String())
			err := h.updateAgent(c)
			if tt.want == http.StatusConflict {
				if gateway.KindOf(err) != gateway.Conflict {
					t.Errorf("updateAgent = %v, want a conflict", err)
				}
				return
			}
			if err != nil || m.agents[0].Name != "ours" || m.agents[0].Description != "theirs" {
				t.Errorf("updateAgent = %v, the agent is %q, %q", err, m.agents[0].Name, m.agents[0].Description)
			}
		})
	}
}

func TestWhatIsTakenAndNotShownIsKept(t *testing.T) {
	m := &memory{}
	h := API{Agents: m, Editor: m, Accounts: m, Runs: m, Runner: m, Sandbox: m}
	body := `{"agent":{"name":"a","system_prompt":"p","max_wait_seconds":120,"max_batch_messages":5,"on_new_message":"supersede","max_supersedes":100}}`
	if err := h.createAgent(echo.New().NewContext(httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)), httptest.NewRecorder())); err != nil {
		t.Fatal(err)
	}
	a := m.agents[0]
	if a.MaxWait != 2*time.Minute || a.MaxBatch != 5 || a.OnNewMessage != gateway.Supersede || a.MaxSupersedes != 100 {
		t.Errorf("the agent is %+v", a)
	}
}

// Every setting that the contract does not have, as a client gives it.
const ours = `"models":["a/b","c/d","e/f"],
	"inbound_config":{"trigger_on":"text_only","ignore_emoji_only":true,"ignore_greetings":true},
	"model_settings":{"seed":0,"reasoning_effort":"high","thinking_budget_tokens":2048,"parallel_tool_calls":false},
	"spend_limits":{"runs_per_conversation_hour":30,"tokens_per_day":1000000000},
	"compaction":{"mode":"sliding_window","model":"a/c","max_tokens":8000},
	"memory_blocks":[{"label":"persona","value":"Zoë"},{"label":"policy","value":"No refunds."}],
	"contact_memory_limit":2000,
	"answers":{"keywords":["Refund"],"languages":["en","de"],"tags":["vip"],"hours":"closed"}`

func TestChangesOfWhatOnlyWeHave(t *testing.T) {
	all := gateway.DefaultAgent()
	all.Model, all.Fallbacks = "a/b", []string{"c/d", "e/f"}
	all.Filter = gateway.InboundFilter{TextOnly: true, IgnoreEmoji: true, IgnoreGreeting: true}
	all.Settings = gateway.ModelSettings{Seed: new(int64), ReasoningEffort: "high", ThinkingBudget: 2048, ParallelToolCalls: new(bool)}
	all.Spend = gateway.SpendLimits{RunsPerHour: 30, TokensPerDay: 1_000_000_000}
	all.Compaction = gateway.Compaction{Mode: gateway.CompactionSliding, Model: "a/c", MaxTokens: 8000}
	all.Blocks = []gateway.Block{{Label: "persona", Value: "Zoë"}, {Label: "policy", Value: "No refunds."}}
	all.ContactMemory = 2000
	all.Route = gateway.RouteRule{Keywords: []string{"Refund"}, Languages: []string{"en", "de"}, Tags: []string{"vip"}, Hours: gateway.HoursClosed}
	with := func(change func(*gateway.Agent)) gateway.Agent {
		a := all
		change(&a)
		return a
	}
	for name, tt := range map[string]struct {
		body string
		want gateway.Agent
	}{
		"none":        {`{"name":"n"}`, all},
		"a new model": {`{"model":"g/h"}`, with(func(a *gateway.Agent) { a.Model = "g/h" })},
		"one model":   {`{"models":["g/h"]}`, with(func(a *gateway.Agent) { a.Model, a.Fallbacks = "g/h", nil })},
		"null": {
			`{"models":null,"inbound_config":null,"model_settings":null,"spend_limits":null,"compaction":null,"memory_blocks":null,"contact_memory_limit":null,"answers":null}`,
			func() gateway.Agent { a := gateway.DefaultAgent(); a.Model = "a/b"; return a }(),
		},
		"no model beside one": {`{"model":"g/h","models":null}`, with(func(a *gateway.Agent) { a.Model, a.Fallbacks = "g/h", nil })},
		"the filter as it was shown": {
			`{"inbound_config":{"trigger_on":"all","min_message_length":2,"max_messages_per_hour":0,"ignore_patterns":[]}}`,
			with(func(a *gateway.Agent) { a.Filter.TextOnly, a.Filter.MinLength = false, 2 }),
		},
		"the filter with one of ours": {
			`{"inbound_config":{"trigger_on":"text_only","ignore_greetings":false}}`,
			with(func(a *gateway.Agent) { a.Filter.IgnoreGreeting = false }),
		},
		"one of the settings, which leaves the others at their defaults": {
			`{"model_settings":{"seed":-1},"spend_limits":{"tokens_per_day":5},"compaction":{"max_tokens":1000},"answers":{"hours":"open"}}`,
			with(func(a *gateway.Agent) {
				a.Settings, a.Spend = gateway.ModelSettings{Seed: new(int64(-1))}, gateway.SpendLimits{TokensPerDay: 5}
				a.Compaction, a.Route = gateway.Compaction{Mode: gateway.CompactionOff, MaxTokens: 1000}, gateway.RouteRule{Hours: gateway.HoursOpen}
			}),
		},
		"no blocks": {`{"memory_blocks":[]}`, with(func(a *gateway.Agent) { a.Blocks = nil })},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			e := newEcho(m)
			send := func(method, path, body string, status int) {
				t.Helper()
				w := httptest.NewRecorder()
				e.ServeHTTP(w, httptest.NewRequest(method, "/api/v1/agents"+path, strings.NewReader(`{"agent":`+body+`}`)))
				if w.Code != status {
					t.Fatalf("%s: %d %s", method, w.Code, w.Body)
				}
			}
			send(http.MethodPost, "", `{"name":"n","system_prompt":"p",`+ours+`}`, http.StatusCreated)
			send(http.MethodPatch, "/"+m.agents[0].ID.String(), tt.body, http.StatusOK)
			tt.want.Name, tt.want.SystemPrompt = "n", "p"
			got := m.agents[0]
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(gateway.Agent{}, "ID", "CreatedAt", "UpdatedAt")); diff != "" {
				t.Errorf("the agent (-want +got):\n%s", diff)
			}
		})
	}
}
