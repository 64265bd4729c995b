package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wagent/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Store.
type memory struct {
	mu         sync.Mutex
	hooks      map[int64]gateway.Webhook
	deliveries map[gateway.DeliveryID]gateway.Delivery
	leases     map[gateway.DeliveryID]time.Time
	attempts   []gateway.Attempt
	settleErrs int // so many settles fail
	hookErrs   int // so many lookups of a webhook fail
	claimed    []time.Duration
}

func newMemory(hook gateway.Webhook, ds ...gateway.Delivery) *memory {
	m := &memory{
		hooks:      map[int64]gateway.Webhook{hook.ID: hook},
		deliveries: map[gateway.DeliveryID]gateway.Delivery{},
		leases:     map[gateway.DeliveryID]time.Time{},
	}
	for _, d := range ds {
		m.deliveries[d.ID] = d
	}
	return m
}

func (m *memory) ClaimDeliveries(_ context.Context, limit, perWebhook int, lease time.Duration) ([]gateway.Delivery, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	inHand := map[int64]int{}
	for id, until := range m.leases {
		if until.After(now) {
			inHand[m.deliveries[id].Webhook]++
		}
	}
	var out []gateway.Delivery
	var next time.Time
	for id, d := range m.deliveries {
		if d.State != gateway.DeliveryPending {
			continue
		}
		due := d.NextAt
		if m.leases[id].After(due) {
			due = m.leases[id]
		}
		switch {
		case due.After(now):
			if next.IsZero() || due.Before(next) {
				next = due
			}
		case len(out) < limit && inHand[d.Webhook] < perWebhook:
			inHand[d.Webhook]++
			m.leases[id] = now.Add(lease)
			d.Attempt++
			m.deliveries[id] = d
			m.claimed = append(m.claimed, lease)
			out = append(out, d)
		}
	}
	return out, next, nil
}

func (m *memory) Webhook(_ context.Context, id int64) (gateway.Webhook, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hookErrs > 0 {
		m.hookErrs--
		return gateway.Webhook{}, errors.New("database is away")
	}
	h, ok := m.hooks[id]
	if !ok {
		return h, &gateway.Error{Kind: gateway.NotFound, Msg: "no webhook"}
	}
	return h, nil
}

func (m *memory) SettleDelivery(_ context.Context, d *gateway.Delivery, a gateway.Attempt) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.settleErrs > 0 {
		m.settleErrs--
		return errors.New("database is away")
	}
	if m.deliveries[d.ID].Attempt != d.Attempt || m.deliveries[d.ID].State != gateway.DeliveryPending {
		return &gateway.Error{Kind: gateway.Conflict, Msg: "in other hands"}
	}
	m.deliveries[d.ID] = *d
	delete(m.leases, d.ID)
	m.attempts = append(m.attempts, a)
	return nil
}

func (m *memory) DisableWebhook(_ context.Context, id int64, reason string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.hooks[id]
	h.Disabled = reason
	m.hooks[id] = h
	return nil
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

// endpoint serves h in memory and returns how to dial it.
func endpoint(t *testing.T, h http.HandlerFunc) func(context.Context, string, string) (net.Conn, error) {
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
	cfg.Dial = endpoint(t, h)
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
