package agent

import (
	"context"
	"log/slog"
	"testing"

	"wagent/context/prompt"
	"wagent/context/transcript"
	"wagent/dispatch/llm"
	"wagent/gateway"
)

type generate func() (llm.Response, error)

func (g generate) Generate(context.Context, llm.Request) (llm.Response, error) { return g() }

func (g generate) Model(string) (llm.Model, string, string, error) { return g, "p", "m", nil }

func TestARepairThatArrivesAsTheRunIsCancelledIsNoEmptyAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	m := generate(func() (llm.Response, error) {
		if asked++; asked == 1 {
			return llm.Response{Text: "garbage"}, nil
		}
		cancel()
		return llm.Response{Text: `{"intent": "greeting", "confidence": 1, "actions": [], "language": "en",
			"suggested_reply": "Hello", "analysis_summary": "", "context_summary": ""}`}, nil
	})
	ag := gateway.DefaultAgent()
	got, err := New(m, slog.New(slog.DiscardHandler), nil).Answer(ctx, &ag, prompt.Prompt{
		System: "s", Turns: []transcript.Turn{{Role: transcript.User, Text: "x"}},
	})
	if err == nil && got.Output.Intent != "greeting" {
		t.Errorf("Answer = %+v without an error", got.Output)
	}
}
