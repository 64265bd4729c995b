package dispatch_test

import (
	"context"
	"testing"
	"time"

	"wagent/dispatch/agent"
	"wagent/gateway"
)

// paid is a model that was asked, and whose repair the end of ctx cuts off.
func paid(ctx context.Context, _ int) (agent.Answer, error) {
	<-ctx.Done()
	return agent.Answer{}, &agent.Failure{Stop: gateway.StopCancelled, Msg: "the run was cancelled", InputTokens: 1000, OutputTokens: 200}
}

func costs(t *testing.T, r gateway.Run, input, output int) {
	t.Helper()
	if r.InputTokens != input || r.OutputTokens != output {
		t.Errorf("run %s, which is %s, cost %d and %d tokens, want %d and %d", r.ID, r.Status, r.InputTokens, r.OutputTokens, input, output)
	}
}

// What a model was asked was paid for, whatever became of the run.
func TestWhatAnInterruptedRunCostIsCounted(t *testing.T) {
	inRig(t, inTurn(paid, says("hello")), nil, func(r *rig) {
		m := r.write(ada, "hi")
		ctx, cancel := context.WithCancel(r.Context())
		done := r.begin(ctx, m.Conversation)
		r.at(2 * time.Second)
		cancel()
		if err := <-done; err == nil {
			t.Error("Handle = nil, want an error")
		}
		costs(t, r.run(gateway.RunRunning, "", 1), 1000, 200)
		must(t, r.handle(r.Context(), m.Conversation))
		costs(t, r.run(gateway.RunCompleted, gateway.StopEndTurn, 2), 1007, 205)
	})
}

func TestWhatAnInterruptedRunOfTheAPICostIsCounted(t *testing.T) {
	inRig(t, inTurn(paid, says("hello")), nil, func(r *rig) {
		must(t, r.db.CreateRun(r.Context(), &gateway.Run{Agent: r.agent.ID, Account: account, Trigger: gateway.TriggerAPI, Input: []byte(`"hi"`)}))
		stop := r.serve(r.d.Run)
		stop() // after cfg.Drain
		costs(t, r.run(gateway.RunRunning, "", 1), 1000, 200)
		r.serve(r.d.Run)
		r.at(time.Minute)
		costs(t, r.run(gateway.RunCompleted, gateway.StopEndTurn, 2), 1007, 205)
	})
}

func TestWhatARunCostThatAPersonEndedIsCounted(t *testing.T) {
	for name, found := range map[string]bool{"by the run itself": false, "by a claim before": true} {
		t.Run(name, func(t *testing.T) {
			inRig(t, after(5*time.Second, says("hello")), nil, func(r *rig) {
				m := r.write(ada, "hi")
				done := r.begin(r.Context(), m.Conversation)
				r.at(2 * time.Second)
				must(t, r.db.PutPause(r.Context(), &gateway.Pause{Conversation: m.Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}))
				if found {
					_, err := r.db.ClaimRun(r.Context(), m.Conversation, lease)
					wantKind(t, err, gateway.NotFound)
				}
				must(t, <-done)
				costs(t, r.run(gateway.RunFailed, gateway.StopCancelled, 1), 7, 5)
				_, spent, err := r.db.SpentTokens(r.Context(), r.agent.ID, r.start, r.start)
				must(t, err)
				equal(t, "what the agent spent", spent, 12)
				r.says(m.Conversation)
			})
		})
	}
}
