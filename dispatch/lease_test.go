package dispatch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"wagent/dispatch"
	"wagent/dispatch/agent"
	"wagent/gateway"
)

func TestALeaseIsRenewedWhileTheAgentWorks(t *testing.T) {
	const work = 4*lease + 5*time.Second
	inRig(t, after(work, says("hello")), nil, func(r *rig) {
		m := r.write(ada, "hi")
		done := r.begin(r.Context(), m.Conversation)
		for at := 5 * time.Second; at < work; at += 5 * time.Second {
			r.at(at)
			if left := time.Until(r.runs()[0].LeaseUntil); left < lease*2/3 {
				t.Fatalf("after %v the lease has %v left, want two thirds of it at least", at, left)
			}
			_, err := r.db.ClaimRun(r.Context(), m.Conversation, lease)
			wantKind(t, err, gateway.Conflict)
		}
		must(t, <-done)
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
		r.says(m.Conversation, "run 0 hello")
	})
}

// taken lets another process claim the run, as it may after a stall of ours.
func (r *rig) taken(id gateway.ConversationID) gateway.Claim {
	r.Helper()
	must(r.T, r.db.ReleaseLeases(r.Context()))
	return got(r.db.ClaimRun(r.Context(), id, time.Hour))(r.T)
}

func TestALostLeaseCancelsTheAgentAndNothingIsWritten(t *testing.T) {
	cancelled := make(map[string]time.Duration)
	deaf := func(name string, start *time.Time) script {
		return func(ctx context.Context, n int) (agent.Answer, error) {
			<-ctx.Done()
			cancelled[name] = time.Since(*start)
			return says("from the dead", "hotel.towels.bring")(ctx, n) // it answers all the same
		}
	}
	obedient := func(name string, start *time.Time) script {
		return func(ctx context.Context, _ int) (agent.Answer, error) {
			<-ctx.Done()
			cancelled[name] = time.Since(*start)
			return agent.Answer{}, context.Cause(ctx)
		}
	}
	for name, kind := range map[string]func(string, *time.Time) script{
		"of an agent that heeds its context": obedient, "of an agent that answers all the same": deaf,
	} {
		t.Run(name, func(t *testing.T) {
			var start time.Time
			inRig(t, kind(name, &start), func(s *settings) { s.agent.FallbackReply = fallback }, func(r *rig) {
				start = r.start
				m := r.write(ada, "hi")
				done := r.begin(r.Context(), m.Conversation)
				r.at(12 * time.Second)
				other := r.taken(m.Conversation)
				if err := <-done; err == nil {
					t.Error("Handle = nil, want an error")
				}
				if cancelled[name] != 20*time.Second {
					t.Errorf("the agent was cancelled after %v, want 20s: at the next renewal", cancelled[name])
				}
				run := r.run(gateway.RunRunning, "", 2)
				if !run.LeaseUntil.Equal(other.Run.LeaseUntil) {
					t.Errorf("the other's lease ends at %v, was %v", run.LeaseUntil, other.Run.LeaseUntil)
				}
				r.says(m.Conversation)
				r.tells(run.ID)
				r.counts("wagent_runs_total", map[string]float64{})
			})
		})
	}
}

func TestWhatALostClaimAnswersBeforeItKnowsIsNotWritten(t *testing.T) {
	inRig(t, after(15*time.Second, says("from the dead", "hotel.towels.bring")), nil, func(r *rig) {
		m := r.write(ada, "hi")
		done := r.begin(r.Context(), m.Conversation)
		r.at(12 * time.Second)
		other := r.taken(m.Conversation)
		if err := <-done; err != nil {
			t.Errorf("Handle = %v: the batch is another's now", err)
		}
		run := r.run(gateway.RunRunning, "", 2)
		r.says(m.Conversation)
		r.tells(run.ID)
		must(t, r.db.RenewRun(r.Context(), run.ID, other.Run.Generation, time.Now().Add(lease)))
	})
}

func TestALeaseThatCanNotBeRenewedEndsWithItsTime(t *testing.T) {
	tests := map[string]struct {
		away time.Duration // renewals fail until then
		lost bool
	}{
		"an outage within the lease is survived": {25 * time.Second, false},
		"an outage past its end is not":          {time.Hour, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var back time.Time
			failing := func(s *settings) {
				s.parts = func(p *dispatch.Parts) {
					db := p.Runs
					p.Runs = &runStore{RunStore: db, renew: func(ctx context.Context, id gateway.RunID, generation int64, until time.Time) error {
						if time.Now().Before(back) {
							return errAway
						}
						return db.RenewRun(ctx, id, generation, until)
					}}
				}
			}
			inRig(t, after(time.Minute, says("hello")), failing, func(r *rig) {
				back = r.start.Add(tt.away)
				m := r.write(ada, "hi")
				err := r.handle(r.Context(), m.Conversation)
				if tt.lost {
					if took := time.Since(r.start); err == nil || took != lease {
						t.Errorf("Handle = %v after %v, want an error when the lease ended", err, took)
					}
					r.run(gateway.RunRunning, "", 1)
					r.says(m.Conversation)
					return
				}
				must(t, err)
				r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
				r.says(m.Conversation, "run 0 hello")
			})
		})
	}
}

func TestAShutdownInTheMiddleGivesTheRunBackAtOnce(t *testing.T) {
	inRig(t, after(5*time.Second, says("hello")), nil, func(r *rig) {
		m := r.write(ada, "hi")
		ctx, cancel := context.WithCancel(r.Context())
		done := r.begin(ctx, m.Conversation)
		r.at(2 * time.Second)
		cancel()
		if err := <-done; err == nil {
			t.Error("Handle = nil, want an error")
		}
		if took := time.Since(r.start); took != 2*time.Second {
			t.Errorf("Handle returned after %v, want at once", took)
		}
		stranded := got(r.db.StrandedRuns(r.Context()))(t)
		run := r.run(gateway.RunRunning, "", 1)
		if len(stranded) != 1 || stranded[0].ID != run.ID {
			t.Errorf("stranded are %v, want the run", stranded)
		}
		if r.log.count("agent gave no answer") != 0 {
			t.Error("the agent is blamed for it in the log")
		}
		r.says(m.Conversation)
		must(t, r.handle(r.Context(), m.Conversation))
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 2)
		r.says(m.Conversation, "run 0 hello")
		r.counts("wagent_runs_total", map[string]float64{"completed end_turn auto_inbound": 1})
	})
}

func TestAShutdownWhileTheDatabaseIsAwayLeavesTheRunUnfinished(t *testing.T) {
	away := finishing(func(ctx context.Context, db dispatch.RunStore, n int, f *gateway.Finish) error {
		if n < 3 { // the second try is at 250 ms, the third would be at 750 ms
			return errAway
		}
		return db.FinishRun(ctx, f)
	})
	inRig(t, says("hello"), away, func(r *rig) {
		m := r.write(ada, "hi")
		ctx, cancel := context.WithTimeout(r.Context(), 500*time.Millisecond)
		defer cancel()
		wantKind(t, r.handle(ctx, m.Conversation), gateway.Unavailable)
		r.run(gateway.RunRunning, "", 1)
		must(t, r.handle(r.Context(), m.Conversation))
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 2)
		r.says(m.Conversation, "run 0 hello")
	})
}

func TestAPanicFailsTheAttemptOnly(t *testing.T) {
	inRig(t, inTurn(panics, says("hello")), nil, func(r *rig) {
		m := r.write(ada, "hi")
		if err := r.handle(r.Context(), m.Conversation); err == nil {
			t.Error("Handle = nil, want an error")
		}
		r.run(gateway.RunRunning, "", 1)
		if n := r.log.count("the model is mad"); n != 1 {
			t.Errorf("the panic stands in the log %d times, want once", n)
		}
		must(t, r.handle(r.Context(), m.Conversation))
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 2)
		r.says(m.Conversation, "run 0 hello")
	})
}

func TestARunIsGivenUpAfterTooManyAttempts(t *testing.T) {
	inRig(t, panics, func(s *settings) { s.agent.FallbackReply = fallback }, func(r *rig) {
		m := r.write(ada, "hi")
		for range 3 {
			if err := r.handle(r.Context(), m.Conversation); err == nil {
				t.Fatal("Handle = nil, want an error")
			}
		}
		r.says(m.Conversation)
		must(t, r.handle(r.Context(), m.Conversation))
		run := r.run(gateway.RunFailed, gateway.StopError, 4)
		equal(t, "error", run.Error, "given up: the run did not end in 3 attempts")
		r.says(m.Conversation, "run 0 "+fallback)
		r.tells(run.ID, "agent_run.failed -1")
		if n := len(r.model.questions()); n != 3 {
			t.Errorf("the model was asked %d times, want 3", n)
		}
	})
}

func TestConversationsAreAnsweredSideBySide(t *testing.T) {
	inRig(t, after(5*time.Second, says("hello")), nil, func(r *rig) {
		a, b := r.write(ada, "hi"), r.write(bob, "hi")
		first, second := r.begin(r.Context(), a.Conversation), r.begin(r.Context(), b.Conversation)
		r.at(5 * time.Second)
		must(t, <-first)
		must(t, <-second)
		synctest.Wait()
		if took := time.Since(r.start); took != 5*time.Second {
			t.Errorf("both were answered after %v, want 5s", took)
		}
		r.says(a.Conversation, "run 0 hello")
		r.says(b.Conversation, "run 0 hello")
	})
}
