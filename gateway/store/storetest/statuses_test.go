package storetest_test

import (
	"testing"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestStatusesNeverGoBack(t *testing.T) {
	const queued, sent_, delivered, read, failed = gateway.StatusQueued, gateway.StatusSent, gateway.StatusDelivered, gateway.StatusRead, gateway.StatusFailed
	for name, tc := range map[string]struct {
		updates []gateway.SendStatus
		want    gateway.SendStatus
	}{
		"in order":                  {[]gateway.SendStatus{sent_, delivered, read}, read},
		"in the wrong order":        {[]gateway.SendStatus{read, delivered, sent_}, read},
		"a failure after sent":      {[]gateway.SendStatus{sent_, failed}, failed},
		"a failure is final":        {[]gateway.SendStatus{failed, sent_, delivered, read}, failed},
		"no failure after delivery": {[]gateway.SendStatus{delivered, failed}, delivered},
		"what we do not know":       {[]gateway.SendStatus{queued, "played"}, sent_},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				sent(t, s, cloud, alice, "wamid.1")
				x := claimOne(t, s)
				settle(t, s, x, gateway.SendAccepted, "wamid.out")
				for _, status := range tc.updates {
					must(t, s.ApplyStatuses(t.Context(), []gateway.StatusUpdate{
						{Account: cloud, ExternalID: "wamid.out", Status: status},
						{Account: cloud, ExternalID: "wamid.of.others", Status: status},
						{Account: sandbox, ExternalID: "wamid.out", Message: x.ID, Status: failed},
					}))
				}
				wantSend(t, s, x, gateway.SendAccepted, tc.want)
			})
		})
	}
}

func TestStatusesSettleWhatIsNotKnown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		apply := func(x gateway.Send, id string, status gateway.SendStatus) {
			t.Helper()
			must(t, s.ApplyStatuses(t.Context(), []gateway.StatusUpdate{{Account: cloud, Message: x.ID, ExternalID: id, Status: status, Reason: "131026: undeliverable"}}))
		}
		ready := sent(t, s, cloud, alice, "wamid.0")
		apply(ready, "wamid.out0", gateway.StatusDelivered)
		wantSend(t, s, ready, gateway.SendReady, gateway.StatusDelivered)
		settle(t, s, claimOne(t, s), gateway.SendRefused, "")

		sent(t, s, cloud, alice, "wamid.1")
		inHand := claimOne(t, s)
		apply(inHand, "wamid.out1", gateway.StatusDelivered)
		wantSend(t, s, inHand, gateway.SendAccepted, gateway.StatusDelivered)
		if settle(t, s, inHand, gateway.SendUnknown, "") {
			t.Error("an unknown end stands, though WhatsApp told that it was delivered")
		}
		wantSend(t, s, inHand, gateway.SendAccepted, gateway.StatusDelivered)
		if !settle(t, s, inHand, gateway.SendAccepted, "wamid.out1") {
			t.Error("what WhatsApp told first does not stand when the attempt tells it too")
		}

		sent(t, s, cloud, alice, "wamid.2")
		unknown := claimOne(t, s)
		settle(t, s, unknown, gateway.SendUnknown, "")
		apply(unknown, "wamid.out2", gateway.StatusFailed)
		wantSend(t, s, unknown, gateway.SendRefused, gateway.StatusFailed)
		for _, x := range got(s.Sends(t.Context(), unknown.Conversation))(t) {
			if x.ID == unknown.ID && x.Error != "131026: undeliverable" {
				t.Errorf("the reason is %q", x.Error)
			}
		}

		sent(t, s, cloud, alice, "wamid.3")
		twice := claimOne(t, s)
		settle(t, s, twice, gateway.SendAccepted, "wamid.out3")
		apply(twice, "wamid.first", gateway.StatusFailed) // of an earlier attempt
		wantSend(t, s, twice, gateway.SendAccepted, gateway.StatusSent)
	})
}

func TestAnEchoOfOursIsNotAnotherMessage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		echo := func() gateway.Arrived {
			a := from(cloud, alice, "wamid.out")
			a.Origin = gateway.OriginEcho
			return got(s.AddMessages(t.Context(), []gateway.Arrival{a}))(t)[0]
		}
		sent(t, s, cloud, alice, "wamid.1")
		x := claimOne(t, s)
		echo() // before we know how the attempt ended
		settle(t, s, x, gateway.SendAccepted, "wamid.out")
		if e := echo(); e.New || e.Message.ID != x.ID {
			t.Errorf("the echo is %+v", e)
		}
		if ms := got(s.Recent(t.Context(), x.Conversation, 0, 9))(t); len(ms) != 2 {
			t.Errorf("%d messages, want the question and the answer", len(ms))
		}
	})
}

func TestWhatBecameOfASendStandsOnItsMessage(t *testing.T) {
	for state, want := range map[gateway.SendState]gateway.Message{
		gateway.SendAccepted: {Status: gateway.StatusSent, ExternalID: "wamid.out"},
		gateway.SendRefused:  {Status: gateway.StatusFailed, Progress: gateway.Progress{Failure: "131026: undeliverable"}},
	} {
		storetest.Each(t, func(t *testing.T, s *store.Store) {
			seed(t, s)
			sent(t, s, cloud, alice, "wamid.1")
			x := claimOne(t, s)
			x.Error = want.Progress.Failure
			settle(t, s, x, state, want.ExternalID)
			m := recorded(t, s, x.ID, cloud)
			if m.Status != want.Status || m.ExternalID != want.ExternalID || m.Progress.Failure != want.Progress.Failure || m.Progress.AcceptedAt.IsZero() == (state == gateway.SendAccepted) {
				t.Errorf("the message of one that was %s is %s, %q, %+v", state, m.Status, m.ExternalID, m.Progress)
			}
		})
	}
}
