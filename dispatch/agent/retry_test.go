package agent

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// TestRetries tells how long an answer takes when the provider has a bad day,
// over HTTP in virtual time.
func TestRetries(t *testing.T) {
	after := func(status int, seconds string) llmtest.Reply {
		return llmtest.Reply{Status: status, Code: "x", Header: http.Header{"Retry-After": {seconds}}}
	}
	ok, limited, down := llmtest.Reply{Text: good}, llmtest.Reply{Status: 429, Code: "x"}, llmtest.Reply{Status: 503, Code: "x"}
	tests := map[string]struct {
		replies  []llmtest.Reply
		timeout  time.Duration
		wantFrom time.Duration // the least and the most time until the end
		wantTo   time.Duration
		wantN    int                // requests
		wantStop gateway.StopReason // empty: an answer
		wantMsg  string
		outcome  string
	}{
		"down once":                       {replies: []llmtest.Reply{down, ok}, wantFrom: 800 * time.Millisecond, wantTo: 1200 * time.Millisecond, wantN: 2, outcome: outcomeUnavailable},
		"down twice":                      {replies: []llmtest.Reply{down, limited, ok}, wantFrom: 3200 * time.Millisecond, wantTo: 4800 * time.Millisecond, wantN: 3, outcome: outcomeRateLimited},
		"down for good":                   {replies: []llmtest.Reply{down}, wantFrom: 15200 * time.Millisecond, wantTo: 22800 * time.Millisecond, wantN: 4, wantStop: gateway.StopLLMError, wantMsg: "openai answered 503 (x) (4 tries)", outcome: outcomeUnavailable},
		"limited for seven seconds":       {replies: []llmtest.Reply{after(429, "7"), ok}, wantFrom: 7 * time.Second, wantTo: 8400 * time.Millisecond, wantN: 2, outcome: outcomeRateLimited},
		"down for a second and a third":   {replies: []llmtest.Reply{after(503, "1"), after(503, "2"), ok}, wantFrom: 3 * time.Second, wantTo: 3600 * time.Millisecond, wantN: 3, outcome: outcomeUnavailable},
		"limited past the deadline":       {replies: []llmtest.Reply{after(429, "61"), ok}, wantN: 1, wantStop: gateway.StopLLMError, wantMsg: "openai answered 429 (x)", outcome: outcomeRateLimited},
		"limited until the deadline":      {replies: []llmtest.Reply{after(429, "60"), ok}, wantN: 1, wantStop: gateway.StopLLMError, wantMsg: "openai answered 429 (x)", outcome: outcomeRateLimited},
		"down, with no time to wait":      {replies: []llmtest.Reply{down, ok}, timeout: 500 * time.Millisecond, wantN: 1, wantStop: gateway.StopLLMError, wantMsg: "openai answered 503 (x)", outcome: outcomeUnavailable},
		"garbage once":                    {replies: []llmtest.Reply{{Fault: llmtest.Garbage}, ok}, wantFrom: 800 * time.Millisecond, wantTo: 1200 * time.Millisecond, wantN: 2, outcome: outcomeUnavailable},
		"cut in the middle once":          {replies: []llmtest.Reply{{Fault: llmtest.Cut, Text: good}, ok}, wantFrom: 800 * time.Millisecond, wantTo: 1200 * time.Millisecond, wantN: 2, outcome: outcomeUnavailable},
		"no choices for good":             {replies: []llmtest.Reply{{Fault: llmtest.NoChoices}}, wantFrom: 15200 * time.Millisecond, wantTo: 22800 * time.Millisecond, wantN: 4, wantStop: gateway.StopLLMError, wantMsg: "openai answered 200 without choices (4 tries)", outcome: outcomeUnavailable},
		"a wrong key is not tried again":  {replies: []llmtest.Reply{{Status: 401, Code: "invalid_api_key", Message: key}, ok}, wantN: 1, wantStop: gateway.StopLLMError, wantMsg: "openai answered 401 (invalid_api_key)", outcome: outcomeUnauthorized},
		"no money is not waited for":      {replies: []llmtest.Reply{{Status: 429, Code: "insufficient_quota"}, ok}, wantN: 1, wantStop: gateway.StopLLMError, wantMsg: "openai answered 429 (insufficient_quota)", outcome: outcomeUnauthorized},
		"a bad request is not repeated":   {replies: []llmtest.Reply{{Status: 400, Code: "invalid_value", Message: secret}, ok}, wantN: 1, wantStop: gateway.StopLLMError, wantMsg: "openai answered 400 (invalid_value)", outcome: outcomeInvalid},
		"nothing for a minute":            {replies: []llmtest.Reply{{Fault: llmtest.Hang}}, wantFrom: time.Minute, wantTo: time.Minute, wantN: 1, wantStop: gateway.StopLLMError, wantMsg: "the model did not answer in time", outcome: outcomeTimeout},
		"an answer just in time":          {replies: []llmtest.Reply{{Text: good, Delay: 59 * time.Second}}, wantFrom: 59 * time.Second, wantTo: 59 * time.Second, wantN: 1, outcome: outcomeOK},
		"an answer that is too long":      {replies: []llmtest.Reply{{Text: good[:40], FinishReason: "length"}, ok}, wantN: 1, wantStop: gateway.StopMaxTokens, wantMsg: "the model's answer was longer than max_tokens", outcome: outcomeTruncated},
		"a refusal":                       {replies: []llmtest.Reply{{Refusal: "I can't talk about " + secret}, ok}, wantN: 1, wantStop: gateway.StopLLMError, wantMsg: "the model refused", outcome: outcomeRefused},
		"a filter":                        {replies: []llmtest.Reply{{FinishReason: "content_filter"}, ok}, wantN: 1, wantStop: gateway.StopLLMError, wantMsg: "the model refused", outcome: outcomeRefused},
		"a bad answer while it goes down": {replies: []llmtest.Reply{{Text: "no"}, down, ok}, wantFrom: 800 * time.Millisecond, wantTo: 1200 * time.Millisecond, wantN: 3, outcome: outcomeUnavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := inBubble(t, &llmtest.Server{Answer: llmtest.Queue(tt.replies...)})
				if tt.timeout == 0 {
					tt.timeout = time.Minute
				}
				ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
				defer cancel()
				start := time.Now()
				got, err := b.Answer(ctx, hotel(), ask())
				if took := time.Since(start); took < tt.wantFrom || took > tt.wantTo {
					t.Errorf("it took %v, want %v to %v", took, tt.wantFrom, tt.wantTo)
				}
				if n := len(b.server.Requests()); n != tt.wantN {
					t.Errorf("%d requests, want %d", n, tt.wantN)
				}
				if tt.wantStop != "" {
					f := checkFailure(t, err, tt.wantStop, tt.wantMsg)
					if f.Model != "openai/m-1" {
						t.Errorf("model = %q", f.Model)
					}
				} else if err != nil || got.Output.SuggestedReply != "Sure" {
					t.Errorf("%+v, %v", got.Output, err)
				}
				if b.requests(tt.outcome) == 0 {
					t.Errorf("no request is counted as %s", tt.outcome)
				}
				for _, no := range []string{key, secret} {
					if strings.Contains(b.log.String(), no) {
						t.Errorf("the log tells %q:\n%s", no, b.log)
					}
				}
			})
		})
	}
}

func TestLatencyIsTheModelsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inBubble(t, &llmtest.Server{Answer: llmtest.Queue(
			llmtest.Reply{Status: 503, Delay: time.Second, Header: http.Header{"Retry-After": {"10"}}},
			llmtest.Reply{Text: good, Delay: 2 * time.Second},
		)})
		got, err := b.Answer(t.Context(), hotel(), ask())
		if err != nil || got.Latency != 3*time.Second {
			t.Errorf("latency = %v, %v; want 3s", got.Latency, err)
		}
	})
}

func TestCancelledRun(t *testing.T) {
	over := errors.New("a newer message came")
	tests := map[string]llmtest.Reply{
		"while the model thinks":      {Fault: llmtest.Hang},
		"while it is waited to retry": {Status: 429, Header: http.Header{"Retry-After": {"30"}}},
	}
	for name, reply := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := inBubble(t, &llmtest.Server{Answer: llmtest.Queue(reply)})
				ctx, cancel := context.WithCancelCause(t.Context())
				start := time.Now()
				time.AfterFunc(5*time.Second, func() { cancel(over) })
				_, err := b.Answer(ctx, hotel(), ask())
				checkFailure(t, err, gateway.StopCancelled, "the run was cancelled")
				if !errors.Is(err, over) || time.Since(start) != 5*time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		})
	}
}

// A broken is a model that fails in a way that no provider of ours does.
type broken struct{ err error }

func (m broken) Generate(context.Context, llm.Request) (llm.Response, error) {
	return llm.Response{InputTokens: -5}, m.err
}

func TestUnclassifiedErrorIsNotShown(t *testing.T) {
	b := overTCP(t, &llmtest.Server{})
	b.registry["openai"] = broken{errors.New("internal detail")}
	_, err := b.Answer(t.Context(), hotel(), ask())
	checkFailure(t, err, gateway.StopLLMError, "the model failed")
	if b.requests(outcomeInternal) != 1 {
		t.Error("it is not counted")
	}
}

func TestNegativeTokensCountNothing(t *testing.T) {
	b := overTCP(t, &llmtest.Server{})
	b.registry["openai"] = broken{}
	_, err := b.Answer(t.Context(), hotel(), ask())
	if f := checkFailure(t, err, gateway.StopInvalidResponse, ""); f.InputTokens != 0 {
		t.Errorf("%d tokens", f.InputTokens)
	}
}
