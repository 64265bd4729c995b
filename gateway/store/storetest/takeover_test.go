package storetest_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

const phone gateway.AccountID = "acc_phone"

// link adds an account that is a linked device.
func link(t *testing.T, s *store.Store, with func(*gateway.Account)) {
	t.Helper()
	a := gateway.Account{ID: phone, Kind: gateway.LinkedDevice, Linked: gateway.DefaultLinked(), Takeover: gateway.DefaultTakeover}
	if with != nil {
		with(&a)
	}
	must(t, s.PutAccount(t.Context(), a))
}

// echo is a text of ours that was written by other means.
func echo(account gateway.AccountID, to, id string) gateway.Arrival {
	a := from(account, to, id)
	a.Sender, a.Origin, a.State, a.Reason = gateway.Address{Phone: "+15559999999"}, gateway.OriginEcho, gateway.StateIgnored, "echo"
	return a
}

func TestWhoeverWritesTakesOver(t *testing.T) {
	now := time.Now()
	tests := map[string]struct {
		with func(*gateway.Account)
		echo func(*gateway.Arrival)
		want time.Duration // from the echo's time on; 0: no pause
	}{
		"on the phone":                {want: 30 * time.Minute},
		"as the account says":         {with: func(a *gateway.Account) { a.Takeover = 5 * time.Minute }, want: 5 * time.Minute},
		"not where it is turned off":  {with: func(a *gateway.Account) { a.Takeover = 0 }},
		"a while ago":                 {echo: func(a *gateway.Arrival) { a.SentAt = now.Add(-10 * time.Minute) }, want: 20 * time.Minute},
		"not too long ago":            {echo: func(a *gateway.Arrival) { a.SentAt = now.Add(-31 * time.Minute) }},
		"by a clock ahead of ours":    {echo: func(a *gateway.Arrival) { a.SentAt = now.Add(time.Hour) }, want: 30 * time.Minute},
		"by no clock":                 {echo: func(a *gateway.Arrival) { a.SentAt = time.Time{} }, want: 30 * time.Minute},
		"not before we came":          {echo: func(a *gateway.Arrival) { a.Origin, a.FromUs, a.Reason = gateway.OriginHistory, true, "history" }},
		"with an edit":                {echo: func(a *gateway.Arrival) { a.Change, a.Target = gateway.Edit, "wamid.0" }, want: 30 * time.Minute},
		"with a deletion":             {echo: func(a *gateway.Arrival) { a.Change, a.Target = gateway.Revoke, "wamid.0" }, want: 30 * time.Minute},
		"in the app of the Cloud API": {with: func(a *gateway.Account) { a.Kind = gateway.CloudAPI }, want: 30 * time.Minute},
	}
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				account := gateway.NewAccountID()
				link(t, s, func(a *gateway.Account) {
					a.ID = account
					if tt.with != nil {
						tt.with(a)
					}
				})
				waits := add(t, s, from(account, alice, "wamid.1"), from(account, bob, "wamid.1"))
				e := echo(account, alice, "wamid.2")
				e.SentAt = now
				if tt.echo != nil {
					tt.echo(&e)
				}
				if m := add(t, s, e)[0]; m.Direction != gateway.Out || m.Status != gateway.StatusSent {
					t.Errorf("recorded as %s, %s", m.Direction, m.Status)
				}
				ps := pauses(t, s, account, false)
				_, err := s.ClaimRun(t.Context(), waits[0].Conversation, time.Minute)
				if tt.want == 0 {
					must(t, err)
					if len(ps) != 0 {
						t.Errorf("paused: %+v", ps)
					}
					return
				}
				wantKind(t, err, gateway.NotFound)
				if len(ps) != 1 || ps[0].Conversation != waits[0].Conversation || ps[0].Reason != gateway.PauseOutbound || ps[0].Peer.Phone != alice {
					t.Fatalf("pauses are %+v", ps)
				}
				if d := ps[0].ExpiresAt.Sub(now); d < tt.want-time.Minute || d > tt.want+time.Minute {
					t.Errorf("paused for %v, want about %v", d, tt.want)
				}
				if m := add(t, s, from(account, alice, "wamid.3"))[0]; m.State != gateway.StateHeld {
					t.Errorf("the next message is %s", m.State)
				}
				if state := recorded(t, s, waits[1].ID, account).State; state != gateway.StateWaiting {
					t.Errorf("what waited of somebody else is %s", state)
				}
			})
		}
	})
}

func TestATakeoverHoldsWhatWaits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		link(t, s, nil)
		m := add(t, s, from(phone, alice, "wamid.1"))[0]
		add(t, s, echo(phone, alice, "wamid.2"))
		if m := recorded(t, s, m.ID, phone); m.State != gateway.StateHeld || m.StateReason != "paused" {
			t.Errorf("what waited is %s (%q)", m.State, m.StateReason)
		}
	})
}

// recorded returns a message of an account.
func recorded(t *testing.T, s *store.Store, id gateway.MessageID, account gateway.AccountID) gateway.Message {
	t.Helper()
	for _, m := range got(s.Messages(t.Context(), account, "", 100))(t) {
		if m.ID == id {
			return m
		}
	}
	t.Fatalf("message %s is not on record", id)
	return gateway.Message{}
}

func TestATakeoverStopsTheRunInHand(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		link(t, s, nil)
		c := claimed(t, s, phone, alice, "wamid.1")
		add(t, s, echo(phone, alice, "wamid.2"))
		wantKind(t, s.FinishRun(t.Context(), finish(c, "too late")), gateway.Conflict)
		_, err := s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute)
		wantKind(t, err, gateway.NotFound)
		if r := got(s.Run(t.Context(), "", c.Run.ID))(t); r.Status != gateway.RunFailed {
			t.Errorf("the run is %s", r.Status)
		}
	})
}

func TestATakeoverIsNeverShortened(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		link(t, s, nil)
		conv := got(s.OpenConversation(t.Context(), phone, gateway.Address{Phone: alice}))(t).ID
		manual := gateway.Pause{Conversation: conv, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)}
		must(t, s.PutPause(t.Context(), &manual))
		add(t, s, echo(phone, alice, "wamid.1"))
		equal(t, "pause", pauses(t, s, phone, true), []gateway.PausedPeer{{Pause: manual, Peer: gateway.Address{Phone: alice}, Account: phone}})
	})
}

// What we sent comes back, under either form of the peer's address, and is
// nobody's takeover.
func TestOurOwnSendsTakeNothingOver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		link(t, s, nil)
		x := sent(t, s, phone, alice, "wamid.1")
		must(t, s.ApplyStatuses(t.Context(), []gateway.StatusUpdate{{Account: phone, Message: x.ID, ExternalID: "3EB01", Status: gateway.StatusSent}}))
		for name, peer := range map[string]gateway.Address{
			"the form that it was sent to": {Phone: alice}, "another form": {LID: "111"}, "both": {Phone: alice, LID: "222"},
		} {
			e := echo(phone, alice, "3EB01")
			e.Peer = peer
			a := got(s.AddMessages(t.Context(), []gateway.Arrival{e}))(t)[0]
			if a.New || a.Message.ID != x.ID {
				t.Errorf("under %s it is %+v", name, a)
			}
		}
		if ps := pauses(t, s, phone, true); len(ps) != 0 {
			t.Errorf("paused: %+v", ps)
		}
		_, err := s.ConversationWith(t.Context(), phone, gateway.Address{LID: "111"})
		wantKind(t, err, gateway.NotFound)
		c := got(s.ConversationWith(t.Context(), phone, gateway.Address{LID: "222"}))(t)
		if c.ID != x.Conversation {
			t.Error("the other form is not learned")
		}
	})
}

func TestTheCloudAPIsEchoOfAnUnknownSendTakesNothingOver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		must(t, s.Declare(t.Context(), []gateway.Account{{ID: cloud, Kind: gateway.CloudAPI, Takeover: time.Hour}}, nil, nil, nil))
		x := sent(t, s, cloud, alice, "wamid.1")
		for i, id := range []string{"wamid.2", "wamid.3"} {
			claimed, _, _, err := s.ClaimSends(t.Context(), "", true, 9)
			must(t, err)
			if i == 0 && (len(claimed) != 1 || claimed[0].Send.ID != x.ID) {
				t.Fatalf("claimed %+v", claimed)
			}
			mine := echo(cloud, alice, id)
			mine.Text = x.Text
			add(t, s, mine)
			if ps := pauses(t, s, cloud, true); len(ps) != 0 {
				t.Fatalf("echo %d paused: %+v", i, ps)
			}
			x.Attempt, x.State, x.NextAt, x.Unknowns = 1, gateway.SendUnknown, time.Now().Add(time.Hour), 1
			got(s.SettleSend(t.Context(), &x))(t)
		}
		add(t, s, echo(cloud, alice, "wamid.4"))
		if ps := pauses(t, s, cloud, false); len(ps) != 1 {
			t.Errorf("other words of a person: pauses %+v", ps)
		}
	})
}

func TestWhomAnAccountAnswers(t *testing.T) {
	groups := func(p gateway.GroupPolicy) func(*gateway.Account) {
		return func(a *gateway.Account) { a.Linked.Groups = p }
	}
	only := func(phones ...string) func(*gateway.Account) {
		return func(a *gateway.Account) { a.AllowFrom, a.Linked.Groups = phones, gateway.GroupsAll }
	}
	group := func(sender gateway.Address, mentioned bool) func(*gateway.Arrival) {
		return func(a *gateway.Arrival) {
			a.Peer, a.Sender, a.Mentioned = gateway.Address{Group: "g1"}, sender, mentioned
		}
	}
	who := func(a gateway.Address) func(*gateway.Arrival) {
		return func(m *gateway.Arrival) { m.Peer, m.Sender = a, a }
	}
	tests := map[string]struct {
		with  func(*gateway.Account)
		known gateway.Address // was told of before
		in    func(*gateway.Arrival)
		want  string // reason; empty: it waits
	}{
		"everybody":                              {},
		"no group":                               {in: group(gateway.Address{Phone: alice}, true), want: "group"},
		"no group by an empty policy":            {with: groups(""), in: group(gateway.Address{Phone: alice}, true), want: "group"},
		"a group that names us":                  {with: groups(gateway.GroupsMentioned), in: group(gateway.Address{Phone: alice}, true)},
		"a group that does not name us":          {with: groups(gateway.GroupsMentioned), in: group(gateway.Address{Phone: alice}, false), want: "group"},
		"every group":                            {with: groups(gateway.GroupsAll), in: group(gateway.Address{Phone: alice}, false)},
		"groups of an account of another kind":   {with: func(a *gateway.Account) { a.Kind, a.Linked = gateway.CloudAPI, gateway.Linked{} }, in: group(gateway.Address{Phone: alice}, false)},
		"one on the list":                        {with: only(bob, alice)},
		"nobody else":                            {with: only(bob), want: "not_allowed"},
		"nobody else, of any kind of account":    {with: func(a *gateway.Account) { a.Kind, a.AllowFrom = gateway.CloudAPI, []string{bob} }, want: "not_allowed"},
		"one on the list by a LID":               {with: only(alice), known: gateway.Address{Phone: alice, LID: "111"}, in: who(gateway.Address{LID: "111"})},
		"one on the list by both":                {with: only(alice), in: who(gateway.Address{Phone: alice, LID: "111"})},
		"nobody by a LID that is not known":      {with: only(alice), in: who(gateway.Address{LID: "111"}), want: "not_allowed"},
		"nobody by a LID that is somebody's":     {with: only(alice), known: gateway.Address{Phone: bob, LID: "111"}, in: who(gateway.Address{LID: "111"}), want: "not_allowed"},
		"a LID that reads like a number":         {with: only(alice), in: who(gateway.Address{LID: alice}), want: "not_allowed"},
		"one on the list in a group":             {with: only(alice), in: group(gateway.Address{Phone: alice}, false)},
		"nobody else in a group":                 {with: only(alice), in: group(gateway.Address{Phone: bob}, false), want: "not_allowed"},
		"nobody's backlog, however old":          {with: only(bob), in: func(a *gateway.Arrival) { a.State, a.Reason = gateway.StateHeld, "too_old" }, want: "not_allowed"},
		"the filter's reason stands":             {with: only(bob), in: func(a *gateway.Arrival) { a.State, a.Reason = gateway.StateIgnored, "too_short" }, want: "too_short"},
		"one whose number is known from a group": {with: only(alice), known: gateway.Address{Phone: alice, LID: "111"}, in: group(gateway.Address{LID: "111"}, false)},
	}
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				account := gateway.NewAccountID()
				link(t, s, func(a *gateway.Account) {
					a.ID = account
					if tt.with != nil {
						tt.with(a)
					}
				})
				got(s.JoinAddresses(t.Context(), account, tt.known))(t)
				a := from(account, alice, "wamid.1")
				if tt.in != nil {
					tt.in(&a)
				}
				m := add(t, s, a)[0]
				want := gateway.StateIgnored
				if tt.want == "" {
					want = gateway.StateWaiting
				}
				if m.State != want || m.StateReason != tt.want {
					t.Errorf("it is %s (%q), want %s (%q)", m.State, m.StateReason, want, tt.want)
				}
			})
		}
	})
}

// An edit of a message that named us need not name us again.
func TestAnEditInAGroupThatIsAnswered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		link(t, s, func(a *gateway.Account) { a.Linked.Groups = gateway.GroupsMentioned })
		a := from(phone, alice, "wamid.1")
		a.Peer, a.Mentioned = gateway.Address{Group: "g1"}, true
		got(s.ClaimRun(t.Context(), add(t, s, a)[0].Conversation, time.Minute))(t)
		a.Mentioned = false
		if m := add(t, s, edited(a, "wamid.e", "corrected", time.Second))[0]; m.State != gateway.StateWaiting {
			t.Errorf("the edit is %s (%q)", m.State, m.StateReason)
		}
	})
}

func TestPausesOverTheAPI(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		who := gateway.Address{Phone: alice}
		c := got(s.OpenConversation(t.Context(), sandbox, who))(t)
		equal(t, "the same conversation", got(s.OpenConversation(t.Context(), sandbox, who))(t), c)
		if m := add(t, s, from(sandbox, alice, "wamid.1"))[0]; m.Conversation != c.ID {
			t.Error("their message is in another conversation")
		}
		_, err := s.OpenConversation(t.Context(), sandbox, gateway.Address{})
		wantKind(t, err, gateway.Invalid)
		_, err = s.OpenConversation(t.Context(), "acc_none", who)
		wantKind(t, err, gateway.NotFound)

		end := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
		p := gateway.Pause{Conversation: c.ID, Reason: gateway.PauseManual, ExpiresAt: end}
		must(t, s.PutPause(t.Context(), &p))
		other := gateway.Pause{Conversation: got(s.OpenConversation(t.Context(), sandbox, gateway.Address{LID: "9"}))(t).ID, Reason: gateway.PauseManual, ExpiresAt: end}
		must(t, s.PutPause(t.Context(), &other))
		over := gateway.Pause{Conversation: got(s.OpenConversation(t.Context(), sandbox, gateway.Address{Phone: bob}))(t).ID, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(-time.Minute).UTC().Truncate(time.Millisecond)}
		must(t, s.PutPause(t.Context(), &over))
		pp := func(p gateway.Pause, who gateway.Address) gateway.PausedPeer {
			return gateway.PausedPeer{Pause: p, Peer: who, Account: sandbox}
		}
		active := []gateway.PausedPeer{pp(other, gateway.Address{LID: "9"}), pp(p, who)}
		equal(t, "active", pauses(t, s, sandbox, false), active)
		equal(t, "all", pauses(t, s, sandbox, true), append([]gateway.PausedPeer{pp(over, gateway.Address{Phone: bob})}, active...))
		equal(t, "of another account", pauses(t, s, cloud, true), nil)
		equal(t, "by number", got(s.PauseByID(t.Context(), sandbox, p.ID))(t), active[1])
		equal(t, "of its conversation", got(s.ActivePause(t.Context(), p.Conversation))(t), active[1])
		_, err = s.ActivePause(t.Context(), over.Conversation)
		wantKind(t, err, gateway.NotFound)
		_, err = s.PauseByID(t.Context(), cloud, p.ID)
		wantKind(t, err, gateway.NotFound)
		_, err = s.ResumePause(t.Context(), cloud, p.ID)
		wantKind(t, err, gateway.NotFound)

		held := add(t, s, from(sandbox, alice, "wamid.2"))[0]
		ended := got(s.ResumePause(t.Context(), sandbox, p.ID))(t)
		if ended.ResumedAt.IsZero() || ended.Peer != who {
			t.Errorf("ended: %+v", ended)
		}
		_, err = s.ActivePause(t.Context(), p.Conversation)
		wantKind(t, err, gateway.NotFound)
		equal(t, "ended twice", got(s.ResumePause(t.Context(), sandbox, p.ID))(t), ended)
		if p := got(s.ResumePause(t.Context(), sandbox, over.ID))(t); !p.ResumedAt.IsZero() {
			t.Error("a pause that was over is ended")
		}
		if m := recorded(t, s, held.ID, sandbox); m.State != gateway.StateHeld {
			t.Errorf("what was held is %s", m.State)
		}
		if m := add(t, s, from(sandbox, alice, "wamid.3"))[0]; m.State != gateway.StateWaiting {
			t.Errorf("the next message is %s", m.State)
		}
	})
}

func TestWebhooksAreToldOfAPauseOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		link(t, s, nil)
		s.TellOfPauses(func(hooks []gateway.Webhook, p *gateway.PausedPeer, _ time.Time) []gateway.Delivery {
			return []gateway.Delivery{{
				Webhook: hooks[0].ID, Event: gateway.EventPaused, Action: -1, Conversation: p.Conversation,
				Body: json.RawMessage(`"` + string(p.Reason) + " " + p.Peer.Phone + `"`),
			}}
		})
		add(t, s, echo(phone, alice, "wamid.1"), echo(phone, alice, "wamid.2"), echo(phone, bob, "wamid.3"))
		must(t, s.PutPause(t.Context(), &gateway.Pause{
			Conversation: got(s.OpenConversation(t.Context(), sandbox, gateway.Address{Phone: bob}))(t).ID,
			Reason:       gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour),
		}))
		var bodies []string
		for _, d := range toDeliver(t, s) {
			if d.Webhook != hook.ID || d.Event != gateway.EventPaused {
				t.Errorf("delivery %+v", d)
			}
			bodies = append(bodies, string(d.Body))
		}
		slices.Sort(bodies)
		equal(t, "told", bodies, []string{`"manual ` + bob + `"`, `"outbound_detected ` + alice + `"`, `"outbound_detected ` + bob + `"`})
	})
}
