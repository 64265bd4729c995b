package storetest_test

import (
	"encoding/json"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// died gives up all that is due now.
func died(t *testing.T, s *store.Store) {
	t.Helper()
	for _, d := range toDeliver(t, s) {
		x := attempted(d, gateway.DeliveryDead, time.Now())
		x.Attempt.StatusCode, x.Attempt.Error = 0, "connect: connection refused"
		got(s.SettleDeliveries(t.Context(), "me", []gateway.Settlement{x}, nil))(t)
	}
}

// hourAway is later than what is made without a time.
var hourAway = time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)

// deliverAt gives a webhook n deliveries of one run that were made at a time.
func deliverAt(t *testing.T, s *store.Store, hook int64, n int, at time.Time) gateway.RunID {
	t.Helper()
	f := finish(claimed(t, s, sandbox, alice, "wamid."+rand(t, s)), "hello")
	for i := range n {
		f.Deliveries = append(f.Deliveries, gateway.Delivery{
			Webhook: hook, Event: gateway.EventAction, Run: f.Run.ID, Action: i, Body: json.RawMessage(`{}`), CreatedAt: at,
		})
	}
	must(t, s.FinishRun(t.Context(), f))
	return f.Run.ID
}

func TestDeliveriesOfAWebhookAreListed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		other := hooked(t, s)
		died(t, s)
		run := deliver(t, s, hook.ID, 3)
		deliver(t, s, other.ID, 1)
		died(t, s)
		second := deliverAt(t, s, hook.ID, 2, hourAway)
		since := hourAway
		list := func(f gateway.DeliveryFilter, total int, want ...int) []gateway.ListedDelivery {
			t.Helper()
			f.Webhook = hook.ID
			if f.Limit == 0 {
				f.Limit = 10
			}
			ds, n, err := s.WebhookDeliveries(t.Context(), f)
			must(t, err)
			var actions []int
			for _, d := range ds {
				actions = append(actions, d.Action)
			}
			equal(t, "actions", actions, want)
			equal(t, "total", n, total)
			return ds
		}
		all := list(gateway.DeliveryFilter{}, 5, 1, 0, 2, 1, 0)
		if last := all[4].Last; all[4].State != gateway.DeliveryDead || last.Number != 1 || last.Error != "connect: connection refused" || last.At.IsZero() || all[4].Body != nil {
			t.Errorf("listed %+v", all[4])
		}
		if all[0].Last.Number != 0 || all[0].State != gateway.DeliveryPending {
			t.Errorf("listed %+v", all[0])
		}
		list(gateway.DeliveryFilter{State: gateway.DeliveryDead}, 3, 2, 1, 0)
		list(gateway.DeliveryFilter{Run: second}, 2, 1, 0)
		list(gateway.DeliveryFilter{Run: run, State: gateway.DeliveryPending}, 0)
		list(gateway.DeliveryFilter{Event: gateway.EventPaused}, 0)
		list(gateway.DeliveryFilter{Event: gateway.EventAction, Since: since}, 2, 1, 0)
		list(gateway.DeliveryFilter{Limit: 2}, 5, 1, 0)
		list(gateway.DeliveryFilter{Limit: 2, Before: all[1].ID}, 5, 2, 1)
		list(gateway.DeliveryFilter{Before: all[4].ID}, 5)
		_, _, err := s.WebhookDeliveries(t.Context(), gateway.DeliveryFilter{Webhook: other.ID, Before: all[1].ID, Limit: 1})
		wantKind(t, err, gateway.NotFound)
		d := got(s.WebhookDelivery(t.Context(), hook.ID, all[0].ID))(t)
		if string(d.Body) != `{}` || d.Run != second {
			t.Errorf("it is %+v", d)
		}
		_, err = s.WebhookDelivery(t.Context(), other.ID, all[0].ID)
		wantKind(t, err, gateway.NotFound)
	})
}

func TestDeadLettersAreReplayedInTheirOrder(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		deliver(t, s, hook.ID, 2)
		died(t, s)
		run := deliverAt(t, s, hook.ID, 501, hourAway)
		since := hourAway
		for range 6 {
			died(t, s)
		}
		kept := got(s.Deliveries(t.Context(), run))(t)[500]
		woken := 0
		s.OnDeliveries(func(...int64) { woken++ })
		must(t, s.DisableWebhook(t.Context(), hook.ID, hook.URL, "gone"))
		_, err := s.ReplayDead(t.Context(), hook.ID, since)
		wantKind(t, err, gateway.Conflict)
		seed(t, s)
		_, err = s.ReplayDead(t.Context(), 999, since)
		wantKind(t, err, gateway.NotFound)
		if n := got(s.ReplayDead(t.Context(), hook.ID, since))(t); n != 501 || woken < 2 {
			t.Errorf("%d are replayed, who delivers was woken %d times", n, woken)
		}
		if n := got(s.ReplayDead(t.Context(), hook.ID, since))(t); n != 0 {
			t.Errorf("%d are replayed twice", n)
		}
		ds := got(s.DueDeliveries(t.Context(), []gateway.DeliveryAsk{{Webhook: hook.ID, Limit: 999}}))(t)
		for i, d := range ds {
			if d.Run != run || d.Action != i || d.Replayed != 1 {
				t.Fatalf("due as number %d is action %d of %s, replayed after %d", i, d.Action, d.Run, d.Replayed)
			}
		}
		equal(t, "due", len(ds), 501)

		// What was erased is not replayed.
		delivered(t, s, kept)
		_, _, err = s.ForgetContext(t.Context(), contactOf(t, s, alice).ID, "")
		must(t, err)
		wantKind(t, s.ReplayDelivery(t.Context(), hook.ID, kept.ID), gateway.Conflict)
	})
}

func TestATestGoesOnlyWhereItCanArrive(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		var woken []int64
		s.OnDeliveries(func(hooks ...int64) { woken = append(woken, hooks...) })
		test := func() error {
			d := gateway.Delivery{Webhook: hook.ID, Event: gateway.EventTest, Action: len(woken) + 1, Body: json.RawMessage(`{}`), NextAt: time.Now()}
			return s.AddDelivery(t.Context(), &d)
		}
		must(t, test())
		equal(t, "woken", woken, []int64{hook.ID})
		if ds := toDeliver(t, s); len(ds) != 1 || ds[0].Event != gateway.EventTest {
			t.Errorf("due are %+v", ds)
		}
		w := got(s.PauseWebhook(t.Context(), hook.ID, true))(t)
		if !w.Paused || w.Key == "" {
			t.Errorf("it is %+v", w)
		}
		wantKind(t, test(), gateway.Conflict)
		seed(t, s) // the configuration is declared again, and says nothing of pauses
		wantKind(t, test(), gateway.Conflict)
		got(s.PauseWebhook(t.Context(), hook.ID, false))(t)
		must(t, test())
		must(t, s.DisableWebhook(t.Context(), hook.ID, hook.URL, "gone"))
		wantKind(t, test(), gateway.Conflict)
		_, err := s.PauseWebhook(t.Context(), 999, true)
		wantKind(t, err, gateway.NotFound)
	})
}

func TestOthersAreToldOfAWebhookThatIsTurnedOff(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		other := hooked(t, s, gateway.EventWebhookDisabled)
		hooked(t, s, gateway.EventPaused)
		s.TellOfWebhooks(func(hooks []gateway.Webhook, w *gateway.Webhook, _ time.Time) (ds []gateway.Delivery) {
			for _, h := range hooks {
				ds = append(ds, gateway.Delivery{Webhook: h.ID, Event: gateway.EventWebhookDisabled, Action: -1, Body: json.RawMessage(`"` + w.Disabled + `"`)})
			}
			return ds
		})
		for range 2 { // the second time it is off already
			must(t, s.DisableWebhook(t.Context(), hook.ID, hook.URL, "it is gone"))
		}
		ds := toDeliver(t, s)
		if len(ds) != 1 || ds[0].Webhook != other.ID || string(ds[0].Body) != `"it is gone"` {
			t.Errorf("told are %+v", ds)
		}
	})
}

func TestWhatTheFileSaysOfDeliveries(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		a := gateway.DefaultAgent()
		a.Key, a.Account, a.Name, a.SystemPrompt = "concierge", sandbox, "Concierge", "Be kind."
		made := gateway.NewAgentID()
		hook := gateway.Webhook{
			Key: "all", URL: "https://example.com/hook", Secret: "hook-secret", Active: true, Agents: []gateway.AgentID{"concierge", made},
			Accounts: []gateway.AccountID{sandbox}, Headers: map[string]gateway.Secret{"X-Shop": "7"}, Ordered: true, Concurrency: 3, PerMinute: 60,
		}
		for range 2 {
			must(t, s.Declare(t.Context(), []gateway.Account{{ID: sandbox, Kind: gateway.Sandbox}}, []gateway.Agent{a}, []gateway.Webhook{hook}, nil))
		}
		w := got(s.Webhooks(t.Context()))(t)[0]
		id := got(s.Agents(t.Context()))(t)[0].ID
		equal(t, "agents", w.Agents, []gateway.AgentID{id, made})
		if !w.Ordered || w.Concurrency != 3 || w.PerMinute != 60 || w.Headers["X-Shop"] != "7" || len(w.Accounts) != 1 {
			t.Errorf("it is %+v", w)
		}
		seed(t, s)
		if w := got(s.Webhooks(t.Context()))(t)[0]; w.Ordered || w.Headers != nil || w.Agents != nil {
			t.Errorf("it is %+v", w)
		}
	})
}
