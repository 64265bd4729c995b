package whatsrb

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"wagent/gateway"
)

// expire ends the last run's time for decisions.
func (m *memory) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.runs[len(m.runs)-1]
	for i := range r.Actions {
		if a := &r.Actions[i]; a.Status == gateway.ActionPending {
			a.Status, a.DecidedAt, a.DecidedBy = gateway.ActionExpired, time.Now(), "timeout"
		}
	}
	r.ActionsDecided = time.Now()
}

// arrive has the last agent answer a customer's message.
func (m *memory) arrive() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs = append(m.runs, gateway.Run{
		ID: gateway.NewRunID(), Agent: m.agents[len(m.agents)-1].ID, Trigger: gateway.TriggerInbound, Status: gateway.RunRunning,
		Input: json.RawMessage(`{"last_message":"Is my room ready?"}`), StartedAt: time.Now(), CreatedAt: time.Now(),
	})
}

func TestAListIsTheLastFifty(t *testing.T) {
	m := newMemory()
	agent := gateway.DefaultAgent()
	agent.ID, agent.Name, agent.SystemPrompt = gateway.NewAgentID(), "Support", "Help."
	if err := m.CreateAgent(t.Context(), &agent); err != nil {
		t.Fatal(err)
	}
	m.fill(51)
	w := httptest.NewRecorder()
	newEcho(m).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/agents/"+agent.ID.String()+"/runs", nil))
	var got struct {
		Data []struct{ Error string }
		Meta struct{ Total int }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
	if n := len(got.Data); n != 50 || got.Meta.Total != 51 || got.Data[0].Error != "run 50" || got.Data[49].Error != "run 1" {
		t.Errorf("%d runs of %d, from %q to %q", n, got.Meta.Total, got.Data[0].Error, got.Data[n-1].Error)
	}
}

// fill makes n runs of the last agent that failed.
func (m *memory) fill(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range n {
		m.runs = append(m.runs, gateway.Run{
			ID: gateway.NewRunID(), Agent: m.agents[len(m.agents)-1].ID, Trigger: gateway.TriggerAPI, Status: gateway.RunFailed, Error: fmt.Sprint("run ", i),
			Input: json.RawMessage(`{}`), CreatedAt: time.Now(),
		})
	}
}
