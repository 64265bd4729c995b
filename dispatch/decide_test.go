package dispatch_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/dispatch/agent"
	"wagent/gateway"
)

func confirming(s *settings) { s.agent.Confirm = true }

// hurried is confirming with less time, lest the loops' looks take long.
func hurried(s *settings) { s.agent.Confirm, s.agent.ConfirmationTimeout = true, 2*time.Minute }

var (
	confirm = func(i int) gateway.Decision { return gateway.Decision{Index: i, Status: gateway.ActionConfirmed} }
	reject  = func(i int) gateway.Decision { return gateway.Decision{Index: i, Status: gateway.ActionRejected} }
)

// statuses returns what became of a run's actions, and who said so.
func (r *rig) statuses(id gateway.RunID) []string {
	r.Helper()
	var out []string
	for _, a := range got(r.db.Run(r.Context(), "", id))(r.T).Actions {
		out = append(out, strings.TrimSpace(fmt.Sprint(a.Status, " ", a.DecidedBy)))
	}
	return out
}

func (r *rig) decide(id gateway.RunID, ds ...gateway.Decision) (gateway.Run, error) {
	return r.d.Decide(r.Context(), r.agent.ID, id, ds, "api")
}

func TestADecisionThatMakesNoSenseChangesNothing(t *testing.T) {
	tests := map[string]struct {
		give []gateway.Decision
		want gateway.Kind
	}{
		"no decision at all":             {nil, gateway.Invalid},
		"an index before the first":      {[]gateway.Decision{confirm(-1)}, gateway.Invalid},
		"an index after the last":        {[]gateway.Decision{confirm(3)}, gateway.Invalid},
		"the same index twice":           {[]gateway.Decision{confirm(0), reject(0)}, gateway.Invalid},
		"a status that is no decision":   {[]gateway.Decision{{Index: 0, Status: gateway.ActionPending}}, gateway.Invalid},
		"a status of auto mode":          {[]gateway.Decision{{Index: 0, Status: gateway.ActionAuto}}, gateway.Invalid},
		"no status":                      {[]gateway.Decision{{Index: 0}}, gateway.Invalid},
		"a system action, decided long":  {[]gateway.Decision{confirm(2)}, gateway.Conflict},
		"all or nothing: a bad one last": {[]gateway.Decision{confirm(0), confirm(1), confirm(3)}, gateway.Invalid},
		"all or nothing: a decided one":  {[]gateway.Decision{confirm(0), reject(2)}, gateway.Conflict},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inRig(t, says("hello", "hotel.towels.bring", "hotel.bill.add", gateway.ActionSkip), confirming, func(r *rig) {
				run := r.answered(ada, "hi")
				_, err := r.decide(run.ID, tt.give...)
				wantKind(t, err, tt.want)
				equal(t, "actions", r.statuses(run.ID), []string{"pending", "pending", "confirmed system"})
				r.tells(run.ID, "agent_run.completed -1")
				r.counts("wagent_actions_total", map[string]float64{"pending": 2, "confirmed": 1})
			})
		})
	}
}

func TestARunWithNothingToDecide(t *testing.T) {
	tests := map[string]struct {
		answer  script
		confirm bool
		run     func(*rig) gateway.Run
		want    gateway.Kind
	}{
		"of auto mode": {
			says("hello", "hotel.towels.bring"), false, func(r *rig) gateway.Run { return r.answered(ada, "hi") }, gateway.Invalid,
		},
		"without actions": {says("hello"), true, func(r *rig) gateway.Run { return r.answered(ada, "hi") }, gateway.Invalid},
		"that failed": {
			fails(&agent.Failure{Stop: gateway.StopError, Msg: "no"}), true, func(r *rig) gateway.Run { return r.answered(ada, "hi") }, gateway.Invalid,
		},
		"that is pending": {says("hello"), true, func(r *rig) gateway.Run {
			return got(r.d.Start(r.Context(), "", &r.agent, []byte(`"hi"`), nil))(r.T)
		}, gateway.Invalid},
		"that is in hand": {says("hello"), true, func(r *rig) gateway.Run {
			return got(r.db.ClaimRun(r.Context(), r.write(ada, "hi").Conversation, lease))(r.T).Run
		}, gateway.Invalid},
		"that nobody knows": {says("hello"), true, func(*rig) gateway.Run { return gateway.Run{ID: "run_none"} }, gateway.NotFound},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inRig(t, tt.answer, func(s *settings) { s.agent.Confirm = tt.confirm }, func(r *rig) {
				run := tt.run(r)
				_, err := r.decide(run.ID, confirm(0))
				wantKind(t, err, tt.want)
			})
		})
	}
}

// TestAnActionThatNoWebhookTakesIsSeen: it is on the run, counted and in the log.
func TestAnActionThatNoWebhookTakesIsSeen(t *testing.T) {
	narrow := func(r *rig) {
		hooks := []gateway.Webhook{{Key: "all", URL: "https://example.com/hook", Secret: "s", Active: true, Actions: []string{"hotel.bill.*"}}}
		must(t, r.db.Declare(r.Context(), got(r.db.Accounts(r.Context()))(t), got(r.db.Agents(r.Context()))(t), hooks, nil))
	}
	counted := func(r *rig, want float64) {
		r.Helper()
		metrics := strings.NewReader("# HELP wagent_actions_unrouted_total Actions that went nowhere, since no webhook takes them.\n" +
			"# TYPE wagent_actions_unrouted_total counter\nwagent_actions_unrouted_total " + fmt.Sprint(want) + "\n")
		if err := testutil.GatherAndCompare(r.registry, metrics, "wagent_actions_unrouted_total"); err != nil {
			r.Error(err)
		}
	}
	t.Run("at once", func(t *testing.T) {
		inRig(t, says("hello", "hotel.towels.bring", "hotel.bill.add", gateway.ActionSkip), nil, func(r *rig) {
			narrow(r)
			run := r.answered(ada, "hi")
			equal(t, "notes", run.Notes, []string{"noted", "action 0, hotel.towels.bring, went nowhere: no webhook takes it"})
			counted(r, 1)
		})
	})
	t.Run("once it is confirmed", func(t *testing.T) {
		inRig(t, says("hello", "hotel.towels.bring", "hotel.bill.add"), confirming, func(r *rig) {
			narrow(r)
			run := r.answered(ada, "hi")
			counted(r, 0)
			got(r.decide(run.ID, confirm(0), confirm(1)))(t)
			counted(r, 1)
			if r.log.count("action went nowhere: no webhook takes it") != 1 {
				t.Error("the log does not say so")
			}
		})
	})
}

func TestAnotherAgentDecidesNothing(t *testing.T) {
	inRig(t, says("hello", "hotel.towels.bring"), confirming, func(r *rig) {
		run := r.answered(ada, "hi")
		_, err := r.d.Decide(r.Context(), gateway.NewAgentID(), run.ID, []gateway.Decision{confirm(0)}, "api")
		wantKind(t, err, gateway.NotFound)
		equal(t, "actions", r.statuses(run.ID), []string{"pending"})
	})
}

func TestWhatIsConfirmedIsDispatchedAndWhatIsRejectedIsNot(t *testing.T) {
	inRig(t, says("hello", "hotel.towels.bring", "hotel.bill.add", "hotel.taxi.call"), confirming, func(r *rig) {
		run := r.answered(ada, "hi")
		r.at(time.Minute)
		woken := r.delivered.Load()
		after := got(r.decide(run.ID, confirm(2), reject(0)))(t)
		equal(t, "actions", r.statuses(run.ID), []string{"rejected api", "pending", "confirmed api"})
		if !after.ActionsDecided.IsZero() || after.Actions[2].Status != gateway.ActionConfirmed {
			t.Errorf("after two of three decisions the run is %+v", after)
		}
		r.tells(run.ID, "agent_run.completed -1", "agent_action.dispatched 2")
		if r.delivered.Load() != woken+1 {
			t.Error("the webhooks were not woken")
		}

		_, err := r.decide(run.ID, confirm(0))
		wantKind(t, err, gateway.Conflict)

		r.at(2 * time.Minute)
		after = got(r.decide(run.ID, confirm(1)))(t)
		if want := r.start.Add(2 * time.Minute); !after.ActionsDecided.Equal(want) {
			t.Errorf("all were decided at %v, want %v", after.ActionsDecided, want)
		}
		r.tells(run.ID, "agent_run.completed -1", "agent_action.dispatched 2", "agent_action.dispatched 1", "agent_run.actioned -1")
		r.counts("wagent_actions_total", map[string]float64{"pending": 3, "confirmed": 2, "rejected": 1})
		r.says(run.Conversation, "run 0 hello")
	})
}

func TestADecisionComesBeforeTheEndOrNotAtAll(t *testing.T) {
	for name, tt := range map[string]struct {
		at time.Duration
		ok bool
	}{
		"a millisecond before it": {30*time.Minute - time.Millisecond, true},
		"at the very moment":      {30 * time.Minute, false},
		"long after it":           {24 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, says("hello", "hotel.towels.bring"), confirming, func(r *rig) {
				run := r.answered(ada, "hi")
				r.at(tt.at)
				_, err := r.decide(run.ID, confirm(0))
				if tt.ok {
					must(t, err)
					r.tells(run.ID, "agent_run.completed -1", "agent_action.dispatched 0", "agent_run.actioned -1")
					return
				}
				wantKind(t, err, gateway.Conflict)
				r.tells(run.ID, "agent_run.completed -1")
			})
		})
	}
}

func TestOfSeveralDecidersExactlyOneWins(t *testing.T) {
	inRig(t, says("hello", "hotel.towels.bring"), confirming, func(r *rig) {
		run := r.answered(ada, "hi")
		errs := make([]error, 8)
		var all sync.WaitGroup
		for i := range errs {
			d := confirm(0)
			if i%2 == 1 {
				d = reject(0)
			}
			all.Go(func() { _, errs[i] = r.decide(run.ID, d) })
		}
		all.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner < 0:
				winner = i
			case err == nil:
				t.Errorf("both %d and %d won", winner, i)
			default:
				wantKind(t, err, gateway.Conflict)
			}
		}
		if winner < 0 {
			t.Fatal("nobody won")
		}
		status, told := "confirmed api", []string{"agent_run.completed -1", "agent_action.dispatched 0", "agent_run.actioned -1"}
		if winner%2 == 1 {
			status, told = "rejected api", slices.Delete(told, 1, 2)
		}
		equal(t, "actions", r.statuses(run.ID), []string{status})
		r.tells(run.ID, told...)
	})
}

func TestActionsExpireOnTimeAndDispatchNothing(t *testing.T) {
	const end = 2 * time.Minute
	inRig(t, says("hello", "hotel.towels.bring", "hotel.bill.add"), hurried, func(r *rig) {
		r.serve(r.d.Run)
		r.at(7 * time.Second)
		run := r.answered(ada, "hi")
		r.at(7*time.Second + end - time.Millisecond)
		equal(t, "actions before", r.statuses(run.ID), []string{"pending", "pending"})
		r.at(7*time.Second + end)
		equal(t, "actions", r.statuses(run.ID), []string{"expired timeout", "expired timeout"})
		if after := r.runs()[0]; !after.ActionsDecided.Equal(r.start.Add(7*time.Second + end)) {
			t.Errorf("all were decided at %v", after.ActionsDecided)
		}
		r.tells(run.ID, "agent_run.completed -1", "agent_run.actioned -1")
		r.counts("wagent_actions_total", map[string]float64{"pending": 2, "expired": 2})
	})
}

func TestOnlyWhatNobodyDecidedExpires(t *testing.T) {
	inRig(t, says("hello", "hotel.towels.bring", "hotel.bill.add"), hurried, func(r *rig) {
		r.serve(r.d.Run)
		run, other := r.answered(ada, "hi"), r.answered(bob, "hi")
		r.at(time.Minute)
		got(r.decide(run.ID, confirm(1)))(t)
		got(r.decide(other.ID, reject(0), reject(1)))(t)
		r.at(2 * time.Minute)
		equal(t, "actions", r.statuses(run.ID), []string{"expired timeout", "confirmed api"})
		r.tells(run.ID, "agent_run.completed -1", "agent_action.dispatched 1", "agent_run.actioned -1")
		equal(t, "the other's actions", r.statuses(other.ID), []string{"rejected api", "rejected api"})
		r.tells(other.ID, "agent_run.completed -1", "agent_run.actioned -1")
	})
}

func TestActionsThatExpiredWhileNobodyRanExpireAtTheStart(t *testing.T) {
	inRig(t, says("hello", "hotel.towels.bring"), confirming, func(r *rig) {
		runs := []gateway.Run{r.answered(ada, "hi"), r.answered(bob, "hi"), r.answered(ada, "hi again")}
		r.at(3 * time.Hour)
		r.serve(r.d.Run)
		r.at(3 * time.Hour)
		for _, run := range runs {
			equal(t, "actions", r.statuses(run.ID), []string{"expired timeout"})
		}
	})
}
