package windows

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/api/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is every part of the API, over slices. It follows the rules that the
// interfaces state.
type memory struct {
	mu            sync.Mutex
	accounts      map[gateway.AccountID]bool
	agents        map[gateway.AccountID]gateway.Agent
	conversations []gateway.Conversation
	overrides     []gateway.PeerWindow // oldest first
	waits         map[gateway.ConversationID]int
}

func newMemory() *memory {
	a := gateway.DefaultAgent()
	return &memory{
		accounts: map[gateway.AccountID]bool{"acc_try": true, "acc_mute": true},
		agents:   map[gateway.AccountID]gateway.Agent{"acc_try": a},
		waits:    map[gateway.ConversationID]int{},
	}
}

func (m *memory) api() *API { return &API{Conversations: m, Agents: m, Overrides: m, Answerer: m} }

func missing(what string) error { return &gateway.Error{Kind: gateway.NotFound, Msg: "no " + what} }

func (m *memory) Account(_ context.Context, id gateway.AccountID) (gateway.Account, error) {
	if !m.accounts[id] {
		return gateway.Account{}, missing("account")
	}
	return gateway.Account{ID: id}, nil
}

func (m *memory) DefaultAgent(_ context.Context, id gateway.AccountID) (gateway.Agent, error) {
	a, ok := m.agents[id]
	if !ok {
		return a, missing("agent")
	}
	return a, nil
}

func (m *memory) ConversationWith(_ context.Context, account gateway.AccountID, peer gateway.Address) (gateway.Conversation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conversations {
		if c.Account == account && c.Peer == peer {
			return c, nil
		}
	}
	return gateway.Conversation{}, missing("conversation")
}

func (m *memory) OpenConversation(ctx context.Context, account gateway.AccountID, peer gateway.Address) (gateway.Conversation, error) {
	if c, err := m.ConversationWith(ctx, account, peer); err == nil {
		return c, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := gateway.Conversation{ID: gateway.NewConversationID(), Account: account, Peer: peer}
	m.conversations = append(m.conversations, c)
	return c, nil
}

func (m *memory) Windowing(_ context.Context, id gateway.ConversationID) (gateway.Windowing, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.overrides {
		if o.Conversation == id {
			return gateway.Windowing{WindowOverride: o.WindowOverride}, nil
		}
	}
	return gateway.Windowing{}, nil
}

func (m *memory) WindowOverrides(_ context.Context, account gateway.AccountID, limit int) ([]gateway.PeerWindow, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []gateway.PeerWindow
	for _, o := range slices.Backward(m.overrides) {
		i := slices.IndexFunc(m.conversations, func(c gateway.Conversation) bool { return c.ID == o.Conversation })
		if c := m.conversations[i]; c.Account == account {
			o.Peer = c.Peer
			out = append(out, o)
		}
	}
	return out[:min(len(out), limit)], len(out), nil
}

func (m *memory) PutWindowOverride(_ context.Context, id gateway.ConversationID, o gateway.WindowOverride) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.overrides = slices.DeleteFunc(m.overrides, func(p gateway.PeerWindow) bool { return p.Conversation == id })
	if o != (gateway.WindowOverride{}) {
		m.overrides = append(m.overrides, gateway.PeerWindow{Conversation: id, WindowOverride: o})
	}
	return nil
}

func (m *memory) AnswerNow(_ context.Context, id gateway.ConversationID) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.waits[id]
	m.waits[id] = 0
	return n, nil
}

// do is what a story can have the double do.
func (m *memory) do(command string) bool {
	ctx := context.Background()
	switch command {
	case "33612345678 writes twice":
		c, err := m.OpenConversation(ctx, "acc_try", gateway.Address{Phone: "+33612345678"})
		m.waits[c.ID] = 2
		return err == nil
	case "somebody without a number has a window":
		c, err := m.OpenConversation(ctx, "acc_try", gateway.Address{LID: "98765"})
		return err == nil && m.PutWindowOverride(ctx, c.ID, gateway.WindowOverride{MaxBatch: new(1)}) == nil
	default:
		return false
	}
}

func TestContract(t *testing.T) {
	wiretest.Play(t, func() (func(*echo.Group), func(string) bool) {
		m := newMemory()
		return m.api().Mount, m.do
	})
}

func TestAListSaysHowManyThereAre(t *testing.T) {
	m := newMemory()
	for i := range maxListed + 1 {
		c, err := m.OpenConversation(t.Context(), "acc_try", gateway.Address{LID: fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		m.overrides = append(m.overrides, gateway.PeerWindow{Conversation: c.ID, WindowOverride: gateway.WindowOverride{MaxBatch: new(1)}})
	}
	w := httptest.NewRecorder()
	wiretest.Echo(m.api().Mount).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/business_accounts/acc_try/conversation_windows", http.NoBody))
	var body struct {
		Data []windowBody
		Meta struct{ Total int }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.Data) != maxListed || body.Meta.Total != maxListed+1 {
		t.Errorf("%d of %d windows, %v; want %d of %d", len(body.Data), body.Meta.Total, err, maxListed, maxListed+1)
	}
}

// away fails as the database does.
type away struct{ *memory }

var errAway = &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}

func (away) DefaultAgent(context.Context, gateway.AccountID) (gateway.Agent, error) {
	return gateway.Agent{}, errAway
}

func (away) ConversationWith(context.Context, gateway.AccountID, gateway.Address) (gateway.Conversation, error) {
	return gateway.Conversation{}, errAway
}

func (away) OpenConversation(context.Context, gateway.AccountID, gateway.Address) (gateway.Conversation, error) {
	return gateway.Conversation{}, errAway
}

func (away) Windowing(context.Context, gateway.ConversationID) (gateway.Windowing, error) {
	return gateway.Windowing{}, errAway
}

func (away) WindowOverrides(context.Context, gateway.AccountID, int) ([]gateway.PeerWindow, int, error) {
	return nil, 0, errAway
}

func (away) PutWindowOverride(context.Context, gateway.ConversationID, gateway.WindowOverride) error {
	return errAway
}

func (away) AnswerNow(context.Context, gateway.ConversationID) (int, error) { return 0, errAway }

func TestADatabaseThatIsAwayIsNotNothing(t *testing.T) {
	const all, one = "/api/v1/business_accounts/acc_try/conversation_windows", "/api/v1/business_accounts/acc_try/conversation_windows/33612345678"
	for name, tt := range map[string]struct {
		breakIt func(*API, *memory)
		calls   []string
	}{
		"agents":        {func(h *API, _ *memory) { h.Agents = away{} }, []string{"GET " + all, "GET " + one, "PUT " + one, "POST " + one}},
		"conversations": {func(h *API, m *memory) { h.Conversations = away{m} }, []string{"GET " + one, "PUT " + one, "PUT " + one + ` {"max_batch_messages":2}`, "DELETE " + one, "POST " + one}},
		"overrides":     {func(h *API, _ *memory) { h.Overrides = away{} }, []string{"GET " + all, "GET " + one, "PUT " + one, "DELETE " + one}},
		"windows":       {func(h *API, _ *memory) { h.Answerer = away{} }, []string{"POST " + one}},
	} {
		for _, call := range tt.calls {
			t.Run(name+" "+call, func(t *testing.T) {
				m := newMemory()
				if _, err := m.OpenConversation(t.Context(), "acc_try", gateway.Address{Phone: "+33612345678"}); err != nil {
					t.Fatal(err)
				}
				h := m.api()
				tt.breakIt(h, m)
				method, rest, _ := strings.Cut(call, " ")
				path, body, _ := strings.Cut(rest, " ")
				w := httptest.NewRecorder()
				wiretest.Echo(h.Mount).ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
				if diff := cmp.Diff(`503 {"error":"The database is away"}`, fmt.Sprint(w.Code, " ", w.Body)); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		}
	}
}

func TestWhatIsSetIsWhatIsKept(t *testing.T) {
	m := newMemory()
	w := httptest.NewRecorder()
	body := `{"debounce_seconds":5,"max_wait_seconds":40,"max_batch_messages":3,"on_new_message":"supersede","max_supersedes":0}`
	wiretest.Echo(m.api().Mount).ServeHTTP(w, httptest.NewRequest(http.MethodPut,
		"/api/v1/business_accounts/acc_try/conversation_windows/33612345678", strings.NewReader(body)))
	want := gateway.WindowOverride{
		Quiet: new(5 * time.Second), MaxWait: new(40 * time.Second), MaxBatch: new(3), OnNewMessage: new(gateway.Supersede), MaxSupersedes: new(0),
	}
	if len(m.overrides) != 1 {
		t.Fatalf("%d %s, and %d overrides", w.Code, w.Body, len(m.overrides))
	}
	if diff := cmp.Diff(want, m.overrides[0].WindowOverride); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestValidateNamesTheMissingPart(t *testing.T) {
	wiretest.Parts(t, func() *API { return newMemory().api() })
}
