package storetest_test

import (
	"testing"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// Whoever lost the answer to FinishRun lets go of the run, or cancels it.
func TestTheEndOfARunIsNotTouchedAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		f := finish(claimed(t, s, sandbox, alice, "wamid.1"), "hello")
		f.Run.InputTokens, f.Run.OutputTokens = 70, 7
		must(t, s.FinishRun(t.Context(), f))
		before := got(s.Run(t.Context(), "", f.Run.ID))(t)
		late := f.Run
		late.InputTokens, late.OutputTokens = 0, 0
		wantKind(t, s.ReleaseRun(t.Context(), &late), gateway.Conflict)
		wantKind(t, s.CancelRun(t.Context(), &late, "too late"), gateway.Conflict)
		equal(t, "the run", got(s.Run(t.Context(), "", f.Run.ID))(t), before)
	})
}
