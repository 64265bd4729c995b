package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"

	"wagent/gateway/client"
	"wagent/gateway/client/actions"
	"wagent/gateway/client/agents"
	"wagent/gateway/client/events"
	"wagent/gateway/client/messages"
	"wagent/gateway/client/pauses"
	"wagent/gateway/client/rest"
	"wagent/gateway/client/runs"
	"wagent/gateway/client/templates"
	"wagent/gateway/client/usage"
	"wagent/gateway/client/webhooks"
)

func ExampleAPIError() {
	c, end := start()
	defer end()

	_, err := c.Agents.Create(context.Background(), agents.Params{Name: "No prompt"})
	fmt.Println(err)
	if e, ok := errors.AsType[*client.APIError](err); ok && errors.Is(err, client.ErrValidation) {
		fmt.Println(e.Status, e.Details["system_prompt"])
	}
	// Output:
	// POST /agents: 422 Validation failed: system_prompt can't be blank
	// 422 [can't be blank]
}

// A run that has a key of its own is made once, however often it is created: the
// order's number is known before and after a crash.
func Example_idempotency() {
	c, agent, end := concierge(agents.Params{})
	defer end()

	run, err := c.AgentRuns(agent.ID).Create(context.Background(), runs.Params{
		Input:          "Clean room 204 tomorrow at 8",
		Metadata:       map[string]any{"conversation_key": "guest-7"},
		IdempotencyKey: "order 1234",
	})
	fmt.Println(run.ID, run.Status, err)
	// Output:
	// run_1 pending <nil>
}

// delivery is a webhook as the gateway sends it: the contract's test vector.
func delivery() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(`{"event":"agent_run.completed","data":{"id":"run_1"}}`))
	r.Header.Set("X-Webhook-Signature", "sha256=6a40c5461750992a8d4403cbbc10a8a81f11e6727737f0d5d4199d0c3fec6b3f")
	r.Header.Set("X-Webhook-Timestamp", strconv.FormatInt(time.Now().Unix(), 10))
	return r
}

func Example_receiveWebhooks() {
	c, agent, end := concierge(agents.Params{})
	defer end()
	if _, err := agent.Run(context.Background(), "Clean room 204 tomorrow at 8"); err != nil {
		panic(err)
	}
	var does actions.Registry
	does.Register("hospitality.room_service.request", func(_ context.Context, a actions.Action) error {
		fmt.Println(a.Type)
		return nil
	})

	var registry events.Registry
	registry.On("agent_run.completed", func(ctx context.Context, e events.Event) error {
		run, err := c.AgentRuns(agent.ID).FromEvent(e.Data)
		if err != nil {
			return err
		}
		if err := run.Refresh(ctx); err != nil { // this test vector tells only the id
			return err
		}
		_, err = run.Dispatch(ctx, &does)
		return err
	})
	// http.Handle("/webhook", registry.Handler("whsec_test"))
	w := httptest.NewRecorder()
	registry.Handler("whsec_test").ServeHTTP(w, delivery())
	fmt.Println(w.Code)
	// Output:
	// hospitality.room_service.request
	// 204
}

func Example_verifyWebhook() {
	r := delivery()
	body := []byte(`{"event":"agent_run.completed","data":{"id":"run_1"}}`)
	signature, timestamp := r.Header.Get("X-Webhook-Signature"), r.Header.Get("X-Webhook-Timestamp")

	fmt.Println(events.VerifyWebhook(body, "whsec_test", signature, timestamp))
	fmt.Println(events.VerifyWebhook(body, "whsec_another", signature, timestamp))
	// Output:
	// <nil>
	// the webhook is not authentic: its signature is another's
}

func Example_pauses() {
	c, end := start()
	defer end()
	ctx := context.Background()
	takeovers := c.Pauses("acc_1")

	pause, err := takeovers.Create(ctx, pauses.Params{PhoneNumber: "+15550001234", DurationMinutes: 30})
	if err != nil {
		panic(err)
	}
	fmt.Println(pause.ID, pause.Reason, pause.RemainingMinutes)
	for p, err := range takeovers.All(ctx, true) {
		fmt.Println(p.PhoneNumber, err)
	}
	for _, number := range []string{"+15550001234", "+15550009999"} {
		p, err := takeovers.Check(ctx, number)
		fmt.Println(number, p != nil, err)
	}
	p, err := takeovers.Resume(ctx, pause.ID)
	fmt.Println(p.ResumedAt.IsZero(), p.RemainingMinutes, err)
	_, err = takeovers.Retrieve(ctx, pause.ID+1)
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output:
	// 7 manual 30
	// +15550001234 <nil>
	// +15550001234 true <nil>
	// +15550009999 false <nil>
	// false 0 <nil>
	// true
}

func Example_accounts() {
	c, end := start()
	defer end()
	ctx := context.Background()

	for a, err := range c.Accounts.All(ctx) {
		fmt.Println(a.ID, a.PhoneNumber, a.Connected, err)
	}
	w, err := c.Accounts.Window(ctx, "acc_1", "+15550001234")
	fmt.Println(w.Open, w.ExpiresAt.Sub(w.LastInboundAt), err)

	connect, err := c.Accounts.Connect(ctx)
	fmt.Println(connect.URL, err)
	a, err := c.Accounts.WaitForConnect(ctx, connect.ID)
	fmt.Println(a.ID, err)
	// Output:
	// acc_1 +15550001111 true <nil>
	// true 24h0m0s <nil>
	// https://example.com/connect/1 <nil>
	// acc_1 <nil>
}

func Example_messages() {
	c, end := start()
	defer end()
	ctx := context.Background()
	const to = "+15550001234"

	ms := c.Messages("acc_1")
	m, err := ms.SendText(ctx, to, "Your room is ready.")
	fmt.Println(m.ID, m.Status, m.Content, err)
	m, err = ms.SendMedia(ctx, to, "image", "https://example.com/room.jpg", "The view")
	fmt.Println(m.MessageType, m.Content, err)
	m, err = ms.SendButtons(ctx, to, "Late checkout?", messages.Button{ID: "yes", Title: "Yes"}, messages.Button{ID: "no", Title: "No"})
	fmt.Println(m.MessageType, err)
	m, err = ms.SendTemplate(ctx, to, "hello", "en_US")
	fmt.Println(m.MessageType, err)
	m, err = ms.Retrieve(ctx, "msg_1")
	fmt.Println(m.Status, m.ReadAt.IsZero(), m.DeliveredAt.IsZero(), err)
	list, err := ms.List(ctx, messages.Page{Limit: 10})
	fmt.Println(len(list.Items), list.Total, err)
	// Output:
	// msg_1 queued Your room is ready. <nil>
	// image The view <nil>
	// interactive <nil>
	// template <nil>
	// read false true <nil>
	// 1 1 <nil>
}

func Example_sessions() {
	c, end := start()
	defer end()
	ctx := context.Background()

	s, err := c.Sessions.Create(ctx, "Reception")
	fmt.Println(s.ID, s.Status, s.QRCode, err)
	m, err := c.SessionMessages(s.ID).SendText(ctx, "+15550001234", "Hello")
	fmt.Println(m.Status, err)
	fmt.Println(c.Sessions.Delete(ctx, s.ID))
	// Output:
	// ses_1 qr_pending data:image/png;base64,iVBORw0= <nil>
	// queued <nil>
	// <nil>
}

func Example_templates() {
	c, end := start()
	defer end()
	ctx := context.Background()
	ts := c.Templates("acc_1")

	all, err := ts.Sync(ctx)
	fmt.Println(all.Total, err)
	for t, err := range ts.All(ctx, templates.Filter{Status: "approved"}) {
		fmt.Println(t.Name, t.Language, t.Status, err)
	}
	t, err := ts.Create(ctx, templates.Params{
		Name: "late_checkout", Language: "en_US", Category: "UTILITY",
		Components: []map[string]string{{"type": "BODY", "text": "You may stay until {{1}}."}},
	})
	fmt.Println(t.Name, t.Status, err)
	t, err = ts.Clone(ctx, "tpl_hello", "")
	fmt.Println(t.Name, err)
	m, err := ts.SendTest(ctx, "tpl_hello", "+15550001234", "Ann")
	fmt.Println(m.MessageType, m.To, err)
	fmt.Println(ts.Delete(ctx, "tpl_hello"))
	// Output:
	// 2 <nil>
	// hello en_US approved <nil>
	// late_checkout pending <nil>
	// hello_2 <nil>
	// template +15550001234 <nil>
	// <nil>
}

func Example_webhooks() {
	c, end := start()
	defer end()
	ctx := context.Background()

	w, err := c.Webhooks.Create(ctx, webhooks.Params{URL: "https://example.com/hook", Events: []string{"agent_run.completed"}})
	fmt.Println(w.ID, w.Secret, err)
	w, err = c.Webhooks.Update(ctx, w.ID, webhooks.Params{Active: new(false), Events: []string{}})
	fmt.Println(w.URL, w.Active, w.Events, w.Secret == "", err)
	w, err = c.Webhooks.RotateSecret(ctx, w.ID)
	fmt.Println(w.Secret, err)
	fmt.Println(c.Webhooks.Delete(ctx, w.ID))
	list, err := c.Webhooks.List(ctx)
	fmt.Println(list.Total, err)
	// Output:
	// 1 whsec_c2VjcmV0 <nil>
	// https://example.com/hook false [] true <nil>
	// whsec_bmV3 <nil>
	// <nil>
	// 0 <nil>
}

func Example_deliveries() {
	c, end := start()
	defer end()
	ctx := context.Background()

	w, err := c.Webhooks.Create(ctx, webhooks.Params{URL: "https://example.com/hook"})
	fmt.Println(w.ID, err)
	test, err := c.Webhooks.Test(ctx, w.ID)
	fmt.Println(test.State, test.Log[0].Status, err)
	for d, err := range c.Webhooks.Deliveries(ctx, w.ID, webhooks.Filter{State: webhooks.Dead}) {
		fmt.Println(d.ID, d.Event, *d.ActionIndex, d.Attempts, d.LastStatus, err)
	}
	d, err := c.Webhooks.Replay(ctx, w.ID, "del_1")
	fmt.Println(d.State, err)
	n, err := c.Webhooks.ReplayDead(ctx, w.ID, time.Now().Add(-24*time.Hour))
	fmt.Println(n.Replayed, n.More, err)
	fmt.Println(c.Webhooks.Pause(ctx, w.ID, true))
	// Output:
	// 1 <nil>
	// succeeded 204 <nil>
	// del_1 agent_action.dispatched 0 10 500 <nil>
	// pending <nil>
	// 1 false <nil>
	// <nil>
}

func Example_usage() {
	c, end := start()
	defer end()

	ctx := context.Background()

	november := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	u, err := c.Usage.Retrieve(ctx, usage.Period{From: november, To: november.AddDate(0, 1, -1)})
	fmt.Println(u.DailyBusinessMessages.Used, u.DailyBusinessMessages.Limit == nil, u.Total.Runs, u.ByAgent[0].ID, err)
	m, err := c.Usage.Metrics(ctx)
	fmt.Println(m.Messages.Sent24h, *m.Messages.SuccessRate24h, m.Sessions.DisconnectRate24h == nil, err)
	// Output:
	// 7 true 6 agt_1 <nil>
	// 12 0.75 true <nil>
}

// What has no service is called by its path below /api/v1.
func ExampleClient_REST() {
	c, end := start()
	defer end()

	t, err := rest.Many[agents.Template](context.Background(), c.REST(), rest.Call{Method: http.MethodGet, Path: []string{"agent_templates"}})
	fmt.Println(t.Items[0].Key, err)
	// Output:
	// support <nil>
}
