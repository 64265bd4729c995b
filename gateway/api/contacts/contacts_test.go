package contacts

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/api/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	concierge = gateway.AgentID("11111111-1111-4111-8111-111111111111")
	forgetful = gateway.AgentID("22222222-2222-4222-8222-222222222222") // of the same account, keeps nothing
	elsewhere = gateway.AgentID("33333333-3333-4333-8333-333333333333") // of another account
)

// memory is every part of the API, over maps. It follows the rules that the
// interfaces state.
type memory struct {
	people   []gateway.Contact // newest first
	agents   map[gateway.AgentID]gateway.Agent
	kept     map[string]gateway.ContactMemory
	contexts map[string]Context
	skipped  []gateway.Message
	err      error // of every read that a client may ask for
}

func newMemory() *memory {
	return &memory{
		people: []gateway.Contact{
			{ID: "ctc_ada", Account: "acc_try", Address: gateway.Address{Phone: "+33612345678", LID: "987"}, Name: "Ada", Tags: []string{"vip"}},
			{ID: "ctc_group", Account: "acc_try", Address: gateway.Address{Group: "120363"}},
			{ID: "ctc_ada2", Account: "acc_other", Address: gateway.Address{Phone: "+33612345678"}, Name: "Ada"},
		},
		agents: map[gateway.AgentID]gateway.Agent{
			concierge: {ID: concierge, Account: "acc_try", ContactMemory: 40},
			forgetful: {ID: forgetful, Account: "acc_try"},
			elsewhere: {ID: elsewhere, Account: "acc_other", ContactMemory: 40},
		},
		kept: map[string]gateway.ContactMemory{}, contexts: map[string]Context{},
	}
}

func (m *memory) api() *API { return &API{People: m, Agents: m, Memories: m, Contexts: m, Messages: m} }

func missing(what string) error { return &gateway.Error{Kind: gateway.NotFound, Msg: "no " + what} }

func key(agent gateway.AgentID, contact gateway.ContactID) string {
	return string(agent) + "/" + string(contact)
}

func (m *memory) Contact(_ context.Context, id gateway.ContactID) (gateway.Contact, error) {
	for _, c := range m.people {
		if c.ID == id {
			return c, nil
		}
	}
	return gateway.Contact{}, missing("contact")
}

func (m *memory) Contacts(_ context.Context, phone string, after gateway.ContactID, limit int) ([]gateway.Contact, int, error) {
	if m.err != nil {
		return nil, 0, m.err
	}
	out := slices.DeleteFunc(slices.Clone(m.people), func(c gateway.Contact) bool { return phone != "" && c.Address.Phone != phone })
	total := len(out)
	if after != "" {
		i := slices.IndexFunc(out, func(c gateway.Contact) bool { return c.ID == after })
		if i < 0 {
			return nil, 0, missing("contact")
		}
		out = out[i+1:]
	}
	return out[:min(len(out), limit)], total, nil
}

func (m *memory) Skipped(_ context.Context, c *gateway.Contact, limit int) ([]gateway.Message, error) {
	out := slices.DeleteFunc(slices.Clone(m.skipped), func(x gateway.Message) bool { return x.Contact != c.ID })
	return out[:min(len(out), limit)], m.err
}

func (m *memory) SetContactTags(_ context.Context, account gateway.AccountID, peer gateway.Address, tags []string) ([]string, error) {
	if err := gateway.CheckTags(tags); err != nil {
		return nil, err
	}
	tags = slices.Compact(slices.Sorted(slices.Values(tags)))
	for i := range m.people {
		if m.people[i].Account == account && m.people[i].Address == peer {
			m.people[i].Tags = tags
		}
	}
	return tags, nil
}

func (m *memory) Agent(_ context.Context, id gateway.AgentID) (gateway.Agent, error) {
	if a, ok := m.agents[id]; ok {
		return a, nil
	}
	return gateway.Agent{}, missing("agent")
}

func (m *memory) ContactMemory(_ context.Context, agent gateway.AgentID, contact gateway.ContactID) (gateway.ContactMemory, error) {
	if m.err != nil {
		return gateway.ContactMemory{}, m.err
	}
	if x, ok := m.kept[key(agent, contact)]; ok {
		return x, nil
	}
	return gateway.ContactMemory{}, missing("memory")
}

func (m *memory) PutContactMemory(_ context.Context, x *gateway.ContactMemory) error {
	x.UpdatedAt = time.Now()
	m.kept[key(x.Agent, x.Contact)] = *x
	if x.Text == "" {
		delete(m.kept, key(x.Agent, x.Contact))
	}
	return nil
}

func (m *memory) Context(_ context.Context, agent *gateway.Agent, contact *gateway.Contact) (*Context, error) {
	if m.err != nil {
		return nil, m.err
	}
	if x, ok := m.contexts[key(agent.ID, contact.ID)]; ok {
		return &x, nil
	}
	return nil, nil
}

func (m *memory) Forget(_ context.Context, contact gateway.ContactID, agent gateway.AgentID) error {
	for id := range m.agents {
		if agent == "" {
			delete(m.kept, key(id, contact))
		}
		if agent == "" || agent == id {
			delete(m.contexts, key(id, contact))
		}
	}
	return m.err
}

// do is what a story can have the double do.
func (m *memory) do(command string) bool {
	now := time.Now()
	remembered := Context{
		Summary: "Wants a quiet room.", Intent: "book_room", CompletedAt: now.Add(-time.Minute), ExpiresAt: now.Add(59 * time.Minute),
		Actions: []gateway.OutputAction{{Type: "hotel.room.book", Payload: map[string]any{"nights": 2}}, {Type: "system.noop.skip"}},
	}
	switch command {
	case "Ada's conversation is remembered":
		m.contexts[key(concierge, "ctc_ada")], m.contexts[key(forgetful, "ctc_ada")] = remembered, remembered
	case "it is a long one":
		remembered.Earlier = "Asked for prices in May."
		m.contexts[key(concierge, "ctc_ada")] = remembered
	case "its time is over":
		remembered.ExpiresAt = now
		m.contexts[key(concierge, "ctc_ada")] = remembered
	case "the agent learns of a dog":
		m.kept[key(concierge, "ctc_ada")] = gateway.ContactMemory{Agent: concierge, Contact: "ctc_ada", Text: "Has a dog.", UpdatedAt: now}
	case "Ada says what nobody answers":
		m.skipped = []gateway.Message{
			{ID: "msg_3", Contact: "ctc_ada", Type: gateway.TypeText, Text: "regret", State: gateway.StateIgnored, StateReason: gateway.ReasonRevoked, ReceivedAt: now, RevokedAt: now},
			{ID: "msg_2", Contact: "ctc_ada", Type: gateway.TypeText, Text: "thanks", State: gateway.StateIgnored, StateReason: gateway.ReasonGreeting, ReceivedAt: now},
			{ID: "msg_1", Contact: "ctc_ada", Type: gateway.TypeText, Text: "hello?", State: gateway.StateHeld, StateReason: gateway.ReasonPaused, ReceivedAt: now},
		}
	default:
		return false
	}
	return true
}

func TestContract(t *testing.T) {
	wiretest.Play(t, func() (func(*echo.Group), func(string) bool) {
		m := newMemory()
		return m.api().Mount, m.do
	})
}

func TestAListSaysHowManyThereAre(t *testing.T) {
	m := newMemory()
	for i := range maxListed {
		m.people = append(m.people, gateway.Contact{ID: gateway.ContactID(fmt.Sprint("ctc_", i))})
	}
	w := httptest.NewRecorder()
	wiretest.Echo(m.api().Mount).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/contacts", http.NoBody))
	var body struct {
		Data []contactBody
		Meta struct{ Total int }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.Data) != maxListed || body.Meta.Total != maxListed+3 {
		t.Errorf("%d of %d contacts, %v; want %d of %d", len(body.Data), body.Meta.Total, err, maxListed, maxListed+3)
	}
}

func TestWhatRemainsOfALifeIsRoundedUp(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for left, want := range map[time.Duration]int{time.Hour: 3600, 59*time.Second + time.Millisecond: 60, time.Millisecond: 1, 0: 0, -time.Hour: 0} {
		b := newContextBody(concierge, &Context{Summary: "x", ExpiresAt: now.Add(left)}, now)
		if b.Remaining != want || (b.Summary != nil) != (want > 0) {
			t.Errorf("of %s remain %d seconds, want %d; the summary is there: %v", left, b.Remaining, want, b.Summary != nil)
		}
	}
}

func TestADatabaseThatIsAwayIsNotNothingKept(t *testing.T) {
	agent := "/api/v1/contacts/ctc_ada/agents/" + concierge.String()
	for _, call := range []string{
		"GET /api/v1/contacts", "GET " + agent + "/memory", "GET " + agent + "/context",
		"DELETE " + agent + "/context", "DELETE /api/v1/contacts/ctc_ada/context",
	} {
		t.Run(call, func(t *testing.T) {
			m := newMemory()
			m.err = &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}
			method, path, _ := strings.Cut(call, " ")
			w := httptest.NewRecorder()
			wiretest.Echo(m.api().Mount).ServeHTTP(w, httptest.NewRequest(method, path, http.NoBody))
			if diff := cmp.Diff(`503 {"error":"The database is away"}`, fmt.Sprint(w.Code, " ", w.Body)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestValidateNamesTheMissingPart(t *testing.T) {
	wiretest.Parts(t, func() *API { return newMemory().api() })
}
