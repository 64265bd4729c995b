package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wagent/debounce"
	"wagent/dispatch"
	"wagent/dispatch/agent"
	"wagent/gateway"
)

// superseding lets newer messages call a run back, so many times.
func superseding(most int) func(*settings) {
	return func(s *settings) {
		s.agent.OnNewMessage, s.agent.MaxSupersedes = gateway.Supersede, most
		s.agent.FallbackReply = fallback
	}
}

// both makes settings of several changes.
func both(changes ...func(*settings)) func(*settings) {
	return func(s *settings) {
		for _, c := range changes {
			c(s)
		}
	}
}

// callBack handles a conversation's batch as debounce does, and returns what
// calls it back.
func (r *rig) callBack(id gateway.ConversationID) (done <-chan error, recall func()) {
	ctx, cancel := context.WithCancelCause(r.Context())
	return r.begin(ctx, id), func() { cancel(debounce.ErrRecalled) }
}

// unharmed checks that superseding left no trace but its count.
func (r *rig) unharmed(times float64) {
	r.Helper()
	r.counts("wagent_runs_superseded_total", map[string]float64{"": times})
	for _, bad := range []string{"level=ERROR", "level=WARN", "failed"} {
		if n := r.log.count(bad); n != 0 {
			r.Errorf("%q stands in the log %d times", bad, n)
		}
	}
}

// deaf answers after a while, whatever its context says.
func deaf(d time.Duration, then script) script {
	return func(ctx context.Context, n int) (agent.Answer, error) {
		time.Sleep(d)
		return then(ctx, n)
	}
}

func TestARecallReturnsTheRunToPending(t *testing.T) {
	for name, tt := range map[string]struct {
		first  script
		ended  time.Duration
		tokens int
	}{
		"an agent that heeds its context is cancelled":             {after(time.Minute, says("too late")), 12 * time.Second, 0},
		"what it cost until then is counted":                       {after(time.Minute, fails(nil)), 12 * time.Second, 9},
		"one that does not is not heard, and counted all the same": {deaf(time.Minute, says("too late")), time.Minute, 7},
	} {
		t.Run(name, func(t *testing.T) {
			first := tt.first
			if tt.tokens == 9 {
				first = func(ctx context.Context, _ int) (agent.Answer, error) {
					<-ctx.Done()
					return agent.Answer{}, &agent.Failure{Stop: gateway.StopLLMError, Msg: "cancelled", Err: ctx.Err(), InputTokens: 9}
				}
			}
			var working, stopped atomic.Int32
			shown := func(s *settings) {
				s.parts = func(p *dispatch.Parts) {
					p.Working = func(context.Context, *gateway.Claim) func() { working.Add(1); return func() { stopped.Add(1) } }
				}
			}
			inRig(t, inTurn(first, says("hello")), both(superseding(3), shown), func(r *rig) {
				m := r.write(ada, "one")
				done, recall := r.callBack(m.Conversation)
				r.at(12 * time.Second)
				r.write(ada, "two")
				recall()
				if err := <-done; !errors.Is(err, debounce.ErrRecalled) || time.Since(r.start) != tt.ended {
					t.Errorf("after %v Handle = %v, want %v after %v", time.Since(r.start), err, debounce.ErrRecalled, tt.ended)
				}
				x := r.run(gateway.RunPending, "", 0)
				if x.Supersedes != 1 || x.InputTokens != tt.tokens || !x.StartedAt.IsZero() {
					t.Errorf("the run is %+v", x)
				}
				r.says(m.Conversation)
				r.tells(x.ID)
				r.unharmed(1)
				if working.Load() != 1 || stopped.Load() != 1 {
					t.Errorf("the customer saw %d answers begin and %d end", working.Load(), stopped.Load())
				}
				r.write(ada, "three")
				must(t, r.handle(r.Context(), m.Conversation))
				x = r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
				if x.InputTokens != tt.tokens+7 || x.OutputTokens < 5 {
					t.Errorf("the run cost %d and %d tokens", x.InputTokens, x.OutputTokens)
				}
				r.says(m.Conversation, "run 0 hello")
				last := r.model.questions()[1]
				if a, b, c := strings.Index(last, "one"), strings.LastIndex(last, "two"), strings.LastIndex(last, "three"); a < 0 || b < a || c < b {
					t.Errorf("the agent read %q", last)
				}
				r.unharmed(1)
				if working.Load() != 2 || stopped.Load() != 2 {
					t.Errorf("the customer saw %d answers begin and %d end", working.Load(), stopped.Load())
				}
			})
		})
	}
}

func TestAMessageAfterTheAnswerSupersedesToo(t *testing.T) {
	for name, tt := range map[string]struct {
		first  script
		tokens int
	}{
		"the answer":         {after(10*time.Second, says("too late")), 14},
		"a failure, in turn": {after(10*time.Second, fails(&agent.Failure{Stop: gateway.StopLLMError, Msg: "no", InputTokens: 2})), 9},
	} {
		t.Run(name, func(t *testing.T) {
			var rearmed []string
			var r *rig
			watch := func(s *settings) {
				s.parts = func(p *dispatch.Parts) {
					p.Rearm = func(ctx context.Context, id gateway.ConversationID) (int, error) {
						rearmed = append(rearmed, fmt.Sprint(time.Since(r.start), " ", id, " ", ctx.Err()))
						return 1, nil
					}
				}
			}
			inRig(t, inTurn(tt.first, says("hello")), both(superseding(3), watch), func(in *rig) {
				r = in
				m := r.write(ada, "one")
				done := r.begin(r.Context(), m.Conversation)
				r.at(8 * time.Second)
				r.write(ada, "two") // and nobody hears of it
				if err := <-done; !errors.Is(err, debounce.ErrRecalled) {
					t.Errorf("Handle = %v, want %v", err, debounce.ErrRecalled)
				}
				equal(t, "brought into the window", rearmed, []string{fmt.Sprint("10s ", m.Conversation, " <nil>")})
				x := r.run(gateway.RunPending, "", 0)
				r.says(m.Conversation)
				r.tells(x.ID)
				r.counts("wagent_runs_superseded_total", map[string]float64{"": 1})
				r.counts("wagent_runs_total", map[string]float64{})
				must(t, r.handle(r.Context(), m.Conversation))
				x = r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
				if x.InputTokens != tt.tokens {
					t.Errorf("the run cost %d tokens, want %d", x.InputTokens, tt.tokens)
				}
				r.says(m.Conversation, "run 0 hello")
			})
		})
	}
}

func TestSupersedingIsNoFailedAttempt(t *testing.T) {
	inRig(t, deaf(time.Second, says("hello")), superseding(20), func(r *rig) { // 3 attempts
		m := r.write(ada, "one")
		for i := range 10 {
			done, recall := r.callBack(m.Conversation)
			recall()
			if err := <-done; !errors.Is(err, debounce.ErrRecalled) {
				t.Fatalf("the %d. time Handle = %v", i+1, err)
			}
		}
		must(t, r.handle(r.Context(), m.Conversation))
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
		r.says(m.Conversation, "run 0 hello")
		r.unharmed(10)
	})
}

func TestARecallThatMayNotBeComesAgain(t *testing.T) {
	for name, tt := range map[string]struct{ change func(*settings) }{
		"often enough":             {superseding(0)},
		"an agent that follows up": {func(*settings) {}},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, inTurn(after(time.Minute, says("too late")), says("hello")), tt.change, func(r *rig) {
				m := r.write(ada, "one")
				done, recall := r.callBack(m.Conversation)
				r.write(ada, "two")
				recall()
				if err := <-done; err == nil {
					t.Error("Handle = nil, want an error")
				}
				r.run(gateway.RunRunning, "", 1)
				must(t, r.d.Handle(r.Context(), debounce.Batch{Key: string(m.Conversation), Items: []string{string(m.ID)}}))
				r.run(gateway.RunCompleted, gateway.StopEndTurn, 2) // its lease was let go
				r.says(m.Conversation, "run 0 hello")
				r.counts("wagent_runs_superseded_total", map[string]float64{})
			})
		})
	}
}

func TestARecallAfterTheFinishIsTooLate(t *testing.T) {
	var recall func()
	late := func(s *settings) {
		s.parts = func(p *dispatch.Parts) {
			db := p.Runs
			p.Runs = &runStore{RunStore: db, finish: func(ctx context.Context, f *gateway.Finish) error {
				if err := db.FinishRun(ctx, f); err != nil {
					return err
				}
				recall()
				return ctx.Err() // the answer is cut off
			}}
		}
	}
	inRig(t, after(time.Second, says("hello")), both(superseding(3), late), func(r *rig) {
		m := r.write(ada, "one")
		var done <-chan error
		done, recall = r.callBack(m.Conversation)
		if err := <-done; err != nil {
			t.Errorf("Handle = %v, want nil: the batch is over", err)
		}
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
		r.says(m.Conversation, "run 0 hello")
		if r.sent.Load() == 0 || r.delivered.Load() == 0 {
			t.Error("nobody was told to send")
		}
		r.counts("wagent_runs_superseded_total", map[string]float64{})
	})
}

func TestASupersededRunThatCanNotBeLetGo(t *testing.T) {
	away := func(s *settings) {
		s.parts = func(p *dispatch.Parts) {
			p.Runs = &runStore{RunStore: p.Runs, supersede: func(context.Context, *gateway.Run) (bool, error) { return false, errAway }}
		}
	}
	inRig(t, inTurn(after(time.Minute, says("too late")), says("hello")), both(superseding(3), away), func(r *rig) {
		m := r.write(ada, "one")
		done, recall := r.callBack(m.Conversation)
		r.write(ada, "two")
		recall()
		if err := <-done; err == nil {
			t.Error("Handle = nil, want an error")
		}
		r.run(gateway.RunRunning, "", 1)
		must(t, r.handle(r.Context(), m.Conversation))
		x := r.run(gateway.RunCompleted, gateway.StopEndTurn, 2) // the claim superseded it
		if x.Supersedes != 1 {
			t.Errorf("it was superseded %d times, want once", x.Supersedes)
		}
	})
}

// Two replicas share Redis and the database; either may have a batch, and either
// may take a message in.
func TestTheOtherReplicasMessageSupersedes(t *testing.T) {
	inRig(t, after(9*time.Second, says("hello")), superseding(3), func(r *rig) {
		r.whole()
		m := r.write(ada, "one")
		must(t, r.timers.Add(r.Context(), &m, r.agent.Window(&gateway.Windowing{})))
		r.at(15 * time.Second) // in hand since 10 s, until 19 s
		other, timers := r.replica()
		r.serve(func(ctx context.Context) error { return other.Run(ctx, r.d.Handle) })
		second := r.write(ada, "two")
		must(t, timers.Add(r.Context(), &second, r.agent.Window(&gateway.Windowing{})))
		synctest.Wait()
		if x := r.run(gateway.RunPending, "", 0); x.Supersedes != 1 {
			t.Errorf("the run is %+v", x)
		}
		r.at(34*time.Second - time.Millisecond) // 10 s of quiet, and 9 s to answer
		r.says(m.Conversation)
		r.at(34 * time.Second)
		r.says(m.Conversation, "run 0 hello")
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
		r.unharmed(1)
	})
}

func TestANewerMessageThatNoWindowKnows(t *testing.T) {
	inRig(t, after(9*time.Second, says("hello")), superseding(3), func(r *rig) {
		r.whole()
		m := r.write(ada, "one")
		must(t, r.timers.Add(r.Context(), &m, r.agent.Window(&gateway.Windowing{})))
		r.at(14 * time.Second)
		r.write(ada, "two") // its Add got lost
		r.at(19 * time.Second)
		r.run(gateway.RunPending, "", 0)
		r.at(33*time.Second - time.Millisecond) // 10 s after it was written, and 9 s to answer
		r.says(m.Conversation)
		r.at(33 * time.Second)
		r.says(m.Conversation, "run 0 hello")
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
		r.unharmed(1)
	})
}

// The process dies between the return to pending and the window's end, and Redis
// with it: nothing is left but the rows.
func TestASupersededRunOfADeadProcessIsAnswered(t *testing.T) {
	for name, tt := range map[string]struct {
		newer func(r *rig, m gateway.Message)
		at    time.Duration
	}{
		"with what superseded it":               {func(*rig, gateway.Message) {}, 12 * time.Second}, // after 10 s of quiet
		"though what superseded it was deleted": {(*rig).revoke, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, says("hello"), superseding(3), func(r *rig) {
				first := r.write(ada, "one")
				c := got(r.db.ClaimRun(r.Context(), first.Conversation, lease))(t)
				r.at(2 * time.Second)
				second := r.write(ada, "two")
				if !got(r.db.SupersedeRun(r.Context(), &c.Run))(t) {
					t.Fatal("not superseded")
				}
				tt.newer(r, second)
				r.at(3 * time.Second)
				r.whole() // the next process
				if tt.at > 3*time.Second {
					r.at(tt.at - time.Millisecond)
					r.says(first.Conversation)
				}
				r.at(tt.at)
				r.says(first.Conversation, "run 0 hello")
				r.at(time.Minute)
				r.says(first.Conversation, "run 0 hello")
				if x := r.run(gateway.RunCompleted, gateway.StopEndTurn, 1); x.Supersedes != 1 || len(r.model.questions()) != 1 {
					t.Errorf("the run is %+v after %d questions", x, len(r.model.questions()))
				}
			})
		})
	}
}
