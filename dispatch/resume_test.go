package dispatch_test

import (
	"testing"

	"wagent/debounce"
	"wagent/gateway"
)

func TestABatchThatMeetsAnOlderRunIsAnsweredAfterIt(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		first := r.write(ada, "one")
		c := got(r.db.ClaimRun(r.Context(), first.Conversation, lease))(r.T)
		must(r.T, r.db.RenewRun(r.Context(), c.Run.ID, c.Run.Generation, r.start)) // its process is dead
		second := r.write(ada, "two")
		must(r.T, r.d.Handle(r.Context(), debounce.Batch{
			Key: string(first.Conversation), Items: []string{string(c.Run.ID), string(second.ID)},
		}))
		for _, m := range got(r.db.Messages(r.Context(), account, first.Conversation, 9))(r.T) {
			if m.Direction == gateway.In && m.State != gateway.StateBatched {
				t.Errorf("%q is %s, and no window has it any more", m.Text, m.State)
			}
		}
		if n := len(r.runs()); n != 2 {
			t.Errorf("%d runs, want 2", n)
		}
	})
}

func TestABatchWhoseMessagesAreSomewhereElseEnds(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		m := r.write(ada, "one")
		must(r.T, r.d.Handle(r.Context(), debounce.Batch{Key: string(m.Conversation), Items: []string{"msg_of_another_conversation"}}))
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
	})
}
