package webhook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wagent/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Store that one process delivers from.
type memory struct {
	mu         sync.Mutex
	hooks      map[int64]gateway.Webhook
	deliveries map[gateway.DeliveryID]gateway.Delivery
	attempts   []gateway.Attempt
	settleErrs int // so many settles fail
	readErrs   int // so many looks at what is due fail
	holdErrs   int // so many times lanes can not be held
	share      int // of the lanes; 0: all
	mine       map[int64]bool
	released   []int64
	stolen     bool // others hold all lanes
	left       bool
	asked      []gateway.DeliveryAsk
	answers    []gateway.ActionAnswer
	answerErrs int // so many times answers can not be kept
}

func newMemory(hook gateway.Webhook, ds ...gateway.Delivery) *memory {
	m := &memory{hooks: map[int64]gateway.Webhook{hook.ID: hook}, deliveries: map[gateway.DeliveryID]gateway.Delivery{}}
	for _, d := range ds {
		m.deliveries[d.ID] = d
	}
	return m
}

func (m *memory) HoldLanes(_ context.Context, _ string, _ time.Duration, leaving bool) (h gateway.LaneHold, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holdErrs > 0 {
		m.holdErrs--
		return h, errors.New("database is away")
	}
	if m.mine == nil || m.stolen {
		m.mine = map[int64]bool{}
	}
	h.Share = cmp.Or(m.share, gateway.Lanes)
	h.Kept = slices.Collect(maps.Keys(m.mine))
	if leaving {
		m.left, h.Share = true, 0
		return h, nil
	}
	for lane := range int64(gateway.Lanes) {
		if !m.mine[lane] && !m.stolen && !slices.Contains(m.released, lane) {
			m.mine[lane] = true
			h.Taken = append(h.Taken, lane)
		}
	}
	return h, nil
}

func (m *memory) ReleaseLanes(_ context.Context, _ string, lanes []int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, lane := range lanes {
		if m.mine[lane] {
			delete(m.mine, lane)
			m.released = append(m.released, lane)
		}
	}
	return nil
}

func (m *memory) FirstDue(_ context.Context, lanes []int64) (map[int64]time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[int64]time.Time{}
	for _, d := range m.pending() {
		h := m.hooks[d.Webhook]
		if at, ok := out[d.Webhook]; slices.Contains(lanes, h.Lane()) && h.Active && h.Disabled == "" && !h.Paused && (!ok || d.NextAt.Before(at)) {
			out[d.Webhook] = d.NextAt
		}
	}
	return out, nil
}

// pending are in the order in which they are due.
func (m *memory) pending() []gateway.Delivery {
	var out []gateway.Delivery
	for _, d := range m.deliveries {
		if d.State == gateway.DeliveryPending {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b gateway.Delivery) int {
		return cmp.Or(a.NextAt.Compare(b.NextAt), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return out
}

func (m *memory) DueDeliveries(_ context.Context, asks []gateway.DeliveryAsk) ([]gateway.Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.readErrs > 0 {
		m.readErrs--
		return nil, errors.New("database is away")
	}
	m.asked = append(m.asked, asks...)
	var out []gateway.Delivery
	for _, a := range asks {
		n := 0
		heads := map[gateway.ConversationID]gateway.Delivery{}
		for _, d := range m.pending() {
			if h, ok := heads[d.Conversation]; d.Webhook == a.Webhook && (!ok || d.CreatedAt.Before(h.CreatedAt)) {
				heads[d.Conversation] = d
			}
		}
		for _, d := range m.pending() {
			if d.Webhook != a.Webhook || d.NextAt.After(time.Now()) || n == a.Limit || a.Ordered && heads[d.Conversation].ID != d.ID {
				continue
			}
			n++
			out = append(out, d)
		}
	}
	return out, nil
}

func (m *memory) SettleDeliveries(_ context.Context, _ string, settled []gateway.Settlement, health []gateway.WebhookHealth) ([]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.settleErrs > 0 {
		m.settleErrs--
		return nil, errors.New("database is away")
	}
	stand := make([]bool, len(settled))
	for i, x := range settled {
		old, d := m.deliveries[x.Delivery.ID], x.Delivery
		stand[i] = old.State == gateway.DeliveryPending && old.Attempt == d.Attempt-1 ||
			old.State != gateway.DeliverySucceeded && d.State == gateway.DeliverySucceeded
		if stand[i] {
			m.deliveries[d.ID] = d
			m.attempts = append(m.attempts, x.Attempt)
		}
	}
	for _, x := range health {
		h := m.hooks[x.Webhook]
		h.FailingSince, h.RestsUntil = x.FailingSince, x.RestsUntil
		m.hooks[x.Webhook] = h
	}
	return stand, nil
}

func (m *memory) BuryDeliveries(context.Context, []int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.pending() {
		if h, ok := m.hooks[d.Webhook]; !ok || !h.Active || h.Disabled != "" {
			d.State = gateway.DeliveryDead
			m.deliveries[d.ID] = d
		}
	}
	return false, nil
}

func (m *memory) Webhooks(context.Context) ([]gateway.Webhook, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.hooks)), nil
}

func (m *memory) DisableWebhook(_ context.Context, id int64, url, reason string) error {
	m.change(id, func(h *gateway.Webhook) {
		if h.URL == url {
			h.Disabled = reason
		}
	})
	return nil
}

func (m *memory) AnswerActions(_ context.Context, answers []gateway.ActionAnswer) (replies bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answerErrs > 0 {
		m.answerErrs--
		return false, errors.New("database is away")
	}
	for _, a := range answers {
		m.answers = append(m.answers, a)
		replies = replies || a.Reply != ""
	}
	return replies, nil
}

// answered is what endpoints answered.
func (m *memory) answered() []gateway.ActionAnswer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.answers)
}

// change changes a webhook.
func (m *memory) change(id int64, to func(h *gateway.Webhook)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.hooks[id]
	to(&h)
	m.hooks[id] = h
}

func (m *memory) hook(id int64) gateway.Webhook {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hooks[id]
}

// add adds a delivery.
func (m *memory) add(d gateway.Delivery) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deliveries[d.ID] = d
}

func (m *memory) delivery(id gateway.DeliveryID) gateway.Delivery {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.deliveries[id]
}

func (m *memory) all() []gateway.Attempt {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]gateway.Attempt(nil), m.attempts...)
}

func testHook() gateway.Webhook {
	return gateway.Webhook{ID: 1, URL: "http://hook.test/in?token=hidden-query", Secret: "whsec_dGVzdC1zZWNyZXQ=", Active: true}
}

func testDelivery() gateway.Delivery {
	return gateway.Delivery{
		ID: "del_1", Webhook: 1, Event: gateway.EventRunCompleted, Run: "run_1", Action: -1, Conversation: "cnv_1",
		Body: json.RawMessage(`{"event":"agent_run.completed","data":{"id":"run_1"}}`), State: gateway.DeliveryPending,
		NextAt: time.Now(), CreatedAt: time.Now(),
	}
}

// pipes is a listener whose connections are in memory, so that they may be
// waited for in virtual time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serving serves h in memory and returns how to dial it.
func serving(t *testing.T, h http.HandlerFunc) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = p
	s.Start()
	t.Cleanup(s.Close)
	return p.dial
}

// running is a Deliverer at work.
type running struct {
	*Deliverer
	log  *bytes.Buffer
	stop func() // ends it, and waits
}

func start(t *testing.T, store Store, cfg Config) *running {
	t.Helper()
	r := &running{log: &bytes.Buffer{}}
	r.Deliverer = New(store, cfg, slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func answers(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// silent never answers. A server notices that its client left only once the
// request was read.
func silent(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// deliver starts a Deliverer with one delivery to an endpoint that serves h.
func deliver(t *testing.T, h http.HandlerFunc) (*memory, *running) {
	t.Helper()
	m := newMemory(testHook(), testDelivery())
	cfg := Defaults()
	cfg.Dial = serving(t, h)
	return m, start(t, m, cfg)
}

// attemptOnce returns how one attempt at url ends over real sockets.
func attemptOnce(t *testing.T, url string, cfg Config) (gateway.Attempt, *running) {
	t.Helper()
	hook := testHook()
	hook.URL = url
	m := newMemory(hook, testDelivery())
	cfg.Schedule = nil
	r := start(t, m, cfg)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if all := m.all(); len(all) > 0 {
			r.stop()
			return all[0], r
		}
		tick := time.NewTimer(time.Millisecond)
		<-tick.C
	}
	t.Fatal("no attempt was made")
	return gateway.Attempt{}, nil
}
