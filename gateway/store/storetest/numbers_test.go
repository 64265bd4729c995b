package storetest_test

import (
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// A number of Brazil as it is dialled, and the one under which its owner writes.
const (
	dialled = "+5531988887777"
	waID    = "+553188887777"
)

func joinNumbers(t *testing.T, s *store.Store, account gateway.AccountID) []gateway.Message {
	t.Helper()
	return got(s.JoinNumbers(t.Context(), account, gateway.Address{Phone: dialled}, gateway.Address{Phone: waID}))(t)
}

// spoken lists the ids of what was said with a peer.
func spoken(t *testing.T, s *store.Store, account gateway.AccountID, phone string) []string {
	t.Helper()
	c := got(s.ConversationWith(t.Context(), account, gateway.Address{Phone: phone}))(t)
	var ids []string
	for _, m := range got(s.Recent(t.Context(), c.ID, 0, 99))(t) {
		ids = append(ids, m.ExternalID)
	}
	return ids
}

func TestAnAnswerFromTheOtherFormOfANumberIsInTheSameConversation(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		m := queued(t, s, sandbox, dialled, gateway.Send{Text: "hello"})
		x := claimOne(t, s)
		settle(t, s, x, gateway.SendAccepted, "wamid.out")
		for range 2 {
			equal(t, "what waits", len(joinNumbers(t, s, sandbox)), 0)
		}
		answer := add(t, s, from(sandbox, waID, "wamid.in"))[0]
		if answer.Conversation != m.Conversation {
			t.Errorf("the answer is in %s, what it answers in %s", answer.Conversation, m.Conversation)
		}
		for _, phone := range []string{dialled, waID} {
			equal(t, "said", spoken(t, s, sandbox, phone), []string{"wamid.out", "wamid.in"})
		}
		equal(t, "the peer", got(s.Conversation(t.Context(), m.Conversation))(t).Peer.Phone, waID)
		again := queued(t, s, sandbox, dialled, gateway.Send{Text: "hello again"})
		if x := claimOne(t, s); again.Conversation != m.Conversation || x.To.Phone != dialled {
			t.Errorf("the next one is in %s, to %s", again.Conversation, x.To.Phone)
		}
	})
}

func TestConversationsUnderBothFormsOfANumberBecomeOne(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		must(t, s.Declare(t.Context(), []gateway.Account{{ID: cloud, Kind: gateway.CloudAPI, Takeover: time.Hour}}, nil, nil, nil))
		first := add(t, s, from(cloud, waID, "wamid.1"))[0]
		m := queued(t, s, cloud, dialled, gateway.Send{Type: gateway.TypeTemplate, Content: []byte(`{"name":"hi","language":"en"}`)})
		x := claimOne(t, s)
		settle(t, s, x, gateway.SendAccepted, "wamid.out")
		must(t, s.ApplyStatuses(t.Context(), []gateway.StatusUpdate{{Account: cloud, ExternalID: "wamid.out", Status: gateway.StatusDelivered, At: time.Now()}}))
		// They answer before we know who they are.
		add(t, s, from(cloud, waID, "wamid.2"))
		equal(t, "paused before", len(pauses(t, s, cloud, false)), 1)

		waiting := joinNumbers(t, s, cloud)
		var ids []string
		for _, w := range waiting {
			ids = append(ids, w.ExternalID)
			equal(t, "where it waits", w.Conversation, first.Conversation)
		}
		equal(t, "what waits", ids, []string{"wamid.1", "wamid.2"})
		equal(t, "said", spoken(t, s, cloud, dialled), []string{"wamid.1", "wamid.out", "wamid.2"})
		now := message(t, s, m)
		if now.Conversation != first.Conversation || now.Status != gateway.StatusDelivered || now.Peer.Phone != waID {
			t.Errorf("ours is %+v", now)
		}
		ps := pauses(t, s, cloud, false)
		if len(ps) != 1 || ps[0].Conversation != first.Conversation || ps[0].Reason != gateway.PauseOutbound {
			t.Errorf("the pauses are %+v", ps)
		}
		equal(t, "what waits for those who ask again", len(joinNumbers(t, s, cloud)), 0)

		// The service window is theirs, under either form.
		queued(t, s, cloud, dialled, gateway.Send{Text: "and now a text"})
		if x := claimOne(t, s); x.Text != "and now a text" || x.Conversation != first.Conversation {
			t.Errorf("claimed %+v", x)
		}
	})
}

func TestNobodyIsAddedWhereNumbersAreJoined(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		add(t, s, from(cloud, waID, "wamid.1"), from(sandbox, dialled, "wamid.2"))
		joinNumbers(t, s, cloud)
		_, err := s.ConversationWith(t.Context(), cloud, gateway.Address{Phone: dialled})
		wantKind(t, err, gateway.NotFound)
		equal(t, "another account's", spoken(t, s, sandbox, dialled), []string{"wamid.2"})
		_, err = s.JoinNumbers(t.Context(), "acc_none", gateway.Address{Phone: dialled}, gateway.Address{Phone: waID})
		wantKind(t, err, gateway.NotFound)
	})
}
