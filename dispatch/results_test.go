package dispatch_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"wagent/dispatch"
	"wagent/dispatch/agent"
	"wagent/gateway"
	"wagent/gateway/store"
)

// asksFor answers each batch with one action, in turn; "-" wants none.
func asksFor(types ...string) script {
	return func(ctx context.Context, n int) (agent.Answer, error) {
		a, err := says("I see.")(ctx, n)
		if name := types[min(n, len(types))-1]; name != "-" {
			a.Output.Actions = []gateway.OutputAction{{Type: name, Payload: map[string]any{"room": "204"}}}
		}
		return a, err
	}
}

// What an endpoint says of an action is told to the run after it, once, in its own
// context and within its life.
func TestTheNextRunIsToldWhatCameOfActions(t *testing.T) {
	results := func(x *settings) {
		x.parts = func(p *dispatch.Parts) { p.Results = p.Runs.(*store.Store).ActionResults }
	}
	inRig(t, asksFor("room.towels.bring", "room.minibar.fill", "-"), results, func(r *rig) {
		answered := func(run gateway.Run, result string) {
			t.Helper()
			got(r.db.AnswerActions(r.Context(), []gateway.ActionAnswer{{Run: run.ID, Webhook: 1, Result: json.RawMessage(result)}}))(t)
		}
		reads := func(want string, is bool) {
			t.Helper()
			if strings.Contains(r.lastRead(), want) != is {
				t.Errorf("%q is read: %v, want %v, in\n%s", want, !is, is, r.lastRead())
			}
		}
		first := r.answered(ada, "Towels, please")
		reads("What came of actions", false)
		time.Sleep(time.Second)
		answered(first, `{"ticket":"T-1"}`)
		time.Sleep(time.Second)
		second := r.answered(ada, "And the minibar")
		reads(`"type":"room.towels.bring","payload":{"room":"204"},"result":{"ticket":"T-1"}`, true)
		if !strings.Contains(string(second.Input), `"action_results":[{"type":"room.towels.bring"`) {
			t.Errorf("the run's record has %s", second.Input)
		}
		time.Sleep(time.Second)
		r.answered(bob, "Hello")
		reads("T-1", false)
		r.answered(ada, "Thanks")
		reads("T-1", false) // it was told

		time.Sleep(time.Second)
		answered(second, `"full"`) // late: another run came in between
		time.Sleep(time.Second)
		r.answered(ada, "Is it done?")
		reads(`"result":"full"`, true)
		time.Sleep(time.Second)
		answered(second, `"too late"`)
		time.Sleep(2 * r.agent.ContextTTL)
		r.answered(ada, "Me again")
		reads("too late", false)
	})
}
