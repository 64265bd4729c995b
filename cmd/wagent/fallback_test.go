package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/cmd/wagent/internal/config"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

// spare gives the agent of acc_a a model of a second provider, and a text to
// fall back on where both fail.
func spare(c *config.Config) {
	c.Providers["spare"] = c.Providers["fake"]
	c.Agents[0].Fallbacks = []string{"spare/backup"}
	c.Agents[0].FallbackReply = "A colleague will answer you."
}

// first answers for the agent's own model with r, for any other as echo does.
func first(r llmtest.Reply) func(llmtest.Request) llmtest.Reply {
	return func(q llmtest.Request) llmtest.Reply {
		if q.Model == "model" {
			return r
		}
		return echo(q)
	}
}

// gauge returns a metric's value for a provider.
func (w *world) gauge(name, provider string) float64 {
	w.Helper()
	families, err := w.app.registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == provider {
				return m.GetGauge().GetValue()
			}
		}
	}
	w.Fatalf("there is no %s of %s", name, provider)
	return 0
}

func TestAnotherProvidersModelAnswersInItsPlace(t *testing.T) {
	tests := map[string]struct {
		reply llmtest.Reply
		after time.Duration // from the end of the window to the reply, with up to tol more
		tol   time.Duration
		note  string
	}{
		"where the first is down":         {llmtest.Reply{Status: 503, Code: "x"}, 3200 * time.Millisecond, 1600 * time.Millisecond, "fake/model gave no answer: fake answered 503 (x) (3 tries)"},
		"where the first says nothing":    {llmtest.Reply{Fault: llmtest.Hang}, 30 * time.Second, 0, "fake/model gave no answer: the model did not answer in time"},
		"where the first refuses our key": {llmtest.Reply{Status: 401, Code: "invalid_api_key"}, 0, 0, "fake/model gave no answer: fake answered 401 (invalid_api_key)"},
		"where the first filters":         {llmtest.Reply{FinishReason: "content_filter"}, 0, 0, "fake/model gave no answer: the model refused"},
		"where the first is cut short":    {llmtest.Reply{Text: "{", FinishReason: "length"}, 0, 0, "fake/model gave no answer: the model's answer was longer than max_tokens"},
		"where the first talks nonsense":  {llmtest.Reply{Text: "no"}, 0, 0, "fake/model gave no answer: the model's answer was not valid, nor was its repair: the answer must be one complete JSON object"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, spare, first(tt.reply), func(w *world) {
				w.post("acc_a", ada.Text("wamid.1", "hello"))
				w.at(5 * time.Minute)
				sent := w.graph.Sent()
				if len(sent) != 1 || sent[0].Text != "re: hello" {
					w.Fatalf("customers got %v", w.sent())
				}
				if late := sent[0].At.Sub(w.start) - 10*time.Second - tt.after; late < 0 || late > tt.tol {
					w.Errorf("the answer came %v later than it should", late)
				}
				run := w.runs("acc_a")[0]
				if run.Status != gateway.RunCompleted || run.Model != "spare/backup" {
					w.Errorf("the run is %s, answered by %s", run.Status, run.Model)
				}
				if diff := cmp.Diff([]string{tt.note}, run.Notes); diff != "" {
					w.Errorf("notes (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestWhereNoModelAnswersACustomerHearsSoOnce(t *testing.T) {
	down := func(llmtest.Request) llmtest.Reply { return llmtest.Reply{Status: 400, Code: "model_not_found"} }
	inWorld(t, spare, down, func(w *world) {
		w.post("acc_a", ada.Text("wamid.1", "hello"))
		w.at(5 * time.Minute)
		w.want("10s 4915550001 A colleague will answer you.")
		run := w.runs("acc_a")[0]
		const want = "fake/model gave no answer: fake answered 400 (model_not_found); spare/backup gave no answer: spare answered 400 (model_not_found)"
		if run.Status != gateway.RunFailed || run.StopReason != gateway.StopLLMError || run.Error != want {
			w.Errorf("the run is %s, %s: %s", run.Status, run.StopReason, run.Error)
		}
	})
}

// TestARefusedKeyCostsNobodyAnAnswer has fifty customers within ten minutes.
func TestARefusedKeyCostsNobodyAnAnswer(t *testing.T) {
	const customers = 50
	inWorld(t, spare, first(llmtest.Reply{Status: 401, Code: "invalid_api_key"}), func(w *world) {
		var want []string
		for i := range customers {
			w.at(time.Duration(i) * 12 * time.Second)
			c := graphtest.Customer{Phone: fmt.Sprint(4915560000 + i), Name: "C"}
			w.post("acc_a", c.Text(fmt.Sprint("wamid.", i), fmt.Sprint("m", i)))
			want = append(want, fmt.Sprintf("%v %s re: m%d", time.Duration(i)*12*time.Second+10*time.Second, c.Phone, i))
		}
		w.at(11 * time.Minute)
		w.want(want...)
		var asked []time.Duration
		for _, r := range w.model.Requests() {
			if r.Model == "model" {
				asked = append(asked, r.At.Sub(w.start))
			}
		}
		if len(asked) > customers/2 {
			w.Errorf("the provider that refuses our key was asked %d times", len(asked))
		}
		for i := 1; i < len(asked); i++ {
			if asked[i]-asked[i-1] < 30*time.Second {
				w.Errorf("it was asked at %v, and again at %v", asked[i-1], asked[i])
			}
		}
		if w.gauge("wagent_llm_provider_unauthorized", "fake") != 1 || w.gauge("wagent_llm_provider_unauthorized", "spare") != 0 {
			w.Error("the gauges do not say so")
		}
	})
}

func TestAnActionsTimeIsThatOfTheBusiness(t *testing.T) {
	answer := strings.Replace(output("Done.", "", "204").Text, `"room":"204"`, `"at":"2026-07-01 14:30"`, 1)
	inWorld(t, func(c *config.Config) {
		c.Accounts[0].TimeZone = "Europe/Paris"
		c.Agents[0].PayloadSchema = []gateway.Field{{Name: "at", Type: gateway.FieldDateTime, Required: true}}
	}, llmtest.Queue(llmtest.Reply{Text: answer}), func(w *world) {
		w.post("acc_a", ada.Text("wamid.1", "tomorrow at half past two"))
		w.at(time.Minute)
		run := w.runs("acc_a")[0]
		if len(run.Actions) != 1 || run.Actions[0].Payload["at"] != "2026-07-01T14:30:00+02:00" {
			w.Errorf("actions %v, notes %q", run.Actions, run.Notes)
		}
		hooks := w.hooks.events(gateway.EventAction)
		if !slices.ContainsFunc(hooks, func(h hook) bool { return strings.Contains(fmt.Sprint(h.data), "2026-07-01T14:30:00+02:00") }) {
			w.Errorf("the webhook was told %v", hooks)
		}
	})
}

// TestASpentLimitIsSaidOnce: the customer reads what the agent says in place of
// an answer, and then a person has the conversation for an hour.
func TestASpentLimitIsSaidOnce(t *testing.T) {
	inWorld(t, func(c *config.Config) {
		spare(c)
		c.Agents[0].Spend.RunsPerHour = 1
	}, echo, func(w *world) {
		for i, text := range []string{"one", "two", "three"} {
			w.at(time.Duration(i) * time.Minute)
			w.post("acc_a", ada.Text("wamid."+text, text))
		}
		w.at(5 * time.Minute)
		w.want("10s 4915550001 re: one", "1m10s 4915550001 A colleague will answer you.")
		if told := w.hooks.events(gateway.EventPaused); len(told) != 1 {
			w.Errorf("webhooks were told of %d pauses", len(told))
		}
	})
}
