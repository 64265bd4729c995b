package storetest_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

var soon = cmpopts.EquateApproxTime(time.Millisecond)

// contactOf returns the contact with whom a conversation is.
func contactOf(t *testing.T, s *store.Store, phone string) gateway.Contact {
	t.Helper()
	cs, _, err := s.Contacts(t.Context(), phone, "", 9)
	must(t, err)
	if len(cs) != 1 {
		t.Fatalf("%d contacts have that number", len(cs))
	}
	return cs[0]
}

// learned finishes a run of somebody's whose agent wants a text kept.
func learned(t *testing.T, s *store.Store, phone, id, text string) gateway.Run {
	t.Helper()
	f := finish(claimed(t, s, sandbox, phone, id), "reply")
	f.Memory, f.MemoryAt = &text, readAt(t, s, f.Run)
	must(t, s.FinishRun(t.Context(), f))
	return f.Run
}

// readAt is the time of what a run reads that is kept of its contact.
func readAt(t *testing.T, s *store.Store, r gateway.Run) time.Time {
	t.Helper()
	m, err := s.MemoryIn(t.Context(), r.Agent, r.Conversation)
	if err != nil {
		wantKind(t, err, gateway.NotFound)
	}
	return m.UpdatedAt
}

func TestMemoryIsOfOneAgentAndOneContact(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ctx := t.Context()
		r := learned(t, s, alice, "wamid.1", "Prefers a quiet room.")
		who := contactOf(t, s, alice)
		want := gateway.ContactMemory{Agent: r.Agent, Contact: who.ID, Text: "Prefers a quiet room.", UpdatedAt: r.CompletedAt}
		equal(t, "memory", got(s.ContactMemory(ctx, r.Agent, who.ID))(t), want, soon)
		equal(t, "memory in the conversation", got(s.MemoryIn(ctx, r.Agent, r.Conversation))(t), want, soon)

		other := claimed(t, s, sandbox, bob, "wamid.2")
		_, err := s.MemoryIn(ctx, r.Agent, other.Run.Conversation)
		wantKind(t, err, gateway.NotFound)
		_, err = s.MemoryIn(ctx, gateway.NewAgentID(), r.Conversation)
		wantKind(t, err, gateway.NotFound)
		_, err = s.ContactMemory(ctx, gateway.NewAgentID(), who.ID)
		wantKind(t, err, gateway.NotFound)

		learned(t, s, alice, "wamid.3", "")
		_, err = s.ContactMemory(ctx, r.Agent, who.ID)
		wantKind(t, err, gateway.NotFound)
	})
}

func TestMemoryIsLearnedOnlyFromARunThatCompletes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		learned(t, s, alice, "wamid.1", "old")
		who := contactOf(t, s, alice)
		for name, spoil := range map[string]func(*gateway.Finish){
			"it failed":                func(f *gateway.Finish) { f.Run.Status = gateway.RunFailed },
			"it is in other hands":     func(f *gateway.Finish) { f.Run.Generation-- },
			"it wants nothing changed": func(f *gateway.Finish) { f.Memory = nil },
		} {
			f := finish(claimed(t, s, sandbox, alice, "wamid."+name), "reply")
			f.Memory, f.MemoryAt = new("new"), readAt(t, s, f.Run)
			good := *f
			spoil(f)
			if err := s.FinishRun(t.Context(), f); err != nil {
				wantKind(t, err, gateway.Conflict)
				good.Memory = nil
				must(t, s.FinishRun(t.Context(), &good))
			}
			if m := got(s.ContactMemory(t.Context(), f.Run.Agent, who.ID))(t); m.Text != "old" {
				t.Errorf("%s: %q is kept", name, m.Text)
			}
		}
	})
}

func TestAPersonEditsWhatIsKept(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ctx := t.Context()
		r := learned(t, s, alice, "wamid.1", "old")
		m := gateway.ContactMemory{Agent: r.Agent, Contact: contactOf(t, s, alice).ID, Text: "corrected"}
		must(t, s.PutContactMemory(ctx, &m))
		equal(t, "memory", got(s.ContactMemory(ctx, m.Agent, m.Contact))(t), m, soon)
		m.Text = ""
		must(t, s.PutContactMemory(ctx, &m))
		_, err := s.ContactMemory(ctx, m.Agent, m.Contact)
		wantKind(t, err, gateway.NotFound)
		m.Contact = "ctc_none"
		wantKind(t, s.PutContactMemory(ctx, &m), gateway.NotFound)
	})
}

func TestOfContactsThatAreMergedTheNewerMemoryStays(t *testing.T) {
	for name, newer := range map[string]gateway.Address{"the one that goes": byLID, "the one that stays": byPhone} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				ctx := t.Context()
				older := byPhone
				if newer == byPhone {
					older = byLID
				}
				var agent gateway.AgentID
				other := gateway.NewAgentID()
				for i, who := range []gateway.Address{older, newer} {
					m := add(t, s, as(from(sandbox, "", string(rune('a'+i))), who))[0]
					f := finish(got(s.ClaimRun(ctx, m.Conversation, time.Minute))(t), "reply")
					f.Run.CompletedAt = time.Now().Add(time.Duration(i) * time.Second)
					f.Memory = new([]string{"older", "newer"}[i])
					summarised(t, s, f)
					must(t, s.FinishRun(ctx, f))
					agent = f.Run.Agent
					if who == byLID { // what only one of them has is not lost
						must(t, s.PutContactMemory(ctx, &gateway.ContactMemory{Agent: other, Contact: m.Contact, Text: "of another agent"}))
					}
				}
				got(s.JoinAddresses(ctx, sandbox, byBoth))(t)
				c := got(s.ConversationWith(ctx, sandbox, byBoth))(t)
				if m := got(s.MemoryIn(ctx, agent, c.ID))(t); m.Text != "newer" {
					t.Errorf("%q is kept", m.Text)
				}
				if m := got(s.MemoryIn(ctx, other, c.ID))(t); m.Text != "of another agent" {
					t.Errorf("%q is kept of another agent", m.Text)
				}
				_, err := s.Summary(ctx, agent, c.ID)
				wantKind(t, err, gateway.NotFound) // it covers half of what was said
			})
		})
	}
}

func TestSummaries(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ctx := t.Context()
		c := claimed(t, s, sandbox, alice, "wamid.1").Conversation.ID
		d := claimed(t, s, sandbox, bob, "wamid.2").Conversation.ID
		agent := gateway.NewAgentID()
		at := time.Now().Add(time.Hour).UTC()
		first := gateway.ContextSummary{Agent: agent, Conversation: c, Until: 10, Text: "first", ExpiresAt: at}
		must(t, s.PutSummary(ctx, &first))
		equal(t, "summary", got(s.Summary(ctx, agent, c))(t), first, soon)
		_, err := s.Summary(ctx, agent, d)
		wantKind(t, err, gateway.NotFound)
		_, err = s.Summary(ctx, gateway.NewAgentID(), c)
		wantKind(t, err, gateway.NotFound)

		for _, tt := range []struct {
			why  string
			put  gateway.ContextSummary
			want string
		}{
			{"it covers less", gateway.ContextSummary{Until: 9, Text: "less", ExpiresAt: at.Add(time.Hour)}, "first"},
			{"it covers as much and dies sooner", gateway.ContextSummary{Until: 10, Text: "sooner", ExpiresAt: at.Add(-time.Minute)}, "first"},
			{"it covers as much and lives on", gateway.ContextSummary{Until: 10, Text: "renewed", ExpiresAt: at.Add(time.Minute)}, "renewed"},
			{"it covers more", gateway.ContextSummary{Until: 11, Text: "more", ExpiresAt: at}, "more"},
		} {
			tt.put.Agent, tt.put.Conversation = agent, c
			must(t, s.PutSummary(ctx, &tt.put))
			if x := got(s.Summary(ctx, agent, c))(t); x.Text != tt.want {
				t.Errorf("after %q, since %s, the summary is %q", tt.put.Text, tt.why, x.Text)
			}
		}
		must(t, s.DropSummary(ctx, agent, c))
		must(t, s.DropSummary(ctx, agent, c))
		_, err = s.Summary(ctx, agent, c)
		wantKind(t, err, gateway.NotFound)
		first.Conversation = "cnv_none"
		wantKind(t, s.PutSummary(ctx, &first), gateway.NotFound)
	})
}

func TestASummaryWhoseLifeIsOverIsNotRead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ctx := t.Context()
		c := claimed(t, s, sandbox, alice, "wamid.1").Conversation.ID
		x := gateway.ContextSummary{Agent: gateway.NewAgentID(), Conversation: c, Until: 10, Text: "dead", ExpiresAt: time.Now().Add(-time.Millisecond)}
		must(t, s.PutSummary(ctx, &x))
		_, err := s.Summary(ctx, x.Agent, c)
		wantKind(t, err, gateway.NotFound)
		x.Until, x.Text, x.ExpiresAt = 3, "anew", time.Now().Add(time.Hour)
		must(t, s.PutSummary(ctx, &x))
		if got(s.Summary(ctx, x.Agent, c))(t).Text != "anew" {
			t.Error("the dead one stands in the way")
		}
	})
}

// remembered finishes a run of somebody's that leaves all that there is to forget.
func remembered(t *testing.T, s *store.Store, phone, id string) (gateway.Run, gateway.Contact) {
	t.Helper()
	f := finish(claimed(t, s, sandbox, phone, id), "reply")
	f.Run.Input, f.Run.Output.ContextSummary = json.RawMessage(`{"context_summary":"x"}`), "secret"
	f.Run.Notes = []string{"dropped: secret"}
	f.Run.Actions = []gateway.Action{{Type: "order", Payload: map[string]any{"what": "secret"}, Status: gateway.ActionAuto}}
	f.Memory = new("kept")
	f.Deliveries = []gateway.Delivery{{Webhook: hookOf(t, s), Event: gateway.EventRunCompleted, Run: f.Run.ID, Action: -1, Body: []byte(`{"secret":1}`)}}
	summarised(t, s, f)
	must(t, s.FinishRun(t.Context(), f))
	return f.Run, contactOf(t, s, phone)
}

// summarised keeps a summary for a run, which is to live on when the run ends.
func summarised(t *testing.T, s *store.Store, f *gateway.Finish) {
	t.Helper()
	f.Summary = &gateway.ContextSummary{Agent: f.Run.Agent, Conversation: f.Run.Conversation, Until: 1, Text: "old turns", ExpiresAt: time.Now().Add(time.Hour)}
	must(t, s.PutSummary(t.Context(), f.Summary))
	f.Summary.ExpiresAt = f.Summary.ExpiresAt.Add(time.Hour)
}

func hookOf(t *testing.T, s *store.Store) int64 {
	t.Helper()
	return got(s.Webhooks(t.Context()))(t)[0].ID
}

func TestForgetContext(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ctx := t.Context()
		a, who := remembered(t, s, alice, "wamid.1")
		b, neighbour := remembered(t, s, bob, "wamid.2")
		holds := func(r gateway.Run, c gateway.Contact) (out []bool) {
			back := got(s.Run(ctx, "", r.ID))(t)
			_, noSummary := s.Summary(ctx, r.Agent, r.Conversation)
			_, noMemory := s.ContactMemory(ctx, r.Agent, c.ID)
			return []bool{back.Output != nil, back.Input != nil, back.Notes != nil, back.Actions[0].Payload != nil, noSummary == nil, noMemory == nil}
		}
		yes := []bool{true, true, true, true, true, true}
		shown := func(agent gateway.AgentID, r gateway.Run) int {
			return len(shownTo(t, s, agent, r.Conversation))
		}
		all := shown("", a)

		_, agents, err := s.ForgetContext(ctx, who.ID, gateway.NewAgentID())
		must(t, err)
		equal(t, "agents", len(agents), 0)
		equal(t, "after another agent's context was forgotten", holds(a, who), yes)

		c, agents, err := s.ForgetContext(ctx, who.ID, a.Agent)
		must(t, err)
		equal(t, "conversation", c, a.Conversation)
		equal(t, "agents", agents, []gateway.AgentID{a.Agent})
		equal(t, "after the agent's context was", holds(a, who), []bool{false, false, false, false, false, true})
		equal(t, "messages that it is shown", shown(a.Agent, a), 0)
		equal(t, "messages that others are shown", shown(gateway.NewAgentID(), a), all)
		add(t, s, from(sandbox, alice, "wamid.3"))
		equal(t, "messages since then", shown(a.Agent, a), 1)

		_, _, err = s.ForgetContext(ctx, who.ID, "")
		must(t, err)
		equal(t, "after everything was", holds(a, who), make([]bool, 6))
		equal(t, "messages that anybody is shown", shown(gateway.NewAgentID(), a), 0)
		equal(t, "messages of the neighbour", shown(b.Agent, b) > 0, true)
		equal(t, "the neighbour", holds(b, neighbour), yes)
		_, _, err = s.ForgetContext(ctx, "ctc_none", "")
		wantKind(t, err, gateway.NotFound)
	})
}

func TestContacts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ctx := t.Context()
		add(t, s, from(sandbox, alice, "wamid.1"))
		add(t, s, from(cloud, alice, "wamid.2"))
		add(t, s, from(sandbox, bob, "wamid.3"))
		cs, total, err := s.Contacts(ctx, alice, "", 9)
		must(t, err)
		if len(cs) != 2 || total != 2 || cs[0].Account == cs[1].Account || cs[0].Address.Phone != alice || cs[1].Name != "Someone" {
			t.Errorf("contacts with the number: %+v, %d in all", cs, total)
		}
		equal(t, "one contact", got(s.Contact(ctx, cs[0].ID))(t), cs[0])
		cs, total, err = s.Contacts(ctx, "", "", 2)
		must(t, err)
		if len(cs) != 2 || total != 3 {
			t.Errorf("%d contacts, %d in all", len(cs), total)
		}
		first := cs
		cs, total, err = s.Contacts(ctx, "", first[1].ID, 2)
		must(t, err)
		if len(cs) != 1 || total != 3 || cs[0].ID == first[0].ID || cs[0].ID == first[1].ID {
			t.Errorf("after %+v come %+v, %d in all", first, cs, total)
		}
		_, _, err = s.Contacts(ctx, "", "ctc_none", 2)
		wantKind(t, err, gateway.NotFound)
		cs, total, err = s.Contacts(ctx, "+19990000000", "", 9)
		must(t, err)
		if len(cs) != 0 || total != 0 {
			t.Errorf("a stranger is %+v", cs)
		}
		_, err = s.Contact(ctx, "ctc_none")
		wantKind(t, err, gateway.NotFound)
	})
}
