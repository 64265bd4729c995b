package storetest_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// hooked adds a webhook over the API.
func hooked(t *testing.T, s *store.Store, events ...string) gateway.Webhook {
	t.Helper()
	w := gateway.Webhook{URL: "https://example.com/mine", Secret: "whsec_bWluZQ==", Active: true, Events: events}
	must(t, s.CreateWebhook(t.Context(), &w))
	return w
}

func TestWebhooksAreCreatedChangedAndDeleted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		declared := seed(t, s)
		w := hooked(t, s, gateway.EventMessageReceived)
		if w.ID <= declared.ID || w.CreatedAt.IsZero() || !w.UpdatedAt.Equal(w.CreatedAt) {
			t.Errorf("created %+v", w)
		}
		equal(t, "created", got(s.Webhook(t.Context(), w.ID))(t), w, cmpopts.EquateEmpty())
		until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
		changed := got(s.ChangeWebhook(t.Context(), w.ID, func(w *gateway.Webhook) error {
			w.PreviousSecret, w.Secret, w.PreviousUntil, w.SecretRequest = w.Secret, "whsec_bmV3", until, "a"
			w.URL, w.Active, w.Events, w.Actions = "https://example.com/moved", false, nil, []string{"support.*.*"}
			w.ID, w.Key, w.CreatedAt = 99, "mine", time.Time{} // which nobody changes
			return nil
		}))(t)
		want := gateway.Webhook{
			ID: w.ID, URL: "https://example.com/moved", Secret: "whsec_bmV3", PreviousSecret: "whsec_bWluZQ==", PreviousUntil: until, SecretRequest: "a",
			Actions: []string{"support.*.*"}, CreatedAt: w.CreatedAt, UpdatedAt: changed.UpdatedAt,
		}
		equal(t, "changed", changed, want, cmpopts.EquateEmpty())
		equal(t, "on record", got(s.Webhook(t.Context(), w.ID))(t), want, cmpopts.EquateEmpty())

		no := errors.New("no")
		if _, err := s.ChangeWebhook(t.Context(), w.ID, func(w *gateway.Webhook) error { w.Active = true; return no }); !errors.Is(err, no) {
			t.Errorf("the error is %v", err)
		}
		equal(t, "after a change that failed", got(s.Webhook(t.Context(), w.ID))(t), want, cmpopts.EquateEmpty())

		must(t, s.DeleteWebhook(t.Context(), w.ID))
		keep := func(*gateway.Webhook) error { return nil }
		for what, err := range map[string]error{
			"read":    second(s.Webhook(t.Context(), w.ID)),
			"change":  second(s.ChangeWebhook(t.Context(), w.ID, keep)),
			"disable": s.DisableWebhook(t.Context(), w.ID, w.URL, "gone"),
			"delete":  s.DeleteWebhook(t.Context(), w.ID),
			"none":    s.DeleteWebhook(t.Context(), 999),
		} {
			if gateway.KindOf(err) != gateway.NotFound {
				t.Errorf("%s: %v", what, err)
			}
		}
		if ws := got(s.Webhooks(t.Context()))(t); len(ws) != 1 || ws[0].ID != declared.ID {
			t.Errorf("there are %+v", ws)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestADeclaredWebhookIsReadOnly(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		off := func(w *gateway.Webhook) error { w.Active = false; return nil }
		for _, err := range []error{second(s.ChangeWebhook(t.Context(), hook.ID, off)), s.DeleteWebhook(t.Context(), hook.ID)} {
			wantKind(t, err, gateway.Conflict)
			if !strings.Contains(err.Error(), "declared in the configuration file as all") {
				t.Errorf("the error is %v", err)
			}
		}
		equal(t, "the webhook", got(s.Webhook(t.Context(), hook.ID))(t), hook)
	})
}

func TestWhatIsPendingForADeletedWebhookIsADeadLetterWithAReason(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		hook := hooked(t, s)
		run := deliver(t, s, hook.ID, 3)
		inHand := toDeliver(t, s)[:2]
		delivered(t, s, inHand[0])
		must(t, s.DeleteWebhook(t.Context(), hook.ID))
		if first := got(s.FirstDue(t.Context(), everyLane()))(t); len(first) != 0 {
			t.Errorf("due are %v", first)
		}
		if got(s.BuryDeliveries(t.Context(), []int64{(hook.ID + 1) % gateway.Lanes}))(t); len(got(s.Attempts(t.Context(), inHand[1].ID))(t)) != 0 {
			t.Error("another lane's was given up")
		}
		if got(s.BuryDeliveries(t.Context(), everyLane()))(t) {
			t.Error("there are more")
		}
		delivered(t, s, inHand[1]) // it arrived, after all
		for _, d := range got(s.Deliveries(t.Context(), run))(t) {
			as := got(s.Attempts(t.Context(), d.ID))(t)
			last := as[len(as)-1]
			switch {
			case d.ID == inHand[0].ID || d.ID == inHand[1].ID:
				if d.State != gateway.DeliverySucceeded || last.StatusCode != 200 {
					t.Errorf("what was delivered is %s after %+v", d.State, as)
				}
			case d.State != gateway.DeliveryDead || last.Number != d.Attempt || last.Error != "the webhook was deleted":
				t.Errorf("what was not delivered is %s after %+v", d.State, as)
			}
		}
	})
}

func TestConcurrentChangesOfAWebhookAllHold(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		a := storetest.At(t, cfg)
		hook := hooked(t, a)
		var wg sync.WaitGroup
		for i, s := range []*store.Store{a, storetest.At(t, cfg)} {
			for k := range 5 {
				wg.Go(func() {
					if _, err := s.ChangeWebhook(t.Context(), hook.ID, func(w *gateway.Webhook) error {
						w.Actions = append(w.Actions, "a.b."+strings.Repeat("x", 1+5*i+k))
						return nil
					}); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		if w := got(a.Webhook(t.Context(), hook.ID))(t); len(w.Actions) != 10 {
			t.Errorf("%d changes hold: %v", len(w.Actions), w.Actions)
		}
	})
}
