package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"wagent/context/budget"
	"wagent/dispatch/agent/check"
	"wagent/dispatch/llm"
	"wagent/gateway"
)

// A quest is one Answer's way from model to model, and what it cost so far.
type quest struct {
	*Answerer
	agent   *gateway.Agent
	checker *check.Checker
	request llm.Request // what each model is asked, but for its name
	in, out int         // tokens
	latency time.Duration
}

// run asks one model after the other until one answers, and returns its handle
// and the answer.
func (q *quest) run(ctx context.Context, handles []string) (string, check.Verdict, *Failure) {
	var passed []*Failure
	var notes []string
	for i, handle := range handles {
		more := i < len(handles)-1
		t, v, f := q.try(ctx, handle, more)
		if f == nil {
			v.Notes = append(notes, v.Notes...)
			return t.handle(), v, nil
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return "", v, f
		}
		passed = append(passed, f)
		notes = append(notes, handle+" gave no answer: "+f.Msg)
		if !more || ctx.Err() != nil {
			break
		}
		q.metrics.fallbacks.WithLabelValues(t.provider, t.name, f.reason).Inc()
		q.log.InfoContext(ctx, "another model is asked", "provider", t.provider, "model", t.name,
			"reason", f.reason, "next", handles[i+1])
	}
	return "", check.Verdict{}, verdictOf(passed, notes)
}

// try asks one model. If there are more to be asked it takes no more than half
// of what time is left.
func (q *quest) try(ctx context.Context, handle string, more bool) (*talk, check.Verdict, *Failure) {
	m, provider, name, err := q.models.Model(handle)
	if err != nil {
		f := &Failure{Stop: gateway.StopLLMError, Msg: clientText(err, "there is no such model"), Err: err, reason: failedOutcome(ctx, err)}
		return &talk{quest: q, provider: unknown, name: unknown}, check.Verdict{}, f
	}
	q.metrics.prepare(provider, name)
	if more {
		q.metrics.prepareFallbacks(provider, name)
	}
	if deadline, ok := ctx.Deadline(); ok && more {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	t := &talk{quest: q, model: m, provider: provider, name: name, more: more}
	r := q.request
	r.Model = name
	spared := 0
	if handle != q.agent.Model {
		spared = q.fit(&r, handle)
	}
	v, err := t.converse(ctx, r)
	if err == nil {
		if n := spared + t.spared; n > 0 {
			v.Notes = append([]string{fmt.Sprintf("the oldest turns (%d) were left out: the prompt was too long for %s", n, t.handle())}, v.Notes...)
		}
		return t, v, nil
	}
	f, ok := errors.AsType[*Failure](err)
	if !ok {
		f = &Failure{Stop: gateway.StopError, Msg: "internal error", Err: err, reason: outcomeInternal}
	}
	f.Model = t.handle()
	return t, v, f
}

// fit leaves out the oldest turns that a model of less budget than the agent's
// first does not read, and returns how many those are. The last one stays.
func (q *quest) fit(r *llm.Request, handle string) int {
	a := *q.agent
	a.Model, a.Compaction.MaxTokens = handle, 0 // which the first model's prompt has kept to
	limit := budget.Of(&a)
	if size(r) <= limit { // no token is less than a byte
		return 0
	}
	room := limit - budget.UpTo(handle, r.System, limit)
	n := len(r.Turns)
	for n > 0 {
		if room -= budget.PerTurn; room >= 0 {
			room -= budget.UpTo(handle, r.Turns[n-1].Text, room)
		}
		if room < 0 {
			break
		}
		n--
	}
	return spare(r, min(n, len(r.Turns)-1))
}

func size(r *llm.Request) int {
	n := len(r.System)
	for i := range r.Turns {
		n += len(r.Turns[i].Text) + budget.PerTurn
	}
	return n
}

// unknown stands in metrics for a model that can not be asked at all: what an
// agent calls it is no name of ours.
const unknown = "unknown"

// verdictOf returns the failure of a run whose models have all failed. What
// became of an answer is more telling than that there was none.
func verdictOf(passed []*Failure, notes []string) *Failure {
	f := passed[len(passed)-1]
	if len(passed) == 1 {
		return f
	}
	for _, p := range passed {
		if p.Stop != gateway.StopLLMError && f.Stop == gateway.StopLLMError {
			f = p
		}
	}
	f.Msg = strings.Join(notes, "; ")
	return f
}
