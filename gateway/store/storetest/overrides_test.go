package storetest_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// otherwise is an override that leaves nothing to the agent.
var otherwise = gateway.WindowOverride{
	Quiet: new(5 * time.Second), MaxWait: new(20 * time.Second), MaxBatch: new(2), OnNewMessage: new(gateway.Supersede), MaxSupersedes: new(1),
}

func TestWindowOverrides(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		a := add(t, s, from(sandbox, alice, "wamid.1"))[0].Conversation
		b := add(t, s, from(sandbox, bob, "wamid.1"))[0].Conversation
		other := add(t, s, from(cloud, bob, "wamid.1"))[0].Conversation
		equal(t, "nothing yet", got(s.Windowing(t.Context(), a))(t), gateway.Windowing{})
		equal(t, "no conversation", got(s.Windowing(t.Context(), "cnv_none"))(t), gateway.Windowing{})
		wantKind(t, s.PutWindowOverride(t.Context(), "cnv_none", otherwise), gateway.NotFound)

		part := gateway.WindowOverride{MaxSupersedes: new(0)}
		must(t, s.PutWindowOverride(t.Context(), a, otherwise))
		must(t, s.PutWindowOverride(t.Context(), b, otherwise))
		must(t, s.PutWindowOverride(t.Context(), b, part)) // in its place
		must(t, s.PutWindowOverride(t.Context(), other, otherwise))
		equal(t, "all of it", got(s.Windowing(t.Context(), a))(t), gateway.Windowing{WindowOverride: otherwise})
		equal(t, "a part", got(s.Windowing(t.Context(), b))(t), gateway.Windowing{WindowOverride: part})
		equal(t, "those of the account", overrides(t, s, sandbox), []gateway.PeerWindow{
			{Conversation: a, Peer: gateway.Address{Phone: alice}, WindowOverride: otherwise},
			{Conversation: b, Peer: gateway.Address{Phone: bob}, WindowOverride: part},
		}, ignoreTimes, cmpopts.SortSlices(func(x, y gateway.PeerWindow) bool { return x.Peer.Phone < y.Peer.Phone }))

		must(t, s.PutWindowOverride(t.Context(), a, gateway.WindowOverride{}))
		must(t, s.PutWindowOverride(t.Context(), a, gateway.WindowOverride{}))
		equal(t, "nothing any more", got(s.Windowing(t.Context(), a))(t), gateway.Windowing{})
		if ws := overrides(t, s, sandbox); len(ws) != 1 || ws[0].Conversation != b {
			t.Errorf("those of the account: %+v", ws)
		}
	})
}

func TestListsSayHowManyThereAre(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		for i, id := range ids(5) {
			account := sandbox
			if i == 4 {
				account = cloud
			}
			c := add(t, s, from(account, fmt.Sprint("+1555000001", i), id))[0].Conversation
			must(t, s.PutWindowOverride(t.Context(), c, otherwise))
			until := time.Now().Add(time.Hour)
			if i == 0 {
				until = time.Now().Add(-time.Hour) // it is over
			}
			must(t, s.PutPause(t.Context(), &gateway.Pause{Conversation: c, Reason: gateway.PauseManual, ExpiresAt: until}))
		}
		for _, limit := range []int{2, 3, 4, 5} {
			ws, total, err := s.WindowOverrides(t.Context(), sandbox, limit)
			if err != nil || len(ws) != min(limit, 4) || total != 4 {
				t.Errorf("overrides, at most %d: %d of %d, %v", limit, len(ws), total, err)
			}
			ps, total, err := s.Pauses(t.Context(), sandbox, false, limit)
			if err != nil || len(ps) != min(limit, 3) || total != 3 {
				t.Errorf("active pauses, at most %d: %d of %d, %v", limit, len(ps), total, err)
			}
			ps, total, err = s.Pauses(t.Context(), sandbox, true, limit)
			if err != nil || len(ps) != min(limit, 4) || total != 4 {
				t.Errorf("pauses, at most %d: %d of %d, %v", limit, len(ps), total, err)
			}
		}
	})
}

func TestWhatWaitsComesWithItsWindow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		superseding(t, s, 3)
		first := add(t, s, from(sandbox, alice, "wamid.1"))[0]
		must(t, s.PutWindowOverride(t.Context(), first.Conversation, otherwise))
		c := got(s.ClaimRun(t.Context(), first.Conversation, time.Minute))(t)
		if !got(s.SupersedeRun(t.Context(), &c.Run))(t) {
			t.Fatal("not superseded")
		}
		as := got(s.AddMessages(t.Context(), []gateway.Arrival{
			from(sandbox, alice, "wamid.2"), from(sandbox, alice, "wamid.2"), from(sandbox, alice, "wamid.1"), from(sandbox, bob, "wamid.1"),
		}))(t)
		// What comes before the run is claimed again belongs to what superseded it.
		want := []gateway.Windowing{{WindowOverride: otherwise}, {WindowOverride: otherwise}, {}, {}}
		for i := range as {
			equal(t, as[i].Message.ExternalID, as[i].Window, want[i])
		}
		if as[1].New || as[2].Message.State != gateway.StateBatched {
			t.Errorf("added %+v", as)
		}
		got(s.ClaimRun(t.Context(), first.Conversation, time.Minute))(t)
		as = got(s.AddMessages(t.Context(), []gateway.Arrival{from(sandbox, alice, "wamid.3")}))(t)
		equal(t, "while the run is in hand again", as[0].Window, gateway.Windowing{WindowOverride: otherwise, Supersedes: 1})
	})
}

func TestAnOverrideDecidesWhatSupersedes(t *testing.T) {
	for name, tt := range map[string]struct {
		override   gateway.WindowOverride
		superseded bool
	}{
		"no override":                  {gateway.WindowOverride{Quiet: new(time.Second)}, false},
		"supersede, as often as usual": {gateway.WindowOverride{OnNewMessage: new(gateway.Supersede)}, true},
		"supersede, but never":         {gateway.WindowOverride{OnNewMessage: new(gateway.Supersede), MaxSupersedes: new(0)}, false},
		"follow up":                    {gateway.WindowOverride{OnNewMessage: new(gateway.FollowUp), MaxSupersedes: new(9)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s) // its agent follows up
				c := claimed(t, s, sandbox, alice, "wamid.1")
				must(t, s.PutWindowOverride(t.Context(), c.Run.Conversation, tt.override))
				add(t, s, from(sandbox, alice, "wamid.2"))
				err := s.FinishRun(t.Context(), finish(c, "hello"))
				if errors.Is(err, gateway.ErrSuperseded) != tt.superseded || err != nil && !tt.superseded {
					t.Errorf("FinishRun = %v", err)
				}
			})
		})
	}
}

func TestOverridesOfJoinedConversations(t *testing.T) {
	part := gateway.WindowOverride{MaxBatch: new(7)}
	for name, tt := range map[string]struct {
		phone, lid, want gateway.WindowOverride
	}{
		"of either one": {part, gateway.WindowOverride{}, part},
		"of the other":  {gateway.WindowOverride{}, part, part},
		"the same":      {part, part, part},
		"of none":       {},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				phone := add(t, s, as(from(sandbox, alice, "wamid.1"), gateway.Address{Phone: alice}))[0].Conversation
				lid := add(t, s, as(from(sandbox, alice, "wamid.2"), gateway.Address{LID: "900"}))[0].Conversation
				must(t, s.PutWindowOverride(t.Context(), phone, tt.phone))
				must(t, s.PutWindowOverride(t.Context(), lid, tt.lid))
				got(s.JoinAddresses(t.Context(), sandbox, gateway.Address{Phone: alice, LID: "900"}))(t)
				joined := got(s.ConversationWith(t.Context(), sandbox, gateway.Address{Phone: alice}))(t)
				equal(t, "window", got(s.Windowing(t.Context(), joined.ID))(t).WindowOverride, tt.want)
			})
		})
	}
}

// Who writes in a group may turn out to be somebody that we know as two.
func TestWhatAGroupsMessageJoinedComesWithItsOwnWindow(t *testing.T) {
	own, theirs := gateway.WindowOverride{MaxBatch: new(7)}, gateway.WindowOverride{MaxBatch: new(3)}
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		ms := add(t, s, as(from(sandbox, "", "p.1"), byPhone), as(from(sandbox, "", "l.1"), byLID))
		group := got(s.OpenConversation(t.Context(), sandbox, gateway.Address{Group: "g"}))(t)
		must(t, s.PutWindowOverride(t.Context(), ms[0].Conversation, own))
		must(t, s.PutWindowOverride(t.Context(), group.ID, theirs))
		m := as(from(sandbox, "", "g.1"), byBoth)
		m.Peer = group.Peer
		a := got(s.AddMessages(t.Context(), []gateway.Arrival{m}))(t)[0]
		equal(t, "joined", texts(a.Joined), []string{"p.1", "l.1"})
		equal(t, "window of what was joined", a.JoinedWindow.WindowOverride, own)
		equal(t, "window of the message", a.Window.WindowOverride, theirs)
	})
}

// TestWindowsOfWhatIsJoinedMeanwhile: a conversation that was looked at already
// gets another window by what comes in the same transaction.
func TestWindowsOfWhatIsJoinedMeanwhile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		own := gateway.WindowOverride{MaxBatch: new(7)}
		ms := add(t, s, as(from(sandbox, "", "p.1"), byPhone), as(from(sandbox, "", "l.1"), byLID))
		must(t, s.PutWindowOverride(t.Context(), ms[1].Conversation, own)) // the one that goes has an override
		group := got(s.OpenConversation(t.Context(), sandbox, gateway.Address{Group: "g"}))(t)
		m := as(from(sandbox, "", "g.1"), byBoth)
		m.Peer = group.Peer
		a := got(s.AddMessages(t.Context(), []gateway.Arrival{as(from(sandbox, "", "p.2"), byPhone), m}))(t)
		equal(t, "joined", texts(a[1].Joined), []string{"p.1", "l.1", "p.2"})
		equal(t, "window of what was joined", a[1].JoinedWindow.WindowOverride, own)
		equal(t, "window of what came before it", a[0].Window.WindowOverride, own)
	})
}
