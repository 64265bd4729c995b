package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"wagent/dispatch/agent/check"
	"wagent/dispatch/llm"
	"wagent/gateway"
)

// backoff is what is waited before the second and the third try, unless the
// provider says how long; there is no fourth.
var backoff = [...]time.Duration{time.Second, 3 * time.Second}

// A talk is one Answer's exchange with a model, and what it cost so far.
type talk struct {
	*Answerer
	model          llm.Model
	provider, name string
	in, out        int
	latency        time.Duration
}

func (t *talk) handle() string { return t.provider + "/" + t.name }

// ask makes a request, again where that may help, and checks the answer. Its
// error is a Failure.
func (t *talk) ask(ctx context.Context, c *check.Checker, r llm.Request) (string, check.Verdict, error) {
	for try := 0; ; try++ {
		resp, err := t.generate(ctx, r)
		if err == nil {
			return t.judge(c, &resp)
		}
		wait, again := t.retry(ctx, err, try)
		if !again {
			return "", check.Verdict{}, failure(ctx, err, try+1)
		}
		t.log.WarnContext(ctx, "model request is repeated", "provider", t.provider, "model", t.name,
			"kind", gateway.KindOf(err), "reason", clientText(err, "unclassified"), "try", try+1, "wait", wait)
		if err := sleep(ctx, wait); err != nil {
			return "", check.Verdict{}, failure(ctx, err, try+1)
		}
	}
}

// generate makes one request, and counts it if it fails.
func (t *talk) generate(ctx context.Context, r llm.Request) (llm.Response, error) {
	start := time.Now()
	resp, err := t.model.Generate(ctx, r)
	took := time.Since(start)
	t.latency += took
	t.metrics.durations.WithLabelValues(t.provider, t.name).Observe(took.Seconds())
	if err != nil {
		t.count(failedOutcome(ctx, err))
		return resp, err
	}
	in, out := max(resp.InputTokens, 0), max(resp.OutputTokens, 0)
	t.in += in
	t.out += out
	t.metrics.tokens.WithLabelValues("input").Add(float64(in))
	t.metrics.tokens.WithLabelValues("output").Add(float64(out))
	return resp, nil
}

// judge counts what a model answered, by what it is worth.
func (t *talk) judge(c *check.Checker, resp *llm.Response) (string, check.Verdict, error) {
	switch {
	case resp.Refused:
		t.count(outcomeRefused)
		return "", check.Verdict{}, &Failure{Stop: gateway.StopLLMError, Msg: "the model refused"}
	case resp.Truncated:
		t.count(outcomeTruncated)
		return "", check.Verdict{}, &Failure{Stop: gateway.StopMaxTokens, Msg: "the model's answer was longer than max_tokens"}
	}
	v := c.Check(resp.Text)
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

// retry says whether a failed request is made again, and when. It is not if
// ctx would end first: then there is nothing to wait for.
func (t *talk) retry(ctx context.Context, err error, try int) (time.Duration, bool) {
	kind := gateway.KindOf(err)
	if ctx.Err() != nil || try >= len(backoff) || kind != gateway.RateLimited && kind != gateway.Unavailable {
		return 0, false
	}
	// ±20 %, so that the runs that failed together do not come back together.
	wait := time.Duration(float64(backoff[try]) * (0.8 + 0.4*rand.Float64()))
	if e, ok := errors.AsType[*gateway.Error](err); ok && e.RetryAfter > 0 {
		wait = e.RetryAfter
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return 0, false
	}
	return wait, true
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
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return &Failure{Stop: gateway.StopCancelled, Msg: "the run was cancelled", Err: context.Cause(ctx)}
	case ctx.Err() != nil:
		return &Failure{Stop: gateway.StopLLMError, Msg: "the model did not answer in time", Err: err}
	}
	msg := clientText(err, "the model failed")
	if tries > 1 {
		msg += fmt.Sprintf(" (%d tries)", tries)
	}
	return &Failure{Stop: gateway.StopLLMError, Msg: msg, Err: err}
}

func failedOutcome(ctx context.Context, err error) string {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return outcomeCancelled
	case ctx.Err() != nil:
		return outcomeTimeout
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
	default:
		return outcomeInternal
	}
}
