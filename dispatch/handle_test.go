package dispatch_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/dispatch"
	"wagent/dispatch/agent"
	"wagent/gateway"
)

func TestABatchWithNothingWaitingIsDone(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		run := r.answered(ada, "hi")
		for name, id := range map[string]gateway.ConversationID{"a conversation that was answered": run.Conversation, "one that nobody knows": "cnv_none"} {
			if err := r.handle(r.Context(), id); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		r.says(run.Conversation, "run 0 hello")
		if n := len(r.runs()); n != 1 {
			t.Errorf("there are %d runs, want 1", n)
		}
	})
}

func TestABatchBecomesAFinishedRun(t *testing.T) {
	inRig(t, after(2*time.Second, says("On its way.", "hotel.towels.bring", "hotel.bill.add")), nil, func(r *rig) {
		first, second := r.write(ada, "Two towels"), r.write(ada, "and the bill")
		must(t, r.handle(r.Context(), first.Conversation))

		run := r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
		actions := []gateway.Action{
			{Run: run.ID, Index: 0, Type: "hotel.towels.bring", Payload: map[string]any{"n": 0.0}, Status: gateway.ActionAuto},
			{Run: run.ID, Index: 1, Type: "hotel.bill.add", Payload: map[string]any{"n": 1.0}, Status: gateway.ActionAuto},
		}
		equal(t, "run", run, gateway.Run{
			ID: run.ID, Agent: r.agent.ID, Account: account, Conversation: first.Conversation, Peer: gateway.Address{Phone: ada},
			Trigger: gateway.TriggerInbound, Routed: "default", Status: gateway.RunCompleted, Generation: 1, Attempt: 1, StopReason: gateway.StopEndTurn,
			Notes: []string{"noted"}, Model: "fake/model", InputTokens: 7, OutputTokens: 5, Latency: time.Second, Duration: 2 * time.Second,
			Actions: actions, CreatedAt: r.start.UTC(), StartedAt: r.start.UTC(), CompletedAt: r.start.UTC().Add(2 * time.Second),
		}, cmpopts.IgnoreFields(gateway.Run{}, "Input", "Output", "LeaseUntil"))
		if run.Output == nil || run.Output.SuggestedReply != "On its way." || len(run.Output.Actions) != 2 {
			t.Errorf("output = %+v", run.Output)
		}
		var in struct {
			LastMessage string `json:"last_message"`
		}
		must(t, json.Unmarshal(run.Input, &in))
		equal(t, "last_message", in.LastMessage, "Two towels\nand the bill")
		r.says(first.Conversation, "run 0 On its way.")
		r.tells(run.ID, "agent_run.completed -1", "agent_action.dispatched 0", "agent_action.dispatched 1")
		for _, m := range []gateway.Message{first, second} {
			equal(t, "message", r.state(m), "batched")
		}
		q := r.model.questions()[0]
		if !strings.Contains(q, "Two towels") || !strings.Contains(q, "and the bill") || !strings.Contains(q, "Be kind.") {
			t.Errorf("the model read:\n%s", q)
		}
		if r.sent.Load() != 1 || r.delivered.Load() != 1 {
			t.Errorf("the outbox was woken %d times and the webhooks %d times, want once each", r.sent.Load(), r.delivered.Load())
		}
	})
}

func TestAReplyKnowsWhatItAnswers(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		r.write(ada, "first")
		r.at(3 * time.Second)
		run := r.answered(ada, "second")
		s := got(r.db.Sends(r.Context(), run.Conversation))(t)[0]
		if want := r.start.Add(3 * time.Second); !s.Answers.Equal(want) || s.OriginID != string(run.ID) || s.To.Phone != ada {
			t.Errorf("send = %+v, want one to Ada that answers what came at %v", s, want)
		}
	})
}

func TestARunInOtherHandsMakesTheBatchComeAgain(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		m := r.write(ada, "hi")
		got(r.db.ClaimRun(r.Context(), m.Conversation, lease))(t)
		r.at(lease - time.Millisecond)
		wantKind(t, r.handle(r.Context(), m.Conversation), gateway.Conflict)
		if n := len(r.model.questions()); n != 0 {
			t.Errorf("the model was asked %d times meanwhile", n)
		}
		r.at(lease)
		must(t, r.handle(r.Context(), m.Conversation))
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 2)
		r.says(m.Conversation, "run 0 hello")
	})
}

func TestWhatArrivesDuringARunIsLeftToTheNext(t *testing.T) {
	inRig(t, inTurn(after(5*time.Second, says("first reply")), says("second reply")), nil, func(r *rig) {
		m := r.write(ada, "first")
		done := r.begin(r.Context(), m.Conversation)
		r.at(time.Second)
		late := r.write(ada, "second")
		must(t, <-done)
		equal(t, "late message", r.state(late), "waiting")
		must(t, r.handle(r.Context(), m.Conversation))
		r.says(m.Conversation, "run 0 first reply", "run 0 second reply")
		equal(t, "late message", r.state(late), "batched")
	})
}

// runStore stands before the store and may answer in its stead.
type runStore struct {
	dispatch.RunStore
	claim  func(ctx context.Context, id gateway.ConversationID, lease time.Duration) (gateway.Claim, error)
	finish func(ctx context.Context, f *gateway.Finish) error
	renew  func(ctx context.Context, id gateway.RunID, generation int64, until time.Time) error

	supersede func(ctx context.Context, r *gateway.Run) (bool, error)
}

func (s *runStore) ClaimRun(ctx context.Context, id gateway.ConversationID, lease time.Duration) (gateway.Claim, error) {
	if s.claim != nil {
		return s.claim(ctx, id, lease)
	}
	return s.RunStore.ClaimRun(ctx, id, lease)
}

func (s *runStore) SupersedeRun(ctx context.Context, r *gateway.Run) (bool, error) {
	if s.supersede != nil {
		return s.supersede(ctx, r)
	}
	return s.RunStore.SupersedeRun(ctx, r)
}

func (s *runStore) FinishRun(ctx context.Context, f *gateway.Finish) error {
	if s.finish != nil {
		return s.finish(ctx, f)
	}
	return s.RunStore.FinishRun(ctx, f)
}

func (s *runStore) RenewRun(ctx context.Context, id gateway.RunID, generation int64, until time.Time) error {
	if s.renew != nil {
		return s.renew(ctx, id, generation, until)
	}
	return s.RunStore.RenewRun(ctx, id, generation, until)
}

// finishing puts finish before the store's FinishRun; n counts from 1.
func finishing(finish func(ctx context.Context, db dispatch.RunStore, n int, f *gateway.Finish) error) func(*settings) {
	return func(s *settings) {
		s.parts = func(p *dispatch.Parts) {
			n, db := 0, p.Runs
			p.Runs = &runStore{RunStore: db, finish: func(ctx context.Context, f *gateway.Finish) error {
				n++
				return finish(ctx, db, n, f)
			}}
		}
	}
}

func TestADatabaseThatIsAwayAtTheEndIsWaitedFor(t *testing.T) {
	tests := map[string]struct {
		away time.Duration
		took time.Duration // 250 ms, doubled up to 4 s, until the first try after it is back
	}{
		"for a moment":            {300 * time.Millisecond, 750 * time.Millisecond},
		"for longer than a lease": {40 * time.Second, 43750 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var back time.Time
			away := finishing(func(ctx context.Context, db dispatch.RunStore, _ int, f *gateway.Finish) error {
				if time.Now().Before(back) {
					return errAway
				}
				return db.FinishRun(ctx, f)
			})
			inRig(t, says("hello"), away, func(r *rig) {
				back = r.start.Add(tt.away)
				run := r.answered(ada, "hi")
				r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
				r.says(run.Conversation, "run 0 hello")
				if took := time.Since(r.start); took != tt.took {
					t.Errorf("the run was finished after %v, want %v", took, tt.took)
				}
				if n := len(r.model.questions()); n != 1 {
					t.Errorf("the model was asked %d times, want once", n)
				}
			})
		})
	}
}

func TestACommitWhoseAnswerWasLostIsNotRepeated(t *testing.T) {
	lost := finishing(func(ctx context.Context, db dispatch.RunStore, n int, f *gateway.Finish) error {
		if err := db.FinishRun(ctx, f); err != nil || n > 1 {
			return err
		}
		return errAway
	})
	inRig(t, says("hello", "hotel.towels.bring"), lost, func(r *rig) {
		run := r.answered(ada, "hi")
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
		r.says(run.Conversation, "run 0 hello")
		r.tells(run.ID, "agent_run.completed -1", "agent_action.dispatched 0")
	})
}

func TestAnEndThatCanNotBeWrittenIsTriedByTheNextClaim(t *testing.T) {
	odd := finishing(func(ctx context.Context, db dispatch.RunStore, n int, f *gateway.Finish) error {
		if n == 1 {
			return errOdd
		}
		return db.FinishRun(ctx, f)
	})
	inRig(t, says("hello"), odd, func(r *rig) {
		m := r.write(ada, "hi")
		if err := r.handle(r.Context(), m.Conversation); err == nil {
			t.Fatal("Handle = nil, want the error")
		}
		must(t, r.handle(r.Context(), m.Conversation))
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 2)
		r.says(m.Conversation, "run 0 hello")
	})
}

func TestAPauseWhileTheAgentThinksStopsItsReply(t *testing.T) {
	inRig(t, after(5*time.Second, says("hello", "hotel.towels.bring")), nil, func(r *rig) {
		m := r.write(ada, "hi")
		done := r.begin(r.Context(), m.Conversation)
		r.at(time.Second)
		must(t, r.db.PutPause(r.Context(), &gateway.Pause{Conversation: m.Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}))
		must(t, <-done)
		run := r.run(gateway.RunFailed, gateway.StopCancelled, 1)
		r.says(m.Conversation)
		r.tells(run.ID)
		equal(t, "message", r.state(m), "held cancelled")
		r.counts("wagent_runs_total", map[string]float64{"failed cancelled auto_inbound": 1})
		r.counts("wagent_actions_total", map[string]float64{})
	})
}

func TestABatchOfAnAccountWithoutAnAgentIsCancelled(t *testing.T) {
	inRig(t, says("hello"), func(s *settings) { s.agent.Active = false }, func(r *rig) {
		m := r.write(ada, "hi")
		must(t, r.handle(r.Context(), m.Conversation))
		run := r.run(gateway.RunFailed, gateway.StopCancelled, 1)
		if run.Error == "" {
			t.Error("the run does not say why")
		}
		equal(t, "message", r.state(m), "held cancelled")
		r.says(m.Conversation)
	})
}

func TestAFailedRunEndsInTheFallbackOrIsHandedOver(t *testing.T) {
	outage := &agent.Failure{Stop: gateway.StopLLMError, Msg: "the model did not answer", Err: errOdd, Model: "fake/model", InputTokens: 3, Latency: time.Second}
	tests := map[string]struct {
		answer   script
		fallback string
		stop     gateway.StopReason
		msg      string
		says     []string
	}{
		"a failure says the fallback":                 {fails(outage), fallback, gateway.StopLLMError, "the model did not answer", []string{"run 0 " + fallback}},
		"a failure without a fallback is handed over": {fails(outage), "", gateway.StopLLMError, "the model did not answer", nil},
		"a blank fallback is none":                    {fails(outage), " \n", gateway.StopLLMError, "the model did not answer", nil},
		"what nobody classified is not shown":         {fails(errOdd), fallback, gateway.StopError, "internal error", []string{"run 0 " + fallback}},
		"an agent that takes too long fails":          {after(time.Hour, says("too late")), fallback, gateway.StopError, "internal error", []string{"run 0 " + fallback}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inRig(t, tt.answer, func(s *settings) { s.agent.FallbackReply = tt.fallback }, func(r *rig) {
				id := r.answered(ada, "hi").Conversation
				run := r.run(gateway.RunFailed, tt.stop, 1)
				equal(t, "error", run.Error, tt.msg)
				r.says(id, tt.says...)
				told := []string{"agent_run.failed -1"}
				if len(tt.says) == 0 {
					told = append(told, "conversation.paused -1")
				}
				r.tells(run.ID, told...)
				if is := got(r.db.Paused(r.Context(), id))(t); is != (len(tt.says) == 0) {
					t.Errorf("the conversation is handed over: %v, and the customer was told %q", is, tt.says)
				}
				r.counts("wagent_runs_total", map[string]float64{"failed " + string(tt.stop) + " auto_inbound": 1})
				if run.Output != nil || len(run.Actions) != 0 {
					t.Errorf("a failed run has output %+v and actions %+v", run.Output, run.Actions)
				}
				if time.Since(r.start) > 10*time.Minute {
					t.Errorf("it took %v, longer than its timeout", time.Since(r.start))
				}
			})
		})
	}
}

func TestWhatAFailureHandedOverIsTheAgentsAgainAnHourLater(t *testing.T) {
	answers := inTurn(fails(&agent.Failure{Stop: gateway.StopLLMError, Msg: "away"}), says("hello again"))
	inRig(t, answers, nil, func(r *rig) {
		run := r.answered(ada, "hi")
		pauses, total, err := r.db.Pauses(r.Context(), run.Account, true, 10)
		must(t, err)
		if total != 1 || pauses[0].Reason != gateway.PauseFailed || pauses[0].ExpiresAt.Sub(pauses[0].CreatedAt) != time.Hour {
			t.Errorf("pauses = %+v", pauses)
		}
		equal(t, "what came meanwhile", r.state(r.write(ada, "hello?")), "held paused")
		r.at(time.Hour)
		r.answered(ada, "anybody?")
		r.says(run.Conversation, "run 0 hello again")
	})
}

func TestRunsAreCountedByHowTheyEnded(t *testing.T) {
	answers := inTurn(says("a"), says("b", "hotel.towels.bring", gateway.ActionSkip), fails(&agent.Failure{Stop: gateway.StopMaxTokens, Msg: "cut off"}), says("d"))
	inRig(t, answers, func(s *settings) { s.agent.Confirm, s.agent.FallbackReply = true, fallback }, func(r *rig) {
		for range 4 {
			r.answered(ada, "hi")
		}
		r.counts("wagent_runs_total", map[string]float64{
			"completed end_turn auto_inbound": 2, "completed requires_approval auto_inbound": 1, "failed max_tokens_exceeded auto_inbound": 1,
		})
		r.counts("wagent_actions_total", map[string]float64{"pending": 1, "confirmed": 1})
		for _, f := range got(r.registry.Gather())(t) {
			if f.GetName() == "wagent_run_duration_seconds" && f.GetMetric()[0].GetHistogram().GetSampleCount() != 4 {
				t.Errorf("%d durations were observed, want 4", f.GetMetric()[0].GetHistogram().GetSampleCount())
			}
		}
	})
}
