package whatsrb

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

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
