package agent

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// outage is a provider that answers as its reply says, with another behind it.
type outage struct {
	*bench
	backup *llmtest.Server

	mu    sync.Mutex
	reply llmtest.Reply
}

// says changes what it answers from now on.
func (o *outage) says(r llmtest.Reply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reply = r
}

func (o *outage) answer(llmtest.Request) llmtest.Reply {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reply
}

func newOutage(t *testing.T, reply llmtest.Reply) *outage {
	t.Helper()
	o := &outage{reply: reply, backup: &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Text: good})}}
	o.bench = inBubble(t, &llmtest.Server{Answer: o.answer})
	o.provider(t, "backup", o.backup)
	return o
}

// run answers once, and returns which model did, how often openai was asked for
// it and how long it took.
func (o *outage) run(t *testing.T, ag *gateway.Agent) (model string, asked int, took time.Duration, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	before, start := len(o.server.Requests()), time.Now()
	got, err := o.Answer(ctx, ag, ask())
	return got.Model, len(o.server.Requests()) - before, time.Since(start), err
}

func TestAProviderThatIsDownCostsNobodyTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, llmtest.Reply{Status: 503, Code: "x"})
		for range 2 { // three requests of the first run and two of the second
			if model, _, took, err := o.run(t, backedUp()); model != "backup/m-2" || err != nil || took == 0 {
				t.Fatalf("%q after %v, %v", model, took, err)
			}
		}
		time.Sleep(4 * time.Second) // so that it would not be long to wait
		for range 50 {
			model, asked, took, err := o.run(t, backedUp())
			if model != "backup/m-2" || asked != 0 || took != 0 || err != nil {
				t.Fatalf("%q after %d requests and %v, %v", model, asked, took, err)
			}
		}
		if n := testutil.ToFloat64(o.metrics.fallbacks.WithLabelValues("openai", "m-1", outcomeNotAsked)); n != 50 {
			t.Errorf("%v runs are counted that did not ask, want 50", n)
		}
		if n := strings.Count(o.log.String(), "failed too often"); n != 1 {
			t.Errorf("the log says so %d times:\n%s", n, o.log)
		}

		// It comes back, and one run finds out.
		time.Sleep(15 * time.Second)
		o.says(llmtest.Reply{Text: good})
		if model, asked, _, err := o.run(t, backedUp()); model != "openai/m-1" || asked != 1 || err != nil {
			t.Errorf("%q after %d requests, %v", model, asked, err)
		}
		if o.tellsNothing(t); !strings.Contains(o.log.String(), "answers again") {
			t.Errorf("the log does not say that it is back:\n%s", o.log)
		}
	})
}

func TestAProviderThatIsDownIsWaitedForWhereThereIsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, llmtest.Reply{Status: 503, Code: "x"})
		if _, asked, _, err := o.run(t, hotel()); asked != 4 {
			t.Fatalf("%d requests, %v", asked, err)
		}
		// The fifth failure is this run's first: before its next requests it waits
		// for the circuit.
		_, asked, took, err := o.run(t, hotel())
		checkFailure(t, err, gateway.StopLLMError, "openai answered 503 (x) (3 tries)")
		if asked != 3 {
			t.Errorf("%d requests", asked)
		}
		span{10 * time.Second, outageWait}.check(t, took)

		// And now it comes back while the next run waits.
		time.AfterFunc(2*time.Second, func() { o.says(llmtest.Reply{Text: good}) })
		model, asked, took, err := o.run(t, hotel())
		if model != "openai/m-1" || asked != 1 || err != nil {
			t.Errorf("%q after %d requests, %v", model, asked, err)
		}
		span{2 * time.Second, 12 * time.Second}.check(t, took)
	})
}

// answers has so many runs ask at once, each with a minute, and returns how many were
// answered.
func (b *bench) answers(t *testing.T, runs int) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var answered atomic.Int64
	var all sync.WaitGroup
	for range runs {
		all.Go(func() {
			if _, err := b.Answer(ctx, hotel(), ask()); err == nil {
				answered.Add(1)
			}
		})
	}
	all.Wait()
	return answered.Load()
}

// TestALoneRunIsAsPatient has one, of which no circuit knows anything.
func TestALoneRunIsAsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(15 * time.Second)
		b := inBubble(t, &llmtest.Server{Answer: func(llmtest.Request) llmtest.Reply {
			if time.Now().Before(back) {
				return llmtest.Reply{Fault: llmtest.Cut, Text: good}
			}
			return llmtest.Reply{Text: good}
		}})
		if b.answers(t, 1) != 1 {
			t.Error("it gave up")
		}
	})
}

// TestWhoWasToldTheSameTimeComesBackSpread has a provider that serves 50 of 200 runs
// each seven seconds, and tells all others to come back in seven.
func TestWhoWasToldTheSameTimeComesBackSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		served := map[int64]int{}
		begin := time.Now()
		b := inBubble(t, &llmtest.Server{Answer: func(llmtest.Request) llmtest.Reply {
			mu.Lock()
			defer mu.Unlock()
			window := int64(time.Since(begin) / (7 * time.Second))
			if served[window]++; served[window] > 50 {
				return llmtest.Reply{Status: 429, Code: "x", Header: http.Header{"Retry-After": {"7"}}}
			}
			return llmtest.Reply{Text: good}
		}})
		if n := b.answers(t, 200); n != 200 {
			t.Errorf("%d runs of 200 were answered", n)
		}
	})
}

// TestABlipCostsNoAnswers has 200 runs before a model that takes 5 seconds when all
// their connections are cut, and the provider is gone for a while.
func TestABlipCostsNoAnswers(t *testing.T) {
	for name, away := range map[string]time.Duration{"for a moment": 0, "for a second": time.Second, "for ten seconds": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cut := time.Now().Add(2 * time.Second)
				b := inBubble(t, &llmtest.Server{Answer: func(llmtest.Request) llmtest.Reply {
					switch now := time.Now(); {
					case now.Before(cut):
						return llmtest.Reply{Delay: cut.Sub(now), Fault: llmtest.Cut, Text: good}
					case now.Before(cut.Add(away)):
						return llmtest.Reply{Fault: llmtest.Cut, Text: good}
					}
					return llmtest.Reply{Delay: 5 * time.Second, Text: good}
				}})
				if n := b.answers(t, 200); n < 199 {
					t.Errorf("%d runs of 200 were answered", n)
				}
			})
		})
	}
}

// TestWhoIsInAHurrySaysNothingOfAProvider has 50 runs, a second apart, whose router
// and summariser do not wait for their model, and whose agent does.
func TestWhoIsInAHurrySaysNothingOfAProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inBubble(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{Delay: 22 * time.Second, Text: good})})
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				for _, patience := range []time.Duration{5 * time.Second, 20 * time.Second} {
					hasty, cancel := context.WithTimeout(t.Context(), patience)
					_, err := b.Once(hasty, "openai/m-1", llm.Request{Turns: ask().Turns, MaxTokens: 10})
					cancel()
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("error = %v, want its deadline", err)
					}
				}
				if _, err := b.Answer(t.Context(), hotel(), ask()); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(time.Second)
		}
		all.Wait()
		const want = `
			# HELP wagent_llm_provider_open 1 while a provider of models, or one of its models, is hardly asked, since it failed again and again; else 0.
			# TYPE wagent_llm_provider_open gauge
			wagent_llm_provider_open{provider="openai"} 0
		`
		if err := testutil.GatherAndCompare(b.reg, strings.NewReader(want), "wagent_llm_provider_open"); err != nil {
			t.Error(err)
		}
	})
}

func TestALimitIsAskedAgainWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, llmtest.Reply{Status: 429, Code: "x", Header: http.Header{"Retry-After": {"30"}}})
		ag := backedUp("openai/m-1-small")
		ag.Fallbacks = []string{"openai/m-1-small", "backup/m-2"}
		// Each model has its own limit: both are asked, once.
		if model, asked, took, err := o.run(t, ag); model != "backup/m-2" || asked != 2 || took != 0 || err != nil {
			t.Errorf("%q after %d requests and %v, %v", model, asked, took, err)
		}
		if model, asked, took, err := o.run(t, ag); model != "backup/m-2" || asked != 0 || took != 0 || err != nil {
			t.Errorf("%q after %d requests and %v, %v", model, asked, took, err)
		}
		time.Sleep(10 * time.Second)
		o.says(llmtest.Reply{Text: good})
		// Who has no other model waits for its turn, which is no try.
		model, asked, took, err := o.run(t, hotel())
		if model != "openai/m-1" || asked != 1 || err != nil {
			t.Errorf("%q after %d requests, %v", model, asked, err)
		}
		span{20 * time.Second, 24 * time.Second}.check(t, took)
		if testutil.ToFloat64(o.metrics.fallbacks.WithLabelValues("openai", "m-1", outcomeRateLimited)) != 1 {
			t.Error("the first run's reason is not counted")
		}
	})
}

// TestWaitingForALimitIsNoTry has requests under way that come back limited one
// after the other, so that the time to come back is put off again and again.
func TestWaitingForALimitIsNoTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, llmtest.Reply{Text: good})
		for i := range 5 {
			go func() {
				_ = o.circuits.Do(t.Context(), "openai", "m-1", func() error {
					time.Sleep(time.Duration(i)*7*time.Second + time.Millisecond)
					return &gateway.Error{Kind: gateway.RateLimited, Msg: "x", RetryAfter: 8 * time.Second}
				})
			}()
		}
		time.Sleep(time.Second)
		model, asked, took, err := o.run(t, hotel())
		if model != "openai/m-1" || asked != 1 || err != nil {
			t.Errorf("%q after %d requests, %v", model, asked, err)
		}
		span{35 * time.Second, 38 * time.Second}.check(t, took)
	})
}

func TestARefusedKeyIsOneAlertForAllRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, llmtest.Reply{Status: 401, Code: "invalid_api_key", Message: key})
		total := 0
		for range 200 {
			model, asked, took, err := o.run(t, backedUp())
			if model != "backup/m-2" || took != 0 || err != nil {
				t.Fatalf("%q after %v, %v", model, took, err)
			}
			total += asked
			time.Sleep(time.Second)
		}
		if total != 7 { // in 200 seconds: at 0, 30, … and 180
			t.Errorf("%d requests, want 7", total)
		}
		_, _, _, err := o.run(t, hotel())
		checkFailure(t, err, gateway.StopLLMError, "openai refused our key and is left alone for a moment")
		if n := strings.Count(o.log.String(), "level=ERROR"); n != 1 {
			t.Errorf("%d lines of level ERROR:\n%s", n, o.log)
		}
		want := `
			# HELP wagent_llm_provider_unauthorized 1 from when a provider of models refused our key until it takes it for each model that it refused; else 0.
			# TYPE wagent_llm_provider_unauthorized gauge
			wagent_llm_provider_unauthorized{provider="backup"} 0
			wagent_llm_provider_unauthorized{provider="openai"} 1
		`
		if err := testutil.GatherAndCompare(o.reg, strings.NewReader(want), "wagent_llm_provider_unauthorized"); err != nil {
			t.Error(err)
		}

		o.says(llmtest.Reply{Text: good})
		time.Sleep(30 * time.Second)
		model, _, _, err := o.run(t, backedUp())
		if model != "openai/m-1" || err != nil {
			t.Errorf("%q, %v", model, err)
		}
		if err := testutil.GatherAndCompare(o.reg, strings.NewReader(strings.Replace(want, "} 1", "} 0", 1)), "wagent_llm_provider_unauthorized"); err != nil {
			t.Error(err)
		}
		o.tellsNothing(t)
	})
}

// TestAPromptThatAFirewallDoesNotLike has one customer who writes what the
// provider's firewall answers with a page and 403: the others have their answers.
func TestAPromptThatAFirewallDoesNotLike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inBubble(t, &llmtest.Server{Answer: func(r llmtest.Request) llmtest.Reply {
			if strings.Contains(r.Messages[len(r.Messages)-1].Content, "<script>") {
				return llmtest.Reply{Status: 403, Message: "Forbidden"}
			}
			return llmtest.Reply{Text: good}
		}})
		bad := ask()
		bad.Turns[0].Text = "<script>"
		for range 20 {
			for range 2 {
				_, err := b.Answer(t.Context(), hotel(), bad)
				checkFailure(t, err, gateway.StopLLMError, "openai answered 403 (invalid_request_error)")
			}
			if _, err := b.Answer(t.Context(), hotel(), ask()); err != nil {
				t.Fatal(err)
			}
		}
		if strings.Contains(b.log.String(), "refuses our key") {
			t.Errorf("the log blames the key:\n%s", b.log)
		}
	})
}

// TestAnAnswerThatTheServerRefusesToPassOn is repaired like any that is not valid,
// whatever the model quotes in it.
func TestAnAnswerThatTheServerRefusesToPassOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := inBubble(t, &llmtest.Server{Answer: llmtest.Queue(llmtest.Reply{
			Status: 400, Code: "json_validate_failed", Message: "Failed to generate JSON.", Text: "insufficient balance: " + secret,
		}, llmtest.Reply{Text: good})})
		got, err := b.Answer(t.Context(), hotel(), ask())
		if err != nil || got.Output.SuggestedReply != "Sure" {
			t.Fatalf("%+v, %v", got, err)
		}
		asked := b.server.Requests()
		if len(asked) != 2 || !strings.Contains(asked[1].Messages[2].Content, "insufficient balance") {
			t.Errorf("%d requests, want the answer sent back", len(asked))
		}
		if told := b.log.String() + strings.Join(got.Notes, " "); strings.Contains(told, secret) || strings.Contains(told, "insufficient") {
			t.Errorf("it is repeated: %s", told)
		}
	})
}

func TestNotesOfARunThatDidNotAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutage(t, llmtest.Reply{Status: 401, Code: "x"})
		_, _, _, _ = o.run(t, backedUp())
		got, err := o.Answer(t.Context(), backedUp(), ask())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"openai/m-1 gave no answer: openai refused our key and is left alone for a moment"}, got.Notes); diff != "" {
			t.Errorf("notes (-want +got):\n%s", diff)
		}
	})
}
