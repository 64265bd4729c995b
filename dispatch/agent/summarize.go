package agent

import (
	"context"
	"fmt"
	"strings"

	"wagent/context/prompt"
	"wagent/context/recall"
	"wagent/dispatch/llm"
	"wagent/gateway"
)

// summaryTemperature keeps a summary to what was said.
const summaryTemperature = 0.2

// Summarize puts a prompt before the model of a handle and returns its answer,
// of at most so many tokens, as free text. It asks once: whoever wants a summary
// can do without. A summary that ends at its limit is one. Its error's text holds
// no customer's words and no keys.
func (a *Answerer) Summarize(ctx context.Context, handle string, p prompt.Prompt, maxTokens int) (recall.Summarized, error) {
	m, provider, name, err := a.models.Model(handle)
	if err != nil {
		return recall.Summarized{}, fmt.Errorf("find the model that summarises: %w", err)
	}
	a.metrics.prepare(provider, name)
	t := &talk{quest: &quest{Answerer: a}, model: m, provider: provider, name: name}
	resp, err := t.generate(ctx, &llm.Request{
		Model: name, System: p.System, Turns: p.Turns, Temperature: summaryTemperature, MaxTokens: maxTokens,
	})
	made := recall.Summarized{Text: strings.TrimSpace(resp.Text), InputTokens: t.in, OutputTokens: t.out}
	switch {
	case err != nil:
		return made, fmt.Errorf("ask %s for a summary: %w", t.handle(), err)
	case resp.Refused:
		t.count(outcomeRefused)
		return made, &gateway.Error{Kind: gateway.Invalid, Msg: "the model refused to summarise"}
	}
	t.count(outcomeOK)
	return made, nil
}
