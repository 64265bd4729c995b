package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wagent/dispatch/agent"
	"wagent/gateway"
)

func (r *rig) request(input, metadata string) gateway.Run {
	r.Helper()
	return got(r.d.Start(r.Context(), "", &r.agent, json.RawMessage(input), json.RawMessage(metadata)))(r.T)
}

func TestARequestBecomesACompletedRun(t *testing.T) {
	const input, metadata = `{"last_message":"Two towels","room":204}`, `{"ticket":12345678901234567890}`
	inRig(t, after(2*time.Second, says("On its way.", "hotel.towels.bring")), nil, func(r *rig) {
		started := r.request(input, metadata)
		want := gateway.Run{
			ID: started.ID, Agent: r.agent.ID, Account: account, Trigger: gateway.TriggerAPI, Status: gateway.RunPending,
			Input: json.RawMessage(input), Metadata: json.RawMessage(metadata), CreatedAt: r.start,
		}
		equal(t, "what Start returns", started, want)
		equal(t, "what is on record", r.run(gateway.RunPending, "", 0), want)
		r.serve(r.d.Run)
		r.at(2 * time.Second)
		run := r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
		if string(run.Input) != input || string(run.Metadata) != metadata {
			t.Errorf("the caller's words became %s and %s", run.Input, run.Metadata)
		}
		if run.Output == nil || run.Output.SuggestedReply != "On its way." {
			t.Errorf("output = %+v", run.Output)
		}
		r.tells(run.ID, "agent_run.completed -1", "agent_action.dispatched 0")
		r.says("")
		q := r.model.questions()[0]
		if !strings.Contains(q, "Two towels") || !strings.Contains(q, `"room":204`) && !strings.Contains(q, `"room": 204`) {
			t.Errorf("the model read:\n%s", q)
		}
		r.counts("wagent_runs_total", map[string]float64{"completed end_turn api": 1})
	})
}

func TestARequestIsTakenAtOnce(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		r.serve(r.d.Run)
		r.at(1234 * time.Millisecond) // between the loop's looks
		r.request(`"hi"`, "")
		r.at(1234 * time.Millisecond)
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
	})
}

func TestAConversationKeyTiesRequestsTogether(t *testing.T) {
	tests := map[string]struct {
		first, second string
		knows         bool
	}{
		"the same key":            {`{"conversation_key":"order-42"}`, `{"conversation_key":"order-42"}`, true},
		"another key":             {`{"conversation_key":"order-42"}`, `{"conversation_key":"order-43"}`, false},
		"a key and none":          {`{"conversation_key":"order-42"}`, `{"ticket":1}`, false},
		"an empty key is no key":  {`{"conversation_key":""}`, `{"conversation_key":""}`, false},
		"without metadata":        {"", "", false},
		"metadata without a key":  {`{}`, `{}`, false},
		"a key in another's case": {`{"conversation_key":"a"}`, `{"conversation_key":"A"}`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inRig(t, says("The room is 204."), nil, func(r *rig) {
				r.serve(r.d.Run)
				for i, metadata := range []string{tt.first, tt.second} {
					r.at(time.Duration(i) * time.Second)
					r.request(`"Which room?"`, metadata)
				}
				r.at(2 * time.Second)
				qs := r.model.questions()
				if len(qs) != 2 {
					t.Fatalf("the model was asked %d times, want twice", len(qs))
				}
				if knows := strings.Contains(qs[1], "summary of The room is 204."); knows != tt.knows {
					t.Errorf("the second run knows of the first: %v, want %v", knows, tt.knows)
				}
			})
		})
	}
}

func TestAConversationKeyIsNoConversation(t *testing.T) {
	inRig(t, says("The room is 204."), nil, func(r *rig) {
		run := r.answered(ada, "Which room?")
		r.serve(r.d.Run)
		r.request(`"hi"`, `{"conversation_key":"`+string(run.Conversation)+`"}`)
		r.at(time.Second)
		qs := r.model.questions()
		if len(qs) != 2 || strings.Contains(qs[1], "The room is 204.") {
			t.Errorf("a caller that names a conversation read it: %q", qs)
		}
	})
}

func TestARequestThatMakesNoSenseIsRefused(t *testing.T) {
	tests := map[string]struct {
		inactive bool
		metadata string
		names    string
	}{
		"to an agent that is off":           {true, ``, "agent"},
		"with a list for metadata":          {false, `[1]`, "metadata"},
		"with a string for metadata":        {false, `"order-42"`, "metadata"},
		"with a number for metadata":        {false, `7`, "metadata"},
		"with half an object":               {false, `{"conversation_key":`, "metadata"},
		"with a key that is not a string":   {false, `{"conversation_key":42}`, "metadata"},
		"with a key that is another object": {false, `{"conversation_key":{}}`, "metadata"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inRig(t, says("hello"), nil, func(r *rig) {
				r.agent.Active = !tt.inactive
				_, err := r.d.Start(r.Context(), "", &r.agent, json.RawMessage(`"hi"`), json.RawMessage(tt.metadata))
				wantKind(t, err, gateway.Invalid)
				e, ok := errors.AsType[*gateway.Error](err)
				if !ok || len(e.Details[tt.names]) == 0 {
					t.Errorf("error %+v does not name %s", err, tt.names)
				}
				if n := len(r.runs()); n != 0 {
					t.Errorf("there are %d runs", n)
				}
			})
		})
	}
}

func TestARequestOfAnAgentThatWasTurnedOffIsCancelled(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		asked := r.request(`"hi"`, "")
		hooks := got(r.db.Webhooks(r.Context()))(t)
		must(t, r.db.Declare(r.Context(), []gateway.Account{{ID: account, Kind: gateway.Sandbox}}, nil, hooks, nil))
		r.serve(r.d.Run)
		r.at(time.Second)
		if run := r.run(gateway.RunFailed, gateway.StopCancelled, 1); run.Error == "" {
			t.Error("the run does not say why")
		}
		if n := len(r.model.questions()); n != 0 {
			t.Errorf("the model was asked %d times", n)
		}
		r.counts("wagent_runs_total", map[string]float64{"failed cancelled api": 1})
		r.tells(asked.ID, "agent_run.failed -1")
	})
}

func TestAFailedRequestSaysNothingToAnybody(t *testing.T) {
	inRig(t, fails(&agent.Failure{Stop: gateway.StopInvalidResponse, Msg: "not valid"}), func(s *settings) { s.agent.FallbackReply = fallback }, func(r *rig) {
		r.serve(r.d.Run)
		run := r.request(`"hi"`, "")
		r.at(time.Second)
		r.run(gateway.RunFailed, gateway.StopInvalidResponse, 1)
		r.tells(run.ID, "agent_run.failed -1")
		r.says("")
	})
}

func TestARequestWhoseProcessDiedIsTakenUpWhenItsLeaseEnds(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		r.request(`"hi"`, "")
		if claimed, _, err := r.db.ClaimRuns(r.Context(), 1, lease); err != nil || len(claimed) != 1 {
			t.Fatalf("ClaimRuns = %v, %v", claimed, err)
		}
		r.serve(r.d.Run)
		r.at(lease - time.Millisecond)
		r.run(gateway.RunRunning, "", 1)
		r.at(lease)
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 2)
	})
}

func TestAPanicOfARequestEndsNeitherTheLoopNorTheOthers(t *testing.T) {
	inRig(t, inTurn(panics, after(time.Second, says("hello"))), nil, func(r *rig) {
		r.serve(r.d.Run)
		r.request(`"hi"`, "")
		r.at(10 * time.Second)
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 2)
	})
}

func TestARequestThatNeverEndsIsGivenUp(t *testing.T) {
	inRig(t, panics, nil, func(r *rig) {
		r.serve(r.d.Run)
		run := r.request(`"hi"`, "")
		r.at(time.Minute)
		r.run(gateway.RunFailed, gateway.StopError, 4)
		r.tells(run.ID, "agent_run.failed -1")
	})
}

func TestRequestsHaveOnlySoManySlots(t *testing.T) {
	var now, most atomic.Int32
	counted := func(ctx context.Context, n int) (agent.Answer, error) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		return after(5*time.Second, says("hello"))(ctx, n)
	}
	inRig(t, counted, nil, func(r *rig) {
		for range 7 {
			r.request(`"hi"`, "")
		}
		r.serve(r.d.Run)
		r.at(10 * time.Second)
		r.counts("wagent_runs_total", map[string]float64{"completed end_turn api": 7})
		if n := most.Load(); n != 4 {
			t.Errorf("%d were at work at once, want 4", n)
		}
	})
}

func TestAShutdownLetsRequestsFinishWithinItsTime(t *testing.T) {
	tests := map[string]struct {
		work, ends time.Duration
		status     gateway.RunStatus
		stop       gateway.StopReason
	}{
		"what ends within it is completed": {15 * time.Second, 15 * time.Second, gateway.RunCompleted, gateway.StopEndTurn},
		"what takes longer is given back":  {time.Minute, 22 * time.Second, gateway.RunRunning, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inRig(t, after(tt.work, says("hello")), nil, func(r *rig) {
				stop := r.serve(r.d.Run)
				r.request(`"hi"`, "")
				r.at(2 * time.Second)
				stop()
				if took := time.Since(r.start); took != tt.ends {
					t.Errorf("Run returned after %v, want %v", took, tt.ends)
				}
				r.run(tt.status, tt.stop, 1)
				claimed, _, err := r.db.ClaimRuns(r.Context(), 1, lease)
				if wantOne := tt.status == gateway.RunRunning; err != nil || (len(claimed) == 1) != wantOne {
					t.Errorf("ClaimRuns = %d runs, %v", len(claimed), err)
				}
			})
		})
	}
}
