package storetest_test

import (
	"strings"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestTagsOfAContact(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		who, both := gateway.Address{Phone: alice}, gateway.Address{Phone: alice, LID: "111"}
		m := add(t, s, as(from(sandbox, "", "wamid.1"), both), as(from(cloud, "", "wamid.1"), both), from(sandbox, bob, "wamid.2"))[0]
		equal(t, "tags of nobody's", got(s.ContactTags(t.Context(), sandbox, who))(t), nil)

		kept := got(s.SetContactTags(t.Context(), sandbox, who, []string{"vip", "long_stay", "vip"}))(t)
		want := []string{"long_stay", "vip"}
		equal(t, "tags as they are kept", kept, want)
		equal(t, "tags by another form", got(s.ContactTags(t.Context(), sandbox, gateway.Address{LID: "111"}))(t), want)
		equal(t, "tags of the conversation", got(s.Conversation(t.Context(), m.Conversation))(t).Tags, want)
		equal(t, "tags of the claim", got(s.ClaimRun(t.Context(), m.Conversation, time.Minute))(t).Conversation.Tags, want)
		equal(t, "tags on another account", got(s.ContactTags(t.Context(), cloud, who))(t), nil)
		equal(t, "tags of somebody else", got(s.ContactTags(t.Context(), sandbox, gateway.Address{Phone: bob}))(t), nil)

		for name, tags := range map[string][]string{
			"an empty one": {""}, "one with a capital": {"VIP"}, "one with a space": {"long stay"},
			"one that is too long": {strings.Repeat("a", 65)}, "too many": append(many("a"), "b"),
		} {
			if _, err := s.SetContactTags(t.Context(), sandbox, who, tags); gateway.KindOf(err) != gateway.Invalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		equal(t, "tags after what was refused", got(s.ContactTags(t.Context(), sandbox, who))(t), want)

		equal(t, "no tags", got(s.SetContactTags(t.Context(), sandbox, who, []string{}))(t), nil)
		equal(t, "tags taken away", got(s.Conversation(t.Context(), m.Conversation))(t).Tags, nil)
	})
}

func TestNobodyHasNoTags(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		add(t, s, from(sandbox, alice, "wamid.1"))
		for name, tt := range map[string]struct {
			account gateway.AccountID
			peer    gateway.Address
		}{
			"nobody":             {sandbox, gateway.Address{}},
			"a stranger":         {sandbox, gateway.Address{Phone: bob}},
			"of another account": {cloud, gateway.Address{Phone: alice}},
			"of no account":      {"acc_none", gateway.Address{Phone: alice}},
		} {
			if _, err := s.ContactTags(t.Context(), tt.account, tt.peer); gateway.KindOf(err) != gateway.NotFound {
				t.Errorf("tags of %s: %v", name, err)
			}
			if _, err := s.SetContactTags(t.Context(), tt.account, tt.peer, []string{"vip"}); gateway.KindOf(err) != gateway.NotFound {
				t.Errorf("set tags of %s: %v", name, err)
			}
		}
	})
}

func TestMergedContactsHaveTheTagsOfBoth(t *testing.T) {
	type tags = []string
	for name, tt := range map[string]struct{ phone, lid, want tags }{
		"both have some":         {tags{"vip", "guest"}, tags{"guest", "arabic"}, tags{"arabic", "guest", "vip"}},
		"the one that is kept":   {tags{"vip"}, nil, tags{"vip"}},
		"the one that goes":      {nil, tags{"vip"}, tags{"vip"}},
		"neither":                {nil, nil, nil},
		"as many as one may set": {many("a"), many("b"), append(many("a"), many("b")...)},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				add(t, s, as(from(sandbox, "", "wamid.1"), byPhone), as(from(sandbox, "", "wamid.2"), byLID))
				got(s.SetContactTags(t.Context(), sandbox, byPhone, tt.phone))(t)
				got(s.SetContactTags(t.Context(), sandbox, byLID, tt.lid))(t)
				got(s.JoinAddresses(t.Context(), sandbox, byBoth))(t)
				equal(t, "tags", got(s.ContactTags(t.Context(), sandbox, byLID))(t), tt.want)
			})
		})
	}
}

// many are as many tags as a contact may be given.
func many(prefix string) []string {
	out := make([]string, 50)
	for i := range out {
		out[i] = prefix + strings.Repeat("x", i)
	}
	return out
}

func TestWhyAnAgentAnswersIsOnTheRun(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		f := finish(claimed(t, s, sandbox, alice, "wamid.1"), "hello")
		f.Run.Routed = "language, tag"
		must(t, s.FinishRun(t.Context(), f))
		if r := got(s.Run(t.Context(), "", f.Run.ID))(t); r.Routed != "language, tag" {
			t.Errorf("it was routed by %q", r.Routed)
		}
		r := gateway.Run{Agent: f.Run.Agent, Trigger: gateway.TriggerAPI, Routed: "default"}
		must(t, s.CreateRun(t.Context(), &r))
		if r := got(s.Run(t.Context(), "", r.ID))(t); r.Routed != "default" {
			t.Errorf("a new run was routed by %q", r.Routed)
		}
	})
}
