package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
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
	want := map[string]float64{}
	if times > 0 {
		want[""] = times
	}
	r.counts("wagent_runs_superseded_total", want)
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

// Between the claim in Redis, the claim in SQL and the question to the model,
// too, a message finds a batch in hand, and calls it back.
func TestARecallBeforeTheModelIsAsked(t *testing.T) {
	for name, tt := range map[string]struct {
		before, during []string // written before and after the claim
		recalled       bool     // before the claim
		runs           int      // then
	}{
		"by what came after the claim":         {[]string{"one"}, []string{"two"}, false, 1},
		"by what the claim took":               {[]string{"one", "two"}, nil, false, 1},
		"before there is a run, by what waits": {[]string{"one", "two"}, nil, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var hook func()
			early := func(s *settings) {
				s.parts = func(p *dispatch.Parts) {
					p.Working = func(context.Context, *gateway.Claim) func() {
						if hook != nil {
							hook()
						}
						return func() {}
					}
				}
			}
			inRig(t, says("hello"), both(superseding(3), early), func(r *rig) {
				var m gateway.Message
				for _, text := range tt.before {
					m = r.write(ada, text)
				}
				ctx, cancel := context.WithCancelCause(r.Context())
				hook = func() {
					for _, text := range tt.during {
						r.write(ada, text)
					}
					cancel(debounce.ErrRecalled)
				}
				if tt.recalled {
					hook()
				}
				if err := r.handle(ctx, m.Conversation); err == nil {
					t.Error("Handle = nil, want an error")
				}
				hook = nil
				if n := len(r.runs()); n != tt.runs || n == 1 && r.run(gateway.RunPending, "", 0).Supersedes != 1 {
					t.Errorf("%d runs: %+v", n, r.runs())
				}
				must(t, r.handle(r.Context(), m.Conversation))
				r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
				r.says(m.Conversation, "run 0 hello")
				q := r.model.questions()
				if last := q[len(q)-1]; len(q) != 1 && tt.runs == 1 || strings.LastIndex(last, "one") < 0 || strings.LastIndex(last, "two") < strings.LastIndex(last, "one") {
					t.Errorf("the agent was asked %d times, last %q", len(q), last)
				}
				r.unharmed(float64(tt.runs))
			})
		})
	}
}

// At the commit of the claim the run is in hand, and Handle does not know yet.
func TestARecallAtTheCommitOfTheClaim(t *testing.T) {
	var recall func()
	atCommit := func(s *settings) {
		s.parts = func(p *dispatch.Parts) {
			db := p.Runs
			p.Runs = &runStore{RunStore: db, claim: func(ctx context.Context, id gateway.ConversationID, lease time.Duration) (gateway.Claim, error) {
				c, err := db.ClaimRun(ctx, id, lease)
				recall()
				if ctx.Err() != nil {
					return gateway.Claim{}, ctx.Err() // the answer is cut off
				}
				return c, err
			}}
		}
	}
	inRig(t, says("hello"), both(superseding(3), atCommit), func(r *rig) {
		m := r.write(ada, "one")
		ctx, cancel := context.WithCancelCause(r.Context())
		recall = func() { r.write(ada, "two"); cancel(debounce.ErrRecalled) }
		if err := r.handle(ctx, m.Conversation); !errors.Is(err, debounce.ErrRecalled) {
			t.Errorf("Handle = %v, want %v", err, debounce.ErrRecalled)
		}
		r.run(gateway.RunPending, "", 0)
		recall = func() {}
		must(t, r.handle(r.Context(), m.Conversation))
		if x := r.run(gateway.RunCompleted, gateway.StopEndTurn, 1); x.Supersedes != 1 || time.Since(r.start) != 0 {
			t.Errorf("after %v the run is %+v, want it superseded once and no wait for its lease", time.Since(r.start), x)
		}
		r.says(m.Conversation, "run 0 hello")
		r.unharmed(1)
	})
}

func TestAClaimThatHangsIsGivenUpAfterARecall(t *testing.T) {
	hangs := func(s *settings) {
		s.parts = func(p *dispatch.Parts) {
			p.Runs = &runStore{RunStore: p.Runs, claim: func(ctx context.Context, _ gateway.ConversationID, _ time.Duration) (gateway.Claim, error) {
				<-ctx.Done()
				return gateway.Claim{}, ctx.Err()
			}}
		}
	}
	inRig(t, says("hello"), both(superseding(3), hangs), func(r *rig) {
		m := r.write(ada, "one")
		done, recall := r.callBack(m.Conversation)
		r.at(12 * time.Second)
		recall()
		if err := <-done; err == nil || time.Since(r.start) != 17*time.Second {
			t.Errorf("after %v Handle = %v, want an error 5s after the recall", time.Since(r.start), err)
		}
		equal(t, "message", r.state(m), "waiting")
	})
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
		ctx, cancel := context.WithCancelCause(r.Context())
		recall = func() { cancel(debounce.ErrRecalled) }
		if err := r.handle(ctx, m.Conversation); err != nil {
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

func TestARecallBetweenTheAnswerAndTheFinish(t *testing.T) {
	for name, tt := range map[string]struct {
		first  script
		tokens int
	}{
		"of an answer": {says("too late"), 14},
		"of a failure": {fails(&agent.Failure{Stop: gateway.StopLLMError, Msg: "no", InputTokens: 2}), 9},
		"of neither":   {fails(errOdd), 7},
	} {
		t.Run(name, func(t *testing.T) {
			var recall func()
			early := finishing(func(ctx context.Context, db dispatch.RunStore, n int, f *gateway.Finish) error {
				if n == 1 {
					recall()
					return ctx.Err()
				}
				return db.FinishRun(ctx, f)
			})
			inRig(t, inTurn(tt.first, says("hello")), both(superseding(3), early), func(r *rig) {
				m := r.write(ada, "one")
				ctx, cancel := context.WithCancelCause(r.Context())
				recall = func() { r.write(ada, "two"); cancel(debounce.ErrRecalled) }
				if err := r.handle(ctx, m.Conversation); !errors.Is(err, debounce.ErrRecalled) {
					t.Errorf("Handle = %v, want %v", err, debounce.ErrRecalled)
				}
				r.run(gateway.RunPending, "", 0)
				must(t, r.handle(r.Context(), m.Conversation))
				if x := r.run(gateway.RunCompleted, gateway.StopEndTurn, 1); x.InputTokens != tt.tokens {
					t.Errorf("the run cost %d tokens, want %d", x.InputTokens, tt.tokens)
				}
				r.says(m.Conversation, "run 0 hello")
			})
		})
	}
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
