// Package agent puts a prompt before an agent's model and returns what it
// answered, validated.
//
// Whatever the model says, an [Answer] holds to the agent's rules: its actions
// are of allowed types, their payloads of the declared types, its confidence
// is between 0 and 1. An answer that is not so is sent back once with what is
// wrong; of the next one what can be dropped is dropped and noted, and else
// the run fails. Requests that a provider could not serve are repeated by the
// kind of the error, within the deadline of the context.
//
// It keeps no state between answers. A crash in the middle loses the request
// in hand, and whoever claims the run next asks again.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/context/prompt"
	"wagent/context/transcript"
	"wagent/dispatch/agent/check"
	"wagent/dispatch/llm"
	"wagent/gateway"
)

// Models knows the models that agents name.
type Models interface {
	// Model returns what answers for a handle (provider/model; without a
	// provider, openai), the provider's name and the provider's name of the
	// model. A handle that nobody knows is an error of kind Invalid.
	Model(handle string) (m llm.Model, provider, name string, err error)
}

// An Answerer asks models. It is safe for concurrent use.
type Answerer struct {
	models  Models
	log     *slog.Logger
	metrics *metrics
}

// New returns an Answerer; a nil reg keeps its metrics to itself.
func New(models Models, log *slog.Logger, reg prometheus.Registerer) *Answerer {
	return &Answerer{models: models, log: log, metrics: newMetrics(reg)}
}

// An Answer is what a model answered, fit to be acted on.
type Answer struct {
	Output       gateway.Output
	Notes        []string // what was repaired or dropped, without a customer's words; nil if nothing was
	Model        string   // provider/model that answered
	InputTokens  int      // of all requests, as are the next two
	OutputTokens int
	Latency      time.Duration // of the model, waits between requests not counted
	Stop         gateway.StopReason
}

// A Failure is why there is no Answer. It is the error of [Answerer.Answer].
type Failure struct {
	Stop         gateway.StopReason
	Msg          string // fit for the run's error: no customer's words, no keys
	Err          error  // the cause, for the log; may be nil
	Model        string // provider/model that was asked; empty if there is none
	InputTokens  int
	OutputTokens int
	Latency      time.Duration
}

// Error returns the message and its cause.
func (f *Failure) Error() string {
	cause := f.Err
	if e, ok := errors.AsType[*gateway.Error](cause); ok {
		cause = e.Err // its message is in Msg
	}
	if cause == nil {
		return f.Msg
	}
	return f.Msg + ": " + cause.Error()
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Answer asks the agent's model and returns what it answered. It blocks until
// then, or until ctx is done: ctx carries the run's deadline. Its error is a
// [Failure].
//
// Answer.Stop is StopApproval if the agent wants actions confirmed and there
// are any but system actions, else StopEndTurn.
func (a *Answerer) Answer(ctx context.Context, ag *gateway.Agent, p prompt.Prompt) (Answer, error) {
	m, provider, name, err := a.models.Model(ag.Model)
	if err != nil {
		return Answer{}, &Failure{Stop: gateway.StopLLMError, Msg: clientText(err, "there is no such model"), Err: err}
	}
	a.metrics.prepare(provider, name)
	c, err := check.New(ag)
	if err != nil {
		return Answer{}, &Failure{Stop: gateway.StopError, Msg: "the agent's payload_schema can not be used", Err: err}
	}
	t := &talk{Answerer: a, model: m, provider: provider, name: name}
	schema, strict := check.Schema(ag)
	v, err := t.converse(ctx, c, llm.Request{
		Model: name, System: p.System, Turns: p.Turns, Schema: schema, Strict: strict,
		Temperature: ag.Temperature, MaxTokens: ag.MaxTokens,
	})
	if err != nil {
		f, ok := errors.AsType[*Failure](err)
		if !ok {
			f = &Failure{Stop: gateway.StopError, Msg: "internal error", Err: err}
		}
		f.Model, f.InputTokens, f.OutputTokens, f.Latency = t.handle(), t.in, t.out, t.latency
		return Answer{}, f
	}
	return Answer{
		Output: v.Output, Notes: v.Notes, Model: t.handle(), InputTokens: t.in, OutputTokens: t.out,
		Latency: t.latency, Stop: stopReason(ag, &v.Output),
	}, nil
}

func stopReason(ag *gateway.Agent, o *gateway.Output) gateway.StopReason {
	if ag.Confirm {
		for _, act := range o.Actions {
			if !check.IsSystem(act.Type) {
				return gateway.StopApproval
			}
		}
	}
	return gateway.StopEndTurn
}

// clientText returns what err says to a client, or else what nobody
// classified is called.
func clientText(err error, otherwise string) string {
	if e, ok := errors.AsType[*gateway.Error](err); ok && e.Kind != gateway.Internal && e.Msg != "" {
		return e.Msg
	}
	return otherwise
}

// converse asks, and once more if the answer is not what it should be.
func (t *talk) converse(ctx context.Context, c *check.Checker, r llm.Request) (check.Verdict, error) {
	text, first, err := t.ask(ctx, c, r)
	if err != nil {
		return check.Verdict{}, err
	}
	if len(first.Faults) == 0 {
		return first, nil
	}
	r.Turns = append(slices.Clip(r.Turns),
		transcript.Turn{Role: transcript.Assistant, Text: bounded(text)},
		transcript.Turn{Role: transcript.User, Text: repairWords(first.Faults, r.Schema)},
	)
	r.Repair = true
	_, second, err := t.ask(ctx, c, r)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return check.Verdict{}, err
	}
	switch {
	case err == nil && len(second.Fatal) == 0:
		second.Notes = append([]string{"the first answer was sent back: " + check.Summary(first.Faults)}, second.Notes...)
		return second, nil
	case len(first.Fatal) == 0:
		// What came first is worse than it might be, and better than nothing.
		why := "it was worse after the repair"
		if err != nil {
			why = "the repair failed"
		}
		first.Notes = append([]string{"the first answer was used, since " + why}, first.Notes...)
		return first, nil
	case err != nil:
		return check.Verdict{}, err
	default:
		return check.Verdict{}, &Failure{
			Stop: gateway.StopInvalidResponse,
			Msg:  "the model's answer was not valid, nor was its repair: " + check.Summary(second.Fatal),
		}
	}
}

// repairWords is the turn that sends an answer back.
func repairWords(faults []string, schema json.RawMessage) string {
	var b strings.Builder
	b.WriteString("Your last answer can not be used:\n")
	for i, f := range faults {
		if i == 20 {
			fmt.Fprintf(&b, "- and %d more\n", len(faults)-i)
			break
		}
		fmt.Fprintf(&b, "- %s\n", f)
	}
	b.WriteString("\nAnswer the same turn again: one JSON object and nothing else, that satisfies this JSON Schema:\n")
	b.Write(schema)
	return b.String()
}

// bounded returns as much of a bad answer as the model needs to see. It is
// never empty, because servers refuse an empty turn.
func bounded(text string) string {
	const limit = 4000
	text = strings.ToValidUTF8(text, "\uFFFD")
	if strings.TrimSpace(text) == "" {
		return "(nothing)"
	}
	if r := []rune(text); len(r) > limit {
		return string(r[:limit]) + " …"
	}
	return text
}
