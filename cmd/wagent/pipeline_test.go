package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/cmd/wagent/internal/config"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

// These tests run the whole program in virtual time: every moment that they
// name is exact. The agents wait for 10 s of quiet, at most 60 s, at most 20
// messages.

var ada = graphtest.Customer{Phone: "4915550001", Name: "Ada"}

// echo answers with what was asked.
func echo(r llmtest.Request) llmtest.Reply { return output("re: "+asked(r), "asked: "+asked(r)) }

func (w *world) want(sent ...string) {
	w.Helper()
	if diff := cmp.Diff(sent, w.sent()); diff != "" {
		w.Errorf("customers got (-want +got):\n%s", diff)
	}
}

func TestQuietEndsABurst(t *testing.T) {
	inWorld(t, nil, echo, func(w *world) {
		for i, at := range []time.Duration{0, 3 * time.Second, 6 * time.Second} {
			w.at(at)
			w.post("acc_a", ada.Text(fmt.Sprint("wamid.", i), fmt.Sprint("m", i)))
		}
		w.at(16*time.Second - time.Millisecond)
		w.want()
		w.at(16 * time.Second)
		w.want("16s 4915550001 re: m0 m1 m2")
		w.at(5 * time.Minute)
		w.want("16s 4915550001 re: m0 m1 m2")
		if n := len(w.runs("acc_a")); n != 1 {
			w.Errorf("%d runs, want 1", n)
		}
	})
}

func TestMaxWaitEndsAnEndlessBurst(t *testing.T) {
	inWorld(t, nil, echo, func(w *world) {
		var all []string
		for i := range 8 { // at 0, 8, … 56 s
			w.at(time.Duration(i) * 8 * time.Second)
			w.post("acc_a", ada.Text(fmt.Sprint("wamid.", i), fmt.Sprint("m", i)))
			all = append(all, fmt.Sprint("m", i))
		}
		w.at(2 * time.Minute)
		w.want("1m0s 4915550001 re: " + strings.Join(all, " "))
	})
}

func TestAFullBatchGoesAtOnce(t *testing.T) {
	inWorld(t, nil, echo, func(w *world) {
		var events []graphtest.Event
		var all []string
		for i := range 20 {
			events = append(events, ada.Text(fmt.Sprint("wamid.", i), fmt.Sprint("m", i)))
			all = append(all, fmt.Sprint("m", i))
		}
		w.at(time.Second)
		w.post("acc_a", events...)
		w.at(time.Second)
		w.want("1s 4915550001 re: " + strings.Join(all, " "))
	})
}

func TestAMessageDuringARunOpensTheNextWindow(t *testing.T) {
	slow := func(r llmtest.Request) llmtest.Reply {
		reply := echo(r)
		reply.Delay = 5 * time.Second
		return reply
	}
	inWorld(t, nil, slow, func(w *world) {
		w.post("acc_a", ada.Text("wamid.1", "first"))
		w.at(12 * time.Second) // the run is at work from 10 s to 15 s
		w.post("acc_a", ada.Text("wamid.2", "second"))
		w.at(time.Minute)
		w.want("15s 4915550001 re: first", "27s 4915550001 re: second")
	})
}

func TestContextIsUsedWithinItsLifeAndForgottenAfterwards(t *testing.T) {
	remember := func(r llmtest.Request) llmtest.Reply {
		known := "nothing"
		if strings.Contains(r.Messages[0].Content, "the room is 204") {
			known = "the room"
		}
		return output("I know "+known, "the room is 204")
	}
	tenMinutes := func(c *config.Config) { c.Agents[0].ContextTTL = 10 * time.Minute }
	inWorld(t, tenMinutes, remember, func(w *world) {
		say := func(at time.Duration, id string) {
			w.at(at)
			w.post("acc_a", ada.Text(id, "hello"))
			w.at(at + 10*time.Second)
		}
		want := func(last string) {
			w.Helper()
			if got := w.sent(); got[len(got)-1] != last {
				w.Errorf("the agent says %q, want %q", got[len(got)-1], last)
			}
		}
		say(0, "wamid.1") // completed at 10 s: remembered until 10 m 10 s
		want("10s 4915550001 I know nothing")
		say(10*time.Minute-time.Millisecond, "wamid.2") // the run begins a millisecond before that
		want("10m9.999s 4915550001 I know the room")
		say(20*time.Minute-time.Millisecond, "wamid.3") // and this one just when the second is forgotten
		want("20m9.999s 4915550001 I know nothing")
		say(25*time.Minute, "wamid.4")
		want("25m10s 4915550001 I know the room")
	})
}

func TestCustomersAndAccountsNeverMix(t *testing.T) {
	const customers = 300
	number := func(i int) string { return fmt.Sprint(491700000000 + i) }
	words := func(account gateway.AccountID, i, part int) string { return fmt.Sprintf("%s-%d-%d", account, i, part) }
	inWorld(t, nil, echo, func(w *world) {
		for part := range 3 {
			for i := range customers {
				account := gateway.AccountID("acc_a")
				if i%2 == 1 {
					account = "acc_b"
				}
				id := fmt.Sprintf("wamid.%d.%d", i, part)
				person := graphtest.Customer{Phone: number(i), Name: "Customer"}
				w.post(account, person.Text(id, words(account, i, part)))
				if i%10 == 0 { // ten of them write to both of our numbers
					other := gateway.AccountID("acc_b")
					w.post(other, person.Text(id+".b", words(other, i, part)))
				}
			}
			w.at(time.Duration(part+1) * 3 * time.Second)
		}
		w.at(time.Minute)
		want := map[string]int{}
		for i := range customers {
			for _, account := range []gateway.AccountID{"acc_a", "acc_b"} {
				if (account == "acc_b") == (i%2 == 1) || account == "acc_b" && i%10 == 0 {
					want[fmt.Sprintf("%s > %s re: %s %s %s", numbers[account].PhoneNumberID, number(i),
						words(account, i, 0), words(account, i, 1), words(account, i, 2))]++
				}
			}
		}
		got := map[string]int{}
		for _, s := range w.graph.Sent() {
			got[fmt.Sprintf("%s > %s %s", s.PhoneNumberID, s.To, s.Text)]++
			if at := s.At.Sub(w.start); at != 16*time.Second {
				w.Errorf("a reply after %v, want 16s", at)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("replies (-want +got):\n%s", diff)
		}
		if a, b := len(w.runs("acc_a")), len(w.runs("acc_b")); a != 150 || b != 180 {
			w.Errorf("%d and %d runs, want 150 and 180", a, b)
		}
	})
}

func TestActionsReachTheirWebhook(t *testing.T) {
	act := func(llmtest.Request) llmtest.Reply { return output("On it.", "", "204", "205") }
	t.Run("at once", func(t *testing.T) {
		inWorld(t, nil, act, func(w *world) {
			w.post("acc_a", ada.Text("wamid.1", "clean both"))
			w.at(10 * time.Second)
			w.want("10s 4915550001 On it.")
			got := w.hooks.events(gateway.EventAction)
			if len(got) != 2 || got[0].at.Sub(w.start) != 10*time.Second {
				w.Fatalf("deliveries = %v", got)
			}
		})
	})
	t.Run("again after failures, under the same id, while the reply does not wait", func(t *testing.T) {
		runsOnly := func(c *config.Config) {
			c.Webhooks[0].Events = []string{gateway.EventRunCompleted, gateway.EventAction}
		}
		inWorld(t, runsOnly, act, func(w *world) {
			w.hooks.answer = func(n int) int {
				if n < 6 { // the three events of the run, twice
					return http.StatusInternalServerError
				}
				return http.StatusOK
			}
			w.post("acc_a", ada.Text("wamid.1", "clean both"))
			w.at(time.Minute)
			w.want("10s 4915550001 On it.")
			ids := map[string]bool{}
			for _, h := range w.hooks.events(gateway.EventAction) {
				ids[h.id] = true
				// 1 s and 5 s after the first attempt, each ±20 %
				if after := h.at.Sub(w.start) - 10*time.Second; after < 4800*time.Millisecond || after > 7200*time.Millisecond {
					w.Errorf("delivered %v after the run", after)
				}
			}
			if len(ids) != 2 {
				w.Errorf("%d actions were delivered, want 2", len(ids))
			}
		})
	})
	t.Run("when a person confirmed them, and not those that expired", func(t *testing.T) {
		confirm := func(c *config.Config) { c.Agents[0].Confirm = true }
		inWorld(t, confirm, act, func(w *world) {
			w.post("acc_a", ada.Text("wamid.1", "clean both"))
			w.at(time.Minute)
			if got := w.hooks.events(gateway.EventAction); len(got) != 0 {
				w.Fatalf("dispatched before it was confirmed: %v", got)
			}
			run := w.runs("acc_a")[0]
			path := "/api/v1/agents/" + run.Agent.String() + "/runs/" + string(run.ID) + "/actions"
			decide := func(index int) int {
				return w.call(http.MethodPost, path, map[string]any{"actions": []any{map[string]any{"index": index, "status": "confirmed"}}}, nil)
			}
			if code := decide(1); code != http.StatusOK {
				w.Fatalf("confirming = %d", code)
			}
			if code := decide(1); code != http.StatusConflict {
				w.Errorf("confirming twice = %d, want 409", code)
			}
			w.at(31 * time.Minute) // the first action's time is over since 30 min 10 s
			got := w.hooks.events(gateway.EventAction)
			if len(got) != 1 || got[0].data["index"] != 1.0 {
				w.Errorf("dispatched: %v", got)
			}
			actioned := w.hooks.events(gateway.EventRunActioned)
			if len(actioned) != 1 || actioned[0].at.Sub(w.start) != 30*time.Minute+10*time.Second {
				w.Errorf("told that all were decided: %v", actioned)
			}
			if code := decide(0); code != http.StatusConflict {
				w.Errorf("confirming what expired = %d, want 409", code)
			}
		})
	})
}

func TestACustomerNeverReadsAProvidersError(t *testing.T) {
	valid := output("fine", "")
	bad := func(text string) llmtest.Reply { return llmtest.Reply{Text: text} }
	tests := map[string]struct {
		answer   func(llmtest.Request) llmtest.Reply
		fallback string
		want     []string
		stop     gateway.StopReason
	}{
		"429, then an answer":              {llmtest.Queue(llmtest.Reply{Status: 429, Header: http.Header{"Retry-After": {"3"}}}, valid), "", []string{"13s 4915550001 fine"}, gateway.StopEndTurn},
		"429 for ever":                     {llmtest.Queue(llmtest.Reply{Status: 429}), "", nil, gateway.StopLLMError},
		"500 for ever":                     {llmtest.Queue(llmtest.Reply{Status: 500}), "", nil, gateway.StopLLMError},
		"garbage":                          {llmtest.Queue(llmtest.Reply{Fault: llmtest.Garbage}), "", nil, gateway.StopLLMError},
		"a wrong schema":                   {llmtest.Queue(bad(`{"intent": 7}`)), "", nil, gateway.StopInvalidResponse},
		"a wrong schema, then a right one": {llmtest.Queue(bad(`{"intent": 7}`), valid), "", []string{"10s 4915550001 fine"}, gateway.StopEndTurn},
		"nothing for a minute":             {llmtest.Queue(llmtest.Reply{Fault: llmtest.Hang}), "", nil, gateway.StopLLMError},
		"a fallback is said":               {llmtest.Queue(llmtest.Reply{Fault: llmtest.Hang}), "A colleague will answer you.", []string{"1m10s 4915550001 A colleague will answer you."}, gateway.StopLLMError},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(c *config.Config) { c.Agents[0].FallbackReply = tt.fallback }, tt.answer, func(w *world) {
				w.post("acc_a", ada.Text("wamid.1", "hello"))
				w.at(5 * time.Minute)
				sent := w.sent()
				for i := range sent { // whoever is told to wait waits a little longer
					sent[i] = regexp.MustCompile(`\.\d+s `).ReplaceAllString(sent[i], "s ")
				}
				if diff := cmp.Diff(tt.want, sent); diff != "" {
					w.Errorf("customers got (-want +got):\n%s", diff)
				}
				runs := w.runs("acc_a")
				if len(runs) != 1 || runs[0].StopReason != tt.stop {
					w.Fatalf("runs = %+v", runs)
				}
				if failed := runs[0].Status == gateway.RunFailed; failed != (tt.stop != gateway.StopEndTurn) || failed && runs[0].Error == "" {
					w.Errorf("the run is %s: %q", runs[0].Status, runs[0].Error)
				}
				if n := len(w.hooks.events(gateway.EventRunFailed)); (n == 1) != (runs[0].Status == gateway.RunFailed) {
					w.Errorf("%d times told of the failure", n)
				}
			})
		})
	}
}

func TestAnActionThatIsNotAllowedNeverLeaves(t *testing.T) {
	wild := strings.Replace(output("ok", "", "204").Text, "hotel.room.clean", "bank.account.empty", 1)
	inWorld(t, nil, llmtest.Queue(llmtest.Reply{Text: wild}), func(w *world) {
		w.post("acc_a", ada.Text("wamid.1", "hello"))
		w.at(5 * time.Minute)
		if got := w.hooks.events(gateway.EventAction); len(got) != 0 {
			w.Errorf("dispatched: %v", got)
		}
		run := w.runs("acc_a")[0]
		if run.Status == gateway.RunCompleted && (len(run.Output.Actions) != 0 || len(run.Notes) == 0) {
			w.Errorf("the run holds %v with notes %q", run.Output.Actions, run.Notes)
		}
	})
}

// What an endpoint answers to an action reaches the customer, and the next run: under
// the rules that an agent's own words keep to.
func TestAnEndpointsAnswerReachesTheCustomerAndTheNextRun(t *testing.T) {
	var read []string
	answer := func(r llmtest.Request) llmtest.Reply {
		read = append(read, r.Messages[0].Content)
		if asked(r) == "clean 204" {
			return output("I ask for it.", "204 is to be cleaned", "204")
		}
		return output("re: "+asked(r), "thanked")
	}
	inWorld(t, nil, answer, func(w *world) {
		w.hooks.says = func(data map[string]any) string {
			if data["type"] != "hotel.room.clean" {
				return `{"reply":"Nobody asked for this."}` // it is no action
			}
			return `{"result":{"ticket":"T-7"},"reply":"Somebody comes at nine."}`
		}
		w.post("acc_a", ada.Text("wamid.1", "clean 204"))
		w.at(time.Minute)
		w.want("10s 4915550001 I ask for it.", "10s 4915550001 Somebody comes at nine.")
		w.post("acc_a", ada.Text("wamid.2", "thanks"))
		w.at(2 * time.Minute)
		if len(read) != 2 || strings.Contains(read[0], "T-7") || !strings.Contains(read[1], `"result":{"ticket":"T-7"}`) || !strings.Contains(read[1], "What came of actions") {
			w.Errorf("%d prompts were read, the last one is\n%s", len(read), read[len(read)-1])
		}
		w.want("10s 4915550001 I ask for it.", "10s 4915550001 Somebody comes at nine.", "1m10s 4915550001 re: thanks")

		// A person takes the conversation over while the endpoint thinks.
		run := w.runs("acc_a")[0]
		if run.Actions[0].AnsweredBy == 0 || string(run.Actions[0].Result) != `{"ticket":"T-7"}` {
			w.Errorf("the action is %+v", run.Actions[0])
		}
		paused := false
		w.hooks.says = func(data map[string]any) string {
			if data["type"] != "hotel.room.clean" {
				return `{}`
			}
			paused = true
			if err := w.app.store.PutPause(w.Context(), &gateway.Pause{Conversation: run.Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}); err != nil {
				w.Error(err)
			}
			return `{"reply":"Too late."}`
		}
		w.post("acc_a", ada.Text("wamid.3", "clean 204"))
		w.at(5 * time.Minute)
		if n := len(w.runs("acc_a")); !paused || n != 3 {
			w.Errorf("there are %d runs, the endpoint was asked: %v", n, paused)
		}
		for _, sent := range w.sent() {
			if strings.Contains(sent, "Too late.") {
				w.Errorf("sent into a pause: %s", sent)
			}
		}
	})
}
