package dispatch_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wagent/debounce"
	"wagent/debounce/redistest"
	"wagent/dispatch"
	"wagent/gateway"
)

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
	for name, most := range map[string]int{"it may supersede more often": 3, "it may only this once": 1} {
		t.Run(name, func(t *testing.T) {
			inRig(t, after(9*time.Second, says("hello")), superseding(most), func(r *rig) {
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
		})
	}
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

func TestTheSweeperKnowsAConversationsOwnWindow(t *testing.T) {
	inRig(t, says("hello"), patient, func(r *rig) { // 40 s of quiet, at most a minute
		timer := r.sweep()
		r.at(time.Second)
		m, other := r.write(ada, "hi"), r.write(bob, "hi")
		must(t, r.db.PutWindowOverride(r.Context(), m.Conversation, gateway.WindowOverride{
			Quiet: new(25 * time.Second), MaxBatch: new(2), OnNewMessage: new(gateway.Supersede), MaxSupersedes: new(1),
		}))
		r.at(20 * time.Second)
		equal(t, "windows", map[string]debounce.Window{timer.adds[0].item: timer.adds[0].window, timer.adds[1].item: timer.adds[1].window},
			map[string]debounce.Window{
				string(m.ID):     {Quiet: 6 * time.Second, MaxWait: time.Minute, MaxItems: 2, Recalls: 1},
				string(other.ID): {Quiet: 21 * time.Second, MaxWait: time.Minute, MaxItems: 20},
			})
	})
}

func TestAnswerNow(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		r.serve(func(ctx context.Context) error { return r.windows.Run(ctx, r.d.Handle) })
		one := r.write(ada, "one") // which no window knows
		r.write(ada, "two")
		theirs := r.write(bob, "hi")
		if n, err := r.timers.AnswerNow(r.Context(), one.Conversation); n != 2 || err != nil {
			t.Errorf("AnswerNow = %d, %v, want 2 messages", n, err)
		}
		r.at(0)
		r.says(one.Conversation, "run 0 hello")
		r.says(theirs.Conversation)
		for _, id := range []gateway.ConversationID{one.Conversation, "cnv_none"} {
			if n, err := r.timers.AnswerNow(r.Context(), id); n != 0 || err != nil {
				t.Errorf("AnswerNow where nothing waits = %d, %v", n, err)
			}
		}
	})
}

func TestAnswerNowWithoutRedis(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		rdb := redistest.InMemory(t)
		m := r.write(ada, "one")
		d := got(debounce.New(rdb, debounce.Config{Prefix: "gone", Shards: 1, Lease: lease, Concurrency: 1}, slog.New(slog.DiscardHandler), nil))(t)
		must(t, rdb.Close())
		_, err := dispatch.Windows{Debouncer: d, Store: r.db, Agents: r.db}.AnswerNow(r.Context(), m.Conversation)
		wantKind(t, err, gateway.Unavailable)
		equal(t, "message", r.state(m), "waiting")
	})
}

func TestAnAgentsPauseDropsTheWindow(t *testing.T) {
	inRig(t, after(5*time.Second, says("A colleague will answer.", gateway.ActionPause)), nil, func(r *rig) {
		var handled atomic.Int32
		r.serve(func(ctx context.Context) error {
			return r.windows.Run(ctx, func(ctx context.Context, b debounce.Batch) error { handled.Add(1); return r.d.Handle(ctx, b) })
		})
		m := r.write(ada, "a person, please")
		must(t, r.timers.Add(r.Context(), &m, r.agent.Window(&gateway.Windowing{})))
		r.at(12 * time.Second) // in hand until 15 s
		next := r.write(ada, "hello?")
		must(t, r.timers.Add(r.Context(), &next, r.agent.Window(&gateway.Windowing{})))
		r.at(15 * time.Second)
		equal(t, "what waited", r.state(next), "held paused")
		r.at(time.Minute)
		r.says(m.Conversation, "handover 0 A colleague will answer.")
		if n := handled.Load(); n != 1 {
			t.Errorf("%d batches were handed over, want only the first", n)
		}
	})
}
