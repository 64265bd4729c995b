package storetest_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// claim claims all that is due.
func claim(t *testing.T, s *store.Store, resend bool) (claimed []gateway.ClaimedSend, settled []gateway.Send, next time.Time) {
	t.Helper()
	claimed, settled, next, err := s.ClaimSends(t.Context(), "", resend, 99)
	must(t, err)
	return claimed, settled, next
}

// claimOne claims what must be the only send that is due.
func claimOne(t *testing.T, s *store.Store) gateway.Send {
	t.Helper()
	c, settled, _ := claim(t, s, true)
	if len(c) != 1 || len(settled) != 0 {
		t.Fatalf("%d sends are due, %d settled; want 1 and 0", len(c), len(settled))
	}
	return c[0].Send
}

// settle reports whether the send stands so.
func settle(t *testing.T, s *store.Store, x gateway.Send, state gateway.SendState, externalID string) bool {
	t.Helper()
	x.State, x.ExternalID = state, externalID
	return got(s.SettleSend(t.Context(), &x))(t)
}

func wantSend(t *testing.T, s *store.Store, x gateway.Send, state gateway.SendState, status gateway.SendStatus) {
	t.Helper()
	for _, y := range got(s.Sends(t.Context(), x.Conversation))(t) {
		if y.ID == x.ID && y.State != state {
			t.Errorf("the send is %s (%s), want %s", y.State, y.Error, state)
		}
	}
	for _, m := range got(s.Messages(t.Context(), x.Account, x.Conversation, 99))(t) {
		if m.ID == x.ID && m.Status != status {
			t.Errorf("its message is %s, want %s", m.Status, status)
		}
	}
}

func TestSendsKeepTheirOrder(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		f := finish(c, "one")
		f.Sends = append(f.Sends, replyTo(c, gateway.FromRun, 1, "two"), replyTo(c, gateway.FromRun, 2, "three"))
		must(t, s.FinishRun(t.Context(), f))
		other := sent(t, s, sandbox, bob, "wamid.2")

		first, _, next := claim(t, s, true)
		if len(first) != 2 || first[0].Send.Text != "one" || first[1].Send.ID != other.ID {
			t.Fatalf("claimed first: %+v", first)
		}
		if first[0].Account.ID != sandbox || first[0].Send.Attempt != 1 || time.Until(first[0].Send.Deadline) > gateway.SendDeadline || next.IsZero() {
			t.Errorf("claim %+v, next %v", first[0], next)
		}
		if none, _, _ := claim(t, s, true); len(none) != 0 {
			t.Errorf("claimed while the first is in hand: %+v", none)
		}
		// Put off: what follows it waits too.
		x := first[0].Send
		x.State, x.NextAt = gateway.SendReady, time.Now().Add(time.Hour)
		got(s.SettleSend(t.Context(), &x))(t)
		if none, _, _ := claim(t, s, true); len(none) != 0 {
			t.Errorf("claimed before the first: %+v", none)
		}
		wantSend(t, s, x, gateway.SendReady, gateway.StatusQueued)
	})
}

// What may be sent again comes before what was said later.
func TestAnswersKeepTheirOrderPastAnUnknownEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		resend   bool
		unknowns int
		after    []string // its quarantine
	}{
		"which is sent again":      {true, 1, []string{"one", "two"}},
		"which is held":            {false, 1, []string{"two"}},
		"of the second attempt":    {true, 2, []string{"two"}},
		"which turns out accepted": {true, 0, []string{"two"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := storetest.Open(t)
				seed(t, s)
				c := claimed(t, s, sandbox, alice, "wamid.1")
				f := finish(c, "one")
				f.Sends = append(f.Sends, replyTo(c, gateway.FromRun, 1, "two"))
				must(t, s.FinishRun(t.Context(), f))
				other := sent(t, s, sandbox, bob, "wamid.2")
				x := claimTexts(t, s, tc.resend, "one", other.Text)
				other.Attempt = 1
				settle(t, s, other, gateway.SendAccepted, "wamid.other")
				x.Unknowns, x.NextAt = tc.unknowns, x.Deadline.Add(gateway.SendQuarantine)
				settle(t, s, x, gateway.SendUnknown, "")
				if c, _, next := claim(t, s, tc.resend); len(c) != 0 || !next.Equal(x.NextAt) {
					t.Errorf("claimed %+v, next %v, want %v", c, next, x.NextAt)
				}
				if tc.unknowns == 0 {
					must(t, s.ApplyStatuses(t.Context(), []gateway.StatusUpdate{{Account: sandbox, Message: x.ID, Status: gateway.StatusSent, At: time.Now()}}))
				} else {
					time.Sleep(time.Until(x.NextAt))
				}
				for _, want := range tc.after {
					settle(t, s, claimTexts(t, s, tc.resend, want), gateway.SendAccepted, "wamid.out."+want)
				}
			})
		})
	}
}

// claimTexts claims what is due, which must be these texts, and returns the first.
func claimTexts(t *testing.T, s *store.Store, resend bool, want ...string) gateway.Send {
	t.Helper()
	sends, _, _ := claim(t, s, resend)
	var texts []string
	for _, c := range sends {
		texts = append(texts, c.Send.Text)
	}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Fatalf("claimed (-want +got):\n%s", diff)
	}
	return sends[0].Send
}

func TestSettleSend(t *testing.T) {
	for name, tc := range map[string]struct {
		state  gateway.SendState
		status gateway.SendStatus
	}{
		"accepted": {gateway.SendAccepted, gateway.StatusSent},
		"refused":  {gateway.SendRefused, gateway.StatusFailed},
		"unknown":  {gateway.SendUnknown, gateway.StatusQueued},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				sent(t, s, sandbox, alice, "wamid.1")
				x := claimOne(t, s)
				stale := x
				stale.Attempt++
				if settle(t, s, stale, gateway.SendRefused, "") {
					t.Error("the end of another attempt stands")
				}
				wantSend(t, s, x, gateway.SendClaimed, gateway.StatusQueued)
				for range 2 { // the answer to the first may get lost
					if !settle(t, s, x, tc.state, "wamid.out") {
						t.Error("the end does not stand")
					}
					wantSend(t, s, x, tc.state, tc.status)
				}
				if settle(t, s, stale, tc.state, "wamid.out") {
					t.Error("the same end of another attempt stands")
				}
				lost := x // a claim that ran out says why, and is counted by whoever saw it
				lost.Error = "otherwise"
				if settle(t, s, x, gateway.SendCancelled, "") || settle(t, s, lost, tc.state, "wamid.out") {
					t.Error("another end of the same attempt stands")
				}
				wantSend(t, s, x, tc.state, tc.status)
			})
		})
	}
}

func TestAPauseStopsRepliesOnly(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		f := finish(c, "a reply")
		f.Sends = append(f.Sends, replyTo(c, gateway.FromHandover, 0, "a colleague will write"))
		must(t, s.FinishRun(t.Context(), f))
		must(t, s.PutPause(t.Context(), &gateway.Pause{Conversation: c.Run.Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}))
		sends, settled, _ := claim(t, s, true)
		if len(settled) != 1 || settled[0].ID != f.Sends[0].ID || settled[0].State != gateway.SendCancelled || settled[0].Error == "" {
			t.Errorf("settled %+v", settled)
		}
		wantSend(t, s, f.Sends[0], gateway.SendCancelled, gateway.StatusFailed)
		if len(sends) != 1 || sends[0].Send.ID != f.Sends[1].ID {
			t.Errorf("claimed %+v", sends)
		}
	})
}

// TestAFailedRunsPauseStopsNothing: nobody asked for it, so what was said before
// it and in its place goes out, also through a phone, until somebody does.
func TestAFailedRunsPauseStopsNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		up(t, s, 0)
		for _, account := range []gateway.AccountID{sandbox, phone} {
			good := answers(t, s, account, alice, "wamid.1", 1)[0]
			f := finish(claimed(t, s, account, alice, "wamid.2"), "a colleague will answer")
			f.Run.Status, f.Run.StopReason = gateway.RunFailed, gateway.StopSpent
			until := time.Now().Add(time.Hour)
			f.Pause = &gateway.Pause{Conversation: good.Conversation, Reason: gateway.PauseFailed, ExpiresAt: until}
			must(t, s.FinishRun(t.Context(), f))
			x := mineOne(t, s)
			equal(t, "what goes first", x.ID, good.ID)
			accept(t, s, x)

			short := gateway.Pause{Conversation: good.Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Minute)}
			if account == phone { // who did not see the other
				x = mineOne(t, s)
				equal(t, "what is said in its place", x.ID, f.Sends[0].ID)
				accept(t, s, x)
				continue
			}
			must(t, s.PutPause(t.Context(), &short))
			equal(t, "until when somebody has it", short.ExpiresAt, until, soon)
			_, settled, _, err := s.ClaimSends(t.Context(), "me", true, 9)
			must(t, err)
			if len(settled) != 1 || settled[0].State != gateway.SendCancelled {
				t.Errorf("once somebody has it, %+v are settled", settled)
			}
		}
	})
}

func TestTheServiceWindowCloses(t *testing.T) {
	for name, tc := range map[string]struct {
		account gateway.AccountID
		after   time.Duration
		state   gateway.SendState
	}{
		"just before it closes":              {cloud, gateway.ServiceWindow - time.Millisecond, gateway.SendClaimed},
		"once it is closed":                  {cloud, gateway.ServiceWindow, gateway.SendRefused},
		"never where there is no such thing": {sandbox, 2 * gateway.ServiceWindow, gateway.SendClaimed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := storetest.Open(t)
				seed(t, s)
				x := sent(t, s, tc.account, alice, "wamid.1")
				time.Sleep(tc.after)
				_, settled, _ := claim(t, s, true)
				if tc.state != gateway.SendRefused {
					wantSend(t, s, x, tc.state, gateway.StatusQueued)
					return
				}
				wantSend(t, s, x, tc.state, gateway.StatusFailed)
				if len(settled) != 1 || !strings.HasPrefix(settled[0].Error, "service window closed: ") {
					t.Errorf("settled %+v", settled)
				}
			})
		})
	}
}

func TestLostClaims(t *testing.T) {
	for name, resend := range map[string]bool{"are sent once more": true, "are left to a person": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := storetest.Open(t)
				seed(t, s)
				x := sent(t, s, sandbox, alice, "wamid.1")
				quarantine := gateway.SendDeadline + gateway.SendQuarantine
				if _, _, next := claim(t, s, resend); time.Until(next) > time.Second {
					t.Errorf("asked to come back in %v, to see what comes after what was claimed", time.Until(next))
				}
				if _, _, next := claim(t, s, resend); time.Until(next) != quarantine {
					t.Errorf("asked to come back in %v", time.Until(next))
				}
				time.Sleep(quarantine - time.Millisecond)
				if c, settled, _ := claim(t, s, resend); len(c)+len(settled) != 0 {
					t.Fatalf("before the quarantine is over: %+v %+v", c, settled)
				}
				time.Sleep(time.Millisecond)
				c, settled, next := claim(t, s, resend)
				if len(settled) != 1 || settled[0].State != gateway.SendUnknown || settled[0].Unknowns != 1 {
					t.Errorf("settled %+v", settled)
				}
				if !resend {
					if len(c) != 0 || !next.IsZero() {
						t.Errorf("claimed %+v, next %v", c, next)
					}
					wantSend(t, s, x, gateway.SendUnknown, gateway.StatusQueued)
					return
				}
				if len(c) != 1 || c[0].Send.ID != x.ID || c[0].Send.Attempt != 2 {
					t.Fatalf("claimed %+v", c)
				}
				time.Sleep(quarantine)
				c, settled, next = claim(t, s, resend)
				if len(c) != 0 || len(settled) != 1 || settled[0].Unknowns != 2 || !next.IsZero() {
					t.Errorf("after the second time: claimed %+v, settled %+v, next %v", c, settled, next)
				}
				time.Sleep(24 * time.Hour)
				if c, settled, _ := claim(t, s, resend); len(c)+len(settled) != 0 {
					t.Errorf("a day later: %+v %+v", c, settled)
				}
			})
		})
	}
}

func TestUnknownEndsWaitForTheirQuarantine(t *testing.T) {
	for name, tc := range map[string]struct {
		resend   bool
		unknowns int
		claimed  int
	}{
		"and are sent once more":         {true, 1, 1},
		"and stay unknown if so told":    {false, 1, 0},
		"and stay unknown after a third": {true, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := storetest.Open(t)
				seed(t, s)
				sent(t, s, sandbox, alice, "wamid.1")
				x := claimOne(t, s)
				x.Unknowns, x.NextAt = tc.unknowns, x.Deadline.Add(gateway.SendQuarantine)
				settle(t, s, x, gateway.SendUnknown, "")
				c, settled, next := claim(t, s, tc.resend)
				if len(c)+len(settled) != 0 || !next.Equal(x.NextAt) {
					t.Errorf("at once: %+v, %+v, next %v", c, settled, next)
				}
				time.Sleep(time.Until(x.NextAt))
				c, settled, _ = claim(t, s, tc.resend)
				if len(c) != tc.claimed || len(settled) != 0 {
					t.Errorf("later: %+v, %+v", c, settled)
				}
			})
		})
	}
}

func TestReplicasClaimEachSendOnce(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		a := storetest.At(t, cfg)
		seed(t, a)
		const conversations, parts = 8, 4
		for i := range conversations {
			c := claimed(t, a, sandbox, alice+ids(9)[i][6:], "wamid.1")
			f := finish(c, "0")
			for p := 1; p < parts; p++ {
				f.Sends = append(f.Sends, replyTo(c, gateway.FromRun, p, ids(parts)[p]))
			}
			must(t, a.FinishRun(t.Context(), f))
		}
		var mu sync.Mutex
		seen := map[gateway.ConversationID][]int{}
		var wg sync.WaitGroup
		for _, s := range []*store.Store{a, storetest.At(t, cfg), a} {
			wg.Go(func() {
				deadline := time.Now().Add(time.Minute)
				for done := 0; done < conversations*parts && time.Now().Before(deadline); {
					claimed, _, _, err := s.ClaimSends(t.Context(), "", true, 3)
					if gateway.KindOf(err) == gateway.Unavailable {
						continue // one SQLite file is not made for several processes
					}
					if err != nil {
						t.Error(err)
						return
					}
					for _, c := range claimed {
						mu.Lock()
						seen[c.Send.Conversation] = append(seen[c.Send.Conversation], c.Send.Part)
						mu.Unlock()
						c.Send.State, c.Send.ExternalID = gateway.SendAccepted, "out."+string(c.Send.ID)
						_, err := s.SettleSend(t.Context(), &c.Send)
						for gateway.KindOf(err) == gateway.Unavailable {
							_, err = s.SettleSend(t.Context(), &c.Send)
						}
						if err != nil {
							t.Error(err)
						}
					}
					mu.Lock()
					done = 0
					for _, p := range seen {
						done += len(p)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for conv, order := range seen {
			equal(t, "order of "+string(conv), order, []int{0, 1, 2, 3})
		}
		if len(seen) != conversations {
			t.Errorf("sent in %d conversations", len(seen))
		}
	})
}

// TestAnEchoThatComesWhileItsSendIsSettled has the settling wait for the send's
// row, with what it saw of echoes, until one is there.
func TestAnEchoThatComesWhileItsSendIsSettled(t *testing.T) {
	url := storetest.Postgres(t)
	s := storetest.At(t, store.Config{URL: url, Key: storetest.Key})
	seed(t, s)
	x := sent(t, s, sandbox, alice, "wamid.1")
	c := claimOne(t, s)
	db := got(sql.Open("pgx", url))(t)
	defer func() { must(t, db.Close()) }()
	tx := got(db.BeginTx(t.Context(), nil))(t)
	got(tx.ExecContext(t.Context(), `UPDATE sends SET body = body WHERE id = $1`, string(x.ID)))(t)
	settled := make(chan error, 1)
	go func() {
		c.State, c.ExternalID = gateway.SendAccepted, "wamid.out"
		stands, err := s.SettleSend(context.Background(), &c)
		if !stands && err == nil {
			err = errors.New("it does not stand")
		}
		settled <- err
	}()
	for waits := 0; waits == 0; { // t's deadline ends it
		must(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waits))
	}
	echo := from(sandbox, alice, "wamid.out")
	echo.Origin = gateway.OriginEcho
	add(t, s, echo)
	must(t, tx.Commit())
	must(t, <-settled)
	wantSend(t, s, x, gateway.SendAccepted, gateway.StatusSent)
}
