package storetest_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestSendsOfALinkedDeviceAreSpaced(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		up(t, s, time.Hour)
		sent(t, s, phone, alice, "wamid.1")
		second := sent(t, s, phone, bob, "wamid.2")
		accept(t, s, mineOne(t, s))
		c, next := mine(t, s)
		if d := time.Until(next); len(c) != 0 || d < 29*time.Minute || d > 90*time.Minute {
			t.Errorf("claimed %+v, the next in %v", c, d)
		}
		wantSend(t, s, second, gateway.SendReady, gateway.StatusQueued)
	})
}

func TestTheGapIsAMean(t *testing.T) {
	const sends, gap = 200, 2 * time.Second
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t)
		up(t, s, gap)
		for _, l := range got(s.ClaimLinks(t.Context(), "me", 24*time.Hour, 0))(t) {
			set(t, s, l, gateway.LinkConnected)
		}
		answers(t, s, phone, alice, "wamid.1", sends)
		began := time.Now()
		var gaps []time.Duration
		for last := began; len(gaps) < sends-1; {
			accept(t, s, mineOne(t, s))
			c, next := mine(t, s)
			if len(c) != 0 {
				t.Fatalf("claimed at once: %+v", c)
			}
			time.Sleep(time.Until(next))
			gaps = append(gaps, time.Since(last))
			last = time.Now()
		}
		slices.Sort(gaps)
		if mean := time.Since(began) / (sends - 1); mean < gap*9/10 || mean > gap*11/10 {
			t.Errorf("the mean gap is %v", mean)
		}
		if least, most := gaps[0], gaps[len(gaps)-1]; least < gap/2 || least > gap*6/10 || most > gap*3/2 || most < gap*14/10 {
			t.Errorf("gaps are from %v to %v", least, most)
		}
	})
}

func TestALongAnswerStarvesNobody(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		up(t, s, 0)
		const long, others = 12, 4
		answers(t, s, phone, alice, "wamid.1", long)
		next := func() gateway.Send {
			t.Helper()
			x := mineOne(t, s)
			accept(t, s, x)
			for claimed := time.Now().UnixMilli(); time.Now().UnixMilli() == claimed; { // the store knows no moments in between
			}
			return x
		}
		parts, turns := map[gateway.ConversationID][]int{}, map[gateway.ConversationID][]int{}
		for i := range long + 2*others {
			if i == 1 {
				for k := range others {
					answers(t, s, phone, fmt.Sprint(bob, k), "wamid.2", 2)
				}
			}
			x := next()
			parts[x.Conversation] = append(parts[x.Conversation], x.Part)
			turns[x.Conversation] = append(turns[x.Conversation], i)
		}
		for conv, at := range turns {
			if len(at) == 2 && at[1] > 2*(others+1) {
				t.Errorf("the second part for %s had turn %d", conv, at[1])
			}
			if !slices.IsSorted(parts[conv]) {
				t.Errorf("parts for %s left as %v", conv, parts[conv])
			}
		}
		if len(turns) != others+1 {
			t.Errorf("%d conversations were served", len(turns))
		}
	})
}

func TestLinkedDevicesAndOthersTakeTurnsByAge(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		up(t, s, 0)
		want := []gateway.MessageID{
			sent(t, s, sandbox, alice, "wamid.1").ID, sent(t, s, phone, alice, "wamid.2").ID, sent(t, s, sandbox, bob, "wamid.3").ID,
		}
		for _, id := range want {
			c, _, _, err := s.ClaimSends(t.Context(), "me", true, 1)
			must(t, err)
			if len(c) != 1 || c[0].Send.ID != id {
				t.Errorf("claimed %+v, want %s", c, id)
			}
		}
	})
}

// Outboxes of the holder's name and one of another's race: at no time is there
// more than one send in hand, and each leaves once, in its order.
func TestNoTwoSendsOfALinkedDeviceRace(t *testing.T) {
	const conversations, parts = 6, 3
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		a := storetest.At(t, cfg)
		up(t, a, 0)
		for i := range conversations {
			answers(t, a, phone, fmt.Sprint(alice, i), "wamid.1", parts)
		}
		var mu sync.Mutex
		inHand, sends := 0, map[gateway.ConversationID][]int{}
		left := func() int {
			mu.Lock()
			defer mu.Unlock()
			n := conversations * parts
			for _, order := range sends {
				n -= len(order)
			}
			return n
		}
		var wg sync.WaitGroup
		b := a // one SQLite file is not made for several processes
		if cfg.URL != "" {
			b = storetest.At(t, cfg)
		}
		for i, s := range []*store.Store{a, b, a, b, a} {
			holder := []string{"me", "me", "you", "me", "me"}[i]
			wg.Go(func() {
				for deadline := time.Now().Add(time.Minute); left() > 0 && time.Now().Before(deadline); {
					c, _, _, err := s.ClaimSends(t.Context(), holder, true, 9)
					if err != nil {
						t.Error(err)
						return
					}
					for _, c := range c {
						mu.Lock()
						inHand++
						sends[c.Send.Conversation] = append(sends[c.Send.Conversation], c.Send.Part)
						if inHand > 1 || holder != "me" {
							t.Errorf("%d are in hand, the last one claimed by %s", inHand, holder)
						}
						mu.Unlock()
						for range 5 { // as long as WhatsApp takes
							_, _ = s.Link(t.Context(), phone)
						}
						mu.Lock()
						inHand--
						mu.Unlock()
						c.Send.State, c.Send.ExternalID = gateway.SendAccepted, c.Send.ID.WireID()
						for _, err = s.SettleSend(t.Context(), &c.Send); gateway.KindOf(err) == gateway.Unavailable; {
							_, err = s.SettleSend(t.Context(), &c.Send)
						}
						if err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		for conv, order := range sends {
			equal(t, "order of "+string(conv), order, []int{0, 1, 2})
		}
		if len(sends) != conversations {
			t.Errorf("sent in %d conversations", len(sends))
		}
	})
}
