package storetest_test

import (
	"testing"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestSkippedMessages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		thanks := from(sandbox, alice, "wamid.1")
		thanks.State, thanks.Reason = gateway.StateIgnored, gateway.ReasonGreeting
		old := from(sandbox, alice, "wamid.2")
		old.State, old.Reason = gateway.StateHeld, gateway.ReasonTooOld
		theirs := from(sandbox, bob, "wamid.3")
		theirs.State, theirs.Reason = gateway.StateIgnored, gateway.ReasonEmoji
		add(t, s, thanks, old, theirs, echo(sandbox, alice, "wamid.4"))
		claimed(t, s, sandbox, alice, "wamid.5")
		who := contactOf(t, s, alice)
		reasons := func(limit int) (out []string) {
			for _, m := range got(s.Skipped(t.Context(), &who, limit))(t) {
				out = append(out, string(m.State)+" "+m.StateReason)
			}
			return out
		}
		equal(t, "skipped", reasons(9), []string{"held too_old", "ignored greeting"})
		equal(t, "the newest of them", reasons(1), []string{"held too_old"})
		equal(t, "of nobody", len(got(s.Skipped(t.Context(), &gateway.Contact{ID: "ctc_none", Account: sandbox}, 9))(t)), 0)
	})
}

// TestAnAccountThatIsNotInUseIsCorrectedAndErased: what is known of its customers
// outlives it.
func TestAnAccountThatIsNotInUseIsCorrectedAndErased(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ctx := t.Context()
		r, who := remembered(t, s, alice, "wamid.1")
		must(t, s.Declare(ctx, nil, nil, nil, nil))
		equal(t, "tags", got(s.SetContactTags(ctx, sandbox, who.Address, []string{"vip"}))(t), []string{"vip"})
		m := gateway.ContactMemory{Agent: r.Agent, Contact: who.ID, Text: "corrected"}
		must(t, s.PutContactMemory(ctx, &m))
		equal(t, "memory", got(s.ContactMemory(ctx, r.Agent, who.ID))(t).Text, "corrected")
		m.Text = ""
		must(t, s.PutContactMemory(ctx, &m))
		_, _, err := s.ForgetContext(ctx, who.ID, "")
		must(t, err)
		_, err = s.ContactMemory(ctx, r.Agent, who.ID)
		wantKind(t, err, gateway.NotFound)
	})
}
