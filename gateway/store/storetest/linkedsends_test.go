package storetest_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// up makes an account that is connected, and "me" holds.
func up(t *testing.T, s *store.Store, gap time.Duration, accounts ...gateway.AccountID) {
	t.Helper()
	for _, id := range append([]gateway.AccountID{phone}, accounts...) {
		link(t, s, func(a *gateway.Account) { a.ID, a.Linked.SendGap = id, gap })
	}
	for _, l := range hold(t, s, "me") {
		set(t, s, l, gateway.LinkConnected)
	}
}

// mine claims all that is due for "me".
func mine(t *testing.T, s *store.Store) ([]gateway.ClaimedSend, time.Time) {
	t.Helper()
	claimed, _, next, err := s.ClaimSends(t.Context(), "me", true, 99)
	must(t, err)
	return claimed, next
}

// mineOne claims what must be all that is due for "me".
func mineOne(t *testing.T, s *store.Store) gateway.Send {
	t.Helper()
	c, next := mine(t, s)
	if len(c) != 1 {
		t.Fatalf("claimed %+v, next %v; want one", c, next)
	}
	return c[0].Send
}

func accept(t *testing.T, s *store.Store, x gateway.Send) {
	t.Helper()
	settle(t, s, x, gateway.SendAccepted, x.ID.WireID())
}

// answers adds a message of somebody's, and an answer of several parts.
func answers(t *testing.T, s *store.Store, account gateway.AccountID, who, id string, parts int) []gateway.Send {
	t.Helper()
	c := claimed(t, s, account, who, id)
	f := finish(c, "0")
	for p := 1; p < parts; p++ {
		f.Sends = append(f.Sends, replyTo(c, gateway.FromRun, p, fmt.Sprint(p)))
	}
	must(t, s.FinishRun(t.Context(), f))
	return f.Sends
}

func TestOnlyAConnectedHolderSends(t *testing.T) {
	tests := map[string]struct {
		holder string
		state  gateway.LinkState
		then   func(t *testing.T, s *store.Store)
		sends  bool
	}{
		"the holder":                     {"me", gateway.LinkConnected, nil, true},
		"not another process":            {"you", gateway.LinkConnected, nil, false},
		"not one without linked devices": {"", gateway.LinkConnected, nil, false},
		"not while it connects":          {"me", gateway.LinkConnecting, nil, false},
		"not while it is cut off":        {"me", gateway.LinkDisconnected, nil, false},
		"not while it is banned":         {"me", gateway.LinkBanned, nil, false},
		"not when its lease is over":     {"me", gateway.LinkConnected, func(t *testing.T, s *store.Store) { t.Helper(); lapse(t, s, "me") }, false},
		"not when it is another's": {"me", gateway.LinkConnected, func(t *testing.T, s *store.Store) {
			t.Helper()
			lapse(t, s, "me")
			set(t, s, hold(t, s, "you")[0], gateway.LinkConnected)
		}, false},
		"not when it gave it up": {"me", gateway.LinkConnected, func(t *testing.T, s *store.Store) {
			t.Helper()
			must(t, s.ReleaseLinks(t.Context(), "me"))
		}, false},
		"not before it connects anew": {"me", gateway.LinkConnected, func(t *testing.T, s *store.Store) { t.Helper(); lapse(t, s, "me"); hold(t, s, "me") }, false},
		"not when a person unlinks it": {"me", gateway.LinkConnected, func(t *testing.T, s *store.Store) {
			t.Helper()
			must(t, s.AskLogout(t.Context(), phone))
		}, false},
		"not when the account is deleted": {"me", gateway.LinkConnected, func(t *testing.T, s *store.Store) {
			t.Helper()
			must(t, s.DeleteAccount(t.Context(), phone))
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				link(t, s, nil)
				x := sent(t, s, phone, alice, "wamid.1")
				set(t, s, hold(t, s, "me")[0], tt.state)
				if tt.then != nil {
					tt.then(t, s)
				}
				claimed, settled, next, err := s.ClaimSends(t.Context(), tt.holder, true, 9)
				must(t, err)
				if !tt.sends {
					// A time would have its outbox ask again and again for nothing.
					if len(claimed)+len(settled) != 0 || !next.IsZero() {
						t.Errorf("claimed %+v, settled %+v, next %v", claimed, settled, next)
					}
					if name == "not when the account is deleted" { // nor ever
						wantSend(t, s, x, gateway.SendCancelled, gateway.StatusFailed)
						return
					}
					wantSend(t, s, x, gateway.SendReady, gateway.StatusQueued)
					return
				}
				if len(claimed) != 1 || claimed[0].Send.ID != x.ID || claimed[0].Account.Linked != gateway.DefaultLinked() {
					t.Errorf("claimed %+v", claimed)
				}
			})
		})
	}
}

func TestOneSendPerLinkedDeviceAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		const other gateway.AccountID = "acc_phone2"
		up(t, s, 0, other)
		first := sent(t, s, phone, alice, "wamid.1")
		second := sent(t, s, phone, bob, "wamid.2")
		third := sent(t, s, other, alice, "wamid.3")
		free := []gateway.Send{sent(t, s, sandbox, alice, "wamid.4"), sent(t, s, sandbox, bob, "wamid.5")}
		c, _ := mine(t, s)
		var claimed []gateway.MessageID
		for i := range c {
			claimed = append(claimed, c[i].Send.ID)
		}
		equal(t, "claimed", claimed, []gateway.MessageID{first.ID, third.ID, free[0].ID, free[1].ID})
		more, next := mine(t, s)
		if len(more) != 0 {
			t.Errorf("claimed beside the first: %+v", more)
		}
		// The second waits for the first, whose settling has the outbox look again.
		if d := time.Until(next); d < time.Minute {
			t.Errorf("asked to come back in %v", d)
		}
		accept(t, s, c[0].Send)
		if x := mineOne(t, s); x.ID != second.ID {
			t.Errorf("claimed %+v, want the second", x)
		}
	})
}

func TestAClaimThatNobodySettledBlocksUntilItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t)
		up(t, s, 0)
		sent(t, s, phone, alice, "wamid.1")
		second := sent(t, s, phone, bob, "wamid.2")
		mineOne(t, s)
		time.Sleep(gateway.SendDeadline - time.Millisecond)
		if c, _ := mine(t, s); len(c) != 0 {
			t.Errorf("claimed beside the first: %+v", c)
		}
		time.Sleep(time.Millisecond)
		if x := mineOne(t, s); x.ID != second.ID {
			t.Errorf("claimed %+v, want the second", x)
		}
	})
}

// What is sent again comes before what was said later.
func TestAnswersOfALinkedDeviceKeepTheirOrderPastAnUnknownEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t)
		up(t, s, 0)
		for _, l := range got(s.ClaimLinks(t.Context(), "me", time.Hour, 0))(t) {
			set(t, s, l, gateway.LinkConnected)
		}
		answers(t, s, phone, alice, "wamid.1", 2)
		other := sent(t, s, phone, bob, "wamid.2")
		x := mineOne(t, s)
		x.Unknowns, x.NextAt = 1, x.Deadline.Add(gateway.SendQuarantine)
		settle(t, s, x, gateway.SendUnknown, "")
		y := mineOne(t, s)
		if y.ID != other.ID {
			t.Errorf("claimed %q, want what is somebody else's", y.Text)
		}
		accept(t, s, y)
		c, next := mine(t, s)
		if len(c) != 0 || !next.Equal(x.NextAt) {
			t.Errorf("claimed %+v, next %v, want %v", c, next, x.NextAt)
		}
		time.Sleep(time.Until(next))
		for _, want := range []string{"0", "1"} {
			y := mineOne(t, s)
			if y.Text != want {
				t.Errorf("claimed part %s, want %s", y.Text, want)
			}
			accept(t, s, y)
		}
	})
}

func TestALinkedDeviceNamesItsMessageFirst(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		up(t, s, 0)
		free := sent(t, s, sandbox, alice, "wamid.1")
		x := sent(t, s, phone, alice, "wamid.1")
		name := func(y gateway.Send) string { t.Helper(); return recorded(t, s, y.ID, y.Account).ExternalID }
		if name(x) != "" {
			t.Errorf("before the claim it is %q", name(x))
		}
		mine(t, s)
		if name(x) != x.ID.WireID() || name(free) != "" {
			t.Errorf("in hand they are %q and %q", name(x), name(free))
		}
		// The phone's copy comes before the end of the attempt is known.
		as := got(s.AddMessages(t.Context(), []gateway.Arrival{echo(phone, alice, x.ID.WireID())}))(t)
		if as[0].New || as[0].Message.ID != x.ID {
			t.Errorf("its echo is %+v", as[0])
		}
		if ps := pauses(t, s, phone, false); len(ps) != 0 {
			t.Errorf("our own message paused the conversation: %+v", ps)
		}
	})
}

func TestAReceiptSettlesWhatALinkedDeviceSent(t *testing.T) {
	for name, status := range map[string]gateway.SendStatus{"delivered": gateway.StatusDelivered, "read": gateway.StatusRead, "none": ""} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				up(t, s, 0)
				x := sent(t, s, phone, alice, "wamid.1")
				y := mineOne(t, s)
				y.Unknowns, y.NextAt = 1, time.Now().Add(-time.Second) // its quarantine is over
				settle(t, s, y, gateway.SendUnknown, "")
				if status == "" {
					again := mineOne(t, s)
					if again.ID != x.ID || again.Attempt != 2 || recorded(t, s, x.ID, phone).ExternalID != x.ID.WireID() {
						t.Errorf("sent again is %+v", again)
					}
					return
				}
				must(t, s.ApplyStatuses(t.Context(), []gateway.StatusUpdate{{Account: phone, ExternalID: x.ID.WireID(), Status: status, At: time.Now()}}))
				wantSend(t, s, x, gateway.SendAccepted, status)
				if c, next := mine(t, s); len(c) != 0 || !next.IsZero() {
					t.Errorf("sent again: %+v, next %v", c, next)
				}
			})
		})
	}
}

func TestNobodyIsWrittenToFirstDuringATimelock(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		up(t, s, 0)
		known := from(phone, alice, "wamid.0") // of before we were linked
		known.Origin = gateway.OriginHistory
		c := got(s.ClaimRun(t.Context(), add(t, s, known)[0].Conversation, time.Minute))(t)
		f := finish(c, "a first message")
		must(t, s.FinishRun(t.Context(), f))
		first := f.Sends[0]
		lock := func(until time.Time) {
			t.Helper()
			l := hold(t, s, "me")[0]
			l.NoFirstUntil = until
			must(t, s.SetLink(t.Context(), &l))
		}
		lock(time.Now().Add(time.Hour))
		answer := sent(t, s, phone, bob, "wamid.1")
		if x := mineOne(t, s); x.ID != answer.ID {
			t.Errorf("claimed %+v, want the answer", x)
		} else {
			accept(t, s, x)
		}
		if c, next := mine(t, s); len(c) != 0 || !next.IsZero() {
			t.Errorf("claimed %+v, next %v", c, next)
		}
		wantSend(t, s, first, gateway.SendReady, gateway.StatusQueued)
		lock(time.Now().Add(-time.Second))
		if x := mineOne(t, s); x.ID != first.ID {
			t.Errorf("after the timelock %+v was claimed", x)
		}
	})
}

func TestTheServiceWindowIsNotForLinkedDevices(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		up(t, s, 0)
		old := from(phone, alice, "wamid.1")
		old.SentAt = time.Now().Add(-2 * gateway.ServiceWindow)
		c := got(s.ClaimRun(t.Context(), add(t, s, old)[0].Conversation, time.Minute))(t)
		must(t, s.FinishRun(t.Context(), finish(c, "late")))
		if x := mineOne(t, s); x.Text != "late" {
			t.Errorf("claimed %+v", x)
		}
	})
}
