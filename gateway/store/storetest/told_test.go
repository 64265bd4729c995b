package storetest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// listening has the store tell of messages in a few words, and counts how often
// it wakes who delivers.
func listening(s *store.Store) (woken func() int) {
	var mu sync.Mutex
	n := 0
	s.TellOfMessages(func(hooks []gateway.Webhook, e *gateway.MessageEvent, _ time.Time) []gateway.Delivery {
		var out []gateway.Delivery
		for i := range hooks {
			if hooks[i].Wants(e.Event(), "") {
				out = append(out, gateway.Delivery{
					Webhook: hooks[i].ID, Event: e.Event(), Action: -1, Conversation: e.Message.Conversation,
					Body: json.RawMessage(fmt.Sprintf("%q", fmt.Sprint(e.Kind, " ", e.Peer.Phone, e.Peer.LID, " ", e.Message.Text, " ", e.Message.Status, " ", e.Reason))),
				})
			}
		}
		return out
	})
	s.OnDeliveries(func(...int64) { mu.Lock(); n++; mu.Unlock() })
	return func() int { mu.Lock(); defer mu.Unlock(); return n }
}

// announced takes what is to be delivered, each as its event and body.
func announced(t *testing.T, s *store.Store) []string {
	t.Helper()
	out := []string{}
	for _, d := range toDeliver(t, s) {
		out = append(out, d.Event+" "+string(d.Body))
		delivered(t, s, d)
	}
	slices.Sort(out)
	return out
}

func TestWebhooksAreToldOfEachMessageThatACustomerWritesOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		woken := listening(s)
		first, second := from(sandbox, alice, "wamid.1"), from(cloud, bob, "wamid.2")
		second.Origin, second.State = gateway.OriginBacklog, gateway.StateHeld // also where no agent answers
		history := from(sandbox, alice, "wamid.3")
		history.Origin, history.State = gateway.OriginHistory, gateway.StateIgnored
		edit := from(sandbox, alice, "wamid.4")
		edit.Change, edit.Target = gateway.Edit, "wamid.1"
		add(t, s, first, second, history, edit, echo(sandbox, alice, "wamid.5"))
		add(t, s, first, second) // WhatsApp repeats them
		equal(t, "told", announced(t, s), []string{
			`message.received "cloud_api ` + bob + ` text of wamid.2  "`,
			`message.received "sandbox ` + alice + ` text of wamid.1  "`,
		})
		if woken() == 0 {
			t.Error("nobody was woken to deliver")
		}
	})
}

func TestWhoWroteIsToldByTheNumberThatWeKnow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		m := from(sandbox, alice, "wamid.1")
		m.Peer.LID, m.Sender.LID = "900", "900"
		add(t, s, m)
		listening(s)
		m.ExternalID, m.Peer, m.Sender = "wamid.2", gateway.Address{LID: "900"}, gateway.Address{LID: "900"}
		add(t, s, m)
		equal(t, "told", announced(t, s), []string{`message.received "sandbox ` + alice + `900 text of wamid.1  "`})
	})
}

func TestOnlyWebhooksThatWantMessagesAreToldOfThem(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		wants, not := hooked(t, s, gateway.EventMessageReceived), hooked(t, s, gateway.EventRunCompleted)
		must(t, s.PutAccount(t.Context(), gateway.Account{ID: sandbox, Kind: gateway.Sandbox}))
		woken := listening(s)
		add(t, s, from(sandbox, alice, "wamid.1"))
		ds := toDeliver(t, s)
		if len(ds) != 1 || ds[0].Webhook != wants.ID {
			t.Errorf("deliveries %+v, want one to webhook %d and none to %d", ds, wants.ID, not.ID)
		}
		must(t, s.DeleteWebhook(t.Context(), wants.ID))
		before := woken()
		add(t, s, from(sandbox, alice, "wamid.2"))
		if got := announced(t, s); len(got) != 0 || woken() != before {
			t.Errorf("told %v, woken %d times", got, woken()-before)
		}
	})
}

func TestWebhooksAreToldHowFarAMessageOfOursGot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		sent(t, s, cloud, alice, "wamid.1")
		listening(s)
		x := claimOne(t, s)
		settle(t, s, x, gateway.SendAccepted, "wamid.out")
		equal(t, "told as it is accepted", announced(t, s), []string{`message.status "cloud_api ` + alice + ` reply to wamid.1 sent "`})
		for range 2 { // WhatsApp repeats them, and tells of messages that are not ours
			for _, status := range []gateway.SendStatus{gateway.StatusSent, gateway.StatusRead, gateway.StatusDelivered, "played"} {
				must(t, s.ApplyStatuses(t.Context(), []gateway.StatusUpdate{
					{Account: cloud, ExternalID: "wamid.out", Status: status},
					{Account: cloud, ExternalID: "wamid.of.others", Status: status},
				}))
			}
		}
		equal(t, "told of what WhatsApp tells", announced(t, s), []string{`message.status "cloud_api ` + alice + ` reply to wamid.1 read "`})
	})
}

func TestWebhooksAreToldOfAMessageOfOursThatFails(t *testing.T) {
	for name, tc := range map[string]struct {
		fail   func(t *testing.T, s *store.Store)
		reason string
	}{
		"as it is sent": {func(t *testing.T, s *store.Store) {
			x := claimOne(t, s)
			x.Error = "131026: undeliverable"
			settle(t, s, x, gateway.SendRefused, "")
		}, "131026: undeliverable"},
		"as WhatsApp tells": {func(t *testing.T, s *store.Store) {
			must(t, s.ApplyStatuses(t.Context(), []gateway.StatusUpdate{
				{Account: cloud, Message: claimOne(t, s).ID, ExternalID: "wamid.out", Status: gateway.StatusFailed, Reason: "131049: not delivered"},
			}))
		}, "131049: not delivered"},
		"because a person took over": {func(t *testing.T, s *store.Store) {
			c := got(s.ConversationWith(t.Context(), cloud, gateway.Address{Phone: alice}))(t)
			must(t, s.PutPause(t.Context(), &gateway.Pause{Conversation: c.ID, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}))
			if _, settled, _, err := s.ClaimSends(t.Context(), "", true, 9); err != nil || len(settled) != 1 {
				t.Errorf("settled %+v, %v", settled, err)
			}
		}, "the conversation is paused"},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				sent(t, s, cloud, alice, "wamid.1")
				listening(s)
				tc.fail(t, s)
				equal(t, "told", announced(t, s), []string{`message.failed "cloud_api ` + alice + ` reply to wamid.1 failed ` + tc.reason + `"`})
			})
		})
	}
}

func TestWebhooksAreToldHowALinkedDeviceStands(t *testing.T) {
	const connected, lost, connecting, out = gateway.LinkConnected, gateway.LinkDisconnected, gateway.LinkConnecting, gateway.LinkLoggedOut
	const unpaired, crash = gateway.LinkUnpaired, gateway.LinkState("crash")
	for name, tc := range map[string]struct {
		states []gateway.LinkState
		want   []string
	}{
		"it is connected":              {[]gateway.LinkState{connecting, connected}, []string{"session.connected "}},
		"it is still connected":        {[]gateway.LinkState{connected, connected}, []string{"session.connected "}},
		"it is lost and comes back":    {[]gateway.LinkState{connected, lost, connected}, []string{"session.connected ", "session.connected disconnected", "session.disconnected connected"}},
		"it never was connected":       {[]gateway.LinkState{connecting, lost}, []string{}},
		"the phone unlinked it":        {[]gateway.LinkState{connected, out}, []string{"session.connected ", "session.failed connected"}},
		"a person unlinked it":         {[]gateway.LinkState{connected, unpaired}, []string{"session.connected ", "session.disconnected connected"}},
		"it comes back elsewhere":      {[]gateway.LinkState{connected, crash, connecting, connected}, []string{"session.connected "}},
		"it does not come back":        {[]gateway.LinkState{connected, crash, connecting, lost}, []string{"session.connected ", "session.disconnected connected"}},
		"it is refused again":          {[]gateway.LinkState{out, connecting, lost, out}, []string{"session.failed "}},
		"it is refused while it's off": {[]gateway.LinkState{lost, gateway.LinkRefused}, []string{"session.failed "}},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				link(t, s, nil)
				hooked(t, s, gateway.EventSessionConnected, gateway.EventSessionDisconnected, gateway.EventSessionFailed)
				woken := 0
				s.TellOfLinks(func(hooks []gateway.Webhook, e *gateway.LinkEvent, _ time.Time) []gateway.Delivery {
					return []gateway.Delivery{{Webhook: hooks[0].ID, Event: e.Event(), Action: -1, Body: json.RawMessage(e.Told)}}
				})
				s.OnDeliveries(func(...int64) { woken++ })
				l := hold(t, s, "a")[0]
				for _, state := range tc.states {
					if state == crash {
						lapse(t, s, "a")
						l = hold(t, s, "b")[0]
						continue
					}
					set(t, s, l, state)
				}
				stale := l
				stale.Fence, stale.State = l.Fence-1, gateway.LinkBanned
				wantKind(t, s.SetLink(t.Context(), &stale), gateway.Conflict)
				equal(t, "told", announced(t, s), tc.want)
				equal(t, "woken", woken, len(tc.want))
			})
		})
	}
}

func TestEachWebhookIsToldOnceOfAnAgentsDay(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hooked(t, s, gateway.EventQuotaWarning)
		first := hooked(t, s, gateway.EventQuotaExceeded)
		day := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
		tell := func(agent gateway.AgentID, day time.Time) {
			t.Helper()
			e := gateway.QuotaEvent{Agent: agent, Day: day, Used: 5, Limit: 5}
			must(t, s.TellOfQuota(t.Context(), &e, func(hooks []gateway.Webhook, e *gateway.QuotaEvent, _ time.Time) (out []gateway.Delivery) {
				for _, h := range hooks {
					out = append(out, gateway.Delivery{
						Webhook: h.ID, Event: e.Event(), Action: e.Number(), Body: json.RawMessage(fmt.Sprintf(`"%s %s %d"`, e.Agent, e.Day.Format(time.DateOnly), h.ID)),
					})
				}
				return out
			}))
		}
		for range 2 {
			tell("one", day)
			tell("two", day)
			tell("one", day.AddDate(0, 0, 1))
		}
		later := hooked(t, s, gateway.EventQuotaExceeded)
		tell("two", day)
		equal(t, "told", announced(t, s), []string{
			fmt.Sprintf(`quota.exceeded "agt_one 2026-11-26 %d"`, first.ID), fmt.Sprintf(`quota.exceeded "agt_one 2026-11-27 %d"`, first.ID),
			fmt.Sprintf(`quota.exceeded "agt_two 2026-11-26 %d"`, first.ID), fmt.Sprintf(`quota.exceeded "agt_two 2026-11-26 %d"`, later.ID),
		})
	})
}

func TestWhatALinkedDeviceDidIsKnownToWhoListensLater(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		link(t, s, nil)
		s.TellOfLinks(func(hooks []gateway.Webhook, e *gateway.LinkEvent, _ time.Time) []gateway.Delivery {
			return []gateway.Delivery{{Webhook: hooks[0].ID, Event: e.Event(), Action: -1, Body: json.RawMessage(e.Told)}}
		})
		l := hold(t, s, "a")[0]
		set(t, s, l, gateway.LinkConnected)
		hooked(t, s, gateway.EventSessionDisconnected)
		set(t, s, l, gateway.LinkDisconnected)
		equal(t, "told", announced(t, s), []string{"session.disconnected connected"})
	})
}
