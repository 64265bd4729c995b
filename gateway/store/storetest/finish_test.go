package storetest_test

import (
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestFinishRunWritesEverything(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		c := claimed(t, s, sandbox, alice, "wamid.1")
		f := full(c, hook)
		must(t, s.FinishRun(t.Context(), f))

		r := got(s.Run(t.Context(), c.Run.Agent, c.Run.ID))(t)
		want := f.Run
		want.LeaseUntil = time.Time{}
		equal(t, "run", r, want, cmpopts.EquateApproxTime(time.Millisecond))
		sends := got(s.Sends(t.Context(), c.Run.Conversation))(t)
		equal(t, "sends", sends, f.Sends, cmpopts.EquateApproxTime(time.Millisecond))
		equal(t, "deliveries", got(s.Deliveries(t.Context(), r.ID))(t), f.Deliveries, cmpopts.EquateApproxTime(time.Millisecond))
		if !got(s.Paused(t.Context(), c.Run.Conversation))(t) || f.Pause.ID == 0 {
			t.Error("the conversation is not paused")
		}
		ms := got(s.Recent(t.Context(), c.Run.Conversation, 0, 9))(t)
		m := ms[len(ms)-1]
		if len(ms) != 3 || m.ID != sends[1].ID || m.Status != gateway.StatusQueued || m.Run != r.ID || m.Direction != gateway.Out || m.Text != sends[1].Text {
			t.Errorf("on record is %+v", m)
		}
	})
}

// full is a finish with one of everything.
func full(c gateway.Claim, hook gateway.Webhook) *gateway.Finish {
	f := finish(c, "Towels are on their way.")
	r := &f.Run
	r.Input, r.Metadata = json.RawMessage(`{"last_message":"towels"}`), json.RawMessage(`{"k":[1]}`)
	payload := map[string]any{"room_number": "12", "count": 2.0}
	r.Output.Actions = []gateway.OutputAction{{Type: "hotel.towels.bring", Payload: payload}}
	r.Actions = []gateway.Action{{
		Run: r.ID, Type: "hotel.towels.bring", Payload: payload, Status: gateway.ActionPending,
		ExpiresAt: time.Now().Add(time.Minute).UTC(),
	}}
	r.Error, r.Notes, r.Model = "", []string{"dropped one action"}, "openai/gpt-4o-mini"
	r.InputTokens, r.OutputTokens, r.Latency, r.Duration = 10, 20, 1500*time.Millisecond, 2*time.Second
	f.Sends = append(f.Sends, replyTo(c, gateway.FromRun, 1, "And soap."))
	f.Sends[0].Answers, f.Sends[0].ReplyTo = c.Messages[0].ReceivedAt, "wamid.1"
	f.Deliveries = []gateway.Delivery{{
		Webhook: hook.ID, Event: gateway.EventRunCompleted, Run: r.ID, Action: -1, Conversation: r.Conversation, Body: json.RawMessage(`{"a" : 1}`),
	}}
	f.Pause = &gateway.Pause{Conversation: r.Conversation, Reason: gateway.PauseAgent, ExpiresAt: time.Now().Add(time.Hour)}
	return f
}

func TestFinishRunWritesAllOrNothing(t *testing.T) {
	for name, spoil := range map[string]func(f *gateway.Finish){
		"a webhook that does not exist": func(f *gateway.Finish) {
			f.Deliveries = append(f.Deliveries, gateway.Delivery{Webhook: 999, Event: gateway.EventPaused, Action: -1})
		},
		"two sends of one part":            func(f *gateway.Finish) { f.Sends[1].Part = 0 },
		"a pause of no conversation":       func(f *gateway.Finish) { f.Pause.Conversation = "cnv_none" },
		"a payload that JSON has no words": func(f *gateway.Finish) { f.Run.Actions[0].Payload["x"] = func() {} },
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				hook := seed(t, s)
				c := claimed(t, s, sandbox, alice, "wamid.1")
				f := full(c, hook)
				spoil(f)
				if err := s.FinishRun(t.Context(), f); err == nil {
					t.Fatal("it was written")
				}
				equal(t, "run", got(s.Run(t.Context(), "", c.Run.ID))(t), c.Run)
				if n := len(got(s.Sends(t.Context(), c.Run.Conversation))(t)); n != 0 {
					t.Errorf("%d sends", n)
				}
				if n := len(got(s.Deliveries(t.Context(), c.Run.ID))(t)); n != 0 {
					t.Errorf("%d deliveries", n)
				}
				if n := len(got(s.Messages(t.Context(), sandbox, "", 9))(t)); n != 1 {
					t.Errorf("%d messages", n)
				}
				if got(s.Paused(t.Context(), c.Run.Conversation))(t) {
					t.Error("the conversation is paused")
				}
				must(t, s.FinishRun(t.Context(), full(c, hook)))
			})
		})
	}
}

func TestFinishRunRefusesWhatIsNoEnd(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		f := finish(claimed(t, s, sandbox, alice, "wamid.1"), "hello")
		f.Run.Status = gateway.RunRunning
		if err := s.FinishRun(t.Context(), f); err == nil {
			t.Error("a run was finished as running")
		}
	})
}

func TestModelTextIsMadeStorable(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		f := finish(claimed(t, s, sandbox, alice, "wamid.1"), "a\x00b\xffc")
		f.Run.Output.SuggestedReply = "a\x00b\xffc"
		must(t, s.FinishRun(t.Context(), f))
		if text := got(s.Sends(t.Context(), f.Run.Conversation))(t)[0].Text; text != "ab\uFFFDc" {
			t.Errorf("the reply is %q", text)
		}
		got(s.Run(t.Context(), "", f.Run.ID))(t)
	})
}

func TestDecideActions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		hook := seed(t, s)
		f := full(claimed(t, s, sandbox, alice, "wamid.1"), hook)
		must(t, s.FinishRun(t.Context(), f))
		agent, id := f.Run.Agent, f.Run.ID
		no := errors.New("no")
		_, err := s.DecideActions(t.Context(), agent, id, func(gateway.Run) (gateway.Decided, error) { return gateway.Decided{}, no })
		if !errors.Is(err, no) {
			t.Fatalf("the callback's error became %v", err)
		}
		_, err = s.DecideActions(t.Context(), gateway.NewAgentID(), id, func(gateway.Run) (gateway.Decided, error) { return gateway.Decided{}, nil })
		wantKind(t, err, gateway.NotFound)

		var decided atomic.Int64
		decide := func(r gateway.Run) (gateway.Decided, error) {
			a := r.Actions[0]
			if a.Status != gateway.ActionPending {
				return gateway.Decided{}, &gateway.Error{Kind: gateway.Conflict, Msg: "decided already"}
			}
			a.Status, a.DecidedAt, a.DecidedBy, a.ExpiresAt = gateway.ActionConfirmed, r.CompletedAt, "api", time.Time{}
			return gateway.Decided{Actions: []gateway.Action{a}, At: r.CompletedAt, Deliveries: []gateway.Delivery{
				{Webhook: hook.ID, Event: gateway.EventAction, Run: r.ID, Action: 0, Body: json.RawMessage(`{}`)},
			}}, nil
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				r, err := s.DecideActions(t.Context(), "", id, decide)
				switch {
				case err == nil:
					decided.Add(1)
					if r.Actions[0].Status != gateway.ActionConfirmed || r.ActionsDecided.IsZero() {
						t.Errorf("after it the run is %+v", r)
					}
				case gateway.KindOf(err) != gateway.Conflict:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if decided.Load() != 1 {
			t.Errorf("decided %d times", decided.Load())
		}
		if ds := got(s.Deliveries(t.Context(), id))(t); len(ds) != 2 {
			t.Errorf("%d deliveries, want 2", len(ds))
		}
	})
}
