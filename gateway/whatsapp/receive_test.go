//go:build watest

package whatsapp_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
	"wagent/gateway/whatsapp/watest"
)

// TestNothingIsLostAndOrderIsKept: whatever happens while messages are stored,
// each is there once in the end, in the order in which it was written.
func TestNothingIsLostAndOrderIsKept(t *testing.T) {
	every := func(n int32, do func()) func(context.Context) error {
		var calls atomic.Int32
		return func(context.Context) error {
			if calls.Add(1)%n == 0 {
				do()
			}
			return nil
		}
	}
	tests := map[string]func(r *rig) func(context.Context) error{
		"all goes well": func(*rig) func(context.Context) error { return nil },
		"the database is away now and then": func(*rig) func(context.Context) error {
			var calls atomic.Int32
			return func(context.Context) error {
				if calls.Add(1)%5 == 0 {
					return &gateway.Error{Kind: gateway.Unavailable, Msg: "away"}
				}
				return nil
			}
		},
		"the handler panics now and then": func(*rig) func(context.Context) error {
			return every(5, func() { panic("a programmer's error") })
		},
		"the connection is cut in the handler": func(r *rig) func(context.Context) error {
			return every(5, func() { r.wa.Cut(r.device) })
		},
		"stored, and then the connection is cut before the receipt": func(r *rig) func(context.Context) error {
			return every(5, func() { r.wa.CutBefore(r.device, "receipt") })
		},
	}
	for name, trouble := range tests {
		t.Run(name, func(t *testing.T) {
			r, _ := paired(t)
			r.failWith(trouble(r))
			ada := r.wa.Contact("491510000002", watest.Name("Ada"))
			want := numbered(30)
			for _, text := range want {
				ada.Text(text)
			}
			r.must(r.device.Settled(r.ctx))
			if diff := cmp.Diff(want, r.texts()); diff != "" {
				t.Errorf("on record (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMessagesSurviveARestart(t *testing.T) {
	r, p := paired(t)
	ada := r.wa.Contact("491510000002")
	r.failWith(func(context.Context) error { return errors.New("away") })
	want := numbered(10)
	for _, text := range want {
		ada.Text(text)
	}
	r.state(gateway.LinkDisconnected)
	p.stop()
	r.failWith(nil)
	r.start()
	r.must(r.device.Settled(r.ctx))
	if diff := cmp.Diff(want, r.texts()); diff != "" {
		t.Errorf("on record (-want +got):\n%s", diff)
	}
}

// A backlog opens its windows at its end, so that one run answers each
// conversation.
func TestBacklogIsReleasedTogether(t *testing.T) {
	r, p := paired(t)
	p.stop()
	r.must(r.device.Offline(r.ctx))
	var want []string
	people := make([]*watest.Person, 10)
	for i := range people {
		people[i] = r.wa.Contact(fmt.Sprintf("49151100%04d", i))
	}
	for i, text := range numbered(500) {
		people[i%len(people)].Text(text)
		want = append(want, text)
	}
	early := -1
	r.failWith(func(context.Context) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.armed) > 0 && early < 0 {
			early = len(r.armed)
		}
		return nil
	})
	r.start()
	r.must(r.device.Settled(r.ctx))
	r.until("the windows", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.armed) >= len(want) })
	r.mu.Lock()
	defer r.mu.Unlock()
	if early >= 0 {
		t.Errorf("a window was opened while the backlog came")
	}
	if diff := cmp.Diff(want, r.armed); diff != "" {
		t.Errorf("armed (-want +got):\n%s", diff)
	}
	p2 := r.device.Pending()
	if len(p2) > 0 {
		t.Errorf("%d are not acknowledged", len(p2))
	}
}

func TestHistoryFiresNothing(t *testing.T) {
	r := newRig(t)
	ada := r.wa.Contact("491510000002", watest.Name("Ada"))
	r.phone.Remember(ada, numbered(5000)...)
	p := r.start()
	r.pair(p)
	r.must(r.device.Settled(r.ctx))
	r.must(ada.Text("and now").Acked(r.ctx))
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff([]string{"and now"}, r.armed); diff != "" {
		t.Errorf("armed (-want +got):\n%s", diff)
	}
}

// Number, LID and both are one person, whatever comes first.
func TestOnePersonOneConversation(t *testing.T) {
	r, _ := paired(t)
	ada := r.wa.Contact("491510000002", watest.LID("77000000000002"), watest.Name("Ada"))
	for i, as := range []struct {
		mode string
		alt  bool
	}{{"pn", false}, {"lid", false}, {"pn", true}, {"lid", true}, {"pn", false}} {
		if as.mode == "pn" {
			ada.Addressed("pn", as.alt)
		} else {
			ada.Addressed("lid", as.alt)
		}
		r.must(ada.Text(fmt.Sprint("message ", i)).Acked(r.ctx))
	}
	c, err := r.db.ConversationWith(r.ctx, account, gateway.Address{Phone: "+491510000002"})
	r.must(err)
	other, err := r.db.ConversationWith(r.ctx, account, gateway.Address{LID: "77000000000002"})
	r.must(err)
	ms, err := r.db.Messages(r.ctx, account, c.ID, 100)
	r.must(err)
	if c.ID != other.ID || len(ms) != 5 {
		t.Errorf("conversations %s and %s, %d messages in the first", c.ID, other.ID, len(ms))
	}
}

func TestTheOwnersWordsPauseAgents(t *testing.T) {
	r, _ := paired(t)
	ada := r.wa.Contact("491510000002", watest.Name("Ada"))
	r.must(ada.Text("hello").Acked(r.ctx))
	r.must(r.phone.To(ada).Text("I am here myself").Acked(r.ctx))
	c, err := r.db.ConversationWith(r.ctx, account, address(ada))
	r.must(err)
	paused, err := r.db.Paused(r.ctx, c.ID)
	r.must(err)
	if !paused {
		t.Error("the owner wrote, and agents go on")
	}
}

func TestOurOwnSendsPauseNobody(t *testing.T) {
	r, p := paired(t)
	ada := r.wa.Contact("491510000002")
	r.must(ada.Text("hello").Acked(r.ctx))
	_, err := r.send(p, address(ada), "an answer")
	r.must(err)
	_, err = r.wa.Expect(ada).Text(r.ctx)
	r.must(err)
	r.must(ada.Text("thanks").Acked(r.ctx))
	c, err := r.db.ConversationWith(r.ctx, account, address(ada))
	r.must(err)
	if paused, err := r.db.Paused(r.ctx, c.ID); paused || err != nil {
		t.Errorf("paused: %v, %v", paused, err)
	}
}

func TestAStuckDatabaseDoesNotStopTheWorld(t *testing.T) {
	r, _ := paired(t)
	ada := r.wa.Contact("491510000002")
	var slow atomic.Bool
	slow.Store(true)
	r.failWith(func(ctx context.Context) error {
		if !slow.CompareAndSwap(true, false) {
			return nil
		}
		timer := time.NewTimer(3 * time.Second)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	sent := ada.Text("slow")
	ada.Text("behind it")
	r.until("the message to be in the handler", func() bool { return !slow.Load() })
	r.wa.Cut(r.device) // and it comes again while the first is in the handler
	r.must(sent.Acked(r.ctx))
	r.must(r.device.Settled(r.ctx))
	if diff := cmp.Diff([]string{"slow", "behind it"}, r.texts()); diff != "" {
		t.Errorf("on record (-want +got):\n%s", diff)
	}
}
