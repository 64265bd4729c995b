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
	resp, err := a.Once(ctx, handle, llm.Request{System: p.System, Turns: p.Turns, Temperature: summaryTemperature, MaxTokens: maxTokens})
	made := recall.Summarized{Text: strings.TrimSpace(resp.Text), InputTokens: resp.InputTokens, OutputTokens: resp.OutputTokens}
	switch {
	case err != nil:
		return made, fmt.Errorf("ask for a summary: %w", err)
	case resp.Refused:
		return made, &gateway.Error{Kind: gateway.Invalid, Msg: "the model refused to summarise"}
	}
	return made, nil
}

// Once makes one request to the model of a handle, whatever r.Model says: it
// neither repeats it nor asks another model, but knows as well as Answer which
// providers are down, and counts as it does. Its error's text holds no customer's
// words and no keys.
func (a *Answerer) Once(ctx context.Context, handle string, r llm.Request) (llm.Response, error) {
	m, provider, name, err := a.models.Model(handle)
	if err != nil {
		return llm.Response{}, fmt.Errorf("find model: %w", err)
	}
	a.metrics.prepare(provider, name)
	t := &talk{quest: &quest{Answerer: a}, model: m, provider: provider, name: name}
	r.Model = name
	resp, err := t.generate(ctx, &r)
	resp.InputTokens, resp.OutputTokens = t.in, t.out
	if err != nil {
		return resp, fmt.Errorf("ask %s: %w", t.handle(), err)
	}
	outcome := outcomeOK
	if resp.Refused {
		outcome = outcomeRefused
	}
	t.count(outcome)
	return resp, nil
}
