package webhooks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
)

// deliver makes three deliveries to the last webhook, of which the second died.
func (m *memory) deliver() {
	hook := int64(len(m.hooks))
	for i, state := range []gateway.DeliveryState{gateway.DeliverySucceeded, gateway.DeliveryDead, gateway.DeliveryPending} {
		d := gateway.Delivery{
			ID: gateway.DeliveryID(fmt.Sprintf("del_%d", i+1)), Webhook: hook, Event: gateway.EventAction, Run: "run_1", Action: i, Conversation: "cnv_1",
			Body: json.RawMessage(`{"event":"agent_action.dispatched"}`), State: state, NextAt: time.Now(), CreatedAt: time.Now(),
		}
		if i == 0 {
			d.Body = nil // it was erased
		}
		a := gateway.Attempt{
			Delivery: d.ID, Number: 1, At: time.Now(), Latency: 12 * time.Millisecond, StatusCode: http.StatusOK, Answer: "thanks",
			Phases: gateway.Phases{Connect: time.Millisecond, FirstByte: 10500 * time.Microsecond}, Headers: map[string]string{"Server": "x", "Set-Cookie": "***"},
		}
		if state == gateway.DeliveryDead {
			a.StatusCode, a.Answer, a.Headers, a.Error = 0, "", nil, "connect: connection refused"
		}
		if state != gateway.DeliveryPending {
			d.Attempt = 1
			m.attempts = append(m.attempts, a)
		}
		m.deliveries = append(m.deliveries, d)
	}
}

func (m *memory) PauseWebhook(ctx context.Context, id int64, paused bool) (gateway.Webhook, error) {
	w, err := m.Webhook(ctx, id)
	if err != nil {
		return w, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hooks[id-1].Paused = paused
	return m.hooks[id-1], nil
}

func (m *memory) WebhookDeliveries(_ context.Context, f gateway.DeliveryFilter) (out []gateway.ListedDelivery, total int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	passed := f.Before == ""
	for _, d := range slices.Backward(m.deliveries) {
		if d.Webhook != f.Webhook || f.State != "" && d.State != f.State || f.Event != "" && d.Event != f.Event || f.Run != "" && d.Run != f.Run || d.CreatedAt.Before(f.Since) {
			continue
		}
		if total++; passed && len(out) < f.Limit {
			x := gateway.ListedDelivery{Delivery: d}
			for _, a := range m.attempts {
				if a.Delivery == d.ID {
					x.Last = a
				}
			}
			out = append(out, x)
		}
		passed = passed || d.ID == f.Before
	}
	if !passed {
		return nil, 0, &gateway.Error{Kind: gateway.NotFound, Msg: "There is no delivery " + string(f.Before)}
	}
	return out, total, nil
}

func (m *memory) WebhookDelivery(_ context.Context, webhook int64, id gateway.DeliveryID) (gateway.Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.deliveries, func(d gateway.Delivery) bool { return d.ID == id && d.Webhook == webhook })
	if i < 0 {
		return gateway.Delivery{}, &gateway.Error{Kind: gateway.NotFound, Msg: "There is no delivery " + string(id)}
	}
	return m.deliveries[i], nil
}

func (m *memory) Attempts(_ context.Context, id gateway.DeliveryID) (out []gateway.Attempt, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.attempts {
		if a.Delivery == id {
			out = append(out, a)
		}
	}
	return out, nil
}

func (m *memory) ReplayDelivery(ctx context.Context, webhook int64, id gateway.DeliveryID) error {
	d, err := m.WebhookDelivery(ctx, webhook, id)
	switch {
	case err != nil:
		return err
	case d.State == gateway.DeliveryPending:
		return &gateway.Error{Kind: gateway.Conflict, Msg: "The delivery is still being made"}
	case len(d.Body) == 0:
		return &gateway.Error{Kind: gateway.Conflict, Msg: "What the delivery said was erased"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.deliveries {
		if m.deliveries[i].ID == id {
			m.deliveries[i].State = gateway.DeliveryPending
		}
	}
	return nil
}

func (m *memory) ReplayDead(ctx context.Context, webhook int64, since time.Time) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.deliveries {
		if d := &m.deliveries[i]; d.Webhook == webhook && d.State == gateway.DeliveryDead && !d.CreatedAt.Before(since) {
			d.State = gateway.DeliveryPending
			n++
		}
	}
	return n, ctx.Err()
}

func (m *memory) TestWebhook(ctx context.Context, webhook int64) (gateway.DeliveryID, error) {
	w, err := m.Webhook(ctx, webhook)
	switch {
	case err != nil:
		return "", err
	case w.Paused:
		return "", &gateway.Error{Kind: gateway.Conflict, Msg: "The webhook is paused: let it go on first"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d := gateway.Delivery{
		ID: "del_test", Webhook: webhook, Event: gateway.EventTest, Action: 5, Body: json.RawMessage(`{"event":"webhook.test"}`),
		State: gateway.DeliveryPending, NextAt: time.Now(), CreatedAt: time.Now(),
	}
	if !m.silent {
		d.Attempt, d.State = 1, gateway.DeliverySucceeded
		m.attempts = append(m.attempts, gateway.Attempt{Delivery: d.ID, Number: 1, At: time.Now(), Latency: time.Millisecond, StatusCode: http.StatusNoContent})
	}
	m.deliveries = append(m.deliveries, d)
	return d.ID, nil
}

func TestATestThatNobodyMakesIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.silent = true
		call(t, m.api(), http.MethodPost, "/webhooks", `{"webhook":{"url":"https://example.com/hook"}}`)
		began := time.Now()
		code, data := call(t, m.api(), http.MethodPost, "/webhooks/1/test", ``)
		if took := time.Since(began); code != http.StatusOK || data["state"] != "pending" || took < testPatience || took > testPatience+time.Second {
			t.Errorf("%d %v after %v", code, data, took)
		}
	})
}

// slow replays for as long as it may.
type slow struct{ *memory }

func (s slow) ReplayDead(ctx context.Context, _ int64, _ time.Time) (int, error) {
	<-ctx.Done()
	return 500, fmt.Errorf("replay: %w", ctx.Err())
}

func TestAReplayThatTakesLongSaysThatThereIsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		call(t, m.api(), http.MethodPost, "/webhooks", `{"webhook":{"url":"https://example.com/hook"}}`)
		h := m.api()
		h.Deliveries = slow{m}
		code, data := call(t, h, http.MethodPost, "/webhooks/1/deliveries/replay", `{"replay":{"since":"2026-01-01T00:00:00Z"}}`)
		if code != http.StatusOK || data["replayed"] != 500.0 || data["more"] != true {
			t.Errorf("%d %v", code, data)
		}
	})
}

func TestADeclaredWebhookCanBePausedAndNothingElse(t *testing.T) {
	m := newMemory()
	m.do("the configuration file declares a webhook")
	for body, want := range map[string]int{
		`{"settings":{"paused":true}}`:                 http.StatusOK,
		`{"settings":{"paused":true,"ordered":true}}`:  http.StatusConflict,
		`{"settings":{"per_minute":5}}`:                http.StatusConflict,
		`{"settings":{"paused":false,"agents":[]}}`:    http.StatusConflict,
		`{"settings":{"paused":false,"headers":null}}`: http.StatusConflict,
	} {
		if got, _ := call(t, m.api(), http.MethodPatch, "/webhooks/1/settings", body); got != want {
			t.Errorf("%s: %d, want %d", body, got, want)
		}
	}
	if !m.hooks[0].Paused {
		t.Error("it is not paused")
	}
}
