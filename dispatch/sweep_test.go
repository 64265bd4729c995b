package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"wagent/debounce"
	"wagent/dispatch"
	"wagent/gateway"
)

// A fakeTimer remembers what was added to its windows, and when.
type fakeTimer struct {
	mu    sync.Mutex
	start time.Time
	epoch string
	err   error // of every call
	left  int   // Adds until the next one fails once; 0: none does
	adds  []added

	fails   func(key string) bool // nil: none does
	failed  int
	noEpoch error
}

type added struct {
	at               time.Duration
	group, key, item string
	window           debounce.Window
}

func (t *fakeTimer) Add(_ context.Context, group, key, item string, w debounce.Window) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	if t.fails != nil && t.fails(key) {
		t.failed++
		return errOdd
	}
	if t.left > 0 {
		if t.left--; t.left == 0 {
			return errOdd
		}
	}
	t.adds = append(t.adds, added{time.Since(t.start), group, key, item, w})
	return nil
}

func (t *fakeTimer) Epoch(context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.epoch, errors.Join(t.err, t.noEpoch)
}

func (t *fakeTimer) set(change func(*fakeTimer)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(t)
}

// want checks when which items were added so far.
func (t *fakeTimer) want(tb testing.TB, want ...string) {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.items()
	slices.Sort(out) // those of several conversations come at once
	slices.Sort(want)
	if fmt.Sprint(out) != fmt.Sprint(want) {
		tb.Fatalf("added %q, want %q", out, want)
	}
}

// items are when which ones were added so far. Its mu is held.
func (t *fakeTimer) items() (out []string) {
	for _, a := range t.adds {
		out = append(out, fmt.Sprint(a.at, " ", a.item))
	}
	return out
}

// sweep runs a Sweeper on a double, from the start of the bubble on.
func (r *rig) sweep() *fakeTimer {
	t := &fakeTimer{start: r.start, epoch: "first"}
	r.serve(dispatch.NewSweeper(r.d, r.db, r.db, t, slog.New(slog.NewTextHandler(r.log, nil))).Run)
	return t
}

// whole runs debounce, the Dispatcher behind it and a Sweeper.
func (r *rig) whole() {
	r.serve(func(ctx context.Context) error { return r.windows.Run(ctx, r.d.Handle) })
	r.serve(dispatch.NewSweeper(r.d, r.db, r.db, r.windows, slog.New(slog.NewTextHandler(r.log, nil))).Run)
}

// patient is an agent whose windows stay open over some sweeps.
func patient(s *settings) { s.agent.Quiet, s.agent.MaxWait = 40*time.Second, time.Minute }

func TestAMessageThatWasNeverAddedIsAddedWithWhatIsLeftOfItsQuiet(t *testing.T) {
	tests := map[string]struct {
		received, swept, quiet time.Duration
	}{
		"a second after a sweep":           {1 * time.Second, 20 * time.Second, 21 * time.Second},
		"when it is just old enough":       {5*time.Second - time.Millisecond, 20 * time.Second, 25*time.Second - time.Millisecond},
		"when it is just not old enough":   {5 * time.Second, 30 * time.Second, 15 * time.Second},
		"just before a sweep takes no new": {10*time.Second - time.Millisecond, 30 * time.Second, 20*time.Second - time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inRig(t, says("hello"), patient, func(r *rig) {
				timer := r.sweep()
				r.at(tt.received)
				m := r.write(ada, "hi")
				r.at(tt.swept - time.Millisecond)
				timer.want(t)
				r.at(tt.swept)
				timer.want(t, fmt.Sprint(tt.swept, " ", m.ID))
				want := added{tt.swept, string(account), string(m.Conversation), string(m.ID), debounce.Window{Quiet: tt.quiet, MaxWait: time.Minute, MaxItems: 20}}
				if a := timer.adds[0]; a != want {
					t.Errorf("added %+v, want %+v", a, want)
				}
				if late := tt.swept - tt.received; late > 25*time.Second {
					t.Errorf("it was added after %v", late)
				}
				r.counts("wagent_swept_total", map[string]float64{"message": 1})
			})
		})
	}
}

func TestAMessageWhoseQuietIsOverIsDueAtOnce(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) { // 10 s of quiet, at most 60 s
		timer := r.sweep()
		r.at(time.Second)
		r.write(ada, "hi")
		r.at(20 * time.Second)
		if len(timer.adds) != 1 {
			t.Fatalf("added %+v, want one message", timer.adds)
		}
		if w := timer.adds[0].window; w.Quiet != 0 {
			t.Errorf("window = %+v, want no quiet", w)
		}
	})
}

func TestWhatDoesNotWaitIsLeftAlone(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		r.answered(ada, "hi")
		held := r.write(bob, "hi")
		must(t, r.db.PutPause(r.Context(), &gateway.Pause{Conversation: held.Conversation, Reason: gateway.PauseManual, ExpiresAt: time.Now().Add(time.Hour)}))
		must(t, r.handle(r.Context(), held.Conversation))
		timer := r.sweep()
		r.at(time.Minute)
		timer.want(t)
	})
}

func TestLostWindowsAreAllAddedAtOnce(t *testing.T) {
	inRig(t, says("hello"), patient, func(r *rig) {
		timer := r.sweep()
		r.at(9 * time.Second)
		a, b := r.write(ada, "hi"), r.write(bob, "hi")
		timer.set(func(t *fakeTimer) { t.epoch = "second" })
		r.at(10 * time.Second)
		timer.want(t, fmt.Sprint("10s ", a.ID), fmt.Sprint("10s ", b.ID))
		if w := timer.adds[0].window; w.Quiet != 39*time.Second {
			t.Errorf("window = %+v, want what is left of 40s", w)
		}
		r.at(20 * time.Second)
		timer.want(t, fmt.Sprint("10s ", a.ID), fmt.Sprint("10s ", b.ID))
	})
}

func TestTheFirstSweepAddsEverything(t *testing.T) {
	inRig(t, says("hello"), patient, func(r *rig) {
		m := r.write(ada, "hi")
		r.sweep().want(t, fmt.Sprint("0s ", m.ID))
	})
}

func TestASweepThatBrokeOffIsRepeatedWhole(t *testing.T) {
	inRig(t, says("hello"), patient, func(r *rig) {
		timer := r.sweep()
		r.at(9 * time.Second)
		a, b := r.write(ada, "hi"), r.write(bob, "hi")
		timer.set(func(t *fakeTimer) { t.epoch, t.left = "second", 2 })
		r.at(10 * time.Second)
		var first []string // of the two, whichever it was
		timer.set(func(t *fakeTimer) { first = t.items() })
		if len(first) != 1 {
			t.Fatalf("added %q, want one", first)
		}
		r.at(20 * time.Second) // both are still too young for a sweep like others
		timer.want(t, first[0], fmt.Sprint("20s ", a.ID), fmt.Sprint("20s ", b.ID))
	})
}

// A part of the windows is on a node that is away: the others come back all the same,
// and runs with them. Where nothing goes through, little is tried.
func TestWhatFailsKeepsNothingElseFromBeingSwept(t *testing.T) {
	for name, tt := range map[string]struct {
		fails     func(key string) bool
		epoch     error
		least     int // Adds that went through in a sweep
		most      int // that did not
		everybody bool
	}{
		"a third of the conversations": {func(key string) bool { return key[len(key)-1]%3 == 0 }, nil, 600, 500, false},
		"the epoch":                    {func(string) bool { return false }, errAway, 1000, 0, true},
		"everything":                   {func(string) bool { return true }, nil, 0, 3*32 + 16, false},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, says("hello"), nil, func(r *rig) {
				all := make(many, 1000)
				for i := range all {
					all[i] = gateway.Message{
						ID: gateway.MessageID(fmt.Sprint("msg_", i)), Seq: int64(i + 1), Account: account, ReceivedAt: r.start,
						Conversation: gateway.ConversationID(fmt.Sprint("cnv_", i)),
					}
				}
				timer := &fakeTimer{start: r.start, epoch: "first", fails: tt.fails, noEpoch: tt.epoch}
				r.serve(dispatch.NewSweeper(r.d, all, r.db, timer, slog.New(slog.NewTextHandler(r.log, nil))).Run)
				timer.set(func(timer *fakeTimer) {
					if len(timer.adds) < tt.least || timer.failed > tt.most || tt.everybody && len(timer.adds) != 1000 {
						t.Errorf("%d were added and %d failed", len(timer.adds), timer.failed)
					}
				})
				if n := r.log.count("sweep did not go through"); n != 1 {
					t.Errorf("the log says so %d times", n)
				}
			})
		})
	}
}

// Three messages of a burst, 10 s of quiet: whatever became of its window, it is over
// 10 s after the last one.
func TestASweepKeepsTheQuietOfABurst(t *testing.T) {
	for name, lost := range map[string]bool{"whose window was lost": true, "whose first message was never added": false} {
		t.Run(name, func(t *testing.T) {
			inRig(t, says("hello"), nil, func(r *rig) {
				timer := r.sweep()
				var ids []gateway.MessageID
				for _, at := range []time.Duration{1, 9, 17} {
					r.at(at * time.Second)
					ids = append(ids, r.write(ada, "hi").ID)
				}
				if lost {
					timer.set(func(t *fakeTimer) { t.epoch = "second" })
				} else {
					ids = ids[:1]
				}
				r.at(20 * time.Second)
				timer.set(func(timer *fakeTimer) {
					if len(timer.adds) != len(ids) {
						t.Fatalf("added %+v, want %d", timer.adds, len(ids))
					}
					for i, a := range timer.adds {
						if a.item != string(ids[i]) || a.window.Quiet != 7*time.Second {
							t.Errorf("added %+v, want %s, due at 27s", a, ids[i])
						}
					}
				})
			})
		})
	}
}

// The clock of the process that received it is a minute ahead.
func TestAMessageOfTheFutureWaitsNoLongerThanOthers(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		timer := r.sweep()
		who := gateway.Address{Phone: ada}
		got(r.db.AddMessages(r.Context(), []gateway.Arrival{{
			Inbound: gateway.Inbound{Account: account, Peer: who, Sender: who, ExternalID: "wamid.x", Type: gateway.TypeText, Text: "hi", Origin: gateway.OriginLive},
			State:   gateway.StateWaiting, ReceivedAt: time.Now().Add(time.Minute),
		}}))(t)
		timer.set(func(t *fakeTimer) { t.epoch = "second" })
		r.at(10 * time.Second)
		timer.set(func(timer *fakeTimer) {
			if len(timer.adds) != 1 || timer.adds[0].window.Quiet != 10*time.Second {
				t.Errorf("added %+v, want one that waits for 10s", timer.adds)
			}
		})
	})
}

// many is a store with a lot of waiting messages; the database takes seconds
// to be filled with as many.
type many []gateway.Message

func (m many) Stranded(_ context.Context, _ time.Time, after int64, limit int) ([]gateway.Message, error) {
	return m[min(int(after), len(m)):min(int(after)+limit, len(m))], nil
}

func (many) StrandedRuns(context.Context) ([]gateway.Run, error) { return nil, nil }

func (m many) WaitingIn(_ context.Context, id gateway.ConversationID) (out []gateway.Message, _ error) {
	for i := range m {
		if m[i].Conversation == id {
			out = append(out, m[i])
		}
	}
	return out, nil
}

func TestASweepGoesThroughAllPages(t *testing.T) {
	for _, n := range []int{499, 500, 501, 1203} {
		t.Run(fmt.Sprint(n, " messages"), func(t *testing.T) {
			inRig(t, says("hello"), nil, func(r *rig) {
				all := make(many, n)
				for i := range all {
					all[i] = gateway.Message{ID: gateway.MessageID(fmt.Sprint("msg_", i)), Seq: int64(i + 1), Account: account, ReceivedAt: r.start}
				}
				timer := &fakeTimer{start: r.start, epoch: "first"}
				r.serve(dispatch.NewSweeper(r.d, all, r.db, timer, slog.New(slog.DiscardHandler)).Run)
				var want []string
				for i := range all {
					want = append(want, fmt.Sprint("0s ", all[i].ID))
				}
				timer.set(func(timer *fakeTimer) { equal(t, "in their order", timer.items(), want) })
			})
		})
	}
}

// counting counts how often each conversation's window is asked for.
type counting struct {
	gateway.AgentFinder
	mu    sync.Mutex
	asked map[gateway.ConversationID]int
}

func (c *counting) Windowing(ctx context.Context, id gateway.ConversationID) (gateway.Windowing, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[id]++
	return c.AgentFinder.Windowing(ctx, id)
}

func TestASweepAsksOnceForAConversationsWindow(t *testing.T) {
	inRig(t, says("hello"), patient, func(r *rig) {
		var all []string
		conversations := map[gateway.ConversationID]int{}
		for _, who := range []string{ada, bob, ada, bob, ada} {
			m := r.write(who, "hi")
			all = append(all, fmt.Sprint("0s ", m.ID))
			conversations[m.Conversation] = 1
		}
		agents := &counting{AgentFinder: r.db, asked: map[gateway.ConversationID]int{}}
		timer := &fakeTimer{start: r.start, epoch: "first"}
		r.serve(dispatch.NewSweeper(r.d, r.db, agents, timer, slog.New(slog.DiscardHandler)).Run)
		timer.want(t, all...)
		agents.mu.Lock()
		defer agents.mu.Unlock()
		equal(t, "asked", agents.asked, conversations)
	})
}

func TestATimerThatIsAwayIsReportedOnceAndTriedAgain(t *testing.T) {
	inRig(t, says("hello"), patient, func(r *rig) {
		timer := &fakeTimer{start: r.start, epoch: "first", err: errAway}
		r.serve(dispatch.NewSweeper(r.d, r.db, r.db, timer, slog.New(slog.NewTextHandler(r.log, nil))).Run)
		m := r.write(ada, "hi")
		r.at(35 * time.Second)
		timer.set(func(t *fakeTimer) { t.err = nil })
		r.at(39 * time.Second)
		if n := r.log.count("sweep did not go through"); n != 1 {
			t.Errorf("four failures stand in the log %d times, want once", n)
		}
		timer.want(t)
		r.at(40 * time.Second)
		timer.want(t, fmt.Sprint("40s ", m.ID))
		if n := r.log.count("goes through again"); n != 1 {
			t.Errorf("the recovery stands in the log %d times, want once", n)
		}
		timer.set(func(t *fakeTimer) { t.err = errAway })
		r.at(time.Minute)
		if n := r.log.count("sweep did not go through"); n != 2 {
			t.Errorf("two outages stand in the log %d times", n)
		}
	})
}

func TestAnOpenWindowIsNotChangedByASweep(t *testing.T) {
	inRig(t, says("hello"), patient, func(r *rig) {
		r.whole()
		r.at(time.Second)
		m := r.write(ada, "hi")
		// It is due at 48 s; the sweeps at 20, 30 and 40 s would say 41 s.
		must(t, dispatch.Windows{Debouncer: r.windows}.Add(r.Context(), &m, gateway.Window{Quiet: 47 * time.Second, MaxWait: time.Minute, MaxItems: 20}))
		r.at(48*time.Second - time.Millisecond)
		r.says(m.Conversation)
		if n := r.log.count("level=WARN"); n != 0 {
			t.Errorf("there are %d warnings", n)
		}
		r.at(48 * time.Second)
		r.says(m.Conversation, "run 0 hello")
		r.counts("wagent_swept_total", map[string]float64{"message": 3}) // at 20, 30 and 40 s
	})
}

func TestRedisLosesItsWindowsAndNoMessageIsLate(t *testing.T) {
	inRig(t, says("hello"), patient, func(r *rig) {
		r.whole()
		r.at(time.Second)
		m := r.write(ada, "hi")
		must(t, dispatch.Windows{Debouncer: r.windows}.Add(r.Context(), &m, r.agent.Window(&gateway.Windowing{})))
		r.at(5 * time.Second)
		r.flush()
		r.at(41*time.Second - time.Millisecond)
		r.says(m.Conversation)
		r.at(41 * time.Second)
		r.says(m.Conversation, "run 0 hello")
		r.at(10 * time.Minute)
		r.says(m.Conversation, "run 0 hello")
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 1)
	})
}

func TestARunWhoseProcessDiedIsResumedWhenItsLeaseEnds(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		m := r.write(ada, "hi")
		got(r.db.ClaimRun(r.Context(), m.Conversation, 25*time.Second))(t) // by a process that dies
		r.whole()
		r.at(30*time.Second - time.Millisecond)
		r.run(gateway.RunRunning, "", 1)
		r.at(30 * time.Second) // the first sweep after that
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 2)
		r.says(m.Conversation, "run 0 hello")
		r.at(10 * time.Minute)
		r.says(m.Conversation, "run 0 hello")
		if n := len(r.model.questions()); n != 1 {
			t.Errorf("the model was asked %d times, want once", n)
		}
	})
}

func TestABatchWhoseRunIsInOtherHandsComesAgain(t *testing.T) {
	inRig(t, says("hello"), nil, func(r *rig) {
		r.whole()
		m := r.write(ada, "hi")
		must(t, dispatch.Windows{Debouncer: r.windows}.Add(r.Context(), &m, gateway.Window{Quiet: 10 * time.Second, MaxWait: time.Minute, MaxItems: 20}))
		got(r.db.ClaimRun(r.Context(), m.Conversation, 12*time.Second))(t)
		r.at(13*time.Second - time.Millisecond) // it was refused at 10 and 11 s
		r.run(gateway.RunRunning, "", 1)
		r.at(13 * time.Second)
		r.run(gateway.RunCompleted, gateway.StopEndTurn, 2)
		r.says(m.Conversation, "run 0 hello")
	})
}

func TestAStrandedRunIsDueAtOnce(t *testing.T) {
	inRig(t, says("hello"), patient, func(r *rig) {
		claim := got(r.db.ClaimRun(r.Context(), r.write(ada, "hi").Conversation, 15*time.Second))(t)
		timer := r.sweep()
		r.at(20 * time.Second)
		timer.want(t, fmt.Sprint("20s ", claim.Run.ID))
		want := added{20 * time.Second, string(account), string(claim.Run.Conversation), string(claim.Run.ID), debounce.Window{}}
		if a := timer.adds[0]; a != want {
			t.Errorf("added %+v, want %+v", a, want)
		}
		r.counts("wagent_swept_total", map[string]float64{"run": 1})
	})
}

func TestAMessageWhoseAgentIsGoneDoesNotWaitForEver(t *testing.T) {
	inRig(t, says("hello"), patient, func(r *rig) {
		r.whole()
		r.at(time.Second)
		m := r.write(ada, "hi")
		must(t, r.db.Declare(r.Context(), []gateway.Account{{ID: account, Kind: gateway.Sandbox}}, nil, nil, nil))
		r.at(20 * time.Second)
		r.run(gateway.RunFailed, gateway.StopCancelled, 1)
		equal(t, "message", r.state(m), "held cancelled")
		r.says(m.Conversation)
	})
}
