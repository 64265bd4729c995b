package storetest_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

func TestDeliveriesAreFenced(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		run := deliver(t, s, hook.ID, 1)
		first, _, err := s.ClaimDeliveries(t.Context(), 9, 9, 0) // its lease ends at once
		must(t, err)
		second, _, err := s.ClaimDeliveries(t.Context(), 9, 9, time.Minute)
		must(t, err)
		if len(first) != 1 || len(second) != 1 || first[0].Attempt != 1 || second[0].Attempt != 2 || first[0].ID != second[0].ID {
			t.Fatalf("claimed %+v, then %+v", first, second)
		}
		third, next, err := s.ClaimDeliveries(t.Context(), 9, 9, time.Minute)
		must(t, err)
		if len(third) != 0 || time.Until(next) < 50*time.Second {
			t.Errorf("claimed %+v, next %v", third, next)
		}
		at := time.Now().UTC().Truncate(time.Millisecond)
		stale, d := first[0], second[0]
		stale.State = gateway.DeliverySucceeded
		wantKind(t, s.SettleDelivery(t.Context(), &stale, gateway.Attempt{At: at, StatusCode: 200}), gateway.Conflict)
		d.State = gateway.DeliverySucceeded
		must(t, s.SettleDelivery(t.Context(), &d, gateway.Attempt{At: at, Latency: 30 * time.Millisecond, StatusCode: 202, Answer: "ok\x00\xff"}))
		equal(t, "attempts", got(s.Attempts(t.Context(), d.ID))(t), []gateway.Attempt{
			{Delivery: d.ID, Number: 1, At: at, StatusCode: 200},
			{Delivery: d.ID, Number: 2, At: at, Latency: 30 * time.Millisecond, StatusCode: 202, Answer: "ok\uFFFD"},
		})
		if ds := got(s.Deliveries(t.Context(), run))(t); ds[0].State != gateway.DeliverySucceeded {
			t.Errorf("the delivery is %s", ds[0].State)
		}
		wantKind(t, s.SettleDelivery(t.Context(), &gateway.Delivery{ID: "del_none", State: gateway.DeliveryDead}, gateway.Attempt{}), gateway.Conflict)
	})
}

func TestOneWebhookDoesNotTakeEverySlot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		other := hook
		other.Key = "other"
		must(t, s.Declare(t.Context(), got(s.Accounts(t.Context()))(t), got(s.Agents(t.Context()))(t), []gateway.Webhook{hook, other}, nil))
		deliver(t, s, hook.ID, 5)
		deliver(t, s, hook.ID+1, 5)
		count := func(limit int, want ...int) {
			t.Helper()
			ds, _, err := s.ClaimDeliveries(t.Context(), limit, 2, time.Minute)
			must(t, err)
			got := []int{0, 0}
			for _, d := range ds {
				got[d.Webhook-hook.ID]++
			}
			equal(t, "claimed", got, want)
		}
		count(3, 2, 1)
		count(9, 0, 1)
		count(9, 0, 0)
	})
}

func TestReplicasShareTheLimitOfAWebhook(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		a := storetest.At(t, cfg)
		hook := seed(t, a)
		deliver(t, a, hook.ID, 20)
		var mu sync.Mutex
		seen := map[gateway.DeliveryID]bool{}
		var wg sync.WaitGroup
		for _, s := range []*store.Store{a, storetest.At(t, cfg)} {
			for range 3 {
				wg.Go(func() {
					ds, _, err := s.ClaimDeliveries(t.Context(), 9, 5, time.Minute)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					for _, d := range ds {
						if seen[d.ID] {
							t.Errorf("%s is claimed twice", d.ID)
						}
						seen[d.ID] = true
					}
				})
			}
		}
		wg.Wait()
		if len(seen) != 5 {
			t.Errorf("%d in hand, want 5", len(seen))
		}
	})
}

func TestWhatIsDueToADisabledWebhookIsDead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		run := deliver(t, s, hook.ID, 2)
		must(t, s.DisableWebhook(t.Context(), hook.ID, "it answered 410 Gone"))
		wantKind(t, s.DisableWebhook(t.Context(), 999, "no such"), gateway.NotFound)
		ds, next, err := s.ClaimDeliveries(t.Context(), 9, 9, time.Minute)
		must(t, err)
		if len(ds) != 0 || !next.IsZero() {
			t.Errorf("claimed %+v, next %v", ds, next)
		}
		dead := got(s.Deliveries(t.Context(), run))(t)[1]
		if dead.State != gateway.DeliveryDead {
			t.Fatalf("the delivery is %s", dead.State)
		}
		w := got(s.Webhook(t.Context(), hook.ID))(t)
		if w.Disabled != "it answered 410 Gone" || w.Wants(gateway.EventRunFailed, "") {
			t.Errorf("the webhook is %+v", w)
		}
		seed(t, s) // it is declared again
		must(t, s.ReplayDelivery(t.Context(), dead.ID))
		wantKind(t, s.ReplayDelivery(t.Context(), dead.ID), gateway.NotFound)
		ds, _, err = s.ClaimDeliveries(t.Context(), 9, 9, time.Minute)
		must(t, err)
		if len(ds) != 1 || ds[0].ID != dead.ID {
			t.Errorf("claimed %+v", ds)
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

func TestTimesOfDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t)
		hook := seed(t, s)
		deliver(t, s, hook.ID, 2)
		claim := func(want int, next time.Duration) []gateway.Delivery {
			t.Helper()
			ds, at, err := s.ClaimDeliveries(t.Context(), 9, 1, time.Minute)
			must(t, err)
			if len(ds) != want || time.Until(at) != next {
				t.Fatalf("claimed %d, the next in %v; want %d and %v", len(ds), time.Until(at), want, next)
			}
			return ds
		}
		d := claim(1, time.Minute)[0]
		d.State, d.NextAt = gateway.DeliveryPending, time.Now().Add(time.Hour)
		must(t, s.SettleDelivery(t.Context(), &d, gateway.Attempt{At: time.Now(), Error: "connect: refused"}))
		claim(1, time.Minute)
		time.Sleep(time.Minute)
		other := claim(1, time.Minute)[0]
		if other.Attempt != 2 || other.ID == d.ID {
			t.Errorf("claimed %+v", other)
		}
		other.State = gateway.DeliverySucceeded
		must(t, s.SettleDelivery(t.Context(), &other, gateway.Attempt{At: time.Now(), StatusCode: 200}))
		claim(0, 59*time.Minute)
		time.Sleep(59 * time.Minute)
		if d = claim(1, time.Minute)[0]; d.Attempt != 2 {
			t.Errorf("claimed %+v", d)
		}
	})
}

func TestDeliveriesThatEndedAreForgottenInTime(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		run := deliver(t, s, hook.ID, 3)
		ds, _, err := s.ClaimDeliveries(t.Context(), 2, 9, time.Minute)
		must(t, err)
		for i, state := range []gateway.DeliveryState{gateway.DeliverySucceeded, gateway.DeliveryDead} {
			ds[i].State, ds[i].NextAt = state, time.Now()
			must(t, s.SettleDelivery(t.Context(), &ds[i], gateway.Attempt{At: time.Now()}))
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
