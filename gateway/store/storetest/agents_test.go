package storetest_test

import (
	"testing"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// TestAnIDIsOneAgents, also after that is deleted: a request that is repeated makes
// no second one.
func TestAnIDIsOneAgents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		create := func() error {
			a := gateway.DefaultAgent()
			a.ID, a.Name = gateway.AgentIDOf("a"), "Desk"
			return s.CreateAgent(t.Context(), &a)
		}
		if err := create(); err != nil {
			t.Fatal(err)
		}
		if err := create(); gateway.KindOf(err) != gateway.Conflict {
			t.Errorf("made twice: %v", err)
		}
		if err := s.DeleteAgent(t.Context(), gateway.AgentIDOf("a")); err != nil {
			t.Fatal(err)
		}
		if err := create(); gateway.KindOf(err) != gateway.Conflict {
			t.Errorf("made after it was deleted: %v", err)
		}
	})
}
