package storetest_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// superseding seeds a store whose agent lets newer messages supersede a run so
// many times.
func superseding(t *testing.T, s *store.Store, most int) {
	t.Helper()
	a := gateway.DefaultAgent()
	a.Key, a.Account, a.Name, a.SystemPrompt, a.AutoRun = "concierge", sandbox, "Concierge", "Be kind.", true
	a.OnNewMessage, a.MaxSupersedes = gateway.Supersede, most
	must(t, s.Declare(t.Context(), []gateway.Account{{ID: sandbox, Kind: gateway.Sandbox}}, []gateway.Agent{a}, nil, nil))
}

// wantRun checks how far a run is: status, attempt, how often it was superseded
// and what it cost.
func wantRun(t *testing.T, s *store.Store, id gateway.RunID, want string) gateway.Run {
	t.Helper()
	r := got(s.Run(t.Context(), "", id))(t)
	equal(t, "run", fmt.Sprintf("%s attempt %d superseded %d cost %d+%d", r.Status, r.Attempt, r.Supersedes, r.InputTokens, r.OutputTokens), want)
	return r
}

// texts are the external ids of messages.
func texts(ms []gateway.Message) (out []string) {
	for i := range ms {
		out = append(out, ms[i].ExternalID)
	}
	return out
}

// quietly has left nothing of a conversation's runs.
func quietly(t *testing.T, s *store.Store, c gateway.Claim) {
	t.Helper()
	if n := len(got(s.Sends(t.Context(), c.Run.Conversation))(t)); n != 0 {
		t.Errorf("%d sends", n)
	}
	if n := len(got(s.Deliveries(t.Context(), c.Run.ID))(t)); n != 0 {
		t.Errorf("%d deliveries", n)
	}
}

func TestANewerMessageSupersedesARunThatIsAboutToFinish(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		superseding(t, s, 2)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		add(t, s, from(sandbox, alice, "wamid.2"))
		f := finish(c, "hello")
		f.Run.InputTokens, f.Run.OutputTokens = 10, 3
		f.Pause = &gateway.Pause{Conversation: c.Run.Conversation, Reason: gateway.PauseAgent, ExpiresAt: time.Now().Add(time.Hour)}
		if err := s.FinishRun(t.Context(), f); !errors.Is(err, gateway.ErrSuperseded) || gateway.KindOf(err) != gateway.Conflict {
			t.Fatalf("FinishRun = %v, want %v", err, gateway.ErrSuperseded)
		}
		quietly(t, s, c)
		if got(s.Paused(t.Context(), c.Run.Conversation))(t) {
			t.Error("its pause began")
		}
		r := wantRun(t, s, c.Run.ID, "pending attempt 0 superseded 1 cost 10+3")
		if !r.StartedAt.IsZero() || !r.LeaseUntil.IsZero() || r.Output != nil {
			t.Errorf("the pending run is %+v", r)
		}
		add(t, s, from(sandbox, alice, "wamid.3")) // before its window is due

		again := got(s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute))(t)
		equal(t, "messages", texts(again.Messages), []string{"wamid.1", "wamid.2", "wamid.3"})
		if again.Run.ID != c.Run.ID || again.Run.Attempt != 1 || again.Run.Generation <= c.Run.Generation || again.Run.StartedAt.IsZero() {
			t.Errorf("claimed again: %+v", again.Run)
		}
		wantKind(t, s.FinishRun(t.Context(), finish(c, "from the dead")), gateway.Conflict)
		must(t, s.FinishRun(t.Context(), finish(again, "hello")))
		wantRun(t, s, c.Run.ID, "completed attempt 1 superseded 1 cost 10+3")

		// After its finish it is superseded by nothing.
		next := claimed(t, s, sandbox, alice, "wamid.4")
		equal(t, "messages of the next run", texts(next.Messages), []string{"wamid.4"})
	})
}

func TestARunIsSupersededSoManyTimes(t *testing.T) {
	for name, tt := range map[string]struct {
		most, times int
	}{"never": {0, 0}, "once": {1, 1}, "three times": {3, 3}} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				superseding(t, s, tt.most)
				c := claimed(t, s, sandbox, alice, "wamid.0")
				for i := range tt.times {
					add(t, s, from(sandbox, alice, fmt.Sprint("wamid.", i+1)))
					if !got(s.SupersedeRun(t.Context(), &c.Run))(t) {
						t.Fatalf("not superseded the %d. time", i+1)
					}
					c = got(s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute))(t)
				}
				add(t, s, from(sandbox, alice, "wamid.last"))
				if got(s.SupersedeRun(t.Context(), &c.Run))(t) {
					t.Error("superseded once more")
				}
				if len(c.Messages) != tt.times+1 || c.Run.Supersedes != tt.times {
					t.Errorf("it holds %q, superseded %d times", texts(c.Messages), c.Run.Supersedes)
				}
				must(t, s.FinishRun(t.Context(), finish(c, "at last")))
				next := got(s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute))(t)
				equal(t, "messages of the next run", texts(next.Messages), []string{"wamid.last"})
				if next.Run.ID == c.Run.ID || next.Run.Supersedes != 0 {
					t.Errorf("the next run is %+v", next.Run)
				}
			})
		})
	}
}

func TestWhatFollowsUpSupersedesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		add(t, s, from(sandbox, alice, "wamid.2"))
		if got(s.SupersedeRun(t.Context(), &c.Run))(t) {
			t.Error("superseded")
		}
		must(t, s.FinishRun(t.Context(), finish(c, "hello")))
		wantRun(t, s, c.Run.ID, "completed attempt 1 superseded 0 cost 0+0")
	})
}

func TestWhoLostARunSupersedesNothing(t *testing.T) {
	for name, lose := range map[string]func(*testing.T, *store.Store, *gateway.Claim){
		"another claimed it": func(t *testing.T, s *store.Store, c *gateway.Claim) {
			must(t, s.ReleaseLeases(t.Context()))
			got(s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute))(t)
		},
		"it finished": func(t *testing.T, s *store.Store, c *gateway.Claim) {
			must(t, s.FinishRun(t.Context(), finish(*c, "hello")))
		},
		"it is superseded already": func(t *testing.T, s *store.Store, c *gateway.Claim) {
			if !got(s.SupersedeRun(t.Context(), &c.Run))(t) {
				t.Fatal("not superseded")
			}
		},
		"its conversation is gone": func(_ *testing.T, _ *store.Store, c *gateway.Claim) { c.Run.Conversation = "cnv_gone" },
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				superseding(t, s, 5)
				c := claimed(t, s, sandbox, alice, "wamid.1")
				lose(t, s, &c)
				before := got(s.Run(t.Context(), "", c.Run.ID))(t)
				add(t, s, from(sandbox, alice, "wamid.2"))
				_, err := s.SupersedeRun(t.Context(), &c.Run)
				wantKind(t, err, gateway.Conflict)
				wantKind(t, s.FinishRun(t.Context(), finish(c, "from the dead")), gateway.Conflict)
				equal(t, "run", got(s.Run(t.Context(), "", c.Run.ID))(t), before)
			})
		})
	}
}

// Whichever comes first, a message is answered once: by the run that it
// superseded, or by the next one.
func TestAMessageThatRacesWithAFinish(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		superseding(t, s, 100)
		for i := range 30 {
			c := claimed(t, s, sandbox, alice, fmt.Sprint("first.", i))
			done := make(chan error, 1)
			go func() {
				_, err := s.AddMessages(t.Context(), []gateway.Arrival{from(sandbox, alice, fmt.Sprint("second.", i))})
				done <- err
			}()
			err := s.FinishRun(t.Context(), finish(c, "hello"))
			must(t, <-done)
			next := got(s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute))(t)
			switch {
			case errors.Is(err, gateway.ErrSuperseded):
				equal(t, "messages of the same run", texts(next.Messages), []string{fmt.Sprint("first.", i), fmt.Sprint("second.", i)})
			case err == nil:
				equal(t, "messages of the next run", texts(next.Messages), []string{fmt.Sprint("second.", i)})
			default:
				t.Fatal(err)
			}
			if (next.Run.ID == c.Run.ID) != (err != nil) {
				t.Errorf("FinishRun = %v, and then run %s after %s", err, next.Run.ID, c.Run.ID)
			}
			must(t, s.FinishRun(t.Context(), finish(next, "hello again")))
		}
	})
}

func TestARunWhoseProcessDiedIsSupersededWhenItIsClaimedAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		most int
		want []string
		run  string
	}{
		"while it may be":  {1, []string{"wamid.1", "wamid.2"}, "running attempt 2 superseded 1 cost 0+0"},
		"and not any more": {0, []string{"wamid.1"}, "running attempt 2 superseded 0 cost 0+0"},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				superseding(t, s, tt.most)
				c := claimed(t, s, sandbox, alice, "wamid.1")
				add(t, s, from(sandbox, alice, "wamid.2"))
				_, err := s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute) // it lives
				wantKind(t, err, gateway.Conflict)
				wantRun(t, s, c.Run.ID, "running attempt 1 superseded 0 cost 0+0")
				must(t, s.ReleaseLeases(t.Context()))
				again := got(s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute))(t)
				equal(t, "messages", texts(again.Messages), tt.want)
				wantRun(t, s, c.Run.ID, tt.run)
				must(t, s.FinishRun(t.Context(), finish(again, "hello")))
			})
		})
	}
}

func TestASupersededRunIsFoundAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		superseding(t, s, 3)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		second := add(t, s, from(sandbox, alice, "wamid.2"))[0]
		if !got(s.SupersedeRun(t.Context(), &c.Run))(t) {
			t.Fatal("not superseded")
		}
		// The window of what waits brings the run back.
		stranded := got(s.Stranded(t.Context(), time.Now().Add(time.Minute), 0, 9))(t)
		equal(t, "stranded messages", texts(stranded), []string{"wamid.2"})
		equal(t, "waiting", texts(got(s.WaitingIn(t.Context(), c.Run.Conversation))(t)), []string{"wamid.2"})
		if rs := got(s.StrandedRuns(t.Context()))(t); len(rs) != 0 {
			t.Errorf("stranded runs: %+v", rs)
		}
		// Where it was deleted meanwhile, nothing else would.
		add(t, s, revoked(from(sandbox, alice, second.ExternalID), "wamid.3"))
		if rs := got(s.StrandedRuns(t.Context()))(t); len(rs) != 1 || rs[0].ID != c.Run.ID {
			t.Fatalf("stranded runs: %+v", rs)
		}
		again := got(s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute))(t)
		equal(t, "messages", texts(again.Messages), []string{"wamid.1"})
		must(t, s.FinishRun(t.Context(), finish(again, "hello")))
	})
}

func TestASupersededRunDoesNotAnswerWhatWasDeleted(t *testing.T) {
	one, two := from(sandbox, alice, "wamid.1"), from(sandbox, alice, "wamid.2")
	for name, tt := range map[string]struct {
		deleted []gateway.Arrival
		want    []string
	}{
		"the first message":         {[]gateway.Arrival{revoked(one, "wamid.r1")}, []string{"wamid.2"}},
		"the second":                {[]gateway.Arrival{revoked(two, "wamid.r2")}, []string{"wamid.1"}},
		"the second, and its edit":  {[]gateway.Arrival{edited(two, "wamid.e", "otherwise", 0), revoked(two, "wamid.r2")}, []string{"wamid.1"}},
		"the first, after its edit": {[]gateway.Arrival{edited(one, "wamid.e", "otherwise", 0), revoked(one, "wamid.r1")}, []string{"wamid.2"}},
		"all that it was to answer": {[]gateway.Arrival{revoked(one, "wamid.r1"), revoked(two, "wamid.r2")}, nil},
		"what is not on record":     {[]gateway.Arrival{revoked(from(sandbox, alice, "wamid.9"), "wamid.r9")}, []string{"wamid.1", "wamid.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				superseding(t, s, 3)
				c := got(s.ClaimRun(t.Context(), add(t, s, one, two)[0].Conversation, time.Minute))(t)
				if !got(s.SupersedeRun(t.Context(), &c.Run))(t) {
					t.Fatal("not superseded")
				}
				add(t, s, tt.deleted...)
				again, err := s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute)
				equal(t, "messages", texts(again.Messages), tt.want)
				if tt.want != nil {
					must(t, err)
					must(t, s.FinishRun(t.Context(), finish(again, "hello")))
					return
				}
				wantKind(t, err, gateway.NotFound)
				if r := wantRun(t, s, c.Run.ID, "failed attempt 1 superseded 1 cost 0+0"); r.StopReason != gateway.StopCancelled {
					t.Errorf("it ended with %q", r.StopReason)
				}
				stranded := got(s.Stranded(t.Context(), time.Now().Add(time.Minute), 0, 9))(t)
				if rs := got(s.StrandedRuns(t.Context()))(t); len(rs) != 0 || len(stranded) != 0 {
					t.Errorf("stranded: runs %+v and messages %q", rs, texts(stranded))
				}
				next := claimed(t, s, sandbox, alice, "wamid.3")
				equal(t, "messages of the next run", texts(next.Messages), []string{"wamid.3"})
			})
		})
	}
}

// Whoever holds a run has read its messages, and ends it.
func TestARunInHandIsLeftAloneThoughItsMessagesWereDeleted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		superseding(t, s, 3)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		add(t, s, revoked(from(sandbox, alice, "wamid.1"), "wamid.r"))
		_, err := s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute)
		wantKind(t, err, gateway.Conflict)
		wantRun(t, s, c.Run.ID, "running attempt 1 superseded 0 cost 0+0")
		must(t, s.FinishRun(t.Context(), finish(c, "hello")))
	})
}

// What a run that ends without an answer leaves to others is not what was deleted.
func TestWhatWasDeletedStaysWithItsRun(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(*testing.T, *store.Store, *gateway.Claim)
		want gateway.MessageState // of the message that stands
	}{
		"that is cancelled": {func(t *testing.T, s *store.Store, c *gateway.Claim) {
			must(t, s.CancelRun(t.Context(), &c.Run, "nobody answers"))
		}, gateway.StateHeld},
		"that a pause ends": {func(t *testing.T, s *store.Store, c *gateway.Claim) {
			if !got(s.SupersedeRun(t.Context(), &c.Run))(t) {
				t.Fatal("not superseded")
			}
			must(t, s.PutPause(t.Context(), &gateway.Pause{Conversation: c.Run.Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}))
		}, gateway.StateHeld},
		"whose conversation is joined to another": {func(t *testing.T, s *store.Store, _ *gateway.Claim) {
			add(t, s, as(from(sandbox, alice, "wamid.other"), byPhone))
			got(s.JoinAddresses(t.Context(), sandbox, byBoth))(t)
		}, gateway.StateWaiting},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				superseding(t, s, 3)
				one, two := as(from(sandbox, alice, "wamid.1"), byLID), as(from(sandbox, alice, "wamid.2"), byLID)
				ms := add(t, s, one, two)
				c := got(s.ClaimRun(t.Context(), ms[0].Conversation, time.Minute))(t)
				add(t, s, revoked(one, "wamid.r"))
				tt.end(t, s, &c)
				for i, want := range []gateway.MessageState{gateway.StateBatched, tt.want} {
					if x := recorded(t, s, ms[i].ID, sandbox); x.State != want {
						t.Errorf("%s is %s, want %s", x.ExternalID, x.State, want)
					}
				}
			})
		})
	}
}

func TestAPauseEndsASupersededRun(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		superseding(t, s, 3)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		second := add(t, s, from(sandbox, alice, "wamid.2"))[0]
		if !got(s.SupersedeRun(t.Context(), &c.Run))(t) {
			t.Fatal("not superseded")
		}
		p := gateway.Pause{Conversation: c.Run.Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}
		must(t, s.PutPause(t.Context(), &p))
		r := wantRun(t, s, c.Run.ID, "failed attempt 0 superseded 1 cost 0+0")
		if r.StopReason != gateway.StopCancelled {
			t.Errorf("it ended with %q", r.StopReason)
		}
		got(s.ResumePause(t.Context(), sandbox, p.ID))(t)
		for _, m := range append(c.Messages, second) {
			if x := recorded(t, s, m.ID, sandbox); x.State != gateway.StateHeld || x.StateReason != "paused" {
				t.Errorf("%s is %s %s", x.ExternalID, x.State, x.StateReason)
			}
		}
		_, err := s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute)
		wantKind(t, err, gateway.NotFound)
	})
}

func TestAPauseHoldsWhatWaits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		inHand := claimed(t, s, sandbox, bob, "wamid.0")
		waits := add(t, s, from(sandbox, alice, "wamid.1"), from(sandbox, bob, "wamid.2"))
		over := gateway.Pause{Conversation: waits[0].Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(-time.Second)}
		must(t, s.PutPause(t.Context(), &over))
		if x := recorded(t, s, waits[0].ID, sandbox); x.State != gateway.StateWaiting {
			t.Errorf("after a pause that is over it is %s", x.State)
		}
		for _, m := range waits {
			must(t, s.PutPause(t.Context(), &gateway.Pause{Conversation: m.Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}))
			if x := recorded(t, s, m.ID, sandbox); x.State != gateway.StateHeld || x.StateReason != "paused" {
				t.Errorf("%s is %s %s", x.ExternalID, x.State, x.StateReason)
			}
		}
		wantRun(t, s, inHand.Run.ID, "running attempt 1 superseded 0 cost 0+0") // whoever holds it ends it
		wantKind(t, s.FinishRun(t.Context(), finish(inHand, "hello")), gateway.Conflict)
	})
}

func TestBatchesThatMergeKeepTheOrderOfArrival(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		superseding(t, s, 3)
		phone, lid := gateway.Address{Phone: alice}, gateway.Address{LID: "900"}
		one := add(t, s, as(from(sandbox, alice, "wamid.1"), phone))[0]
		add(t, s, as(from(sandbox, alice, "wamid.2"), lid))
		c := got(s.ClaimRun(t.Context(), one.Conversation, time.Minute))(t)
		add(t, s, as(from(sandbox, alice, "wamid.3"), phone), as(from(sandbox, alice, "wamid.4"), lid))
		got(s.JoinAddresses(t.Context(), sandbox, gateway.Address{Phone: alice, LID: "900"}))(t)
		current := got(s.Run(t.Context(), "", c.Run.ID))(t)
		if current.Status == gateway.RunRunning {
			if err := s.FinishRun(t.Context(), finish(gateway.Claim{Run: current, Conversation: c.Conversation, Messages: c.Messages}, "hello")); !errors.Is(err, gateway.ErrSuperseded) {
				t.Fatalf("FinishRun = %v, want %v", err, gateway.ErrSuperseded)
			}
		}
		joined := got(s.ConversationWith(t.Context(), sandbox, lid))(t)
		again := got(s.ClaimRun(t.Context(), joined.ID, time.Minute))(t)
		equal(t, "messages", texts(again.Messages), []string{"wamid.1", "wamid.2", "wamid.3", "wamid.4"})
	})
}
