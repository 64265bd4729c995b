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

// thoughts is room for those of a model that thinks before it writes, in tokens:
// they count within its limit.
const thoughts = 4096

// Summarize puts a prompt before the model of a handle and returns its answer, as
// free text of about so many tokens at most. It does not repeat what failed: whoever
// wants a summary can do without. Only a model that reached the limit in its
// thoughts, and wrote nothing, is asked again with room for these, and has it from
// then on, for as long as the process lives. A summary that ends at its limit is one.
// Its error's text holds no customer's words and no keys.
func (a *Answerer) Summarize(ctx context.Context, handle string, p prompt.Prompt, maxTokens int) (recall.Summarized, error) {
	var made recall.Summarized
	ask := func(maxTokens int) (llm.Response, error) {
		resp, err := a.Once(ctx, handle, llm.Request{System: p.System, Turns: p.Turns, Temperature: summaryTemperature, MaxTokens: maxTokens})
		made.Text = strings.TrimSpace(resp.Text)
		made.InputTokens += resp.InputTokens
		made.OutputTokens += resp.OutputTokens
		return resp, err
	}
	limit := maxTokens
	if _, ok := a.thinkers.Load(handle); ok {
		limit += thoughts
	}
	resp, err := ask(limit)
	if err == nil && limit == maxTokens && resp.Truncated && made.Text == "" {
		a.thinkers.Store(handle, true)
		resp, err = ask(maxTokens + thoughts)
	}
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
