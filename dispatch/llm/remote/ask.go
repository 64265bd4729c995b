package remote

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"wagent/dispatch/llm"
	"wagent/gateway"
)

// A Form is the way in which a model is asked: the protocol's newest, less what
// its server refused.
type Form[F any] interface {
	// Less returns the form without the part of the request that the server
	// refused, and whether there is such a part. Each step gives something up for
	// good, so that they end. A loss that does not last says nothing of the model,
	// only of this request.
	Less(a *Refusal, r *llm.Request) (next F, lasting, changed bool)
	// Join adds up what two requests learned at once.
	Join(F) F
}

// Forms remembers in which form each model of a provider is asked. It forgets
// with the process, and learns again. The zero Forms is empty; it is safe for
// concurrent use.
type Forms[F Form[F]] struct {
	mu     sync.Mutex
	models map[string]F
}

// Of returns the form of a model, or newest if nothing was learned of it.
func (l *Forms[F]) Of(model string, newest F) F {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := l.models[model]; ok {
		return f
	}
	return newest
}

func (l *Forms[F]) keep(model string, f F) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.models == nil {
		l.models = map[string]F{}
	}
	if old, ok := l.models[model]; ok {
		f = f.Join(old)
	}
	l.models[model] = f
}

// Ask asks in form f with send, and again in a lesser form as long as the server
// refuses a part that has a substitute. A form is remembered once it helped. The
// errors are those of [llm.Model].
func Ask[F Form[F]](ctx context.Context, p *Provider, learned *Forms[F], f F, r *llm.Request, send func(F) (llm.Response, error)) (llm.Response, error) {
	start := time.Now()
	learns, refused := true, false
	for {
		resp, err := send(f)
		if err == nil {
			if refused && learns {
				learned.keep(r.Model, f)
			}
			resp.Latency = time.Since(start)
			return resp, nil
		}
		a, ok := errors.AsType[*Refusal](err)
		if !ok {
			return llm.Response{}, p.Classify(ctx, err)
		}
		if a.Filtered() {
			return llm.Response{Refused: true, Latency: time.Since(start)}, nil
		}
		if text, ok := a.Malformed(); ok {
			// The caller repairs it as it does any bad answer.
			return llm.Response{
				Text: strings.ToValidUTF8(text, "\uFFFD"), Truncated: a.About("max completion tokens reached"), Latency: time.Since(start),
			}, nil
		}
		next, lasting, changed := f.Less(a, r)
		if !changed || a.TooLong() {
			return llm.Response{}, blame(p.ClassifyRefusal(a), a, &r.Settings)
		}
		f, refused, learns = next, true, learns && lasting
	}
}

// blame adds to the error of a bad request which of its settings the server named.
// That is a word of ours, so that it may be shown.
func blame(err error, a *Refusal, s *gateway.ModelSettings) error {
	e, ok := errors.AsType[*gateway.Error](err)
	if !ok || e.Kind != gateway.Invalid {
		return err
	}
	switch {
	case s.Seed != nil && a.About("seed"):
		e.Msg += " about seed"
	case s.ReasoningEffort != "" && a.About("effort"):
		e.Msg += " about reasoning_effort"
	case s.ThinkingBudget > 0 && a.About("budget", "thinking"):
		e.Msg += " about thinking_budget_tokens"
	case s.ReasoningEffort != "" && a.About("thinking"): // which some take in its place
		e.Msg += " about reasoning_effort"
	case s.ParallelToolCalls != nil && a.About("parallel"):
		e.Msg += " about parallel_tool_calls"
	}
	return e
}
