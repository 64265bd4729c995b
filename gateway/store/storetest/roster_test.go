package storetest_test

import (
	"testing"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// TestARosterIsNeverBehind: whatever another process does to agents shows in the
// next list.
func TestARosterIsNeverBehind(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		s, other := storetest.At(t, cfg), storetest.At(t, cfg)
		roster := s.Roster()
		check := func(after string, want ...string) {
			t.Helper()
			as := got(roster.Agents(t.Context()))(t)
			names := make([]string, 0, len(as))
			for i := range as {
				names = append(names, as[i].Name)
			}
			equal(t, "the agents after "+after, names, want)
			equal(t, "the agents once more", got(roster.Agents(t.Context()))(t), got(s.Agents(t.Context()))(t))
		}
		check("nothing", []string{}...)
		agent := func(name string) gateway.Agent {
			a := gateway.DefaultAgent()
			a.Name, a.SystemPrompt = name, "Be kind."
			must(t, other.CreateAgent(t.Context(), &a))
			return a
		}
		a, b := agent("a"), agent("b")
		check("two were made", "a", "b")
		for _, name := range []string{"a2", "a3", "a"} { // several in one millisecond, and back
			a.Name = name
			must(t, other.UpdateAgent(t.Context(), &a))
			check("one was changed", name, "b")
		}
		must(t, other.DeleteAgent(t.Context(), b.ID))
		check("one was deleted", "a")
		agent("c")
		check("another was made in its place", "a", "c")
	})
}
