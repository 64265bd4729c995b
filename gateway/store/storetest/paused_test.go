package storetest_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// tellingOfPauses has the store tell of pauses in a few words.
func tellingOfPauses(s *store.Store) {
	s.TellOfPauses(func(hooks []gateway.Webhook, p *gateway.PausedPeer, now time.Time) []gateway.Delivery {
		event := gateway.EventResumed
		if p.ResumedAt.IsZero() && p.ExpiresAt.After(now) {
			event = gateway.EventPaused
		}
		return []gateway.Delivery{{
			Webhook: hooks[0].ID, Event: event, Action: -1, Conversation: p.Conversation, Body: json.RawMessage(fmt.Sprintf(`"%d %s"`, p.ID, p.Peer.Phone)),
		}}
	})
}

// pausedFor pauses a conversation of the sandbox.
func pausedFor(t *testing.T, s *store.Store, who string, lasts time.Duration) *gateway.Pause {
	t.Helper()
	p := &gateway.Pause{
		Conversation: got(s.OpenConversation(t.Context(), sandbox, gateway.Address{Phone: who}))(t).ID,
		Reason:       gateway.PauseManual, ExpiresAt: time.Now().Add(lasts),
	}
	must(t, s.PutPause(t.Context(), p))
	return p
}

func TestWebhooksAreToldOnceThatAPersonEndedAPause(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		p := pausedFor(t, s, alice, time.Hour)
		tellingOfPauses(s)
		for range 2 {
			got(s.ResumePause(t.Context(), sandbox, p.ID))(t)
		}
		if next := got(s.EndPauses(t.Context()))(t); !next.IsZero() {
			t.Errorf("the next pause ends at %v", next)
		}
		equal(t, "told", announced(t, s), []string{fmt.Sprintf(`conversation.resumed "%d %s"`, p.ID, alice)})
	})
}

func TestWebhooksAreToldOnceThatTheTimeOfAPauseIsOver(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		s := storetest.At(t, cfg)
		seed(t, s)
		over, lasts := pausedFor(t, s, alice, -time.Second), pausedFor(t, s, bob, time.Hour)
		tellingOfPauses(s)
		for range 2 {
			if next := got(s.EndPauses(t.Context()))(t); next.Sub(lasts.ExpiresAt).Abs() > time.Millisecond {
				t.Errorf("the next pause ends at %v, want %v", next, lasts.ExpiresAt)
			}
		}
		want := []string{fmt.Sprintf(`conversation.resumed "%d %s"`, over.ID, alice)}
		equal(t, "told", announced(t, s), want)
	})
}

func TestWhoPausesAnewIsToldOfAfterThePauseThatIsOver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		over := pausedFor(t, s, alice, -time.Second)
		tellingOfPauses(s)
		anew := pausedFor(t, s, alice, time.Hour)
		got(s.EndPauses(t.Context()))(t)
		equal(t, "told", announced(t, s), []string{
			fmt.Sprintf(`conversation.paused "%d %s"`, anew.ID, alice), fmt.Sprintf(`conversation.resumed "%d %s"`, over.ID, alice),
		})
	})
}

func TestAPauseThatBecomesOneWithAnotherIsNotOver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		pausedFor(t, s, alice, time.Hour)
		lid := &gateway.Pause{
			Conversation: got(s.OpenConversation(t.Context(), sandbox, gateway.Address{LID: "900"}))(t).ID,
			Reason:       gateway.PauseManual, ExpiresAt: time.Now().Add(2 * time.Hour),
		}
		must(t, s.PutPause(t.Context(), lid))
		tellingOfPauses(s)
		got(s.JoinAddresses(t.Context(), sandbox, gateway.Address{Phone: alice, LID: "900"}))(t)
		got(s.EndPauses(t.Context()))(t)
		equal(t, "told", announced(t, s), []string{})
		if ps := pauses(t, s, sandbox, false); len(ps) != 1 || ps[0].ID != lid.ID {
			t.Errorf("pauses are %+v", ps)
		}
	})
}

func TestTheEndOfAPauseIsToldBeforeThatOfARunWhichPauses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		over := pausedFor(t, s, alice, -time.Second)
		tellingOfPauses(s)
		f := finish(claimed(t, s, sandbox, alice, "wamid.1"), "hello")
		f.Pause = &gateway.Pause{Conversation: over.Conversation, Reason: gateway.PauseAgent, ExpiresAt: time.Now().Add(time.Hour)}
		f.Deliveries = []gateway.Delivery{{
			Webhook: hook.ID, Event: gateway.EventPaused, Run: f.Run.ID, Action: -1, Conversation: over.Conversation, Body: json.RawMessage(`{}`),
		}}
		must(t, s.FinishRun(t.Context(), f))
		got(s.EndPauses(t.Context()))(t)
		var events []string
		for _, d := range toDeliver(t, s) {
			events = append(events, d.Event)
		}
		equal(t, "told", events, []string{gateway.EventResumed, gateway.EventPaused})
	})
}
