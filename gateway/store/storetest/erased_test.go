package storetest_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// What a person says counts for more than what a run learned that did not know it.
func TestARunWritesOverNobodysCorrection(t *testing.T) {
	type memory = gateway.ContactMemory
	put := func(text string) func(*testing.T, *store.Store, memory) {
		return func(t *testing.T, s *store.Store, m memory) {
			m.Text = text
			must(t, s.PutContactMemory(t.Context(), &m))
		}
	}
	forget := func(t *testing.T, s *store.Store, m memory) {
		_, _, err := s.ForgetContext(t.Context(), m.Contact, "")
		must(t, err)
	}
	for name, tt := range map[string]struct {
		before string
		person func(*testing.T, *store.Store, memory)
		want   string
	}{
		"corrected":                       {"old", put("corrected"), "corrected"},
		"set to what it was":              {"old", put("old"), "old"},
		"written where nothing was":       {"", put("written"), "written"},
		"erased":                          {"old", put(""), ""},
		"erased where nothing was":        {"", put(""), ""},
		"forgotten":                       {"old", forget, ""},
		"forgotten where nothing was":     {"", forget, ""},
		"left alone":                      {"old", func(*testing.T, *store.Store, memory) {}, "learned"},
		"left alone, as it was before it": {"", func(*testing.T, *store.Store, memory) {}, "learned"},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				if tt.before != "" {
					learned(t, s, alice, "wamid.1", tt.before)
				}
				f := finish(claimed(t, s, sandbox, alice, "wamid.2"), "reply")
				f.Memory, f.MemoryAt = new("learned"), readAt(t, s, f.Run)
				who := contactOf(t, s, alice)
				tt.person(t, s, memory{Agent: f.Run.Agent, Contact: who.ID})
				must(t, s.FinishRun(t.Context(), f))
				m, err := s.ContactMemory(t.Context(), f.Run.Agent, who.ID)
				if tt.want == "" {
					wantKind(t, err, gateway.NotFound)
				} else {
					equal(t, "memory", m.Text, tt.want)
				}
				notes := got(s.Run(t.Context(), "", f.Run.ID))(t).Notes
				equal(t, "notes", len(notes) > 0, tt.want != "learned")

				learned(t, s, alice, "wamid.3", "learned after it") // which knows what the person said
				equal(t, "after the next run", got(s.ContactMemory(t.Context(), f.Run.Agent, who.ID))(t).Text, "learned after it")
			})
		})
	}
}

// TestARunInHandBringsNothingBack: whoever had a context erased does not find it
// again a minute later.
func TestARunInHandBringsNothingBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ctx := t.Context()
		f := finish(claimed(t, s, sandbox, alice, "wamid.1"), "reply")
		f.Run.Input, f.Run.Output.ContextSummary, f.Run.Notes = json.RawMessage(`{"secret":1}`), "secret", []string{"secret"}
		f.Run.Actions = []gateway.Action{
			{Index: 0, Type: "order", Payload: map[string]any{"what": "secret"}, Status: gateway.ActionAuto},
			{Index: 1, Type: "order", Payload: map[string]any{"what": "towels"}, Status: gateway.ActionPending, ExpiresAt: time.Now().Add(time.Hour)},
		}
		f.Memory = new("secret")
		summarised(t, s, f)
		_, agents, err := s.ForgetContext(ctx, contactOf(t, s, alice).ID, f.Run.Agent)
		must(t, err)
		equal(t, "agents", agents, []gateway.AgentID{f.Run.Agent})
		must(t, s.PutSummary(ctx, f.Summary)) // it was making one
		must(t, s.FinishRun(ctx, f))

		r := got(s.Run(ctx, "", f.Run.ID))(t)
		equal(t, "status", r.Status, gateway.RunCompleted)
		if r.Input != nil || r.Output != nil || len(r.Notes) != 1 || r.Actions[0].Payload != nil {
			t.Errorf("of the run there is %s, %+v, %q, %v", r.Input, r.Output, r.Notes, r.Actions[0].Payload)
		}
		equal(t, "what waits for a person", r.Actions[1].Payload, map[string]any{"what": "towels"})
		equal(t, "what others may copy", f.Run.Output.ContextSummary, "")
		_, err = s.Summary(ctx, r.Agent, r.Conversation)
		wantKind(t, err, gateway.NotFound)
		_, err = s.MemoryIn(ctx, r.Agent, r.Conversation)
		wantKind(t, err, gateway.NotFound)
		if sends := got(s.Sends(ctx, r.Conversation))(t); len(sends) != 1 {
			t.Errorf("the customer gets %d answers", len(sends))
		}

		f = finish(claimed(t, s, sandbox, alice, "wamid.2"), "reply") // which begins after it
		f.Run.Input, f.Memory = json.RawMessage(`{}`), new("new")
		must(t, s.FinishRun(ctx, f))
		equal(t, "the next run's input", string(got(s.Run(ctx, "", f.Run.ID))(t).Input), `{}`)
		equal(t, "and what it learned", got(s.MemoryIn(ctx, f.Run.Agent, f.Run.Conversation))(t).Text, "new")
	})
}

// TestARunThatIsTakenUpAgainReadsAnew: of what was erased it knows nothing.
func TestARunThatIsTakenUpAgainReadsAnew(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		m := add(t, s, from(sandbox, alice, "wamid.1"))[0]
		got(s.ClaimRun(t.Context(), m.Conversation, 0))(t)
		_, _, err := s.ForgetContext(t.Context(), m.Contact, "")
		must(t, err)
		f := finish(got(s.ClaimRun(t.Context(), m.Conversation, time.Minute))(t), "reply")
		must(t, s.FinishRun(t.Context(), f))
		if got(s.Run(t.Context(), "", f.Run.ID))(t).Output == nil {
			t.Error("what it said after the erasure is gone")
		}
	})
}

func TestAMergedAwaySummaryDoesNotComeBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ctx := t.Context()
		add(t, s, as(from(sandbox, "", "wamid.1"), byLID))
		m := add(t, s, as(from(sandbox, "", "wamid.2"), byPhone))[0]
		f := finish(got(s.ClaimRun(ctx, m.Conversation, time.Minute))(t), "reply")
		summarised(t, s, f)
		before := f.Summary.ExpiresAt.Add(-time.Hour)
		equal(t, "its life", got(s.Summary(ctx, f.Run.Agent, m.Conversation))(t).ExpiresAt, before, soon)
		got(s.JoinAddresses(ctx, sandbox, byBoth))(t)
		kept := got(s.ConversationWith(ctx, sandbox, byBoth))(t).ID
		equal(t, "the conversation that is kept", kept, m.Conversation)
		must(t, s.FinishRun(ctx, f))
		_, err := s.Summary(ctx, f.Run.Agent, kept)
		wantKind(t, err, gateway.NotFound)
	})
}

// What webhooks were told is erased once they have it.
func TestWhatWasDeliveredIsErased(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ctx := t.Context()
		r, who := remembered(t, s, alice, "wamid.1")
		forget := func() string {
			_, _, err := s.ForgetContext(ctx, who.ID, "")
			must(t, err)
			return string(got(s.Deliveries(ctx, r.ID))(t)[0].Body)
		}
		equal(t, "what is still to be delivered", forget(), `{"secret":1}`)
		delivered(t, s, toDeliver(t, s)...)
		equal(t, "what was", forget(), "")
	})
}

// TestWhatIsErasedDuringAMergeIsErased: whoever is told that it is done finds
// nothing of it under the contact that is kept.
func TestWhatIsErasedDuringAMergeIsErased(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ctx := t.Context()
		for i := range 15 {
			gone, kept := gateway.Address{LID: fmt.Sprint(1000 + i)}, gateway.Address{Phone: fmt.Sprint("+1555001", 1000+i)}
			both := gateway.Address{Phone: kept.Phone, LID: gone.LID}
			add(t, s, as(from(sandbox, "", fmt.Sprint("kept.", i)), kept))
			m := add(t, s, as(from(sandbox, "", fmt.Sprint("gone.", i)), gone))[0]
			f := finish(got(s.ClaimRun(ctx, m.Conversation, time.Minute))(t), "reply")
			f.Memory = new("secret")
			must(t, s.FinishRun(ctx, f))

			merged := make(chan error)
			go func() {
				_, err := s.JoinAddresses(ctx, sandbox, both)
				merged <- err
			}()
			_, _, err := s.ForgetContext(ctx, m.Contact, "")
			must(t, <-merged)
			if err != nil {
				wantKind(t, err, gateway.NotFound) // the merge came first: whoever asks again finds the other
				continue
			}
			c := got(s.ConversationWith(ctx, sandbox, both))(t)
			if x, err := s.MemoryIn(ctx, f.Run.Agent, c.ID); err == nil && x.Text != "" {
				t.Errorf("%q is kept", x.Text)
			}
			if got(s.Run(ctx, "", f.Run.ID))(t).Output != nil {
				t.Error("what was said is kept")
			}
		}
	})
}

// shownTo returns the ids of the messages that an agent may still be shown.
func shownTo(t *testing.T, s *store.Store, agent gateway.AgentID, id gateway.ConversationID) (ids []string) {
	t.Helper()
	c := got(s.Conversation(t.Context(), id))(t)
	for _, m := range got(s.Recent(t.Context(), id, 0, 99))(t) {
		if m.Seq > c.ErasedFor(agent) {
			ids = append(ids, m.ExternalID)
		}
	}
	return ids
}

// What was erased of somebody who was taken for two stays so when they become one.
func TestWhatWasErasedStaysSoAfterAMerge(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		for name, first := range map[string]bool{"of the first": true, "of the second": false} {
			t.Run(name, func(t *testing.T) {
				n := name[len("of the "):]
				one, two := gateway.Address{Phone: "+1777000000" + fmt.Sprint(len(n))}, gateway.Address{LID: "777" + n}
				arrival := func(who gateway.Address, id string) gateway.Arrival {
					return as(from(sandbox, "", id+n), who)
				}
				m := add(t, s, arrival(one, "wamid.1"))[0]
				if !first {
					m = add(t, s, arrival(two, "wamid.2"))[0]
				}
				_, _, err := s.ForgetContext(t.Context(), m.Contact, "")
				must(t, err)
				if first {
					add(t, s, arrival(two, "wamid.2"))
				}
				both := gateway.Address{Phone: one.Phone, LID: two.LID}
				got(s.JoinAddresses(t.Context(), sandbox, both))(t)
				last := add(t, s, arrival(both, "wamid.3"))[0]
				shown := shownTo(t, s, "agt_any", last.Conversation)
				want := []string{"wamid.3" + n}
				if first {
					want = []string{"wamid.2" + n, "wamid.3" + n}
				}
				equal(t, "shown", shown, want)
			})
		}
	})
}
