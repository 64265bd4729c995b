package agent

import (
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"wagent/context/prompt"
	"wagent/context/transcript"
	"wagent/dispatch/llm/anthropic"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// Two runs of an agent have nothing in common but the agent: what a provider is
// asked to cache is the same in both, and all that is.
func TestWhatAProviderCachesIsTheSameInAllRuns(t *testing.T) {
	answer := llmtest.Reply{Text: `{"intent":"x","confidence":1,"actions":[],"language":"en","suggested_reply":"ok","analysis_summary":"","context_summary":"","contact_memory":null}`}
	s := &llmtest.Server{Answer: llmtest.Queue(answer, answer)}
	b := overTCP(t, s)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	b.registry["anthropic"] = anthropic.New(anthropic.Config{BaseURL: srv.URL, APIKey: key, HTTPClient: srv.Client()})
	ag := gateway.DefaultAgent()
	ag.Model, ag.SystemPrompt, ag.ContactMemory = "anthropic/claude-x", "You are the concierge of a hotel.", 500
	ag.Blocks = []gateway.Block{{Label: "house", Value: "Breakfast is until ten."}}
	ag.AllowedActions = []string{"hotel.room.request"}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for _, in := range []prompt.Input{
		{Now: now, LastMessage: "Hello", Contact: prompt.Facts{Name: "Zoé"}},
		{
			Now: now.Add(26 * time.Hour), LastMessage: "And a cot?", ContactMemory: "Has a dog.", ContextSummary: "They want a room.", EarlierSummary: "It was long.",
			Contact: prompt.Facts{Phone: "+33612345678"}, LastAgentOutput: &prompt.LastOutput{Intent: "room"},
			RecentMessages: []prompt.Recent{{Role: transcript.User, Text: "Hi"}},
		},
	} {
		in.Agent = &ag
		if _, err := b.Answer(t.Context(), &ag, prompt.Render(in)); err != nil {
			t.Fatal(err)
		}
	}
	var marked []string
	for _, r := range s.Requests() {
		var body struct {
			System []struct {
				Text         string
				CacheControl json.RawMessage `json:"cache_control"`
			}
		}
		if err := json.Unmarshal(r.Body, &body); err != nil || len(body.System) != 2 || body.System[0].CacheControl == nil || body.System[1].CacheControl != nil {
			t.Fatalf("the system prompt is %+v, %v", body.System, err)
		}
		marked = append(marked, body.System[0].Text)
		if len(marked) == 2 && (marked[0] != marked[1] || len(marked[0]) < 1000) {
			t.Errorf("one run begins with\n%s\nand another with\n%s", marked[0], marked[1])
		}
	}
	if p := s.Problems(); len(p) > 0 || len(marked) != 2 {
		t.Errorf("%d requests, problems %q", len(marked), p)
	}
}
