package storetest_test

import (
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func as(a gateway.Arrival, who gateway.Address) gateway.Arrival {
	a.Peer, a.Sender = who, who
	return a
}

func TestAliasesAreOneContact(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		both := gateway.Address{Phone: alice, LID: "111"}
		ms := add(t, s,
			as(from(sandbox, "", "wamid.1"), gateway.Address{LID: "111"}),
			as(from(sandbox, "", "wamid.2"), both),
			as(from(sandbox, "", "wamid.3"), gateway.Address{Phone: alice}),
			as(from(cloud, "", "wamid.3"), both),
		)
		for _, m := range ms[1:3] {
			if m.Contact != ms[0].Contact || m.Conversation != ms[0].Conversation {
				t.Errorf("%s is taken for somebody else", m.ExternalID)
			}
		}
		if ms[3].Contact == ms[0].Contact || ms[3].Conversation == ms[0].Conversation {
			t.Error("two accounts share a customer")
		}
		equal(t, "peer", got(s.Conversation(t.Context(), ms[0].Conversation))(t).Peer, both)
	})
}

// Somebody wrote under a number and under a private id before WhatsApp told
// that they are one person.
func TestContactsMerge(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		phone, lid := gateway.Address{Phone: alice}, gateway.Address{LID: "111"}
		kept := sent(t, s, sandbox, alice, "wamid.1")
		byLID := as(from(sandbox, "", "wamid.2"), lid)
		gone := add(t, s, byLID)[0]
		run := got(s.ClaimRun(t.Context(), gone.Conversation, time.Minute))(t)
		group := as(from(sandbox, "", "wamid.g"), gateway.Address{Group: "g1"})
		group.Sender = lid
		inGroup := add(t, s, group)[0]
		must(t, s.PutPause(t.Context(), &gateway.Pause{Conversation: gone.Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}))

		last := add(t, s, as(from(sandbox, "", "wamid.3"), gateway.Address{Phone: alice, LID: "111"}))[0]
		if last.Conversation != kept.Conversation {
			t.Fatal("the message is in a third conversation")
		}
		if last.State != gateway.StateHeld {
			t.Errorf("the pause of the conversation that went is lost: the message is %s", last.State)
		}
		var names []string
		for _, m := range got(s.Recent(t.Context(), kept.Conversation, 0, 9))(t) {
			names = append(names, m.ExternalID)
		}
		equal(t, "messages", names, []string{"wamid.1", "", "wamid.2", "wamid.3"})
		wantKind(t, s.FinishRun(t.Context(), finish(run, "too late")), gateway.Conflict)
		wantKind(t, s.RenewRun(t.Context(), run.Run.ID, 1, time.Now()), gateway.Conflict)
		_, err := s.Conversation(t.Context(), gone.Conversation)
		wantKind(t, err, gateway.NotFound)
		_, err = s.ClaimRun(t.Context(), gone.Conversation, time.Minute)
		wantKind(t, err, gateway.NotFound)
		again := got(s.AddMessages(t.Context(), []gateway.Arrival{byLID, as(from(sandbox, "", "wamid.1"), phone)}))(t)
		if again[0].New || again[1].New {
			t.Error("what was on record is recorded again")
		}
		if m := add(t, s, group)[0]; m.ID != inGroup.ID || m.Contact != last.Contact {
			t.Errorf("in the group they are still somebody else: %+v", m)
		}
	})
}

func TestMergedBatchIsAnsweredOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		// The same message was delivered under either form of the address.
		a := claimed(t, s, sandbox, alice, "wamid.1")
		twin := add(t, s, as(from(sandbox, "", "wamid.1"), gateway.Address{LID: "111"}), as(from(sandbox, "", "wamid.2"), gateway.Address{LID: "111"}))
		b := got(s.ClaimRun(t.Context(), twin[0].Conversation, time.Minute))(t)
		add(t, s, as(from(sandbox, "", "wamid.3"), gateway.Address{Phone: alice, LID: "111"}))
		wantKind(t, s.FinishRun(t.Context(), finish(b, "b")), gateway.Conflict)
		must(t, s.FinishRun(t.Context(), finish(a, "a")))
		next := got(s.ClaimRun(t.Context(), a.Run.Conversation, time.Minute))(t)
		var names []string
		for _, m := range next.Messages {
			names = append(names, m.ExternalID)
		}
		equal(t, "the next batch", names, []string{"wamid.2", "wamid.3"})
		r := got(s.Run(t.Context(), "", b.Run.ID))(t)
		if r.Status != gateway.RunFailed || r.StopReason != gateway.StopCancelled || r.Conversation != a.Run.Conversation {
			t.Errorf("the other run is %s (%s) in %s", r.Status, r.StopReason, r.Conversation)
		}
	})
}

func TestConversationWith(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		conv := add(t, s, from(sandbox, alice, "wamid.1"))[0].Conversation
		c := got(s.ConversationWith(t.Context(), sandbox, gateway.Address{Phone: alice, LID: "111"}))(t)
		equal(t, "conversation", c, got(s.Conversation(t.Context(), conv))(t))
		for name, who := range map[string]gateway.Address{"nobody": {}, "a stranger": {Phone: bob}} {
			if _, err := s.ConversationWith(t.Context(), sandbox, who); gateway.KindOf(err) != gateway.NotFound {
				t.Errorf("with %s: %v", name, err)
			}
		}
		_, err := s.ConversationWith(t.Context(), cloud, gateway.Address{Phone: alice})
		wantKind(t, err, gateway.NotFound)
	})
}
