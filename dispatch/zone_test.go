package dispatch_test

import (
	"context"
	"testing"

	"wagent/context/prompt"
	"wagent/dispatch"
	"wagent/dispatch/agent"
	"wagent/gateway"
)

// A reader is an Answerer that keeps the last prompt.
type reader struct{ read prompt.Prompt }

func (r *reader) Answer(ctx context.Context, _ *gateway.Agent, p prompt.Prompt) (agent.Answer, error) {
	r.read = p
	return says("Hello")(ctx, 1)
}

func TestAnAnswersTimesAreThoseOfTheAccount(t *testing.T) {
	for name, zone := range map[string]string{"an account in Paris": "Europe/Paris", "an account without a zone": ""} {
		t.Run(name, func(t *testing.T) {
			var r reader
			inRig(t, says(""), func(s *settings) {
				s.parts = func(p *dispatch.Parts) { p.Answerer = &r }
			}, func(rig *rig) {
				a := gateway.Account{ID: account, Kind: gateway.Sandbox, TimeZone: zone}
				must(rig.T, rig.db.Declare(rig.Context(), []gateway.Account{a}, []gateway.Agent{rig.agent}, nil, nil))
				m := rig.write(ada, "hi")
				must(rig.T, rig.handle(rig.Context(), m.Conversation))
				if got := r.read.Now; got.Location().String() != a.Location().String() || !got.Equal(rig.start) {
					rig.Errorf("the prompt's time is %v, want %v in %v", got, rig.start, a.Location())
				}
			})
		})
	}
}
