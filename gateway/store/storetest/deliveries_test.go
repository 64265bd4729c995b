package storetest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// deliver gives a webhook n deliveries of one run.
func deliver(t *testing.T, s *store.Store, hook int64, n int) gateway.RunID {
	t.Helper()
	f := finish(claimed(t, s, sandbox, alice, "wamid."+rand(t, s)), "hello")
	for i := range n {
		f.Deliveries = append(f.Deliveries, gateway.Delivery{Webhook: hook, Event: gateway.EventAction, Run: f.Run.ID, Action: i, Body: json.RawMessage(`{}`)})
	}
	must(t, s.FinishRun(t.Context(), f))
	return f.Run.ID
}

// rand is a name that no message has yet.
func rand(t *testing.T, s *store.Store) string {
	t.Helper()
	return strings.Repeat("x", 1+len(got(s.Messages(t.Context(), sandbox, "", 999))(t)))
}

// toDeliver is what is to be delivered now, to whichever webhook.
func toDeliver(t *testing.T, s *store.Store) []gateway.Delivery {
	t.Helper()
	var asks []gateway.DeliveryAsk
	for _, w := range got(s.Webhooks(t.Context()))(t) {
		asks = append(asks, gateway.DeliveryAsk{Webhook: w.ID, Ordered: w.Ordered, Limit: 99})
	}
	return got(s.DueDeliveries(t.Context(), asks))(t)
}

// attempted is the settlement of a delivery's next attempt.
func attempted(d gateway.Delivery, state gateway.DeliveryState, next time.Time) gateway.Settlement {
	d.Attempt++
	d.State, d.NextAt = state, next
	return gateway.Settlement{Delivery: d, Attempt: gateway.Attempt{At: time.Now().UTC().Truncate(time.Millisecond), StatusCode: 200}}
}

// delivered settles deliveries as those that succeeded.
func delivered(t *testing.T, s *store.Store, ds ...gateway.Delivery) {
	t.Helper()
	for _, d := range ds {
		if stand := got(s.SettleDeliveries(t.Context(), "me", []gateway.Settlement{attempted(d, gateway.DeliverySucceeded, time.Now())}, nil))(t); !stand[0] {
			t.Errorf("%s does not stand", d.ID)
		}
	}
}

func everyLane() []int64 {
	out := make([]int64, gateway.Lanes)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

func TestOfTwoThatSettleADeliveryOneStands(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		run := deliver(t, s, hook.ID, 3)
		ds := toDeliver(t, s)
		settle := func(want []bool, xs ...gateway.Settlement) {
			t.Helper()
			equal(t, "stand", got(s.SettleDeliveries(t.Context(), "me", xs, nil))(t), want)
		}
		failed := func(d gateway.Delivery) gateway.Settlement {
			return attempted(d, gateway.DeliveryPending, time.Now().Add(time.Hour))
		}
		x := failed(ds[0])
		x.Attempt = gateway.Attempt{
			At: x.Attempt.At, Latency: 30 * time.Millisecond, StatusCode: 500, Answer: "oh\x00\xff",
			Phases: gateway.Phases{DNS: 1, Connect: 2, TLS: 3, FirstByte: 4, Body: 5}, Headers: map[string]string{"Server": "x"},
		}
		settle([]bool{true, true}, x, failed(ds[1]))
		settle([]bool{false, true, false}, failed(ds[0]), failed(ds[2]), attempted(gateway.Delivery{ID: "del_none"}, gateway.DeliverySucceeded, time.Now()))
		settle([]bool{true}, attempted(ds[1], gateway.DeliverySucceeded, time.Now())) // what arrived has arrived
		settle([]bool{false}, attempted(ds[1], gateway.DeliverySucceeded, time.Now()))
		want := x.Attempt
		want.Delivery, want.Number, want.Answer = ds[0].ID, 1, "oh\uFFFD"
		equal(t, "attempts", got(s.Attempts(t.Context(), ds[0].ID))(t), []gateway.Attempt{want})
		for i, d := range got(s.Deliveries(t.Context(), run))(t) {
			if want := []gateway.DeliveryState{gateway.DeliveryPending, gateway.DeliverySucceeded, gateway.DeliveryPending}[i]; d.State != want || d.Attempt != []int{1, 2, 1}[i] {
				t.Errorf("delivery %d is %s after %d attempts", i, d.State, d.Attempt)
			}
		}
	})
}

func TestWhatIsDueToEachWebhook(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		first, second := hooked(t, s), hooked(t, s)
		seed(t, s)
		deliver(t, s, first.ID, 5)
		deliver(t, s, second.ID, 2)
		count := func(a, b int, want ...int) {
			t.Helper()
			n := []int{0, 0}
			for _, d := range got(s.DueDeliveries(t.Context(), []gateway.DeliveryAsk{{Webhook: first.ID, Limit: a}, {Webhook: second.ID, Limit: b}, {Webhook: 999, Limit: 9}}))(t) {
				n[d.Webhook-first.ID]++
			}
			equal(t, "due", n, want)
		}
		count(3, 9, 3, 2)
		count(0, 1, 0, 1)
		ds := toDeliver(t, s)
		got(s.SettleDeliveries(t.Context(), "me", []gateway.Settlement{attempted(ds[0], gateway.DeliveryPending, time.Now().Add(time.Hour))}, nil))(t)
		count(9, 9, 4, 2)
		var later time.Time
		for _, d := range toDeliver(t, s) {
			if d.Webhook == first.ID {
				later = time.Now().Add(2 * time.Hour).UTC().Truncate(time.Millisecond)
				got(s.SettleDeliveries(t.Context(), "me", []gateway.Settlement{attempted(d, gateway.DeliveryPending, later)}, nil))(t)
			}
		}
		due := got(s.FirstDue(t.Context(), everyLane()))(t)
		if len(due) != 2 || !due[first.ID].After(time.Now()) || !due[first.ID].Before(later) || due[second.ID].After(time.Now()) {
			t.Errorf("due at %v", due)
		}
		got(s.ChangeWebhook(t.Context(), first.ID, func(w *gateway.Webhook) error { w.Paused = true; return nil }))(t)
		due = got(s.FirstDue(t.Context(), []int64{first.Lane(), second.Lane()}))(t)
		if _, paused := due[first.ID]; paused || len(due) != 1 {
			t.Errorf("due at %v", due)
		}
	})
}

func TestAnOrderedWebhookGetsWhatComesFirstInEachConversation(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		hook := hooked(t, s)
		got(s.ChangeWebhook(t.Context(), hook.ID, func(w *gateway.Webhook) error { w.Ordered = true; return nil }))(t)
		f := finish(claimed(t, s, sandbox, alice, "wamid.1"), "hello")
		for i, conversation := range []gateway.ConversationID{"cnv_1", "cnv_1", "cnv_2", "", "", "cnv_2"} {
			f.Deliveries = append(f.Deliveries, gateway.Delivery{
				Webhook: hook.ID, Event: gateway.EventAction, Run: f.Run.ID, Action: i, Conversation: conversation, Body: json.RawMessage(`{}`),
			})
		}
		must(t, s.FinishRun(t.Context(), f))
		heads := func(want ...int) []gateway.Delivery {
			t.Helper()
			ds := toDeliver(t, s)
			var indexes []int
			for _, d := range ds {
				indexes = append(indexes, d.Action)
			}
			equal(t, "due", indexes, want)
			return ds
		}
		ds := heads(0, 2, 3, 4)
		got(s.SettleDeliveries(t.Context(), "me", []gateway.Settlement{attempted(ds[0], gateway.DeliveryPending, time.Now().Add(time.Hour))}, nil))(t)
		heads(2, 3, 4) // what waits to be tried again holds up its own conversation
		x := attempted(got(s.Deliveries(t.Context(), f.Run.ID))(t)[0], gateway.DeliveryPending, time.Now().Add(time.Hour))
		x.Ordered = true
		got(s.SettleDeliveries(t.Context(), "me", []gateway.Settlement{x}, nil))(t)
		if next := got(s.Deliveries(t.Context(), f.Run.ID))(t)[1]; time.Until(next.NextAt) < 50*time.Minute {
			t.Errorf("what comes after it is due at %v", next.NextAt)
		}
		delivered(t, s, ds[1])
		heads(3, 4, 5)
	})
}

// TestConversationsThatWaitHideNoOthers, however much is due in them.
func TestConversationsThatWaitHideNoOthers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		hook := hooked(t, s)
		got(s.ChangeWebhook(t.Context(), hook.ID, func(w *gateway.Webhook) error { w.Ordered = true; return nil }))(t)
		f := finish(claimed(t, s, sandbox, alice, "wamid.1"), "hello")
		add := func(i int, conversation gateway.ConversationID) {
			f.Deliveries = append(f.Deliveries, gateway.Delivery{
				Webhook: hook.ID, Event: gateway.EventAction, Run: f.Run.ID, Action: i, Conversation: conversation, NextAt: time.Now().Add(-time.Minute), Body: json.RawMessage(`{}`),
			})
		}
		for i := range 300 {
			add(i, "cnv_1")
		}
		add(300, "cnv_2")
		must(t, s.FinishRun(t.Context(), f))
		all := got(s.Deliveries(t.Context(), f.Run.ID))(t)
		later := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
		got(s.SettleDeliveries(t.Context(), "me", []gateway.Settlement{attempted(all[0], gateway.DeliveryPending, later)}, nil))(t)
		if ds := got(s.DueDeliveries(t.Context(), []gateway.DeliveryAsk{{Webhook: hook.ID, Ordered: true, Limit: 9}}))(t); len(ds) != 1 || ds[0].Action != 300 {
			t.Errorf("due are %+v", ds)
		}
		x := attempted(all[1], gateway.DeliveryPending, later.Add(time.Hour)) // though an earlier one was replayed
		x.Ordered = true
		got(s.SettleDeliveries(t.Context(), "me", []gateway.Settlement{x}, nil))(t)
		if first := got(s.Deliveries(t.Context(), f.Run.ID))(t)[0]; !first.NextAt.Equal(later) {
			t.Errorf("what comes before it is due at %v", first.NextAt)
		}
	})
}

// held is what an owner has of the lanes: how many it kept and took, of which share.
func held(t *testing.T, s *store.Store, owner string, lease time.Duration) (h gateway.LaneHold, kept, taken, share int) {
	t.Helper()
	h, err := s.HoldLanes(t.Context(), owner, lease, false)
	must(t, err)
	return h, len(h.Kept), len(h.Taken), h.Share
}

func TestLanesAreSharedOut(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		one, two := storetest.At(t, cfg), storetest.At(t, cfg)
		hold := func(s *store.Store, owner string, lease time.Duration, want ...int) gateway.LaneHold {
			t.Helper()
			h, kept, taken, share := held(t, s, owner, lease)
			if got := []int{kept, taken, share}; !slices.Equal(got, want) {
				t.Fatalf("%s kept, took and is to have %v, want %v", owner, got, want)
			}
			return h
		}
		hold(one, "one", time.Minute, 0, 16, 16)
		hold(two, "two", time.Minute, 0, 0, 8)
		h := hold(one, "one", time.Minute, 16, 0, 8)
		slices.Sort(h.Kept)
		must(t, two.ReleaseLanes(t.Context(), "two", h.Kept)) // they are not its own
		hold(two, "two", time.Minute, 0, 0, 8)
		must(t, one.ReleaseLanes(t.Context(), "one", h.Kept[8:]))
		must(t, one.ReleaseLanes(t.Context(), "one", nil))
		hold(one, "one", time.Minute, 8, 0, 8)
		hold(two, "two", time.Minute, 0, 8, 8)
		hold(two, "three", 0, 0, 0, 6) // it dies at once
		hold(two, "two", 0, 8, 0, 8)   // and this one's lease is over,
		hold(two, "two", 0, 8, 0, 8)   // but nobody took its lanes
		hold(one, "one", time.Minute, 8, 8, 16)
		hold(two, "two", time.Minute, 0, 0, 8)
		left, err := one.HoldLanes(t.Context(), "one", time.Minute, true)
		must(t, err)
		if len(left.Kept) != 16 || len(left.Taken) != 0 || left.Share != 0 {
			t.Errorf("who leaves has %+v", left)
		}
		must(t, one.ReleaseLanes(t.Context(), "one", left.Kept[:15]))
		hold(two, "two", time.Minute, 0, 15, 16)
		must(t, two.ReleaseLeases(t.Context()))
		hold(one, "one", time.Minute, 0, 16, 16)
	})
}

func TestReplicasThatTakeLanesAtOnceTakeEachOnce(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		stores := []*store.Store{storetest.At(t, cfg), storetest.At(t, cfg)}
		var mu sync.Mutex
		by, shares := map[int64]string{}, map[int]bool{}
		var wg sync.WaitGroup
		for i := range 6 {
			owner := string(rune('a' + i))
			wg.Go(func() {
				h, err := stores[i%2].HoldLanes(t.Context(), owner, time.Minute, false)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				shares[h.Share] = true
				for _, l := range h.Taken {
					if by[l] != "" {
						t.Errorf("lane %d is %s's and %s's", l, by[l], owner)
					}
					by[l] = owner
				}
			})
		}
		wg.Wait()
		if len(by) != gateway.Lanes || len(shares) != 5 { // 16, 8, 6, 4, 4, 3
			t.Errorf("%d lanes are held, the shares were %v", len(by), shares)
		}
	})
}

func TestWhatIsDueToADisabledWebhookIsDead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		run := deliver(t, s, hook.ID, 2)
		later := toDeliver(t, s)[1]
		got(s.SettleDeliveries(t.Context(), "me", []gateway.Settlement{attempted(later, gateway.DeliveryPending, time.Now().Add(time.Hour))}, nil))(t)
		must(t, s.DisableWebhook(t.Context(), hook.ID, hook.URL, "it answered 410 Gone"))
		wantKind(t, s.DisableWebhook(t.Context(), 999, hook.URL, "no such"), gateway.NotFound)
		if got(s.BuryDeliveries(t.Context(), everyLane()))(t) {
			t.Error("there are more")
		}
		ds := got(s.Deliveries(t.Context(), run))(t)
		dead := ds[0]
		if dead.State != gateway.DeliveryDead || ds[1].State != gateway.DeliveryPending {
			t.Fatalf("the deliveries are %s and %s", dead.State, ds[1].State)
		}
		if as := got(s.Attempts(t.Context(), dead.ID))(t); len(as) != 1 || as[0].Error != "the webhook is turned off" || as[0].Number != dead.Attempt {
			t.Errorf("attempts are %+v", as)
		}
		w := got(s.Webhook(t.Context(), hook.ID))(t)
		if w.Disabled != "it answered 410 Gone" || w.Wants(gateway.EventRunFailed, "") {
			t.Errorf("the webhook is %+v", w)
		}
		wantKind(t, s.ReplayDelivery(t.Context(), hook.ID, dead.ID), gateway.Conflict) // it would go to the dead letters again
		seed(t, s)                                                                     // it is declared again
		must(t, s.ReplayDelivery(t.Context(), hook.ID, dead.ID))
		wantKind(t, s.ReplayDelivery(t.Context(), hook.ID, dead.ID), gateway.Conflict)
		wantKind(t, s.ReplayDelivery(t.Context(), hook.ID, "del_none"), gateway.NotFound)
		again := toDeliver(t, s)
		if len(again) != 1 || again[0].ID != dead.ID || again[0].Replayed != 1 {
			t.Errorf("due are %+v", again)
		}
	})
}

func TestManyAreGivenUpSomeAtATime(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		run := deliver(t, s, hook.ID, 501)
		must(t, s.DisableWebhook(t.Context(), hook.ID, hook.URL, "it is gone"))
		if !got(s.BuryDeliveries(t.Context(), everyLane()))(t) || got(s.BuryDeliveries(t.Context(), everyLane()))(t) {
			t.Error("500 of 501 are not given up first, and one then")
		}
		for _, d := range got(s.Deliveries(t.Context(), run))(t) {
			if d.State != gateway.DeliveryDead {
				t.Fatalf("%s is %s", d.ID, d.State)
			}
		}
	})
}

func TestHowAWebhookFares(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		hook := hooked(t, s)
		at := time.Now().UTC().Truncate(time.Millisecond)
		note := func(owner string) {
			t.Helper()
			health := []gateway.WebhookHealth{{Webhook: hook.ID, FailingSince: at, RestsUntil: at.Add(time.Minute)}, {Webhook: 999, FailingSince: at}}
			got(s.SettleDeliveries(t.Context(), owner, nil, health))(t)
		}
		note("another")
		equal(t, "the webhook, of which another knows nothing", got(s.Webhook(t.Context(), hook.ID))(t), hook)
		held(t, s, "me", time.Minute)
		note("me")
		hook.FailingSince, hook.RestsUntil = at, at.Add(time.Minute)
		equal(t, "the webhook", got(s.Webhook(t.Context(), hook.ID))(t), hook)

		must(t, s.DisableWebhook(t.Context(), hook.ID, hook.URL, "it failed"))
		w := got(s.ChangeWebhook(t.Context(), hook.ID, func(w *gateway.Webhook) error { w.Events = []string{gateway.EventRunFailed}; return nil }))(t)
		if w.FailingSince.IsZero() {
			t.Error("it fails no more, though nobody turned it on")
		}
		w = got(s.ChangeWebhook(t.Context(), hook.ID, func(w *gateway.Webhook) error { w.Disabled = ""; return nil }))(t)
		if !w.FailingSince.IsZero() || !w.RestsUntil.IsZero() {
			t.Errorf("once it is turned on, the webhook is %+v", w)
		}
		note("me")
		w = got(s.ChangeWebhook(t.Context(), hook.ID, func(w *gateway.Webhook) error { w.URL += "/new"; return nil }))(t)
		if !w.FailingSince.IsZero() || !w.RestsUntil.IsZero() {
			t.Errorf("at another URL, the webhook is %+v", w)
		}
		wantKind(t, s.DisableWebhook(t.Context(), hook.ID, hook.URL, "410"), gateway.NotFound) // where it was
	})
}

func TestWhatArrivedAfterItWasGivenUp(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		hook := hooked(t, s)
		deliver(t, s, hook.ID, 1)
		d := toDeliver(t, s)[0]
		must(t, s.DeleteWebhook(t.Context(), hook.ID))
		got(s.BuryDeliveries(t.Context(), everyLane()))(t)
		delivered(t, s, d)
		as := got(s.Attempts(t.Context(), d.ID))(t)
		if len(as) != 2 || as[0].Error != "the webhook was deleted" || as[1].Number != 2 || as[1].StatusCode != 200 {
			t.Errorf("attempts are %+v", as)
		}
	})
}

func TestAllThatAWebhookIsComesBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		w := gateway.Webhook{
			URL: "https://example.com/all", Secret: "s", Active: true, Paused: true, Events: []string{gateway.EventAction}, Actions: []string{"a.*.*"},
			Agents: []gateway.AgentID{"agent"}, Accounts: []gateway.AccountID{sandbox}, Headers: map[string]gateway.Secret{"Authorization": "Bearer hidden"},
			Ordered: true, Concurrency: 3, PerMinute: 60,
		}
		must(t, s.CreateWebhook(t.Context(), &w))
		back := got(s.Webhook(t.Context(), w.ID))(t)
		equal(t, "the webhook", back, w)
		if string(back.Headers["Authorization"]) != "Bearer hidden" {
			t.Errorf("the header is %q", string(back.Headers["Authorization"]))
		}
	})
}

func TestDeliveriesAreUnique(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		f := full(claimed(t, s, sandbox, alice, "wamid.1"), hook)
		f.Deliveries = append(f.Deliveries, f.Deliveries[0])
		f.Deliveries[1].ID = ""
		must(t, s.FinishRun(t.Context(), f))
		equal(t, "deliveries", got(s.Deliveries(t.Context(), f.Run.ID))(t), f.Deliveries[:1], cmpopts.EquateApproxTime(time.Millisecond))
	})
}

func TestDeliveriesThatEndedAreForgottenInTime(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		run := deliver(t, s, hook.ID, 3)
		ds := toDeliver(t, s)
		for i, state := range []gateway.DeliveryState{gateway.DeliverySucceeded, gateway.DeliveryDead} {
			got(s.SettleDeliveries(t.Context(), "me", []gateway.Settlement{attempted(ds[i], state, time.Now())}, nil))(t)
		}
		got(s.ForgetDeliveries(t.Context(), time.Now().Add(-time.Hour)))(t)
		equal(t, "deliveries that are kept", len(got(s.Deliveries(t.Context(), run))(t)), 3)
		if got(s.ForgetDeliveries(t.Context(), time.Now().Add(time.Hour)))(t) {
			t.Error("there are more")
		}
		left := got(s.Deliveries(t.Context(), run))(t)
		if len(left) != 1 || left[0].State != gateway.DeliveryPending {
			t.Errorf("left are %+v", left)
		}
		if as := got(s.Attempts(t.Context(), ds[0].ID))(t); len(as) != 0 {
			t.Errorf("attempts are left: %+v", as)
		}
	})
}
