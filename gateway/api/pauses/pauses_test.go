package pauses

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
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
	accounts      map[gateway.AccountID]gateway.Account
	conversations []gateway.Conversation
	pauses        []gateway.Pause // oldest first; their number is their place, from 1
}

func newMemory() *memory {
	return &memory{accounts: map[gateway.AccountID]gateway.Account{
		"acc_try":   {ID: "acc_try", Kind: gateway.Sandbox},
		"acc_phone": {ID: "acc_phone", Kind: gateway.LinkedDevice, Takeover: 2 * time.Hour},
	}}
}

func (m *memory) api() *API { return &API{Conversations: m, Pauses: m, Editor: m} }

func missing(what string) error { return &gateway.Error{Kind: gateway.NotFound, Msg: "no " + what} }

func (m *memory) Account(_ context.Context, id gateway.AccountID) (gateway.Account, error) {
	if a, ok := m.accounts[id]; ok {
		return a, nil
	}
	return gateway.Account{}, missing("account")
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

func active(p *gateway.Pause) bool { return p.ResumedAt.IsZero() && p.ExpiresAt.After(time.Now()) }

func (m *memory) peer(p gateway.Pause) (gateway.PausedPeer, gateway.AccountID) {
	i := slices.IndexFunc(m.conversations, func(c gateway.Conversation) bool { return c.ID == p.Conversation })
	return gateway.PausedPeer{Pause: p, Peer: m.conversations[i].Peer}, m.conversations[i].Account
}

func (m *memory) Pauses(_ context.Context, account gateway.AccountID, includeExpired bool, limit int) ([]gateway.PausedPeer, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []gateway.PausedPeer
	for _, p := range slices.Backward(m.pauses) {
		if pp, of := m.peer(p); of == account && (includeExpired || active(&p)) {
			out = append(out, pp)
		}
	}
	return out[:min(len(out), limit)], len(out), nil
}

func (m *memory) PauseByID(_ context.Context, account gateway.AccountID, id int64) (gateway.PausedPeer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id < 1 || id > int64(len(m.pauses)) {
		return gateway.PausedPeer{}, missing("pause")
	}
	pp, of := m.peer(m.pauses[id-1])
	if of != account {
		return gateway.PausedPeer{}, missing("pause")
	}
	return pp, nil
}

func (m *memory) ActivePause(_ context.Context, id gateway.ConversationID) (gateway.PausedPeer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.pauses {
		if p.Conversation == id && active(&p) {
			pp, _ := m.peer(p)
			return pp, nil
		}
	}
	return gateway.PausedPeer{}, missing("pause")
}

func (m *memory) PutPause(_ context.Context, p *gateway.Pause) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.pauses {
		if m.pauses[i].Conversation == p.Conversation && active(&m.pauses[i]) {
			if p.ExpiresAt.After(m.pauses[i].ExpiresAt) {
				m.pauses[i].ExpiresAt, m.pauses[i].Reason = p.ExpiresAt, p.Reason
			}
			*p = m.pauses[i]
			return nil
		}
	}
	p.ID = int64(len(m.pauses)) + 1
	m.pauses = append(m.pauses, *p)
	return nil
}

func (m *memory) ResumePause(ctx context.Context, account gateway.AccountID, id int64) (gateway.PausedPeer, error) {
	if _, err := m.PauseByID(ctx, account, id); err != nil {
		return gateway.PausedPeer{}, err
	}
	m.mu.Lock()
	if active(&m.pauses[id-1]) {
		m.pauses[id-1].ResumedAt = time.Now()
	}
	m.mu.Unlock()
	return m.PauseByID(ctx, account, id)
}

// do is what a story can have the double do.
func (m *memory) do(command string) bool {
	ctx := context.Background()
	put := func(peer gateway.Address, reason gateway.PauseReason, d time.Duration) bool {
		c, err := m.OpenConversation(ctx, "acc_phone", peer)
		return err == nil && m.PutPause(ctx, &gateway.Pause{
			Conversation: c.ID, Reason: reason, ExpiresAt: time.Now().Add(d), CreatedAt: time.Now(),
		}) == nil
	}
	switch command {
	case "the owner's phone writes to somebody without a number":
		return put(gateway.Address{LID: "98765"}, gateway.PauseOutbound, time.Hour)
	case "the agent hands a conversation over":
		return put(gateway.Address{Phone: "+33687654321"}, gateway.PauseAgent, time.Hour)
	case "the time of the last pause is over":
		m.pauses[len(m.pauses)-1].ExpiresAt = time.Now().Add(-time.Minute)
		return true
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
		m.pauses = append(m.pauses, gateway.Pause{ID: int64(i + 1), Conversation: c.ID, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)})
	}
	w := httptest.NewRecorder()
	wiretest.Echo(m.api().Mount).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/business_accounts/acc_try/conversation_pauses", http.NoBody))
	var body struct {
		Data []pauseBody
		Meta struct{ Total int }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.Data) != maxListed || body.Meta.Total != maxListed+1 {
		t.Errorf("%d of %d pauses, %v; want %d of %d", len(body.Data), body.Meta.Total, err, maxListed, maxListed+1)
	}
}

func TestWhatRemainsIsRoundedUp(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for left, want := range map[time.Duration]int{
		30 * time.Minute: 30, 29*time.Minute + time.Second: 30, time.Millisecond: 1, 0: 0, -time.Hour: 0,
	} {
		if got := newPauseBody(&gateway.PausedPeer{Pause: gateway.Pause{ExpiresAt: now.Add(left)}}, now).Remaining; got != want {
			t.Errorf("of %s remain %d minutes, want %d", left, got, want)
		}
	}
}

// away fails as the database does.
type away struct{ *memory }

var errAway = &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}

func (away) Account(context.Context, gateway.AccountID) (gateway.Account, error) {
	return gateway.Account{}, errAway
}

func (away) ActivePause(context.Context, gateway.ConversationID) (gateway.PausedPeer, error) {
	return gateway.PausedPeer{}, errAway
}

func TestADatabaseThatIsAwayIsNotNobodyPaused(t *testing.T) {
	for name, breakIt := range map[string]func(*API){
		"accounts": func(h *API) { h.Conversations = away{} },
		"pauses":   func(h *API) { h.Pauses = away{} },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			if _, err := m.OpenConversation(t.Context(), "acc_try", gateway.Address{Phone: "+33612345678"}); err != nil {
				t.Fatal(err)
			}
			h := m.api()
			breakIt(h)
			w := httptest.NewRecorder()
			wiretest.Echo(h.Mount).ServeHTTP(w, httptest.NewRequest(http.MethodGet,
				"/api/v1/business_accounts/acc_try/conversation_pauses/check?phone_number=33612345678", nil))
			if diff := cmp.Diff(`503 {"error":"The database is away"}`, fmt.Sprint(w.Code, " ", w.Body)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestValidateNamesTheMissingPart(t *testing.T) {
	wiretest.Parts(t, func() *API { return newMemory().api() })
}
