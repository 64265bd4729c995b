package whatsrb

import (
	"bytes"
	"encoding/json"
	"sync"
	"time"

	"wagent/gateway"
)

// encodedAgents keeps the JSON of agents: a list of a thousand is a megabyte,
// and most of them have not changed since the last one.
type encodedAgents struct {
	mu sync.Mutex
	by map[gateway.AgentID]encodedAgent
}

type encodedAgent struct {
	updated time.Time // no two states of an agent have the same
	json    json.RawMessage
}

func (e *encodedAgents) list(agents []gateway.Agent) ([]json.RawMessage, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.by == nil || len(e.by) > 2*len(agents)+1000 { // most of what is kept is of agents that are gone
		e.by = map[gateway.AgentID]encodedAgent{}
	}
	out := make([]json.RawMessage, len(agents))
	for i := range agents {
		a := &agents[i]
		known, ok := e.by[a.ID]
		if !ok || !known.updated.Equal(a.UpdatedAt) {
			b, err := encodeAgent(a)
			if err != nil {
				return nil, err
			}
			known = encodedAgent{a.UpdatedAt, b}
			e.by[a.ID] = known
		}
		out[i] = known.json
	}
	return out, nil
}

func encodeAgent(a *gateway.Agent) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // as wire does
	err := enc.Encode(newAgentBody(a))
	return bytes.TrimSpace(b.Bytes()), err
}
