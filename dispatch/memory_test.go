package dispatch_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"wagent/dispatch"
	"wagent/dispatch/agent"
	"wagent/gateway"
	"wagent/gateway/store"
)

// keeps gives the rig's agent a memory of contacts.
func keeps(x *settings) {
	x.agent.ContactMemory = 500
	x.parts = func(p *dispatch.Parts) { p.Kept = p.Runs.(*store.Store).MemoryIn }
}

// learns answers with what is to be kept, in turn; "-" changes nothing.
func learns(texts ...string) script {
	return func(ctx context.Context, n int) (agent.Answer, error) {
		a, err := says("I see.")(ctx, n)
		if text := texts[min(n, len(texts))-1]; text != "-" {
			a.Memory = &text
		}
		return a, err
	}
}

func (r *rig) lastRead() string {
	asked := r.model.questions()
	return asked[len(asked)-1]
}

// What is kept of a customer outlives every context, and is read with theirs
// alone.
func TestAnAgentKeepsWhatItLearned(t *testing.T) {
	inRig(t, learns("Ada has a dog.", "-", "-", "Ada has two dogs."), keeps, func(r *rig) {
		r.answered(ada, "Hello")
		if !strings.Contains(r.lastRead(), "(nothing yet)") {
			t.Error("the first run is not told that nothing is kept")
		}
		time.Sleep(30 * 24 * time.Hour)
		r.answered(ada, "Me again")
		if !strings.Contains(r.lastRead(), "Ada has a dog.") || strings.Contains(r.lastRead(), "summary of") {
			t.Errorf("a month later it read:\n%s", r.lastRead())
		}
		r.answered(bob, "Hello")
		if strings.Contains(r.lastRead(), "dog") {
			t.Errorf("of another customer it read:\n%s", r.lastRead())
		}
		run := r.answered(ada, "And another one")
		m := got(r.db.MemoryIn(r.Context(), r.agent.ID, run.Conversation))(t)
		if m.Text != "Ada has two dogs." || !m.UpdatedAt.Equal(run.CompletedAt) {
			t.Errorf("kept is %+v", m)
		}
		if strings.Contains(string(run.Input), "dog.") {
			t.Errorf("the run's record repeats what is kept: %s", run.Input)
		}
	})
}

func TestARunOfTheAPIKnowsNoContact(t *testing.T) {
	inRig(t, learns("Ada has a dog."), keeps, func(r *rig) {
		r.serve(r.d.Run)
		r.request(`"hi"`, `{"conversation_key":"k"}`)
		r.at(time.Minute)
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
		if strings.Contains(r.lastRead(), "contact_memory") || strings.Contains(r.lastRead(), "nothing yet") {
			t.Errorf("it read:\n%s", r.lastRead())
		}
	})
}

func TestARunThatFailsTeachesNothing(t *testing.T) {
	inRig(t, inTurn(learns("Ada has a dog."), fails(errOdd), learns("-")), keeps, func(r *rig) {
		r.answered(ada, "Hello")
		if run := r.answered(ada, "Hello?"); run.Status != gateway.RunFailed {
			t.Fatalf("the run is %s", run.Status)
		}
		run := r.answered(ada, "Anyone?")
		if m := got(r.db.MemoryIn(r.Context(), r.agent.ID, run.Conversation))(t); m.Text != "Ada has a dog." {
			t.Errorf("kept is %q", m.Text)
		}
	})
}

// forgetful can not read what is kept.
type forgetful struct{}

func (forgetful) MemoryIn(context.Context, gateway.AgentID, gateway.ConversationID) (gateway.ContactMemory, error) {
	return gateway.ContactMemory{}, errAway
}

// A model that does not see what is kept would write over it.
func TestWithoutWhatIsKeptThereIsNoAnswer(t *testing.T) {
	change := func(x *settings) {
		keeps(x)
		x.parts = func(p *dispatch.Parts) { p.Kept = forgetful{}.MemoryIn }
	}
	inRig(t, learns("Nobody."), change, func(r *rig) {
		m := r.write(ada, "Hello")
		wantKind(t, r.handle(r.Context(), m.Conversation), gateway.Unavailable)
		if n := len(r.model.questions()); n != 0 {
			t.Errorf("the model was asked %d times", n)
		}
	})
}

// A history sync tells of months, in no order and all at once, while a customer writes.
func TestWhatAHistorySyncBringsIsNoPartOfTheContext(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		r.answered(ada, "first")
		who := gateway.Address{Phone: ada}
		for i, age := range []time.Duration{90 * 24 * time.Hour, r.agent.ContextTTL, time.Minute} {
			got(r.db.AddMessages(r.Context(), []gateway.Arrival{{
				Inbound: gateway.Inbound{
					Account: account, Peer: who, Sender: who, ExternalID: fmt.Sprint("old.", i), Type: gateway.TypeText,
					Text: fmt.Sprint("from ", age), SentAt: time.Now().Add(-age), Origin: gateway.OriginHistory,
				},
				State: gateway.StateIgnored, Reason: gateway.ReasonHistory, ReceivedAt: time.Now(),
			}}))(t)
		}
		r.answered(ada, "second")
		read := r.lastRead()
		for text, want := range map[string]bool{"first": true, "from 2160h": false, "from " + r.agent.ContextTTL.String(): false, "from 1m0s": true} {
			if strings.Contains(read, text) != want {
				t.Errorf("%q is read: %t\n%s", text, !want, read)
			}
		}
	})
}
