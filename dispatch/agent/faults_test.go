package agent

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// A span is the least and the most time that something takes.
type span struct{ from, to time.Duration }

var (
	atOnce  span
	retried = span{3200 * time.Millisecond, 4800 * time.Millisecond} // 1 s and 3 s, each give or take a fifth

	patiently = span{15200 * time.Millisecond, 22800 * time.Millisecond} // and 15 s
)

// told is how long somebody waits who was told how long.
func told(d time.Duration) span { return span{d, d * 6 / 5} }

func exactly(d time.Duration) span { return span{d, d} }

func (s span) check(t *testing.T, took time.Duration) {
	t.Helper()
	if took < s.from || took > s.to {
		t.Errorf("it took %v, want %v to %v", took, s.from, s.to)
	}
}

// backedUp is hotel with a second model.
func backedUp(more ...string) *gateway.Agent {
	ag := hotel()
	ag.Fallbacks = append([]string{"backup/m-2"}, more...)
	return ag
}

// TestFaultsOfProviders is what providers do wrong, over HTTP in virtual time:
// what becomes of an agent that has no other model, and of one that has.
func TestFaultsOfProviders(t *testing.T) {
	always := func(r llmtest.Reply) []llmtest.Reply { return []llmtest.Reply{r} }
	once := func(r llmtest.Reply) []llmtest.Reply { return []llmtest.Reply{r, {Text: good}} }
	status := func(n int, code string) llmtest.Reply {
		return llmtest.Reply{Status: n, Code: code, Message: secret + key}
	}
	after := func(when string) llmtest.Reply {
		r := status(429, "rate_limit_exceeded")
		r.Header = http.Header{"Retry-After": {when}}
		return r
	}
	const (
		tries    = " (4 tries)"
		inTime   = "the model did not answer in time"
		limited  = "openai answered 429 (rate_limit_exceeded)"
		brokeOff = "openai broke off in the middle of its answer"
		noObject = "the model's answer was not valid, nor was its repair: the answer must be one complete JSON object"
	)
	llmError := gateway.StopLLMError
	tests := map[string]struct {
		replies []llmtest.Reply // the first model's; the last one is repeated
		// Alone: how often it is asked, how long that takes, and how it ends.
		n    int
		took span
		stop gateway.StopReason // empty: with an answer
		msg  string
		// With a second model that answers: how often the first one is asked, and
		// how long it takes. The second one's answer is taken unless reason is empty.
		fallN    int
		fallTook span
		reason   string
	}{
		"nothing until the deadline":          {always(llmtest.Reply{Fault: llmtest.Hang}), 1, exactly(time.Minute), llmError, inTime, 1, exactly(30 * time.Second), outcomeTimeout},
		"limited for 3 seconds":               {once(after("3")), 2, told(3 * time.Second), "", "", 2, told(3 * time.Second), ""},
		"limited for 20 seconds":              {once(after("20")), 2, told(20 * time.Second), "", "", 1, atOnce, outcomeRateLimited},
		"limited past the deadline":           {once(after("3600")), 1, atOnce, llmError, limited, 1, atOnce, outcomeRateLimited},
		"limited until a date in 3 seconds":   {once(after("Sat, 01 Jan 2000 00:00:03 GMT")), 2, told(3 * time.Second), "", "", 2, told(3 * time.Second), ""},
		"limited until a date in 20 seconds":  {once(after("Sat, 01 Jan 2000 00:00:20 GMT")), 2, told(20 * time.Second), "", "", 1, atOnce, outcomeRateLimited},
		"limited, who knows how long":         {always(status(429, "rate_limit_exceeded")), 4, patiently, llmError, limited + tries, 3, retried, outcomeRateLimited},
		"status 500":                          {always(status(500, "server_error")), 4, patiently, llmError, "openai answered 500 (server_error)" + tries, 3, retried, outcomeUnavailable},
		"status 502":                          {always(status(502, "")), 4, patiently, llmError, "openai answered 502 (invalid_request_error)" + tries, 3, retried, outcomeUnavailable},
		"status 503":                          {always(status(503, "x")), 4, patiently, llmError, "openai answered 503 (x)" + tries, 3, retried, outcomeUnavailable},
		"status 529":                          {always(status(529, "overloaded_error")), 4, patiently, llmError, "openai answered 529 (overloaded_error)" + tries, 3, retried, outcomeUnavailable},
		"a connection cut in the middle":      {always(llmtest.Reply{Fault: llmtest.Cut, Text: good}), 4, patiently, llmError, brokeOff + tries, 3, retried, outcomeUnavailable},
		"a connection cut in the middle once": {once(llmtest.Reply{Fault: llmtest.Cut, Text: good}), 2, span{800 * time.Millisecond, 1200 * time.Millisecond}, "", "", 2, span{800 * time.Millisecond, 1200 * time.Millisecond}, ""},
		"200 with a page of a proxy's":        {always(llmtest.Reply{Fault: llmtest.Garbage}), 4, patiently, llmError, "openai answered 200 with what is no JSON object" + tries, 3, retried, outcomeUnavailable},
		"200 with nothing":                    {always(llmtest.Reply{Fault: llmtest.Empty}), 4, patiently, llmError, "openai answered 200 with what is no JSON object" + tries, 3, retried, outcomeUnavailable},
		"200 without choices":                 {always(llmtest.Reply{Fault: llmtest.NoChoices}), 4, patiently, llmError, "openai answered 200 without choices" + tries, 3, retried, outcomeUnavailable},
		"200 with 5 MiB":                      {always(llmtest.Reply{Fault: llmtest.Huge}), 4, patiently, llmError, "openai answered 200 with more than 4 MiB" + tries, 3, retried, outcomeUnavailable},
		"a wrong key":                         {always(status(401, "invalid_api_key")), 1, atOnce, llmError, "openai answered 401 (invalid_api_key)", 1, atOnce, outcomeUnauthorized},
		"no money":                            {always(status(402, "insufficient_balance")), 1, atOnce, llmError, "openai answered 402 (insufficient_balance)", 1, atOnce, outcomeUnauthorized},
		"a key that may not":                  {always(status(403, "permission_error")), 1, atOnce, llmError, "openai answered 403 (permission_error)", 1, atOnce, outcomeUnauthorized},
		"no such model":                       {always(status(404, "model_not_found")), 1, atOnce, llmError, "openai answered 404 (model_not_found)", 1, atOnce, outcomeInvalid},
		"a setting that it refuses":           {always(status(400, "unsupported_value")), 1, atOnce, llmError, "openai answered 400 (unsupported_value)", 1, atOnce, outcomeInvalid},
		"a prompt that its filter stops":      {always(status(400, "content_filter")), 1, atOnce, llmError, "the model refused", 1, atOnce, outcomeRefused},
		"an answer that its filter stops":     {always(llmtest.Reply{FinishReason: "content_filter"}), 1, atOnce, llmError, "the model refused", 1, atOnce, outcomeRefused},
		"a refusal":                           {always(llmtest.Reply{Refusal: "no " + secret}), 1, atOnce, llmError, "the model refused", 1, atOnce, outcomeRefused},
		"an answer cut short":                 {always(llmtest.Reply{Text: good[:40], FinishReason: "length"}), 1, atOnce, gateway.StopMaxTokens, "the model's answer was longer than max_tokens", 1, atOnce, outcomeTruncated},
		"an answer that stays wrong":          {always(llmtest.Reply{Text: "no"}), 2, atOnce, gateway.StopInvalidResponse, noObject, 2, atOnce, outcomeInvalidAnswer},
	}
	for name, tt := range tests {
		t.Run(name+", alone", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := inBubble(t, &llmtest.Server{Answer: llmtest.Queue(tt.replies...)})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				_, err := b.Answer(ctx, hotel(), ask())
				tt.took.check(t, time.Since(start))
				if n := len(b.server.Requests()); n != tt.n {
					t.Errorf("%d requests, want %d", n, tt.n)
				}
				if tt.stop != "" {
					checkFailure(t, err, tt.stop, tt.msg)
				} else if err != nil {
					t.Error(err)
				}
				b.tellsNothing(t)
			})
		})
		t.Run(name+", with another model", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := inBubble(t, &llmtest.Server{Answer: llmtest.Queue(tt.replies...)})
				backup := &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: good})}
				b.provider(t, "backup", backup)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				got, err := b.Answer(ctx, backedUp(), ask())
				if err != nil {
					t.Fatal(err)
				}
				tt.fallTook.check(t, time.Since(start))
				wantModel, wantNotes, wantBackup := "openai/m-1", []string(nil), 0
				if tt.reason != "" {
					msg := tt.msg
					if msg == "" {
						msg = limited // what it is alone after having waited
					}
					wantModel, wantNotes, wantBackup = "backup/m-2", []string{"openai/m-1 gave no answer: " + strings.Replace(msg, "4 tries", "3 tries", 1)}, 1
					if n := testutil.ToFloat64(b.metrics.fallbacks.WithLabelValues("openai", "m-1", tt.reason)); n != 1 {
						t.Errorf("%v fallbacks are counted for reason %s, want 1", n, tt.reason)
					}
				}
				if got.Model != wantModel || got.Output.SuggestedReply != "Sure" {
					t.Errorf("%s answered %q, want %s", got.Model, got.Output.SuggestedReply, wantModel)
				}
				if diff := cmp.Diff(wantNotes, got.Notes); diff != "" {
					t.Errorf("notes (-want +got):\n%s", diff)
				}
				if n, m := len(b.server.Requests()), len(backup.Requests()); n != tt.fallN || m != wantBackup {
					t.Errorf("%d requests to the first, %d to the second, want %d and %d", n, m, tt.fallN, wantBackup)
				}
				if p := slices.Concat(b.server.Problems(), backup.Problems()); len(p) > 0 {
					t.Errorf("problems: %q", p)
				}
				b.tellsNothing(t)
			})
		})
	}
}

// tellsNothing checks that the log has neither keys nor a customer's words.
func (b *bench) tellsNothing(t *testing.T) {
	t.Helper()
	for _, no := range []string{key, secret} {
		if strings.Contains(b.log.String(), no) {
			t.Errorf("the log tells %q:\n%s", no, b.log)
		}
	}
}

func TestModelsAreAskedInTheirOrder(t *testing.T) {
	down := &gateway.Error{Kind: gateway.Invalid, Msg: "it does not want to"}
	tests := map[string]struct {
		fails    map[string]error // by handle; the others answer
		truncate string           // the handle of one whose answer is cut short
		want     []string         // handles that were asked
		stop     gateway.StopReason
		msg      string
		notes    []string
	}{
		"the first answers": {want: []string{"a/1"}},
		"the second answers": {
			fails: map[string]error{"a/1": down}, want: []string{"a/1", "b/2"},
			notes: []string{"a/1 gave no answer: it does not want to"},
		},
		"the third answers": {
			fails: map[string]error{"a/1": down, "b/2": errors.New("odd")}, want: []string{"a/1", "b/2", "a/3"},
			notes: []string{"a/1 gave no answer: it does not want to", "b/2 gave no answer: the model failed"},
		},
		"none answers": {
			fails: map[string]error{"a/1": down, "b/2": errors.New("odd"), "a/3": down}, want: []string{"a/1", "b/2", "a/3"},
			stop: gateway.StopLLMError,
			msg:  "a/1 gave no answer: it does not want to; b/2 gave no answer: the model failed; a/3 gave no answer: it does not want to",
		},
		"an answer of no use tells more than none": {
			fails: map[string]error{"a/1": down, "a/3": down}, truncate: "b/2", want: []string{"a/1", "b/2", "a/3"},
			stop: gateway.StopMaxTokens,
			msg:  "a/1 gave no answer: it does not want to; b/2 gave no answer: the model's answer was longer than max_tokens; a/3 gave no answer: it does not want to",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var asked []string
			r := registry{}
			for _, provider := range []string{"a", "b"} {
				r[provider] = generating(func(_ context.Context, r llm.Request) (llm.Response, error) {
					handle := provider + "/" + r.Model
					asked = append(asked, handle)
					return llm.Response{Text: good, Truncated: handle == tt.truncate, InputTokens: 10, OutputTokens: 1}, tt.fails[handle]
				})
			}
			b := overTCP(t, &llmtest.Server{})
			b.models = r
			ag := hotel()
			ag.Model, ag.Fallbacks = "a/1", []string{"b/2", "a/3"}
			got, err := b.Answer(t.Context(), ag, ask())
			if diff := cmp.Diff(tt.want, asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if tt.stop != "" {
				f := checkFailure(t, err, tt.stop, tt.msg)
				if want := 10 * min(len(tt.truncate), 1); f.InputTokens != want {
					t.Errorf("%d tokens, want %d", f.InputTokens, want)
				}
				if tt.truncate != "" && f.Model != tt.truncate {
					t.Errorf("the failure is of %q, want %s", f.Model, tt.truncate)
				}
				return
			}
			if err != nil || got.Model != tt.want[len(tt.want)-1] {
				t.Errorf("%q answered, %v", got.Model, err)
			}
			if diff := cmp.Diff(tt.notes, got.Notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}

// generating is a model that is a function.
type generating func(context.Context, llm.Request) (llm.Response, error)

func (g generating) Generate(ctx context.Context, r llm.Request) (llm.Response, error) {
	return g(ctx, r)
}

func TestAnUnknownModelIsPassedOver(t *testing.T) {
	b := overTCP(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: good})})
	ag := hotel()
	ag.Model, ag.Fallbacks = "acme/x", []string{"openai/m-1"}
	got, err := b.Answer(t.Context(), ag, ask())
	if err != nil || got.Model != "openai/m-1" {
		t.Fatalf("%q, %v", got.Model, err)
	}
	if diff := cmp.Diff([]string{"acme/x gave no answer: no provider is called acme"}, got.Notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if n := testutil.ToFloat64(b.metrics.fallbacks.WithLabelValues(unknown, unknown, outcomeInvalid)); n != 1 {
		t.Errorf("%v fallbacks are counted", n)
	}
}

// TestEachModelLeavesTimeForTheNext has three models that say nothing: the
// first one is given half of the time, the second half of the rest.
func TestEachModelLeavesTimeForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var asked []time.Duration
		hang := generating(func(ctx context.Context, _ llm.Request) (llm.Response, error) {
			asked = append(asked, time.Since(start))
			<-ctx.Done()
			return llm.Response{}, &gateway.Error{Kind: gateway.Unavailable, Msg: "x", Err: ctx.Err()}
		})
		b := inBubble(t, &llmtest.Server{})
		b.registry["a"], b.registry["backup"] = hang, hang
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ag := backedUp("a/3")
		ag.Model = "a/1"
		_, err := b.Answer(ctx, ag, ask())
		const late = " gave no answer: the model did not answer in time"
		checkFailure(t, err, gateway.StopLLMError, "a/1"+late+"; backup/m-2"+late+"; a/3"+late)
		if diff := cmp.Diff([]time.Duration{0, 30 * time.Second, 45 * time.Second}, asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		exactly(time.Minute).check(t, time.Since(start))
	})
}

func TestACancelledRunAsksNoOtherModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inBubble(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Fault: llmtest.Hang})})
		backup := &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: good})}
		b.provider(t, "backup", backup)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := b.Answer(ctx, backedUp(), ask())
		checkFailure(t, err, gateway.StopCancelled, "the run was cancelled")
		if n := len(backup.Requests()); n != 0 {
			t.Errorf("the second model got %d requests", n)
		}
	})
}

func TestSettingsReachEachModel(t *testing.T) {
	var got []llm.Request
	m := generating(func(_ context.Context, r llm.Request) (llm.Response, error) {
		got = append(got, r)
		return llm.Response{Text: good, Refused: len(got) == 1}, nil
	})
	b := overTCP(t, &llmtest.Server{})
	b.registry["openai"], b.registry["backup"] = m, m
	ag := backedUp()
	ag.Settings = gateway.ModelSettings{ReasoningEffort: "low", ThinkingBudget: 5}
	if _, err := b.Answer(t.Context(), ag, ask()); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"m-1", "m-2"} {
		if got[i].Model != name || got[i].Settings != ag.Settings || got[i].MaxTokens != ag.MaxTokens || got[i].Temperature != ag.Temperature {
			t.Errorf("request %d: %+v", i, got[i])
		}
	}
}
