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
		end := func(phone, id string, tokens int, stop gateway.StopReason) gateway.Run {
			c := claimed(t, s, sandbox, phone, id)
			f := finish(c, "hello")
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
		equal(t, "tokens", got(s.SpentTokens(t.Context(), r.Agent, before))(t), int64(1114))
		equal(t, "tokens of nobody", got(s.SpentTokens(t.Context(), "nobody", before))(t), int64(0))
		equal(t, "tokens from now on", got(s.SpentTokens(t.Context(), r.Agent, time.Now().Add(time.Minute)))(t), int64(0))
		equal(t, "runs", got(s.RecentRuns(t.Context(), r.Agent, key, before))(t), 2)
		equal(t, "runs of another agent", got(s.RecentRuns(t.Context(), "another", key, before))(t), 0)
		equal(t, "runs from now on", got(s.RecentRuns(t.Context(), r.Agent, key, time.Now().Add(time.Minute)))(t), 0)
		equal(t, "runs without a context", got(s.RecentRuns(t.Context(), r.Agent, "", before))(t), 0)
	})
}
