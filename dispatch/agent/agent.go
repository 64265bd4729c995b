// Package agent puts a prompt before an agent's model and returns what it
// answered, validated.
//
// Whatever the model says, an [Answer] holds to the agent's rules: its actions
// are of allowed types, their payloads of the declared types, its confidence
// is between 0 and 1. An answer that is not so is sent back once with what is
// wrong; of the next one what can be dropped is dropped and noted, and else it
// is no answer. Requests that a provider could not serve are repeated by the
// kind of the error, one that was too long once more without the older turns.
// A prompt is made for the agent's first model: another that reads less is spared
// the oldest turns, since not every server says that it cut them off.
//
// Where a model gives no answer, the agent's next one is asked, whatever the
// reason, unless the run was cancelled. All of it happens within the deadline
// of the context, of which no model gets so much that none is left for the
// next.
//
// Between answers it keeps in memory which providers are down (see package
// circuit), and nothing else. A crash in the middle loses the request in hand,
// and whoever claims the run next asks again.
package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wagent/context/prompt"
	"wagent/dispatch/agent/check"
	"wagent/dispatch/agent/circuit"
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
	models   Models
	circuits *circuit.Breakers
	log      *slog.Logger
	metrics  *metrics
	thinkers sync.Map // handles of models that need room for their thoughts beside a summary
}

// New returns an Answerer; a nil reg keeps its metrics to itself.
func New(models Models, log *slog.Logger, reg prometheus.Registerer) *Answerer {
	return &Answerer{models: models, circuits: circuit.New(log, reg), log: log, metrics: newMetrics(reg)}
}

// An Answer is what a model answered, fit to be acted on.
type Answer struct {
	Output       gateway.Output
	Notes        []string // which models gave no answer, and what was repaired or dropped, without a customer's words; nil if nothing was
	Model        string   // provider/model that answered
	InputTokens  int      // of all requests, as are the next two
	OutputTokens int
	Latency      time.Duration // of the model, waits between requests not counted
	Stop         gateway.StopReason
	Memory       *string // what the agent wants kept of the contact, within its limit; nil: what it kept
}

// A Failure is why there is no Answer. It is the error of [Answerer.Answer].
type Failure struct {
	Stop         gateway.StopReason
	Msg          string // fit for the run's error: no customer's words, no keys
	Err          error  // the cause, for the log; may be nil
	Model        string // provider/model that was asked and that Stop is about; empty if there is none
	InputTokens  int    // of all requests to all models, as are the next two
	OutputTokens int
	Latency      time.Duration

	reason string // an outcome, for metrics
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

// Answer asks the agent's models, one after the other, and returns what the
// first of them answered that did. p is within the budget of the agent's first. It
// blocks until then, or until ctx is done: ctx carries the run's deadline. Its error
// is a [Failure].
//
// Answer.Stop is StopApproval if the agent wants actions confirmed and there
// are any but system actions, else StopEndTurn.
func (a *Answerer) Answer(ctx context.Context, ag *gateway.Agent, p prompt.Prompt) (Answer, error) {
	c, err := check.New(ag, p.Now.Location())
	if err != nil {
		return Answer{}, &Failure{Stop: gateway.StopError, Msg: "the agent's payload_schema can not be used", Err: err}
	}
	schema, strict := check.Schema(ag)
	q := &quest{Answerer: a, agent: ag, checker: c, request: llm.Request{
		System: p.System, Stable: p.Stable, Turns: p.Turns, Schema: schema, Strict: strict,
		Temperature: ag.Temperature, MaxTokens: ag.MaxTokens, Settings: ag.Settings, CacheKey: string(ag.ID),
	}}
	model, v, f := q.run(ctx, append([]string{ag.Model}, ag.Fallbacks...))
	if f != nil {
		f.InputTokens, f.OutputTokens, f.Latency = q.in, q.out, q.latency
		return Answer{}, f
	}
	return Answer{
		Output: v.Output, Notes: v.Notes, Model: model, InputTokens: q.in, OutputTokens: q.out,
		Latency: q.latency, Stop: stopReason(ag, &v.Output), Memory: v.Memory,
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
