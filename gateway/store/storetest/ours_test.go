package storetest_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// queued queues what a person says over the API.
func queued(t *testing.T, s *store.Store, account gateway.AccountID, to string, x gateway.Send) gateway.PeerMessage {
	t.Helper()
	x.Account, x.To = account, gateway.Address{Phone: to}
	return got(s.QueueMessage(t.Context(), &x))(t)
}

func message(t *testing.T, s *store.Store, m gateway.PeerMessage) gateway.PeerMessage {
	t.Helper()
	return got(s.PeerMessage(t.Context(), m.Account, m.ID))(t)
}

func TestAPersonsWordsAreQueuedWhole(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		content := json.RawMessage(`{"url":"https://example.com/a.jpg"}`)
		m := queued(t, s, sandbox, alice, gateway.Send{Type: gateway.TypeImage, Text: "look", Content: content})
		if m.Direction != gateway.Out || m.Type != gateway.TypeImage || m.Text != "look" || string(m.Detail) != string(content) ||
			m.Status != gateway.StatusQueued || m.Peer.Phone != alice || !m.Progress.AcceptedAt.IsZero() {
			t.Errorf("on record is %+v", m)
		}
		x := claimOne(t, s)
		if x.ID != m.ID || x.Origin != gateway.FromAPI || x.OriginID != string(m.ID) || x.Type != gateway.TypeImage ||
			x.Text != "look" || string(x.Content) != string(content) || x.To.Phone != alice || x.Conversation != m.Conversation {
			t.Errorf("in the outbox is %+v", x)
		}
		settle(t, s, x, gateway.SendAccepted, "wamid.out")
		m = message(t, s, m)
		if m.Status != gateway.StatusSent || m.ExternalID != "wamid.out" || m.Progress.AcceptedAt.IsZero() {
			t.Errorf("once accepted it is %+v", m)
		}
		if ms, total, err := s.PeerMessages(t.Context(), sandbox, "", 9); err != nil || total != 1 || len(ms) != 1 || ms[0].ID != m.ID {
			t.Errorf("listed: %d, %+v, %v", total, ms, err)
		}
		_, err := s.PeerMessage(t.Context(), cloud, m.ID)
		wantKind(t, err, gateway.NotFound)
		_, err = s.QueueMessage(t.Context(), &gateway.Send{Account: "acc_none", To: gateway.Address{Phone: alice}, Text: "x"})
		wantKind(t, err, gateway.NotFound)
	})
}

func TestAListOfMessagesIsTheNewestOfTheAccount(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		add(t, s, from(sandbox, alice, "wamid.1"), from(cloud, alice, "wamid.2"), from(sandbox, bob, "wamid.3"))
		edit := from(sandbox, bob, "wamid.4")
		edit.Change, edit.Target = gateway.Edit, "wamid.3"
		add(t, s, edit)
		ms, total, err := s.PeerMessages(t.Context(), sandbox, "", 1)
		must(t, err)
		if total != 2 || len(ms) != 1 || ms[0].ExternalID != "wamid.3" || ms[0].Peer.Phone != bob {
			t.Errorf("%d in all, %+v", total, ms)
		}
		ms, total, err = s.PeerMessages(t.Context(), sandbox, ms[0].ID, 9)
		must(t, err)
		if total != 2 || len(ms) != 1 || ms[0].ExternalID != "wamid.1" || ms[0].Peer.Phone != alice {
			t.Errorf("before that one: %d in all, %+v", total, ms)
		}
		_, _, err = s.PeerMessages(t.Context(), cloud, ms[0].ID, 9)
		wantKind(t, err, gateway.NotFound)
	})
}

// TestAPersonsWordsTakeOver: what an agent was about to say is not said, and what
// the person says is.
func TestAPersonsWordsTakeOver(t *testing.T) {
	for name, tc := range map[string]struct {
		takeover time.Duration
		pauses   int
		claimed  []string
	}{
		"where the account says for how long": {time.Hour, 1, []string{"mine"}},
		"not where it is turned off":          {0, 0, []string{"reply to wamid.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				must(t, s.Declare(t.Context(), []gateway.Account{{ID: sandbox, Kind: gateway.Sandbox, Takeover: tc.takeover}}, nil, nil, nil))
				waits := add(t, s, from(sandbox, alice, "wamid.1"))[0]
				reply := gateway.Send{
					Account: sandbox, Conversation: waits.Conversation, To: gateway.Address{Phone: alice},
					Origin: gateway.FromRun, OriginID: "run_1", Text: "reply to wamid.1",
				}
				c := got(s.ClaimRun(t.Context(), waits.Conversation, time.Minute))(t)
				f := finish(c, reply.Text)
				must(t, s.FinishRun(t.Context(), f))
				queued(t, s, sandbox, alice, gateway.Send{Text: "mine"})
				ps := pauses(t, s, sandbox, false)
				if len(ps) != tc.pauses {
					t.Fatalf("pauses are %+v", ps)
				}
				for _, p := range ps {
					if d := time.Until(p.ExpiresAt); p.Reason != gateway.PauseOutbound || d < tc.takeover-time.Minute || d > tc.takeover {
						t.Errorf("paused for %v: %s", d, p.Reason)
					}
				}
				claimTexts(t, s, true, tc.claimed...)
			})
		})
	}
}

func TestOnlyTemplatesGoPastTheServiceWindow(t *testing.T) {
	for name, tc := range map[string]struct {
		kind  gateway.MessageType
		wrote bool // the customer, within the window
		state gateway.SendState
	}{
		"a template to whom never wrote":   {gateway.TypeTemplate, false, gateway.SendClaimed},
		"a text to whom never wrote":       {gateway.TypeText, false, gateway.SendRefused},
		"an image to whom never wrote":     {gateway.TypeImage, false, gateway.SendRefused},
		"an image to whom wrote yesterday": {gateway.TypeImage, true, gateway.SendClaimed},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				if tc.wrote {
					add(t, s, from(cloud, alice, "wamid.1"))
				}
				m := queued(t, s, cloud, alice, gateway.Send{Type: tc.kind, Text: "hello"})
				claimed, settled, _ := claim(t, s, true)
				m = message(t, s, m)
				if tc.state == gateway.SendClaimed {
					if len(claimed) != 1 || len(settled) != 0 || m.Status != gateway.StatusQueued {
						t.Errorf("claimed %+v, settled %+v", claimed, settled)
					}
					return
				}
				if len(claimed) != 0 || len(settled) != 1 || settled[0].State != tc.state {
					t.Errorf("claimed %+v, settled %+v", claimed, settled)
				}
				if m.Status != gateway.StatusFailed || m.Progress.Failure != settled[0].Error || m.Progress.Failure == "" {
					t.Errorf("the message is %s: %q", m.Status, m.Progress.Failure)
				}
			})
		})
	}
}

// TestATemplateHasADayOfItsOwn: it is looked at in three places when it was queued,
// of which the last is when a send is claimed.
func TestATemplateHasADayOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t)
		seed(t, s)
		add(t, s, from(cloud, alice, "wamid.1"))
		time.Sleep(time.Second)
		queued(t, s, cloud, alice, gateway.Send{Type: gateway.TypeTemplate, Text: "welcome"})
		text := queued(t, s, cloud, alice, gateway.Send{Text: "hello"})
		time.Sleep(gateway.ServiceWindow - time.Second)
		claimed, settled, _ := claim(t, s, true)
		if len(claimed) != 1 || claimed[0].Send.Type != gateway.TypeTemplate || len(settled) != 1 || settled[0].ID != text.ID {
			t.Errorf("claimed %+v, settled %+v", claimed, settled)
		}
	})
}

func TestAMessageKeepsWhenItGotHowFar(t *testing.T) {
	const sent, delivered, read, failed = gateway.StatusSent, gateway.StatusDelivered, gateway.StatusRead, gateway.StatusFailed
	at := func(minute int) time.Time { return time.Date(2026, 3, 4, 5, minute, 0, 0, time.UTC) }
	for name, tc := range map[string]struct {
		told []gateway.SendStatus // one a minute, from 5:00 on
		want gateway.Progress
	}{
		"step by step":      {[]gateway.SendStatus{sent, delivered, read}, gateway.Progress{AcceptedAt: at(0), DeliveredAt: at(1), ReadAt: at(2)}},
		"told twice":        {[]gateway.SendStatus{sent, delivered, delivered, read, read}, gateway.Progress{AcceptedAt: at(0), DeliveredAt: at(1), ReadAt: at(3)}},
		"read, told first":  {[]gateway.SendStatus{read, delivered, sent}, gateway.Progress{AcceptedAt: at(0), DeliveredAt: at(0), ReadAt: at(0)}},
		"failed once taken": {[]gateway.SendStatus{sent, failed}, gateway.Progress{AcceptedAt: at(0), Failure: "131026: undeliverable"}},
		"failed at once":    {[]gateway.SendStatus{failed}, gateway.Progress{Failure: "131026: undeliverable"}},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				add(t, s, from(cloud, alice, "wamid.1"))
				m := queued(t, s, cloud, alice, gateway.Send{Text: "hello"})
				claimOne(t, s)
				for i, status := range tc.told {
					u := gateway.StatusUpdate{Account: cloud, Message: m.ID, ExternalID: "wamid.out", Status: status, At: at(i)}
					if status == failed {
						u.Reason = "131026: undeliverable"
					}
					must(t, s.ApplyStatuses(t.Context(), []gateway.StatusUpdate{u}))
				}
				equal(t, "its progress", message(t, s, m).Progress, tc.want)
			})
		})
	}
}

func TestNobodyIsAddedTwiceByWordsAtTheSameTime(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		errs := make(chan error)
		const people = 8
		for i := range people {
			go func() {
				_, err := s.QueueMessage(t.Context(), &gateway.Send{Account: sandbox, To: gateway.Address{Phone: alice}, Text: fmt.Sprint(i)})
				errs <- err
			}()
		}
		for range people {
			must(t, <-errs)
		}
		ms, total, err := s.PeerMessages(t.Context(), sandbox, "", 99)
		must(t, err)
		for i := range ms {
			if ms[i].Conversation != ms[0].Conversation {
				t.Errorf("message %d is in another conversation", i)
			}
		}
		equal(t, "messages", total, people)
	})
}

// takesOver has people take conversations over for an hour.
func takesOver(t *testing.T, s *store.Store) {
	t.Helper()
	must(t, s.Declare(t.Context(), []gateway.Account{
		{ID: sandbox, Kind: gateway.Sandbox, Takeover: time.Hour}, {ID: cloud, Kind: gateway.CloudAPI, Takeover: time.Hour},
	}, nil, nil, nil))
}

// TestARequestThatIsRepeatedSaysItOnce: who makes a request again brings the id that
// the message has.
func TestARequestThatIsRepeatedSaysItOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		takesOver(t, s)
		id := gateway.MessageIDOf("request")
		first := queued(t, s, sandbox, alice, gateway.Send{ID: id, Text: "hello"})
		paused := got(s.Paused(t.Context(), first.Conversation))(t)
		settle(t, s, claimOne(t, s), gateway.SendAccepted, "wamid.out")
		again := queued(t, s, sandbox, alice, gateway.Send{ID: id, Text: "hello"})
		if again.ID != id || again.Conversation != first.Conversation || again.Status != gateway.StatusSent || !paused {
			t.Errorf("the repetition is answered with %+v", again)
		}
		if c, _, _ := claim(t, s, true); len(c) != 0 {
			t.Errorf("it is sent again: %+v", c)
		}
		_, err := s.QueueMessage(t.Context(), &gateway.Send{ID: id, Account: cloud, To: gateway.Address{Phone: alice}, Text: "hello"})
		if err == nil {
			t.Error("another account has a message with the same id")
		}
	})
}

func TestWordsThatNobodyReadsTakeNothingOver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		takesOver(t, s)
		m := queued(t, s, cloud, alice, gateway.Send{Text: "who never wrote"})
		if got(s.Paused(t.Context(), m.Conversation))(t) {
			t.Error("the conversation is paused")
		}
		m = queued(t, s, cloud, bob, gateway.Send{Type: gateway.TypeTemplate, Content: json.RawMessage(`{"name":"hello","language":"en"}`)})
		if !got(s.Paused(t.Context(), m.Conversation))(t) {
			t.Error("a template, which is read, pauses nothing")
		}
	})
}

func TestADeletedAccountSendsNoMore(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		const gone gateway.AccountID = "acc_gone"
		must(t, s.PutAccount(t.Context(), gateway.Account{ID: gone, Kind: gateway.Sandbox}))
		m := queued(t, s, gone, alice, gateway.Send{Text: "hello"})
		must(t, s.DeleteAccount(t.Context(), gone))
		if c, _, _ := claim(t, s, true); len(c) != 0 {
			t.Errorf("it sends %+v", c)
		}
		if x := got(s.Sends(t.Context(), m.Conversation))(t); len(x) != 1 || x[0].State != gateway.SendCancelled || x[0].Error == "" {
			t.Errorf("the send is %+v", x)
		}
	})
}

func TestASessionThatNoDeviceIsLinkedToSendsNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		say := func() error {
			_, err := s.QueueMessage(t.Context(), &gateway.Send{Account: phone, To: gateway.Address{Phone: alice}, Type: gateway.TypeText, Text: "hello"})
			return err
		}
		up(t, s, 0)
		l := got(s.Link(t.Context(), phone))(t)
		l.State = gateway.LinkDisconnected // it sends later
		must(t, s.SetLink(t.Context(), &l))
		must(t, say())
		l.State, l.Device = gateway.LinkLoggedOut, ""
		must(t, s.SetLink(t.Context(), &l))
		wantKind(t, say(), gateway.Conflict)
		if ms, n, err := s.PeerMessages(t.Context(), phone, "", 9); err != nil || n != 1 {
			t.Errorf("on record are %+v, %v", ms, err)
		}
	})
}
