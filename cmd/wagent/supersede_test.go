package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/cmd/wagent/internal/config"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// thinking echoes after a while.
func thinking(d time.Duration) func(llmtest.Request) llmtest.Reply {
	return func(r llmtest.Request) llmtest.Reply {
		reply := echo(r)
		reply.Delay = d
		return reply
	}
}

// supersedes has newer messages call runs back so many times.
func supersedes(quiet time.Duration, most int) func(*config.Config) {
	return func(c *config.Config) {
		a := &c.Agents[0]
		a.Quiet, a.OnNewMessage, a.MaxSupersedes = quiet, gateway.Supersede, most
	}
}

// says posts a message of Ada's at a moment.
func (w *world) says(at time.Duration, text string) {
	w.Helper()
	w.at(at)
	w.post("acc_a", ada.Text("wamid."+text, text))
}

// wantRuns checks the runs of acc_a, oldest first: status, attempt and how often
// each was superseded.
func (w *world) wantRuns(want ...string) {
	w.Helper()
	var got []string
	for _, r := range w.runs("acc_a") {
		got = append(got, fmt.Sprintf("%s attempt %d superseded %d", r.Status, r.Attempt, r.Supersedes))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("runs (-want +got):\n%s", diff)
	}
}

// counter is what all series of a counter add up to.
func (w *world) counter(name string) (n float64) {
	w.Helper()
	families, err := w.app.registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

func TestANewerMessageIsAnsweredByTheSameRun(t *testing.T) {
	inWorld(t, supersedes(15*time.Second, 3), thinking(10*time.Second), func(w *world) {
		w.says(0, "first")
		w.says(20*time.Second, "second") // the model is at work from 15 s on
		w.at(20 * time.Second)
		w.wantRuns("pending attempt 0 superseded 1")
		w.at(35 * time.Second)
		w.wantRuns("running attempt 1 superseded 1")
		w.at(2 * time.Minute)
		w.want("45s 4915550001 re: first second")
		w.wantRuns("completed attempt 1 superseded 1")
		if n := w.counter("wagent_runs_superseded_total"); n != 1 {
			w.Errorf("%v runs were superseded, want 1", n)
		}
		if n := w.counter("wagent_runs_total"); n != 1 {
			w.Errorf("%v runs ended, want 1", n)
		}
		if n := len(w.hooks.events(gateway.EventRunFailed)); n != 0 {
			w.Errorf("%d times told of a failure", n)
		}
	})
}

func TestAnEndlessTalkerIsAnswered(t *testing.T) {
	inWorld(t, supersedes(3*time.Second, 3), thinking(10*time.Second), func(w *world) {
		for i := range 12 { // at 0, 5, … 55 s
			w.says(time.Duration(i)*5*time.Second, fmt.Sprint("m", i))
		}
		w.at(2 * time.Minute)
		// Called back at 5, 10 and 15 s, the first run is left alone from 18 s
		// on. What came until 28 s is due then; so it goes on.
		w.want(
			"28s 4915550001 re: m0 m1 m2 m3",
			"53s 4915550001 re: m4 m5 m6 m7 m8",
			"1m8s 4915550001 re: m9 m10 m11",
		)
		w.wantRuns("completed attempt 1 superseded 3", "completed attempt 1 superseded 3", "completed attempt 1 superseded 1")
	})
}

func TestWithoutSupersedingThereAreTwoRuns(t *testing.T) {
	for name, change := range map[string]func(*config.Config){
		"follow_up": func(c *config.Config) {
			c.Agents[0].Quiet, c.Agents[0].OnNewMessage = 15*time.Second, gateway.FollowUp
		},
		"supersede, but never": supersedes(15*time.Second, 0),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, change, thinking(10*time.Second), func(w *world) {
				w.says(0, "first")
				w.says(20*time.Second, "second")
				w.at(2 * time.Minute)
				w.want("25s 4915550001 re: first", "45s 4915550001 re: second")
				w.wantRuns("completed attempt 1 superseded 0", "completed attempt 1 superseded 0")
			})
		})
	}
}

func TestAMessageAfterTheFinishSupersedesNothing(t *testing.T) {
	inWorld(t, supersedes(10*time.Second, 3), thinking(10*time.Second), func(w *world) {
		w.says(0, "first")
		w.at(20 * time.Second) // answered just now
		w.want("20s 4915550001 re: first")
		w.says(20*time.Second, "second")
		w.at(2 * time.Minute)
		w.want("20s 4915550001 re: first", "40s 4915550001 re: second")
		w.wantRuns("completed attempt 1 superseded 0", "completed attempt 1 superseded 0")
	})
}

// lose has Redis forget everything but who it is for: the epoch changes, too.
func (w *world) lose() {
	w.Helper()
	synctest.Wait()
	if err := w.app.redis.FlushAll(w.Context()).Err(); err != nil {
		w.Fatal(err)
	}
}

func TestRedisIsLostWhileARunIsBackInPending(t *testing.T) {
	inWorld(t, supersedes(15*time.Second, 3), thinking(10*time.Second), func(w *world) {
		w.says(0, "first")
		w.says(20*time.Second, "second")
		w.at(22 * time.Second)
		w.lose()
		w.at(22 * time.Second)
		w.wantRuns("pending attempt 0 superseded 1")
		w.at(2 * time.Minute)
		w.want("45s 4915550001 re: first second") // the sweep at 30 s knows what is left of its quiet
		w.wantRuns("completed attempt 1 superseded 1")
	})
}

func TestRedisIsLostWhileTheModelIsAtWork(t *testing.T) {
	t.Run("and the newer message is known of by SQL alone", func(t *testing.T) {
		inWorld(t, supersedes(15*time.Second, 3), thinking(10*time.Second), func(w *world) {
			w.says(0, "first")
			w.at(16 * time.Second)
			w.lose() // nobody knows any more that the first is in hand
			w.says(20*time.Second, "second")
			w.at(25*time.Second - time.Millisecond)
			w.wantRuns("running attempt 1 superseded 0")
			w.at(25 * time.Second) // the model answered, and the answer went nowhere
			w.wantRuns("pending attempt 0 superseded 1")
			w.at(2 * time.Minute)
			w.want("45s 4915550001 re: first second")
			w.wantRuns("completed attempt 1 superseded 1")
			r := w.runs("acc_a")[0]
			if all := w.counter("wagent_llm_tokens_total"); all == 0 || float64(r.InputTokens+r.OutputTokens) != all {
				w.Errorf("the run cost %d and %d tokens, want all %v of both answers", r.InputTokens, r.OutputTokens, all)
			}
		})
	})
	t.Run("and does not begin to count anew", func(t *testing.T) {
		inWorld(t, supersedes(3*time.Second, 1), thinking(10*time.Second), func(w *world) {
			w.says(0, "first")
			w.says(5*time.Second, "second")
			w.at(9 * time.Second) // the second attempt began at 8 s
			w.lose()
			w.says(10*time.Second, "third")
			w.says(15*time.Second, "fourth")
			w.at(2 * time.Minute)
			if got := w.sent(); len(got) == 0 || got[0] != "18s 4915550001 re: first second" {
				w.Errorf("customers got %q", got)
			}
			if got := strings.Join(w.sent(), "\n"); strings.Count(got, "third") != 1 || strings.Count(got, "fourth") != 1 {
				w.Errorf("customers got %q", got)
			}
			if r := w.runs("acc_a")[0]; r.Supersedes != 1 || r.Status != gateway.RunCompleted {
				w.Errorf("the first run is %+v", r)
			}
		})
	})
}

// windowPath is where the window of Ada's conversation is.
const windowPath = "/api/v1/business_accounts/acc_a/conversation_windows/4915550001"

func TestAConversationHasItsOwnWindow(t *testing.T) {
	inWorld(t, nil, thinking(10*time.Second), func(w *world) {
		if code := w.call(http.MethodPut, windowPath, map[string]any{"debounce_seconds": 2, "on_new_message": "supersede"}, nil); code != http.StatusOK {
			w.Fatalf("PUT = %d", code)
		}
		w.says(0, "first")
		w.says(5*time.Second, "second")
		bob := ada
		bob.Phone = "4915550002"
		w.post("acc_a", bob.Text("wamid.bob", "as usual"))
		w.at(30 * time.Second)
		w.want("17s 4915550001 re: first second", "25s 4915550002 re: as usual")
		if code := w.call(http.MethodDelete, windowPath, nil, nil); code != http.StatusOK {
			w.Fatalf("DELETE = %d", code)
		}
		w.says(time.Minute, "third")
		w.at(2 * time.Minute)
		w.want("17s 4915550001 re: first second", "25s 4915550002 re: as usual", "1m20s 4915550001 re: third")
	})
}

func TestACommandAnswersNow(t *testing.T) {
	second := func(w *world) { w.says(11*time.Second, "second"); w.at(12 * time.Second) }
	for name, tt := range map[string]struct {
		before func(*world)
		at     time.Duration
		policy gateway.NewMessagePolicy
		waits  int
		want   []string
	}{
		"what waits": {
			func(*world) {}, 4 * time.Second, gateway.FollowUp, 1, []string{"9s 4915550001 re: first"},
		},
		"what Redis has just lost": {
			func(w *world) { w.at(3 * time.Second); w.lose() }, 4 * time.Second, gateway.FollowUp, 1, []string{"9s 4915550001 re: first"},
		},
		"what waits behind a run, when that is over": {
			second, 12 * time.Second, gateway.FollowUp, 1, []string{"15s 4915550001 re: first", "20s 4915550001 re: second"},
		},
		"what superseded a run, and what that was to answer": {
			second, 12 * time.Second, gateway.Supersede, 1, []string{"17s 4915550001 re: first second"},
		},
		"the same, though Redis has just lost it": {
			func(w *world) { second(w); w.lose() }, 12 * time.Second, gateway.Supersede, 1, []string{"17s 4915550001 re: first second"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(c *config.Config) { c.Agents[0].OnNewMessage = tt.policy }
			inWorld(t, change, thinking(5*time.Second), func(w *world) { // after 10 s of quiet
				answer := func() (code int, n float64) {
					var body struct{ Messages float64 }
					code = w.call(http.MethodPost, windowPath, nil, &body)
					return code, body.Messages
				}
				if code, _ := answer(); code != http.StatusNotFound {
					w.Errorf("where nobody wrote: POST = %d, want 404", code)
				}
				w.says(0, "first")
				tt.before(w)
				w.at(tt.at)
				if code, n := answer(); code != http.StatusAccepted || int(n) != tt.waits {
					w.Errorf("POST = %d of %v messages, want 202 of %d", code, n, tt.waits)
				}
				w.at(2 * time.Minute)
				w.want(tt.want...)
				if code, n := answer(); code != http.StatusAccepted || n != 0 {
					w.Errorf("where nothing waits: POST = %d of %v messages, want 202 of none", code, n)
				}
			})
		})
	}
}

const pausePath = "/api/v1/business_accounts/acc_a/conversation_pauses"

func TestAPauseDropsTheWindow(t *testing.T) {
	for name, tt := range map[string]struct {
		pause func(*world) // at 3 s
	}{
		"of a person over the API": {func(w *world) {
			var pause struct{ ID int }
			if code := w.call(http.MethodPost, pausePath, map[string]any{"phone_number": ada.Phone}, &pause); code != http.StatusCreated {
				w.Fatalf("POST = %d", code)
			}
			w.at(5 * time.Second)
			if code := w.call(http.MethodDelete, fmt.Sprint(pausePath, "/", pause.ID), nil, nil); code != http.StatusOK {
				w.Fatalf("DELETE = %d", code)
			}
		}},
		"whose time is over": {func(w *world) {
			found, err := w.app.store.ConversationWith(w.Context(), "acc_a", gateway.Address{Phone: "+" + ada.Phone})
			if err != nil {
				w.Fatal(err)
			}
			p := gateway.Pause{Conversation: found.ID, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(2 * time.Second)}
			editor := pausing{w.app.store, w.app.timers, slog.New(slog.DiscardHandler)}
			if err := editor.PutPause(w.Context(), &p); err != nil {
				w.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, echo, func(w *world) { // 10 s of quiet, at most 60 s
				w.says(0, "held")
				w.at(3 * time.Second)
				if n := w.waiting(); n != 1 {
					w.Fatalf("%v windows, want 1", n)
				}
				tt.pause(w)
				if n := w.waiting(); n != 0 {
					w.Errorf("%v windows after the pause, want none", n)
				}
				w.at(50 * time.Second)
				w.want()
				// Its window is a new one: not yet as old as what was held.
				for i := range 3 {
					w.says(time.Duration(50+i*8)*time.Second, fmt.Sprint("m", i))
				}
				w.at(2 * time.Minute)
				w.want("1m16s 4915550001 re: m0 m1 m2")
				w.wantRuns("completed attempt 1 superseded 0")
			})
		})
	}
}

// deaf is a Windower whose Redis does not answer, and whose client hangs up.
type deaf struct {
	gateway.Windower
	leave context.CancelFunc
}

func (d deaf) Drop(ctx context.Context, _ gateway.ConversationID) error {
	d.leave()
	<-ctx.Done()
	return ctx.Err()
}

func TestAPauseWaitsASecondForRedis(t *testing.T) {
	inWorld(t, nil, echo, func(w *world) {
		w.says(0, "held")
		found, err := w.app.store.ConversationWith(w.Context(), "acc_a", gateway.Address{Phone: "+" + ada.Phone})
		if err != nil {
			w.Fatal(err)
		}
		ctx, leave := context.WithCancel(w.Context())
		defer leave()
		p := gateway.Pause{Conversation: found.ID, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}
		err = pausing{w.app.store, deaf{leave: leave}, slog.New(slog.DiscardHandler)}.PutPause(ctx, &p)
		if took := time.Since(w.start); err != nil || took != time.Second {
			w.Errorf("PutPause = %v after %v, want nil after 1s, though the client has gone", err, took)
		}
	})
}

// waiting is how many windows there are, by Redis.
func (w *world) waiting() (n float64) {
	w.Helper()
	families, err := w.app.registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "wagent_windows" {
			for _, m := range f.GetMetric() {
				n += m.GetGauge().GetValue()
			}
		}
	}
	return n
}
