package storetest_test

import (
	"encoding/json"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// TestWhoDeliversIsWoken: nobody else says that there is something to deliver, which
// would wait until the deliverer looks by itself.
func TestWhoDeliversIsWoken(t *testing.T) {
	template := func(t *testing.T, s *store.Store) {
		t.Helper()
		one := hello("hello", gateway.TemplatePending)
		must(t, s.PutTemplate(t.Context(), &one))
	}
	for name, tc := range map[string]struct {
		before, do func(t *testing.T, s *store.Store)
		told       int
	}{
		"when a person's words take over": {takesOver, func(t *testing.T, s *store.Store) {
			queued(t, s, sandbox, alice, gateway.Send{Text: "hello"})
		}, 1},
		"when a person writes by other means": {takesOver, func(t *testing.T, s *store.Store) {
			add(t, s, echo(sandbox, alice, "wamid.1"))
		}, 1},
		"when Meta tells of a template": {template, func(t *testing.T, s *store.Store) {
			must(t, s.ApplyTemplateUpdates(t.Context(), []gateway.TemplateUpdate{update("hello", gateway.TemplateApproved, time.Now())}))
		}, 1},
		"when a template is made again": {template, func(t *testing.T, s *store.Store) {
			one := hello("hello", gateway.TemplateApproved)
			must(t, s.PutTemplate(t.Context(), &one))
		}, 1},
		"when templates are read": {template, func(t *testing.T, s *store.Store) {
			must(t, s.SyncTemplates(t.Context(), cloud, time.Now(), []gateway.Template{hello("hello", gateway.TemplateApproved)}))
		}, 1},
		"when a run pauses after a pause that is over": {func(t *testing.T, s *store.Store) {
			pausedFor(t, s, alice, -time.Second)
		}, func(t *testing.T, s *store.Store) {
			f := finish(claimed(t, s, sandbox, alice, "wamid.1"), "hello")
			f.Pause = &gateway.Pause{Conversation: f.Run.Conversation, Reason: gateway.PauseAgent, ExpiresAt: time.Now().Add(time.Hour)}
			must(t, s.FinishRun(t.Context(), f))
		}, 1},
		"but not when nobody takes over": {func(*testing.T, *store.Store) {}, func(t *testing.T, s *store.Store) {
			queued(t, s, sandbox, alice, gateway.Send{Text: "hello"})
			add(t, s, echo(sandbox, alice, "wamid.1"))
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				toldOf(t, s) // of templates
				tc.before(t, s)
				announced(t, s)
				mine := hooked(t, s)
				s.TellOfPauses(func(_ []gateway.Webhook, p *gateway.PausedPeer, _ time.Time) []gateway.Delivery {
					return []gateway.Delivery{{Webhook: mine.ID, Event: gateway.EventPaused, Action: -1, Conversation: p.Conversation, Body: json.RawMessage(`{}`)}}
				})
				woken := 0
				s.OnDeliveries(func(...int64) { woken++ })
				tc.do(t, s)
				if woken != tc.told {
					t.Errorf("woken %d times, want %d", woken, tc.told)
				}
				if n := len(announced(t, s)); (n > 0) != (tc.told > 0) {
					t.Errorf("%d deliveries", n)
				}
			})
		})
	}
}
