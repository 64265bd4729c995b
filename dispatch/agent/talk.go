package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"wagent/context/transcript"
	"wagent/dispatch/agent/check"
	"wagent/dispatch/agent/circuit"
	"wagent/dispatch/llm"
	"wagent/gateway"
)

// backoff is what is waited before each further try, unless the provider says how
// long. The first few are all that a model gets while there is another one to ask.
var backoff = [...]time.Duration{time.Second, 3 * time.Second, 15 * time.Second}

const fewRetries = 2

// patience is how long a provider that asks for time is waited for while
// another model could be asked.
const patience = 5 * time.Second

// outageWait is how long a model is waited for that fails or is known to be down,
// where there is no other: one that is back by then answers, and with one that is not
// the customer is told so before they give up, and the run's place is another's.
const outageWait = 25 * time.Second

// A talk is an exchange with one model.
type talk struct {
	*quest
	model          llm.Model
	provider, name string
	more           bool // there is another model to ask
	spared         int  // turns that were left out, since the prompt was too long
}

func (t *talk) handle() string { return t.provider + "/" + t.name }

// ask makes a request, again where that may help, and checks the answer. Turns
// that were too many for the model are gone from r then. Its error is a
// Failure.
func (t *talk) ask(ctx context.Context, r *llm.Request) (string, check.Verdict, error) {
	var asked error     // of the last request that was made: it tells more than that none was
	tries := 0          // requests
	waited := false     // for somebody who is not asked
	var since time.Time // of the first failure
	for {
		resp, err := t.generate(ctx, r)
		if err == nil {
			return t.judge(&resp)
		}
		if gateway.KindOf(err) == gateway.TooLong && t.spared == 0 {
			if t.spared = shorten(r); t.spared > 0 {
				t.log.WarnContext(ctx, "prompt is too long and asked without its oldest turns", "provider", t.provider,
					"model", t.name, "spared", t.spared, "left", len(r.Turns))
				continue
			}
		}
		notAsked := errors.Is(err, circuit.ErrNotAsked)
		if !notAsked {
			tries++
		}
		if !notAsked || asked == nil {
			asked = err
		}
		wait, again := t.retry(ctx, err, tries)
		down := notAsked && gateway.KindOf(err) == gateway.Unavailable
		if since.IsZero() {
			since = time.Now()
		}
		if !again || (down || tries > fewRetries) && time.Since(since)+wait > outageWait {
			return "", check.Verdict{}, failure(ctx, asked, tries)
		}
		if !notAsked || !waited {
			t.log.WarnContext(ctx, "model request is repeated", "provider", t.provider, "model", t.name,
				"kind", gateway.KindOf(err), "reason", clientText(err, "unclassified"), "tries", tries, "wait", wait)
		}
		waited = notAsked
		if sleep(ctx, wait) != nil {
			return "", check.Verdict{}, failure(ctx, asked, tries)
		}
	}
}

// shorten leaves out the older half of a request's turns and returns how many
// those are: none, if none can be spared. The turn that is to be answered
// stays, and so does an answer that is being repaired.
func shorten(r *llm.Request) int {
	keep := 1
	if r.Repair {
		keep = 3
	}
	rest := len(r.Turns) - keep
	if rest < 1 {
		return 0
	}
	return spare(r, (rest+1)/2)
}

// spare leaves out the first n turns, and those of the assistant's after them, and
// returns how many those are.
func spare(r *llm.Request, n int) int {
	for n > 0 && n < len(r.Turns)-1 && r.Turns[n].Role == transcript.Assistant {
		n++ // some servers want the user to speak first
	}
	r.Turns = r.Turns[max(n, 0):]
	return max(n, 0)
}

// generate makes one request, unless it is known to be in vain, and counts it if
// it fails.
func (t *talk) generate(ctx context.Context, r *llm.Request) (llm.Response, error) {
	var resp llm.Response
	err := t.circuits.Do(ctx, t.provider, t.name, func() (err error) {
		start := time.Now()
		resp, err = t.model.Generate(ctx, *r)
		took := time.Since(start)
		t.latency += took
		t.metrics.durations.WithLabelValues(t.provider, t.name).Observe(took.Seconds())
		return err
	})
	if errors.Is(err, circuit.ErrNotAsked) {
		return resp, err
	}
	if err != nil {
		t.count(failedOutcome(ctx, err))
		return resp, err
	}
	in, out := max(resp.InputTokens, 0), max(resp.OutputTokens, 0)
	t.in += in
	t.out += out
	t.metrics.tokens.WithLabelValues("input").Add(float64(in))
	t.metrics.tokens.WithLabelValues("output").Add(float64(out))
	t.metrics.tokens.WithLabelValues("cached").Add(float64(max(resp.CachedTokens, 0)))
	return resp, nil
}

// judge counts what a model answered, by what it is worth.
func (t *talk) judge(resp *llm.Response) (string, check.Verdict, error) {
	switch {
	case resp.Refused:
		t.count(outcomeRefused)
		return "", check.Verdict{}, &Failure{Stop: gateway.StopLLMError, Msg: "the model refused", reason: outcomeRefused}
	case resp.Truncated:
		t.count(outcomeTruncated)
		return "", check.Verdict{}, &Failure{Stop: gateway.StopMaxTokens, Msg: "the model's answer was longer than max_tokens", reason: outcomeTruncated}
	}
	v := t.checker.Check(resp.Text)
	if len(v.Faults) > 0 {
		t.count(outcomeInvalidAnswer)
	} else {
		t.count(outcomeOK)
	}
	return resp.Text, v, nil
}

func (t *talk) count(outcome string) {
	t.metrics.requests.WithLabelValues(t.provider, t.name, outcome).Inc()
}

// retry says whether a request that failed is made again after so many tries, and
// when. It is not if ctx would end first: then there is nothing to wait for. Nor is
// it if there is another model to ask and this one is known to be down, or asks for
// patience. One that was not made is no try: whoever has nobody else to ask waits
// until it may be, for as long as an outage is waited for, or until ctx ends.
func (t *talk) retry(ctx context.Context, err error, tries int) (time.Duration, bool) {
	kind := gateway.KindOf(err)
	notAsked := errors.Is(err, circuit.ErrNotAsked)
	most := len(backoff)
	if t.more {
		most = fewRetries
	}
	if ctx.Err() != nil || kind != gateway.RateLimited && kind != gateway.Unavailable || !notAsked && tries > most {
		return 0, false
	}
	wait := backoff[min(max(tries, 1), len(backoff))-1]
	e, ok := errors.AsType[*gateway.Error](err)
	told := ok && e.RetryAfter > 0
	if told {
		wait = e.RetryAfter
	}
	if t.more && (notAsked || wait > patience) {
		return 0, false
	}
	left := 2 * wait // or more
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	if left <= wait {
		return 0, false
	}
	// So that the runs that failed together, or were told the same time, do not come
	// back together.
	spread := 0.2 * rand.Float64()
	if !told && !notAsked {
		spread = 0.4*rand.Float64() - 0.2
	}
	return wait + min(time.Duration(spread*float64(wait)), (left-wait)/2), true
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failure says why there is no answer after so many tries.
func failure(ctx context.Context, err error, tries int) *Failure {
	f := &Failure{Stop: gateway.StopLLMError, Err: err, reason: failedOutcome(ctx, err)}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		f.Stop, f.Msg, f.Err = gateway.StopCancelled, "the run was cancelled", context.Cause(ctx)
		return f
	case ctx.Err() != nil:
		f.Msg = "the model did not answer in time"
		return f
	case gateway.KindOf(err) == gateway.TooLong:
		f.Stop = gateway.StopTooLong
	}
	f.Msg = clientText(err, "the model failed")
	if tries > 1 {
		f.Msg += fmt.Sprintf(" (%d tries)", tries)
	}
	return f
}

func failedOutcome(ctx context.Context, err error) string {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return outcomeCancelled
	case ctx.Err() != nil:
		return outcomeTimeout
	}
	if errors.Is(err, circuit.ErrNotAsked) {
		return outcomeNotAsked
	}
	switch gateway.KindOf(err) {
	case gateway.RateLimited:
		return outcomeRateLimited
	case gateway.Unavailable:
		return outcomeUnavailable
	case gateway.Unauthorized:
		return outcomeUnauthorized
	case gateway.Invalid, gateway.NotFound:
		return outcomeInvalid
	case gateway.TooLong:
		return outcomeTooLong
	default:
		return outcomeInternal
	}
}
