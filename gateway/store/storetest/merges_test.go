package storetest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

var (
	byPhone = gateway.Address{Phone: alice}
	byLID   = gateway.Address{LID: "111"}
	byBoth  = gateway.Address{Phone: alice, LID: "111"}
)

// What is known of somebody comes in any order and by any way; in the end it is
// one contact and one conversation, in which all that was said stands in order.
func TestWhoKnewWhat(t *testing.T) {
	forms := []gateway.Address{byPhone, byLID, byBoth}
	const join = 3 // in place of a message: a notice
	var orders [][]int
	for a := range 4 {
		for b := range 4 {
			for c := range 4 {
				orders = append(orders, []int{a, b, c})
			}
		}
	}
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		for n, order := range orders {
			t.Run(fmt.Sprint(order), func(t *testing.T) {
				unique := func(a gateway.Address) gateway.Address {
					if a.Phone != "" {
						a.Phone = fmt.Sprintf("+1666%07d", n)
					}
					if a.LID != "" {
						a.LID = fmt.Sprintf("9%07d", n)
					}
					return a
				}
				var want []string
				for i, what := range append(slices.Clone(order), 2) { // both, in the end
					if what == join {
						got(s.JoinAddresses(t.Context(), sandbox, unique(byBoth)))(t)
						continue
					}
					id := fmt.Sprint(n, ".", i)
					add(t, s, as(from(sandbox, "", id), unique(forms[what])))
					want = append(want, id)
				}
				for _, form := range forms {
					c := got(s.ConversationWith(t.Context(), sandbox, unique(form)))(t)
					equal(t, "peer", c.Peer, unique(byBoth))
					var ids []string
					for _, m := range got(s.Recent(t.Context(), c.ID, 0, 9))(t) {
						ids = append(ids, m.ExternalID)
						if m.State != gateway.StateWaiting {
							t.Errorf("%s is %s", m.ExternalID, m.State)
						}
					}
					equal(t, "messages", ids, want)
				}
			})
		}
	})
}

func TestJoinAddressesOfStrangers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ms := got(s.JoinAddresses(t.Context(), sandbox, byBoth, gateway.Address{Phone: bob}, gateway.Address{}, gateway.Address{Group: "g"}))(t)
		if len(ms) != 0 {
			t.Errorf("%d messages wait", len(ms))
		}
		a, b := add(t, s, as(from(sandbox, "", "wamid.1"), byLID))[0], add(t, s, as(from(sandbox, "", "wamid.2"), byPhone))[0]
		if a.Contact != b.Contact || a.Conversation != b.Conversation {
			t.Error("they are two people")
		}
		_, err := s.JoinAddresses(t.Context(), "acc_none", byBoth)
		wantKind(t, err, gateway.NotFound)
	})
}

// Two conversations with all that a conversation may have become one.
func TestJoinedConversations(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		const webhook = 1
		// By number: a finished run with a reply, a run in hand, a message that waits.
		first := finish(claimed(t, s, sandbox, alice, "p.1"), "reply to p.1")
		first.Run.Output.ContextSummary = "by number"
		must(t, s.FinishRun(t.Context(), first))
		open := claimed(t, s, sandbox, alice, "p.2")
		// By LID: the same, and the last run is that one's.
		add(t, s, as(from(sandbox, "", "l.1"), byLID))
		gone := got(s.ConversationWith(t.Context(), sandbox, byLID))(t).ID
		last := finish(got(s.ClaimRun(t.Context(), gone, time.Minute))(t), "reply to l.1")
		last.Run.Output.ContextSummary = "by LID"
		last.Run.CompletedAt = time.Now().Add(time.Second)
		last.Deliveries = []gateway.Delivery{{Webhook: webhook, Event: gateway.EventRunCompleted, Action: -1, Conversation: gone, Run: last.Run.ID, Body: []byte(`{}`)}}
		must(t, s.FinishRun(t.Context(), last))
		add(t, s, as(from(sandbox, "", "l.2"), byLID))
		cancelled := got(s.ClaimRun(t.Context(), gone, time.Minute))(t)
		add(t, s, as(from(sandbox, "", "l.3"), byLID), from(sandbox, alice, "p.3"))
		kept := open.Run.Conversation

		waiting := got(s.JoinAddresses(t.Context(), sandbox, byBoth))(t)
		var names []string
		for _, m := range waiting {
			names = append(names, m.ExternalID)
			if m.Conversation != kept {
				t.Errorf("%s waits in %s", m.ExternalID, m.Conversation)
			}
		}
		equal(t, "what waits", names, []string{"l.2", "l.3", "p.3"})
		_, err := s.ClaimRun(t.Context(), gone, time.Minute)
		wantKind(t, err, gateway.NotFound)
		wantKind(t, s.FinishRun(t.Context(), finish(cancelled, "no")), gateway.Conflict)
		must(t, s.FinishRun(t.Context(), finish(open, "reply to p.2")))

		c := got(s.ClaimRun(t.Context(), kept, time.Minute))(t)
		names = nil
		for _, m := range c.Messages {
			names = append(names, m.ExternalID)
		}
		equal(t, "the next batch", names, []string{"l.2", "l.3", "p.3"})
		if r := got(s.LastRun(t.Context(), last.Run.Agent, string(kept)))(t); r.Output.ContextSummary != "by LID" {
			t.Errorf("what is remembered is %q", r.Output.ContextSummary)
		}
		_, err = s.LastRun(t.Context(), last.Run.Agent, string(gone))
		wantKind(t, err, gateway.NotFound)
		var texts []string
		for _, x := range got(s.Sends(t.Context(), kept))(t) {
			texts = append(texts, x.Text)
		}
		equal(t, "sends", texts, []string{"reply to p.1", "reply to l.1", "reply to p.2"})
		for _, want := range texts {
			claimed, _, _, err := s.ClaimSends(t.Context(), "", true, 9)
			must(t, err)
			if len(claimed) != 1 || claimed[0].Send.Text != want {
				t.Fatalf("claimed %+v, want %q alone", claimed, want)
			}
			x := claimed[0].Send
			x.State = gateway.SendAccepted
			got(s.SettleSend(t.Context(), &x))(t)
		}
	})
}

// The windows of a conversation that went fire for nobody: whoever joined it is
// told what waits, even if their own message does not.
func TestWhoeverJoinsIsToldWhatWaits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		add(t, s, from(sandbox, alice, "p.1"), as(from(sandbox, "", "l.1"), byLID))
		ignored := as(from(sandbox, "", "b.1"), byBoth)
		ignored.State, ignored.Reason = gateway.StateIgnored, "type"
		out := got(s.AddMessages(t.Context(), []gateway.Arrival{from(sandbox, bob, "x"), ignored, from(sandbox, alice, "p.2")}))(t)
		for i, want := range [][]string{nil, {"p.1", "l.1", "p.2"}, nil} {
			var names []string
			for _, m := range out[i].Joined {
				names = append(names, m.ExternalID)
			}
			equal(t, fmt.Sprint("told with message ", i), names, want)
		}
	})
}

func TestTheLongerPauseHolds(t *testing.T) {
	for name, hours := range map[string][2]int{"that of the one that stays": {3, 2}, "that of the one that goes": {2, 3}} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				for i, who := range []gateway.Address{byPhone, byLID} {
					c := got(s.OpenConversation(t.Context(), sandbox, who))(t)
					must(t, s.PutPause(t.Context(), &gateway.Pause{
						Conversation: c.ID, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Duration(hours[i]) * time.Hour),
					}))
				}
				got(s.JoinAddresses(t.Context(), sandbox, byBoth))(t)
				ps := pauses(t, s, sandbox, false)
				if len(ps) != 1 || time.Until(ps[0].ExpiresAt) < 150*time.Minute || ps[0].Peer != byBoth {
					t.Fatalf("active are %+v", ps)
				}
				if all := pauses(t, s, sandbox, true); len(all) != 2 {
					t.Errorf("%d pauses on record", len(all))
				}
				got(s.ResumePause(t.Context(), sandbox, ps[0].ID))(t)
				if m := add(t, s, from(sandbox, alice, "wamid.1"))[0]; m.State != gateway.StateWaiting {
					t.Errorf("after the pause a message is %s", m.State)
				}
			})
		})
	}
}

// The same message was delivered under either form, and one of them answered.
func TestWhatOneRunAnsweredIsNotAnsweredAgain(t *testing.T) {
	for name, answered := range map[string]gateway.Address{"in the one that stays": byPhone, "in the one that goes": byLID} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				group := gateway.Address{Group: "g1"}
				order := []gateway.Address{byPhone, byLID} // who is answered comes first
				if answered == byLID {
					slices.Reverse(order)
				}
				for _, who := range order {
					m := add(t, s, as(from(sandbox, "", "wamid.1"), who))[0]
					inGroup := as(from(sandbox, "", "wamid.g"), group)
					inGroup.Sender = who
					g := add(t, s, inGroup)[0]
					if who != answered {
						continue
					}
					for _, id := range []gateway.ConversationID{m.Conversation, g.Conversation} {
						c := got(s.ClaimRun(t.Context(), id, time.Minute))(t)
						must(t, s.FinishRun(t.Context(), finish(c, "done")))
					}
				}
				if waiting := got(s.JoinAddresses(t.Context(), sandbox, byBoth))(t); len(waiting) != 0 {
					t.Errorf("it waits again: %+v", waiting)
				}
				for _, who := range []gateway.Address{byBoth, group} {
					c := got(s.ConversationWith(t.Context(), sandbox, who))(t)
					_, err := s.ClaimRun(t.Context(), c.ID, time.Minute)
					wantKind(t, err, gateway.NotFound)
					n := 0
					for _, m := range record(t, s, sandbox, c.ID) {
						if m.Direction == gateway.In {
							n++
							if m.State != gateway.StateBatched || m.Run == "" {
								t.Errorf("it is %s by %q", m.State, m.Run)
							}
						}
					}
					if n != 1 {
						t.Errorf("it is there %d times", n)
					}
				}
			})
		})
	}
}
