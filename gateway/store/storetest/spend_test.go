package storetest_test

import (
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestWhatAnAgentSpent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		before := time.Now().Add(-time.Minute)
		middle := time.Now().Add(time.Second).Truncate(time.Millisecond)
		end := func(phone, id string, tokens int, stop gateway.StopReason) gateway.Run {
			c := claimed(t, s, sandbox, phone, id)
			f := finish(c, "hello")
			if id != "wamid.1" {
				f.Run.CompletedAt = middle
			}
			f.Run.InputTokens, f.Run.OutputTokens, f.Run.StopReason = tokens, 1, stop
			must(t, s.FinishRun(t.Context(), f))
			return f.Run
		}
		r := end(alice, "wamid.1", 100, gateway.StopEndTurn)
		end(alice, "wamid.2", 10, gateway.StopLLMError)
		end(alice, "wamid.3", 0, gateway.StopSpent)
		end(bob, "wamid.4", 1000, gateway.StopEndTurn)
		claimed(t, s, sandbox, alice, "wamid.5") // in hand

		key := string(r.Conversation)
		later := time.Now().Add(time.Minute)
		for _, tt := range []struct {
			what         string
			agent        gateway.AgentID
			since, until time.Time
			want         [2]int64
		}{
			{"all before", r.Agent, before, later, [2]int64{1114, 0}},
			{"all after", r.Agent, before, before, [2]int64{0, 1114}},
			{"split where one ended", r.Agent, before, middle, [2]int64{101, 1013}},
			{"from there on", r.Agent, middle, middle, [2]int64{0, 1013}},
			{"nobody's", "nobody", before, later, [2]int64{0, 0}},
			{"from now on", r.Agent, later, later, [2]int64{0, 0}},
		} {
			a, b, err := s.SpentTokens(t.Context(), tt.agent, tt.since, tt.until)
			must(t, err)
			equal(t, tt.what, [2]int64{a, b}, tt.want)
		}
		equal(t, "runs", got(s.RecentRuns(t.Context(), r.Agent, key, before))(t), 2)
		equal(t, "runs of another agent", got(s.RecentRuns(t.Context(), "another", key, before))(t), 0)
		equal(t, "runs from now on", got(s.RecentRuns(t.Context(), r.Agent, key, time.Now().Add(time.Minute)))(t), 0)
		equal(t, "runs without a context", got(s.RecentRuns(t.Context(), r.Agent, "", before))(t), 0)
	})
}
