package agent

import (
	"net/http"
	"strings"
	"testing"

	"wagent/context/prompt"
	"wagent/context/transcript"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

func TestSummarize(t *testing.T) {
	turns := []prompt.Recent{{Role: transcript.User, Text: "We bring a dog. " + secret}}
	tests := map[string]struct {
		reply   llmtest.Reply
		model   string
		want    string
		outcome string
		kind    gateway.Kind
	}{
		"what the model writes":             {llmtest.Reply{Text: " They bring a dog.\n"}, "openai/m-1", "They bring a dog.", outcomeOK, 0},
		"also if it ends at its limit":      {llmtest.Reply{Text: "They bring a", FinishReason: "length"}, "m-1", "They bring a", outcomeOK, 0},
		"not if the model refuses":          {llmtest.Reply{Refusal: "I can not"}, "m-1", "", outcomeRefused, gateway.Invalid},
		"not if it is busy, which is final": {llmtest.Reply{Status: http.StatusTooManyRequests, Message: "slow down"}, "m-1", "", outcomeRateLimited, gateway.RateLimited},
		"not of a model that nobody knows":  {llmtest.Reply{}, "nobody/model", "", "", gateway.Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &llmtest.Server{Key: key, Answer: llmtest.Queue(tt.reply)}
			b := overTCP(t, s)
			made, err := b.Summarize(t.Context(), tt.model, prompt.Summary("", turns, 50), 100)
			if (err != nil) != (tt.kind != 0) || err != nil && gateway.KindOf(err) != tt.kind || made.Text != tt.want && err == nil {
				t.Errorf("summarised %q, %v; want %q and kind %s", made.Text, err, tt.want, tt.kind)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error repeats the customer: %v", err)
			}
			if err == nil && (made.InputTokens == 0 || made.OutputTokens == 0) {
				t.Errorf("it cost %d and %d tokens", made.InputTokens, made.OutputTokens)
			}
			if tt.outcome == "" {
				return
			}
			if n := b.requests(tt.outcome); n != 1 {
				t.Errorf("%v requests are counted as %s", n, tt.outcome)
			}
			asked := s.Requests()
			if len(asked) != 1 || asked[0].Format != "" || asked[0].MaxTokens != 100 || len(s.Problems()) > 0 {
				t.Errorf("the model was asked %d times, problems %q", len(asked), s.Problems())
			}
		})
	}
}

// TestASummaryByAModelThatThinks is empty where its thoughts fill the limit, so
// they get room, which is remembered. What it cost is counted.
func TestASummaryByAModelThatThinks(t *testing.T) {
	s := &llmtest.Server{Key: key, Answer: func(r llmtest.Request) llmtest.Reply {
		if r.MaxTokens < 1000 {
			return llmtest.Reply{FinishReason: "length"}
		}
		return llmtest.Reply{Text: "They bring a dog."}
	}}
	b := overTCP(t, s)
	p := prompt.Summary("", []prompt.Recent{{Role: transcript.User, Text: "We bring a dog."}}, 50)
	for _, want := range []int{2, 1} { // requests
		before := len(s.Requests())
		made, err := b.Summarize(t.Context(), "openai/m-1", p, 100)
		asked := s.Requests()[before:]
		if err != nil || made.Text != "They bring a dog." || len(asked) != want || asked[want-1].MaxTokens != 100+thoughts {
			t.Errorf("%+v, %v after %d requests", made, err, len(asked))
		}
		paid := 0
		for _, r := range asked {
			paid += len(r.Body) / 4
		}
		if made.InputTokens != paid {
			t.Errorf("%d tokens are counted, want %d", made.InputTokens, paid)
		}
	}
}
