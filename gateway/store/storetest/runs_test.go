package storetest_test

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestClaimRunTakesWhatWaits(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ignored := from(sandbox, alice, "wamid.2")
		ignored.State = gateway.StateIgnored
		ms := add(t, s, from(sandbox, alice, "wamid.1"), ignored, from(sandbox, alice, "wamid.3"), from(sandbox, bob, "wamid.4"))
		c := got(s.ClaimRun(t.Context(), ms[0].Conversation, time.Minute))(t)
		if len(c.Messages) != 2 || c.Messages[0].ID != ms[0].ID || c.Messages[1].ID != ms[2].ID {
			t.Fatalf("the batch is %+v", c.Messages)
		}
		for _, m := range c.Messages {
			if m.State != gateway.StateBatched || m.Run != c.Run.ID {
				t.Errorf("%s is %s of run %q", m.ExternalID, m.State, m.Run)
			}
		}
		agents := got(s.Agents(t.Context()))(t)
		r := got(s.Run(t.Context(), agents[0].ID, c.Run.ID))(t)
		equal(t, "run", r, gateway.Run{
			ID: c.Run.ID, Agent: agents[0].ID, Account: sandbox, Conversation: ms[0].Conversation, Peer: gateway.Address{Phone: alice},
			Trigger: gateway.TriggerInbound, Status: gateway.RunRunning, Generation: 1, Attempt: 1,
			LeaseUntil: c.Run.LeaseUntil, CreatedAt: c.Run.CreatedAt, StartedAt: c.Run.StartedAt,
		})
		equal(t, "what ClaimRun returned", c.Run, r)
		equal(t, "conversation", c.Conversation, got(s.Conversation(t.Context(), ms[0].Conversation))(t))
	})
}

func TestClaimRunSaysWhyNot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		_, err := s.ClaimRun(t.Context(), "cnv_none", time.Minute)
		wantKind(t, err, gateway.NotFound)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		_, err = s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute)
		wantKind(t, err, gateway.Conflict)
		must(t, s.FinishRun(t.Context(), finish(c, "hello")))
		_, err = s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute)
		wantKind(t, err, gateway.NotFound)
	})
}

func TestClaimRunResumesWithItsOwnBatch(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		m := add(t, s, from(sandbox, alice, "wamid.1"))[0]
		first := got(s.ClaimRun(t.Context(), m.Conversation, 0))(t) // its lease ends at once
		add(t, s, from(sandbox, alice, "wamid.2"))
		second := got(s.ClaimRun(t.Context(), m.Conversation, time.Minute))(t)
		if second.Run.ID != first.Run.ID || second.Run.Generation != 2 || second.Run.Attempt != 2 || len(second.Messages) != 1 {
			t.Fatalf("resumed as %+v with %d messages", second.Run, len(second.Messages))
		}
		wantKind(t, s.RenewRun(t.Context(), first.Run.ID, 1, time.Now().Add(time.Hour)), gateway.Conflict)
		wantKind(t, s.FinishRun(t.Context(), finish(first, "from the dead")), gateway.Conflict)
		wantKind(t, s.CancelRun(t.Context(), &first.Run, "from the dead"), gateway.Conflict)
		must(t, s.RenewRun(t.Context(), first.Run.ID, 2, time.Now().Add(time.Hour)))
		must(t, s.FinishRun(t.Context(), finish(second, "hello")))
		wantKind(t, s.RenewRun(t.Context(), first.Run.ID, 2, time.Now().Add(time.Hour)), gateway.Conflict)
		wantKind(t, s.FinishRun(t.Context(), finish(second, "twice")), gateway.Conflict)
		next := got(s.ClaimRun(t.Context(), m.Conversation, time.Minute))(t)
		if next.Run.ID == first.Run.ID || len(next.Messages) != 1 || next.Messages[0].ExternalID != "wamid.2" {
			t.Errorf("the next run has %+v", next.Messages)
		}
	})
}

func TestTwoClaimersGetOneRun(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		a := storetest.At(t, cfg)
		seed(t, a)
		replicas := []*store.Store{a, storetest.At(t, cfg)}
		for _, id := range ids(10) {
			m := add(t, a, from(sandbox, alice, id))[0]
			var claims, conflicts atomic.Int64
			var won gateway.Claim
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					c, err := replicas[i%2].ClaimRun(t.Context(), m.Conversation, time.Minute)
					switch {
					case err == nil:
						claims.Add(1)
						won = c
					case gateway.KindOf(err) == gateway.Conflict:
						conflicts.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if claims.Load() != 1 || conflicts.Load() != 7 {
				t.Fatalf("%d claims and %d conflicts", claims.Load(), conflicts.Load())
			}
			must(t, replicas[1].FinishRun(t.Context(), finish(won, "reply to "+id)))
		}
	})
}

func TestPauseStopsRuns(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		add(t, s, from(sandbox, alice, "wamid.2"))
		conv := c.Run.Conversation
		p := &gateway.Pause{Conversation: conv, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}
		must(t, s.PutPause(t.Context(), p))
		if p.ID == 0 || !got(s.Paused(t.Context(), conv))(t) {
			t.Fatal("the conversation is not paused")
		}
		wantKind(t, s.FinishRun(t.Context(), finish(c, "hello")), gateway.Conflict)
		if n := len(got(s.Sends(t.Context(), conv))(t)); n != 0 {
			t.Errorf("%d sends in a paused conversation", n)
		}
		_, err := s.ClaimRun(t.Context(), conv, time.Minute)
		wantKind(t, err, gateway.NotFound)
		r := got(s.Run(t.Context(), "", c.Run.ID))(t)
		if r.Status != gateway.RunFailed || r.StopReason != gateway.StopCancelled || r.CompletedAt.IsZero() {
			t.Errorf("the run is %s (%s)", r.Status, r.StopReason)
		}
		for _, m := range got(s.Messages(t.Context(), sandbox, conv, 9))(t) {
			if m.State != gateway.StateHeld || m.StateReason != "paused" {
				t.Errorf("%s is %s (%q)", m.ExternalID, m.State, m.StateReason)
			}
		}
	})
}

func TestPausesExtend(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		conv := add(t, s, from(sandbox, alice, "wamid.1"))[0].Conversation
		at := func(d time.Duration) time.Time { return time.Now().Add(d).UTC().Truncate(time.Millisecond) }
		over := &gateway.Pause{Conversation: conv, Reason: gateway.PauseManual, ExpiresAt: at(-time.Second)}
		must(t, s.PutPause(t.Context(), over))
		if got(s.Paused(t.Context(), conv))(t) {
			t.Error("a pause that is over pauses")
		}
		first := &gateway.Pause{Conversation: conv, Reason: gateway.PauseAgent, ExpiresAt: at(time.Hour)}
		must(t, s.PutPause(t.Context(), first))
		shorter := &gateway.Pause{Conversation: conv, Reason: gateway.PauseManual, ExpiresAt: at(time.Minute)}
		must(t, s.PutPause(t.Context(), shorter))
		equal(t, "a shorter pause", *shorter, *first)
		longer := &gateway.Pause{Conversation: conv, Reason: gateway.PauseManual, ExpiresAt: at(2 * time.Hour)}
		must(t, s.PutPause(t.Context(), longer))
		if longer.ID != first.ID || !longer.CreatedAt.Equal(first.CreatedAt) || over.ID == first.ID {
			t.Errorf("pauses %d, %d and %d", over.ID, first.ID, longer.ID)
		}
		wantKind(t, s.PutPause(t.Context(), &gateway.Pause{Conversation: "cnv_none", ExpiresAt: at(time.Hour)}), gateway.NotFound)
	})
}

func TestCancelRunHoldsItsMessages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		must(t, s.CancelRun(t.Context(), &c.Run, "a person took over"))
		r := got(s.Run(t.Context(), "", c.Run.ID))(t)
		if r.Status != gateway.RunFailed || r.StopReason != gateway.StopCancelled || r.Error != "a person took over" {
			t.Errorf("the run is %s (%s): %s", r.Status, r.StopReason, r.Error)
		}
		if m := got(s.Messages(t.Context(), sandbox, "", 1))(t)[0]; m.State != gateway.StateHeld {
			t.Errorf("its message is %s", m.State)
		}
	})
}

// What a claim cost is counted whatever became of its run, under the claim's own
// generation.
func TestWhatAClaimThatComesToNoEndCostIsKept(t *testing.T) {
	paused := func(t *testing.T, s *store.Store, c *gateway.Claim) {
		must(t, s.PutPause(t.Context(), &gateway.Pause{Conversation: c.Run.Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}))
	}
	ended := func(t *testing.T, s *store.Store, c *gateway.Claim) { // by whoever finds the conversation paused
		paused(t, s, c)
		_, err := s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute)
		wantKind(t, err, gateway.NotFound)
	}
	release := func(s *store.Store, ctx context.Context, r *gateway.Run) error { return s.ReleaseRun(ctx, r) }
	cancel := func(s *store.Store, ctx context.Context, r *gateway.Run) error {
		return s.CancelRun(ctx, r, "a person took over")
	}
	for name, tt := range map[string]struct {
		before func(*testing.T, *store.Store, *gateway.Claim)
		end    func(*store.Store, context.Context, *gateway.Run) error
		want   gateway.RunStatus
		lost   bool // to somebody else's claim
		kind   gateway.Kind
	}{
		"it is released":                  {nil, release, gateway.RunRunning, false, 0},
		"it is released after its end":    {ended, release, gateway.RunFailed, false, 0},
		"it is cancelled":                 {paused, cancel, gateway.RunFailed, false, 0},
		"somebody cancelled it before":    {ended, cancel, gateway.RunFailed, false, gateway.Conflict},
		"somebody else has it, released":  {nil, release, gateway.RunRunning, true, gateway.Conflict},
		"somebody else has it, cancelled": {nil, cancel, gateway.RunRunning, true, gateway.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				c := claimed(t, s, sandbox, alice, "wamid.1")
				old := c
				if tt.lost {
					must(t, s.ReleaseRun(t.Context(), &c.Run))
					c = got(s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute))(t)
				}
				if tt.before != nil {
					tt.before(t, s, &c)
				}
				old.Run.InputTokens, old.Run.OutputTokens = 1000, 20
				if err := tt.end(s, t.Context(), &old.Run); tt.kind != 0 {
					wantKind(t, err, tt.kind)
				} else {
					must(t, err)
				}
				r := got(s.Run(t.Context(), "", c.Run.ID))(t)
				if tt.lost {
					equal(t, "what another's claim has", r, c.Run)
					return
				}
				if r.Status != tt.want || r.InputTokens != 1000 || r.OutputTokens != 20 {
					t.Errorf("the run is %s and cost %d and %d tokens", r.Status, r.InputTokens, r.OutputTokens)
				}
				if r.Status == gateway.RunRunning {
					next := got(s.ClaimRun(t.Context(), r.Conversation, time.Minute))(t)
					equal(t, "what the next claim begins with", next.Run.InputTokens, 1000)
				}
			})
		})
	}
}

func TestAPIRuns(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		var made []gateway.RunID
		for range 3 {
			r := gateway.Run{Agent: "a1", Account: sandbox, ConversationKey: "k", Trigger: gateway.TriggerAPI, Input: json.RawMessage(`{}`)}
			must(t, s.CreateRun(t.Context(), &r))
			equal(t, "run", got(s.Run(t.Context(), "a1", r.ID))(t), r, cmpopts.EquateApproxTime(time.Millisecond))
			made = append(made, r.ID)
		}
		_, err := s.Run(t.Context(), "a2", made[0])
		wantKind(t, err, gateway.NotFound)
		claimed(t, s, sandbox, alice, "wamid.1") // never among them

		first, next, err := s.ClaimRuns(t.Context(), 2, 0)
		must(t, err)
		if len(first) != 2 || first[0].ID != made[0] || first[0].Generation != 1 || first[0].Status != gateway.RunRunning || next.IsZero() {
			t.Fatalf("claimed %+v, next %v", first, next)
		}
		again, next, err := s.ClaimRuns(t.Context(), 9, time.Minute)
		must(t, err)
		if len(again) != 3 || again[0].Generation != 2 || again[2].Generation != 1 || time.Until(next) < 50*time.Second {
			t.Fatalf("claimed %d, next %v", len(again), next)
		}
		none, _, err := s.ClaimRuns(t.Context(), 9, time.Minute)
		must(t, err)
		if len(none) != 0 {
			t.Errorf("%d runs are claimed twice", len(none))
		}
		wantKind(t, s.FinishRun(t.Context(), ended(first[0])), gateway.Conflict)
		must(t, s.FinishRun(t.Context(), ended(again[0])))
		must(t, s.FinishRun(t.Context(), ended(again[1])))
		if last := got(s.LastRun(t.Context(), "a1", "key:k"))(t); last.ID != made[1] {
			t.Errorf("the last run is %s", last.ID)
		}
		for _, other := range []struct {
			agent gateway.AgentID
			key   string
		}{{"a2", "key:k"}, {"a1", "key:other"}, {"a1", ""}} {
			_, err := s.LastRun(t.Context(), other.agent, other.key)
			wantKind(t, err, gateway.NotFound)
		}
		if _, total, err := s.Runs(t.Context(), gateway.RunFilter{Limit: 9}); err != nil || total != 4 {
			t.Errorf("%d runs in all, %v", total, err)
		}
	})
}

func ended(r gateway.Run) *gateway.Finish {
	r.Status, r.StopReason = gateway.RunCompleted, gateway.StopEndTurn
	return &gateway.Finish{Run: r}
}

func TestRunsOfAConversationShareItsContext(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		f := finish(claimed(t, s, sandbox, alice, "wamid.1"), "hello")
		must(t, s.FinishRun(t.Context(), f))
		claimed(t, s, sandbox, alice, "wamid.2") // has not completed
		last := got(s.LastRun(t.Context(), f.Run.Agent, string(f.Run.Conversation)))(t)
		if last.ID != f.Run.ID {
			t.Errorf("the last run is %s", last.ID)
		}
	})
}

func TestTimesOfRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t)
		hook := seed(t, s)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		if n := len(got(s.StrandedRuns(t.Context()))(t)); n != 0 {
			t.Errorf("%d runs are stranded while their lease lasts", n)
		}
		time.Sleep(time.Minute - time.Millisecond)
		_, err := s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute)
		wantKind(t, err, gateway.Conflict)
		time.Sleep(time.Millisecond)
		if rs := got(s.StrandedRuns(t.Context()))(t); len(rs) != 1 || rs[0].ID != c.Run.ID {
			t.Errorf("stranded runs: %+v", rs)
		}
		c = got(s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute))(t)
		must(t, s.FinishRun(t.Context(), full(c, hook)))

		rs, next, err := s.DueActions(t.Context(), 9)
		must(t, err)
		if len(rs) != 0 || time.Until(next) != time.Minute {
			t.Errorf("%d runs have expired actions, the next in %v", len(rs), time.Until(next))
		}
		time.Sleep(time.Minute)
		rs, next, err = s.DueActions(t.Context(), 9)
		must(t, err)
		if len(rs) != 1 || rs[0].ID != c.Run.ID || !next.IsZero() {
			t.Errorf("%d runs have expired actions, the next at %v", len(rs), next)
		}
	})
}

func TestReleaseLeases(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		must(t, s.FinishRun(t.Context(), full(claimed(t, s, sandbox, bob, "wamid.1"), hook)))
		send := sent(t, s, sandbox, "+15550000003", "wamid.1")
		sends, _, _, err := s.ClaimSends(t.Context(), "", true, 9)
		must(t, err)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		held(t, s, "dead", time.Hour)
		must(t, s.ReleaseLeases(t.Context()))
		if again := got(s.ClaimRun(t.Context(), c.Run.Conversation, time.Minute))(t); again.Run.ID != c.Run.ID {
			t.Error("the run is not resumed")
		}
		if h, _, taken, _ := held(t, s, "new", time.Hour); taken != gateway.Lanes {
			t.Errorf("the lanes that are held: %+v", h)
		}
		if again, _, _, err := s.ClaimSends(t.Context(), "", true, 9); err != nil || len(sends) != 1 || len(again) != 0 {
			t.Errorf("send %s was claimed %d times, then %d: %v", send.ID, len(sends), len(again), err)
		}
	})
}

func TestRunsAreListedBackwards(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		var made []gateway.RunID
		for _, r := range []gateway.Run{
			{Agent: "a1", Account: "acc_1"}, {Agent: "a1", Account: "acc_2"}, {Agent: "a2", Account: "acc_1"}, {Agent: "a1"}, {Agent: "a1", Account: "acc_1"},
		} {
			r.Trigger = gateway.TriggerAPI
			must(t, s.CreateRun(t.Context(), &r))
			made = append(made, r.ID)
		}
		for name, tt := range map[string]struct {
			filter gateway.RunFilter
			want   []int
			total  int
		}{
			"of an agent":                   {gateway.RunFilter{Agent: "a1", Limit: 9}, []int{4, 3, 1, 0}, 4},
			"the last two":                  {gateway.RunFilter{Agent: "a1", Limit: 2}, []int{4, 3}, 4},
			"the two before those":          {gateway.RunFilter{Agent: "a1", Before: made[3], Limit: 2}, []int{1, 0}, 4},
			"before the first":              {gateway.RunFilter{Agent: "a1", Before: made[0], Limit: 2}, nil, 4},
			"for some accounts":             {gateway.RunFilter{Agent: "a1", Accounts: []gateway.AccountID{"acc_1", "acc_3"}, Limit: 9}, []int{4, 0}, 2},
			"for some accounts, before one": {gateway.RunFilter{Agent: "a1", Accounts: []gateway.AccountID{"acc_1"}, Before: made[4], Limit: 9}, []int{0}, 2},
			"for no account":                {gateway.RunFilter{Agent: "a1", Accounts: []gateway.AccountID{}, Limit: 9}, nil, 0},
		} {
			rs, total, err := s.Runs(t.Context(), tt.filter)
			must(t, err)
			var got, want []gateway.RunID
			for i := range rs {
				got = append(got, rs[i].ID)
			}
			for _, i := range tt.want {
				want = append(want, made[i])
			}
			equal(t, name, got, want)
			equal(t, name+": in all", total, tt.total)
		}
		for name, f := range map[string]gateway.RunFilter{
			"none":                      {Agent: "a1", Before: "run_none", Limit: 9},
			"another agent's":           {Agent: "a1", Before: made[2], Limit: 9},
			"one that may not be known": {Agent: "a1", Accounts: []gateway.AccountID{"acc_1"}, Before: made[1], Limit: 9},
		} {
			if _, _, err := s.Runs(t.Context(), f); gateway.KindOf(err) != gateway.NotFound {
				t.Errorf("before %s: %v", name, err)
			}
		}
	})
}
