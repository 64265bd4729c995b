package gateway_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
)

func TestTheWindowOfAConversation(t *testing.T) {
	supersede := gateway.WindowOverride{OnNewMessage: new(gateway.Supersede)}
	for name, tt := range map[string]struct {
		agent func(*gateway.Agent)
		x     gateway.Windowing
		want  gateway.Window
	}{
		"the agent's": {
			func(*gateway.Agent) {},
			gateway.Windowing{},
			gateway.Window{Quiet: 10 * time.Second, MaxWait: time.Minute, MaxItems: 20},
		},
		"times of its own": {
			func(*gateway.Agent) {},
			gateway.Windowing{WindowOverride: gateway.WindowOverride{Quiet: new(time.Second), MaxWait: new(2 * time.Second), MaxBatch: new(1)}},
			gateway.Window{Quiet: time.Second, MaxWait: 2 * time.Second, MaxItems: 1},
		},
		"an agent that supersedes": {
			func(a *gateway.Agent) { a.OnNewMessage = gateway.Supersede },
			gateway.Windowing{Supersedes: 2},
			gateway.Window{Quiet: 10 * time.Second, MaxWait: time.Minute, MaxItems: 20, Recalls: 3},
		},
		"and did so often enough": {
			func(a *gateway.Agent) { a.OnNewMessage = gateway.Supersede },
			gateway.Windowing{Supersedes: 3},
			gateway.Window{Quiet: 10 * time.Second, MaxWait: time.Minute, MaxItems: 20},
		},
		"and may do so less often here": {
			func(a *gateway.Agent) { a.OnNewMessage = gateway.Supersede },
			gateway.Windowing{WindowOverride: gateway.WindowOverride{MaxSupersedes: new(1)}},
			gateway.Window{Quiet: 10 * time.Second, MaxWait: time.Minute, MaxItems: 20, Recalls: 1},
		},
		"only here": {
			func(a *gateway.Agent) { a.MaxSupersedes = 7 },
			gateway.Windowing{WindowOverride: supersede},
			gateway.Window{Quiet: 10 * time.Second, MaxWait: time.Minute, MaxItems: 20, Recalls: 7},
		},
		"not here": {
			func(a *gateway.Agent) { a.OnNewMessage = gateway.Supersede },
			gateway.Windowing{WindowOverride: gateway.WindowOverride{OnNewMessage: new(gateway.FollowUp)}},
			gateway.Window{Quiet: 10 * time.Second, MaxWait: time.Minute, MaxItems: 20},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := gateway.DefaultAgent()
			tt.agent(&a)
			before := a
			if diff := cmp.Diff(tt.want, a.Window(&tt.x)); diff != "" {
				t.Errorf("window (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, a); diff != "" {
				t.Errorf("the agent changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEachMessageIsArmedWithItsConversationsWindow(t *testing.T) {
	own := gateway.Windowing{WindowOverride: gateway.WindowOverride{Quiet: new(3 * time.Second)}}
	want := gateway.Window{Quiet: 3 * time.Second, MaxWait: time.Minute, MaxItems: 20}
	for name, arm := range map[string]func(*gateway.Inbox, *inboxParts) error{
		"that comes in": func(in *gateway.Inbox, _ *inboxParts) error {
			_, err := in.Receive(t.Context(), text("a", "one"))
			return err
		},
		"that waited to be released": func(in *gateway.Inbox, _ *inboxParts) error {
			m := text("a", "one")
			m.Deferred = true
			if _, err := in.Receive(t.Context(), m); err != nil {
				return err
			}
			return in.Release(t.Context(), "acc")
		},
		"whose conversation was joined": func(in *gateway.Inbox, p *inboxParts) error {
			p.joined = []gateway.Message{{ID: "a", State: gateway.StateWaiting}}
			return in.Join(t.Context(), "acc", gateway.Address{Phone: "+15550000001", LID: "1"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			in, p := newInbox()
			p.windowing = own
			if err := arm(in, p); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]gateway.Window{want}, p.windows); diff != "" {
				t.Errorf("windows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatAMessageJoinedHasAWindowOfItsOwn(t *testing.T) {
	in, p := newInbox()
	p.joined = []gateway.Message{{ID: "a", State: gateway.StateWaiting}, {ID: "b", State: gateway.StateWaiting}}
	p.joinedWindow.MaxBatch, p.windowing.MaxBatch = new(7), new(3)
	if _, err := in.Receive(t.Context(), text("c", "one")); err != nil {
		t.Fatal(err)
	}
	var most []int
	for _, w := range p.windows {
		most = append(most, w.MaxItems)
	}
	if diff := cmp.Diff([]int{7, 7, 3}, most); diff != "" {
		t.Errorf("the windows of %q (-want +got):\n%s", p.armed, diff)
	}
}

func TestAWindowThatNobodyCanTellIsLeftToTheSweeper(t *testing.T) {
	in, p := newInbox()
	p.windowingErr = errors.New("the database is away")
	p.joined = []gateway.Message{{ID: "a", State: gateway.StateWaiting}}
	if err := in.Join(t.Context(), "acc", gateway.Address{Phone: "+15550000001", LID: "1"}); err != nil {
		t.Errorf("Join = %v: the addresses are joined", err)
	}
	p.joined, p.stored = nil, []gateway.Arrival{{Inbound: text("b", "two"), State: gateway.StateWaiting}}
	if err := in.Release(t.Context(), "acc"); !errors.Is(err, p.windowingErr) {
		t.Errorf("Release = %v, want %v", err, p.windowingErr)
	}
	if len(p.armed) != 0 {
		t.Errorf("armed %q", p.armed)
	}
}

func TestATakeoverDropsTheWindow(t *testing.T) {
	for name, armErr := range map[string]error{"": nil, "which may fail": errors.New("redis is away")} {
		t.Run(name, func(t *testing.T) {
			in, p := newInbox()
			echo := text("e", "I'll take it from here")
			echo.Origin = gateway.OriginEcho
			p.armErr = armErr
			outcomes, err := in.Receive(t.Context(), echo, text("a", "one"))
			if err != nil || outcomes[0] != gateway.OutcomeIgnored {
				t.Errorf("Receive = %q, %v", outcomes, err)
			}
			if len(p.dropped) != 1 {
				t.Errorf("dropped %q, want one window", p.dropped)
			}
		})
	}
}
