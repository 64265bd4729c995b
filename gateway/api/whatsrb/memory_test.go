package whatsrb

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"wagent/gateway"
)

// memory is every part of the API, over maps. It follows the rules that the
// interfaces state.
type memory struct {
	mu       sync.Mutex
	accounts map[gateway.AccountID]gateway.Account
	deleted  gateway.AccountID // is not in use
	agents   []gateway.Agent
	runs     []gateway.Run // oldest first
	messages []gateway.Message
}

func newMemory() *memory {
	return &memory{accounts: map[gateway.AccountID]gateway.Account{
		"acc_try":  {ID: "acc_try", Kind: gateway.Sandbox},
		"acc_main": {ID: "acc_main", Kind: gateway.CloudAPI},
	}}
}

func (m *memory) api() *API {
	return &API{Agents: m, Editor: m, Accounts: m, Runs: m, Runner: m, Sandbox: m}
}

func (m *memory) find(id gateway.AgentID) (int, error) {
	i := slices.IndexFunc(m.agents, func(a gateway.Agent) bool { return a.ID == id })
	if i < 0 {
		return 0, &gateway.Error{Kind: gateway.NotFound, Msg: "no agent " + id.String()}
	}
	return i, nil
}

func (m *memory) Agents(context.Context) ([]gateway.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.agents), nil
}

func (m *memory) Agent(_ context.Context, id gateway.AgentID) (gateway.Agent, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.find(id)
	if err != nil {
		return gateway.Agent{}, err
	}
	return m.agents[i], nil
}

func (m *memory) CreateAgent(_ context.Context, a *gateway.Agent) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents = append(m.agents, *a)
	return nil
}

func (m *memory) UpdateAgent(_ context.Context, a *gateway.Agent) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.editable(a.ID)
	if err != nil {
		return err
	}
	if !a.UpdatedAt.Equal(m.agents[i].UpdatedAt) {
		return &gateway.Error{Kind: gateway.Conflict, Msg: "changed meanwhile"}
	}
	a.UpdatedAt = time.Now()
	m.agents[i] = *a
	return nil
}

func (m *memory) DeleteAgent(_ context.Context, id gateway.AgentID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.editable(id)
	if err != nil {
		return err
	}
	m.agents = slices.Delete(m.agents, i, i+1)
	return nil
}

func (m *memory) editable(id gateway.AgentID) (int, error) {
	i, err := m.find(id)
	if err != nil {
		return 0, err
	}
	if m.agents[i].Key != "" {
		return 0, &gateway.Error{Kind: gateway.Conflict, Msg: "the agent is declared in the configuration file"}
	}
	return i, nil
}

func (m *memory) Account(_ context.Context, id gateway.AccountID) (gateway.Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.accounts[id]
	if !ok {
		return a, &gateway.Error{Kind: gateway.NotFound, Msg: "no account"}
	}
	return a, nil
}

func (m *memory) Accounts(context.Context) ([]gateway.Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []gateway.Account
	for id, a := range m.accounts {
		if id != m.deleted {
			out = append(out, a)
		}
	}
	return out, nil
}

func (m *memory) run(agent gateway.AgentID, id gateway.RunID) (*gateway.Run, error) {
	i := slices.IndexFunc(m.runs, func(r gateway.Run) bool { return r.ID == id && r.Agent == agent })
	if i < 0 {
		return nil, &gateway.Error{Kind: gateway.NotFound, Msg: "no run"}
	}
	return &m.runs[i], nil
}

func (m *memory) Run(_ context.Context, agent gateway.AgentID, id gateway.RunID) (gateway.Run, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, err := m.run(agent, id)
	if err != nil {
		return gateway.Run{}, err
	}
	return *r, nil
}

func (m *memory) Runs(_ context.Context, f gateway.RunFilter) ([]gateway.Run, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []gateway.Run
	total, passed := 0, f.Before == ""
	for _, r := range slices.Backward(m.runs) {
		if r.Agent != f.Agent {
			continue
		}
		total++
		if passed && len(out) < f.Limit {
			out = append(out, r)
		}
		passed = passed || r.ID == f.Before
	}
	if !passed {
		return nil, 0, &gateway.Error{Kind: gateway.NotFound, Msg: "There is no such run"}
	}
	return out, total, nil
}

func (m *memory) Start(_ context.Context, _ gateway.RunID, a *gateway.Agent, input, metadata json.RawMessage) (gateway.Run, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !json.Valid(input) || metadata != nil && !json.Valid(metadata) {
		return gateway.Run{}, fmt.Errorf("not JSON: %q %q", input, metadata)
	}
	m.runs = append(m.runs, gateway.Run{
		ID: gateway.NewRunID(), Agent: a.ID, Trigger: gateway.TriggerAPI, Status: gateway.RunPending,
		Input: input, Metadata: metadata, CreatedAt: time.Now(),
	})
	return m.runs[len(m.runs)-1], nil
}

func (m *memory) Decide(_ context.Context, agent gateway.AgentID, id gateway.RunID, ds []gateway.Decision, by string) (gateway.Run, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, err := m.run(agent, id)
	if err != nil {
		return gateway.Run{}, err
	}
	invalid := func(msg string) error {
		return &gateway.Error{Kind: gateway.Invalid, Msg: "Validation failed", Details: map[string][]string{"actions": {msg}}}
	}
	switch {
	case r.Status != gateway.RunCompleted:
		return gateway.Run{}, invalid(fmt.Sprintf("the run is %s, not completed", r.Status))
	case len(r.Actions) == 0 || r.Actions[0].Status == gateway.ActionAuto:
		return gateway.Run{}, invalid("the run has no actions to confirm")
	}
	actions := slices.Clone(r.Actions)
	pending, seen := len(actions), map[int]bool{}
	for _, d := range ds {
		switch {
		case d.Index < 0 || d.Index >= len(actions) || seen[d.Index]:
			return gateway.Run{}, invalid(fmt.Sprintf("index %d is not that of one action", d.Index))
		case actions[d.Index].Status != gateway.ActionPending:
			return gateway.Run{}, &gateway.Error{Kind: gateway.Conflict, Msg: fmt.Sprintf("action %d is already %s", d.Index, actions[d.Index].Status)}
		}
		seen[d.Index] = true
		actions[d.Index].Status, actions[d.Index].DecidedBy, actions[d.Index].DecidedAt = d.Status, by, time.Now()
		actions[d.Index].Request = d.Request
	}
	for _, a := range actions {
		if a.Status != gateway.ActionPending {
			pending--
		}
	}
	r.Actions = actions
	if pending == 0 {
		r.ActionsDecided = time.Now()
	}
	return *r, nil
}

func (m *memory) Inject(_ context.Context, account gateway.AccountID, from, name, text string) (gateway.Outcome, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.messages = append(m.messages,
		gateway.Message{
			ID: gateway.NewMessageID(), Account: account, Contact: gateway.ContactID(from), Direction: gateway.In,
			Type: gateway.TypeText, Text: text, State: gateway.StateBatched, SentAt: now, ReceivedAt: now,
		},
		gateway.Message{
			ID: gateway.NewMessageID(), Account: account, Contact: gateway.ContactID(from), Direction: gateway.Out,
			Type: gateway.TypeText, Text: "Hello " + name, Status: gateway.StatusSent, SentAt: now, ReceivedAt: now, Run: gateway.NewRunID(),
		})
	return gateway.OutcomeStored, "sandbox." + text, nil
}

func (m *memory) SandboxMessages(_ context.Context, account gateway.AccountID, phone string, limit int) ([]gateway.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []gateway.Message
	for _, msg := range slices.Backward(m.messages) {
		if msg.Account == account && (phone == "" || msg.Contact == gateway.ContactID(phone)) && len(out) < limit {
			out = append(out, msg)
		}
	}
	return out, nil
}

// complete ends the last run as the dispatcher would.
func (m *memory) complete(confirm bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.runs[len(m.runs)-1]
	r.Status, r.StopReason = gateway.RunCompleted, gateway.StopEndTurn
	r.Output = &gateway.Output{
		Intent: "refund", Confidence: 0.95, Language: "en", SuggestedReply: "A colleague looks at <it> & answers.",
		AnalysisSummary: "Wants money back.", ContextSummary: "Asked for a refund of order 1234.",
		Actions: []gateway.OutputAction{
			{Type: "support.refund.process", Payload: map[string]any{"order": "1234"}},
			{Type: "support.ticket.create"},
			{Type: gateway.ActionSkip},
		},
	}
	r.Actions = nil
	for i, a := range r.Output.Actions {
		action := gateway.Action{Run: r.ID, Index: i, Type: a.Type, Payload: a.Payload, Status: gateway.ActionAuto}
		switch {
		case confirm && a.Type == gateway.ActionSkip:
			action.Status, action.DecidedAt, action.DecidedBy = gateway.ActionConfirmed, time.Now(), "system"
		case confirm:
			action.Status = gateway.ActionPending
		}
		r.Actions = append(r.Actions, action)
	}
	r.Model, r.InputTokens, r.OutputTokens = "openai/gpt-4o-mini", 210, 64
	r.Latency, r.Duration = 812*time.Millisecond, 1430*time.Millisecond
	r.StartedAt, r.CompletedAt = time.Now(), time.Now()
}

// fail ends the last run with an error.
func (m *memory) fail() {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.runs[len(m.runs)-1]
	r.Status, r.StopReason, r.Error = gateway.RunFailed, gateway.StopLLMError, "the model did not answer"
	r.StartedAt, r.CompletedAt = time.Now(), time.Now()
}

// route has the last run answered by a rule.
func (m *memory) route() {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &m.runs[len(m.runs)-1]
	r.Routed, r.Supersedes, r.Notes = "keyword", 2, []string{"dropped an action of a type that is not allowed"}
}

// declare makes the last agent one of the configuration file.
func (m *memory) declare() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.agents[len(m.agents)-1].Key = "concierge"
}

// answered has an endpoint answer to the last action of the last run.
func (m *memory) answered() {
	a := &m.runs[len(m.runs)-1].Actions
	x := &(*a)[len(*a)-1]
	x.Result, x.AnsweredBy, x.AnsweredAt = json.RawMessage(`{"ticket":7}`), 3, time.Now()
}
