package route_test

import (
	"math/rand/v2"
	"testing"

	"wagent/dispatch/route"
	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// The windows of an account have the times of the agent that the store takes
// for the default, and Choose falls back on one: it must be the same.
func TestTheStoreAgreesOnTheDefaultAgent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		const account = "acc_try"
		if err := s.PutAccount(t.Context(), gateway.Account{ID: account, Kind: gateway.Sandbox}); err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(1, 2))
		for round := range 30 {
			a := gateway.DefaultAgent()
			a.Account, a.Name, a.SystemPrompt = account, "Agent", "Be kind."
			a.Active, a.AutoRun = random.IntN(4) > 0, random.IntN(4) > 0
			if random.IntN(3) > 0 {
				a.Route.Keywords = []string{"a word that nobody says"}
			}
			if err := s.CreateAgent(t.Context(), &a); err != nil {
				t.Fatal(err)
			}
			agents, err := s.Agents(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if random.IntN(2) == 0 { // somebody leaves
				gone := agents[random.IntN(len(agents))]
				if err := s.DeleteAgent(t.Context(), gone.ID); err != nil {
					t.Fatal(err)
				}
				if agents, err = s.Agents(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			theirs, err := s.DefaultAgent(t.Context(), account)
			candidates := route.Candidates(agents, account)
			if len(candidates) == 0 {
				if gateway.KindOf(err) != gateway.NotFound {
					t.Fatalf("round %d: the store says %s, %v, of no candidates", round, theirs.ID, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			ours := route.Choose(&route.Question{Candidates: candidates, Text: "hello"})
			if ours.Agent.ID != theirs.ID || ours.Reason != route.Default {
				t.Errorf("round %d: the store says %s, Choose %s (%s), of %d", round, theirs.ID, ours.Agent.ID, ours.Reason, len(candidates))
			}
		}
	})
}
