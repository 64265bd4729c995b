package storetest_test

import (
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestRouteRunKeepsTheAgentOfARun(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		r := c.Run
		r.Agent, r.Routed, r.InputTokens, r.OutputTokens = "other", "keyword+language", 70, 5
		must(t, s.RouteRun(t.Context(), &r))
		again := got(s.Run(t.Context(), "other", r.ID))(t)
		equal(t, "run", again, r)

		must(t, s.RenewRun(t.Context(), r.ID, r.Generation, time.Now()))
		second := got(s.ClaimRun(t.Context(), r.Conversation, time.Minute))(t).Run
		if second.Agent != "other" || second.Routed != "keyword+language" || second.InputTokens != 70 || second.OutputTokens != 5 {
			t.Errorf("the second claim has %+v", second)
		}
		r.Agent = "late"
		wantKind(t, s.RouteRun(t.Context(), &r), gateway.Conflict) // under the generation of the first claim
		must(t, s.FinishRun(t.Context(), finish(gateway.Claim{Run: second, Conversation: c.Conversation}, "hello")))
		wantKind(t, s.RouteRun(t.Context(), &second), gateway.Conflict)
		if last := got(s.Run(t.Context(), "", r.ID))(t); last.Agent != "other" || last.Routed != "keyword+language" {
			t.Errorf("in the end the run is of %s (%s)", last.Agent, last.Routed)
		}
	})
}

func TestLastRunOfAConversation(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		start := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
		var conv gateway.ConversationID
		answer := func(phone, id string, agent gateway.AgentID, at time.Duration, status gateway.RunStatus) gateway.RunID {
			t.Helper()
			c := claimed(t, s, sandbox, phone, id)
			f := finish(c, "reply")
			f.Run.Agent, f.Run.Status, f.Run.CompletedAt = agent, status, start.Add(at)
			must(t, s.FinishRun(t.Context(), f))
			conv = c.Run.Conversation
			return c.Run.ID
		}
		answer(bob, "wamid.0", "a", 50*time.Minute, gateway.RunCompleted)
		first := answer(alice, "wamid.1", "a", 0, gateway.RunCompleted)
		second := answer(alice, "wamid.2", "b", time.Minute, gateway.RunCompleted)
		answer(alice, "wamid.3", "a", 2*time.Minute, gateway.RunFailed)
		third := answer(alice, "wamid.4", "c", 3*time.Minute, gateway.RunCompleted)
		tests := map[string]struct {
			agents []gateway.AgentID
			after  time.Duration
			want   gateway.RunID // empty: none
		}{
			"the last of all":               {[]gateway.AgentID{"a", "b", "c"}, -time.Minute, third},
			"of some of the agents":         {[]gateway.AgentID{"a", "b"}, -time.Minute, second},
			"of one":                        {[]gateway.AgentID{"a"}, -time.Minute, first},
			"of nobody that answered":       {[]gateway.AgentID{"d"}, -time.Minute, ""},
			"just after a moment":           {[]gateway.AgentID{"a", "b"}, time.Minute - time.Millisecond, second},
			"none that is not younger":      {[]gateway.AgentID{"a", "b"}, time.Minute, ""},
			"a failed run is not an answer": {[]gateway.AgentID{"a"}, time.Minute, ""},
		}
		for name, tt := range tests {
			r, err := s.LastRunOf(t.Context(), conv, tt.agents, start.Add(tt.after))
			if tt.want == "" {
				wantKind(t, err, gateway.NotFound)
				continue
			}
			must(t, err)
			if r.ID != tt.want || r.Output == nil || r.Output.Language != "en" {
				t.Errorf("%s: run %+v, want %s", name, r, tt.want)
			}
		}
	})
}

func TestTheDefaultAgentIsTheOldestWithoutARule(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		var made []gateway.Agent
		for _, rule := range []gateway.RouteRule{{Hours: gateway.HoursClosed}, {Keywords: []string{"invoice"}}, {}, {}} {
			a := everything(cloud)
			a.Route = rule
			must(t, s.CreateAgent(t.Context(), &a))
			made = append(made, a)
		}
		for _, want := range []int{2, 3, 0, 1} {
			if a := got(s.DefaultAgent(t.Context(), cloud))(t); a.ID != made[want].ID {
				t.Errorf("agent %s is the default, want the one made as number %d", a.ID, want)
			}
			m := add(t, s, from(cloud, alice, string(made[want].ID)))[0]
			if c := got(s.ClaimRun(t.Context(), m.Conversation, time.Minute))(t); c.Run.Agent != made[want].ID || c.Run.Routed != "" {
				t.Errorf("a run begins with agent %s (%q), want %s", c.Run.Agent, c.Run.Routed, made[want].ID)
			} else {
				must(t, s.FinishRun(t.Context(), finish(c, "ok")))
			}
			must(t, s.DeleteAgent(t.Context(), made[want].ID))
		}
		_, err := s.DefaultAgent(t.Context(), cloud)
		wantKind(t, err, gateway.NotFound)
	})
}
