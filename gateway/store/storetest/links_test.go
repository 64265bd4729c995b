package storetest_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// hold claims the links that are free, and returns all that holder holds.
func hold(t *testing.T, s *store.Store, holder string) []gateway.Link {
	t.Helper()
	return got(s.ClaimLinks(t.Context(), holder, time.Minute, 99))(t)
}

// lapse ends the leases of holder's links, as time does.
func lapse(t *testing.T, s *store.Store, holder string) {
	t.Helper()
	if ls := got(s.ClaimLinks(t.Context(), holder, 0, 0))(t); len(ls) != 0 {
		t.Fatalf("after its leases %s still holds %+v", holder, ls)
	}
}

// set writes how a link stands.
func set(t *testing.T, s *store.Store, l gateway.Link, state gateway.LinkState) {
	t.Helper()
	l.State, l.Device = state, "15559999999:1@s.whatsapp.net"
	must(t, s.SetLink(t.Context(), &l))
}

func accountsOf(ls []gateway.Link) []gateway.AccountID {
	var out []gateway.AccountID
	for i := range ls {
		out = append(out, ls[i].Account)
	}
	return out
}

func wantLink(t *testing.T, s *store.Store, state gateway.LinkState) gateway.Link {
	t.Helper()
	l := got(s.Link(t.Context(), phone))(t)
	if l.State != state {
		t.Errorf("the link is %s, want %s", l.State, state)
	}
	return l
}

func TestALinkIsHeldByOne(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		all := []gateway.AccountID{"acc_p1", "acc_p2", "acc_p3"}
		for _, id := range all {
			link(t, s, func(a *gateway.Account) { a.ID = id })
		}
		before := time.Now()
		first := got(s.ClaimLinks(t.Context(), "a", time.Minute, 2))(t)
		equal(t, "a holds", accountsOf(first), all[:2])
		for _, l := range first {
			if l.Holder != "a" || l.Fence != 1 || l.State != gateway.LinkUnpaired || l.LeaseUntil.Before(before.Add(59*time.Second)) {
				t.Errorf("claimed %+v", l)
			}
		}
		equal(t, "b holds", accountsOf(hold(t, s, "b")), all[2:])
		again := got(s.ClaimLinks(t.Context(), "a", time.Hour, 9))(t)
		equal(t, "a holds later", accountsOf(again), all[:2])
		for i, l := range again {
			if l.Fence != first[i].Fence || l.LeaseUntil.Before(before.Add(59*time.Minute)) {
				t.Errorf("renewed %+v", l)
			}
		}
		equal(t, "nobody holds", len(hold(t, s, "")), 0)
		equal(t, "links", accountsOf(got(s.Links(t.Context()))(t)), all)
		_, err := s.Link(t.Context(), sandbox)
		wantKind(t, err, gateway.NotFound)
	})
}

func TestAClaimRaisesTheFence(t *testing.T) {
	tests := map[string]struct {
		between func(t *testing.T, s *store.Store)
		holder  string
		fence   int64 // 0: it is not theirs
		state   gateway.LinkState
	}{
		"not a renewal":            {nil, "a", 1, gateway.LinkConnected},
		"not of what another has":  {nil, "b", 0, ""},
		"of another after a lease": {func(t *testing.T, s *store.Store) { t.Helper(); lapse(t, s, "a") }, "b", 2, gateway.LinkDisconnected},
		"of the same after it":     {func(t *testing.T, s *store.Store) { t.Helper(); lapse(t, s, "a") }, "a", 2, gateway.LinkDisconnected},
		"of what was given up": {func(t *testing.T, s *store.Store) {
			t.Helper()
			must(t, s.ReleaseLinks(t.Context(), "a", phone))
		}, "b", 2, gateway.LinkDisconnected},
		"of all that was given up": {func(t *testing.T, s *store.Store) {
			t.Helper()
			must(t, s.ReleaseLinks(t.Context(), "a"))
		}, "a", 2, gateway.LinkDisconnected},
		"not of what others gave up": {func(t *testing.T, s *store.Store) {
			t.Helper()
			must(t, s.ReleaseLinks(t.Context(), "b"))
			must(t, s.ReleaseLinks(t.Context(), "a", sandbox))
		}, "b", 0, ""},
		"after a restart": {func(t *testing.T, s *store.Store) { t.Helper(); must(t, s.ReleaseLeases(t.Context())) }, "b", 2, gateway.LinkDisconnected},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				link(t, s, nil)
				set(t, s, hold(t, s, "a")[0], gateway.LinkConnected)
				if tt.between != nil {
					tt.between(t, s)
				}
				ls := hold(t, s, tt.holder)
				switch {
				case tt.fence == 0 && len(ls) == 0:
				case tt.fence == 0 || len(ls) != 1:
					t.Errorf("%s holds %+v", tt.holder, ls)
				case ls[0].Fence != tt.fence || ls[0].State != tt.state || ls[0].Holder != tt.holder || ls[0].Device == "":
					t.Errorf("%s holds %+v, want fence %d and state %s", tt.holder, ls[0], tt.fence, tt.state)
				}
			})
		})
	}
}

func TestALinkKeepsWhatItsHolderKnows(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		link(t, s, nil)
		l := hold(t, s, "a")[0]
		at := time.Now().UTC().Truncate(time.Millisecond)
		l.Device, l.Phone, l.LID, l.State, l.Reason = "15559999999:1@s.whatsapp.net", "+15559999999", "900", gateway.LinkBanned, "WhatsApp banned it for a day"
		l.RetryAt, l.NoFirstUntil, l.ConnectedAt, l.LastFrameAt = at.Add(24*time.Hour), at.Add(time.Hour), at.Add(-time.Hour), at
		must(t, s.SetLink(t.Context(), &l))
		read := wantLink(t, s, gateway.LinkBanned)
		if read.UpdatedAt.Before(at) {
			t.Errorf("updated at %v", read.UpdatedAt)
		}
		read.UpdatedAt = l.UpdatedAt
		equal(t, "the link", read, l)
		link(t, s, func(a *gateway.Account) { a.Name = "changed" })
		wantLink(t, s, gateway.LinkBanned)
		lapse(t, s, "a")
		if l := hold(t, s, "b")[0]; l.State != gateway.LinkBanned || !l.RetryAt.Equal(at.Add(24*time.Hour)) {
			t.Errorf("the next holder finds %+v", l)
		}
	})
}

func TestAHolderThatLostItsLinkWritesNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		link(t, s, nil)
		first := hold(t, s, "a")[0]
		set(t, s, first, gateway.LinkConnected)
		lapse(t, s, "a")
		second := hold(t, s, "a")[0]
		wantKind(t, s.SetLink(t.Context(), &first), gateway.Conflict)
		lapse(t, s, "a")
		third := hold(t, s, "b")[0]
		forged := third
		forged.Holder = "a"
		for _, l := range []gateway.Link{first, second, forged} {
			wantKind(t, s.SetLink(t.Context(), &l), gateway.Conflict)
		}
		set(t, s, third, gateway.LinkConnected)
		must(t, s.ReleaseLinks(t.Context(), "b"))
		wantKind(t, s.SetLink(t.Context(), &third), gateway.Conflict)
		wantLink(t, s, gateway.LinkDisconnected)
	})
}

func TestADeadHoldersLinkIsNotConnected(t *testing.T) {
	for state, want := range map[gateway.LinkState]gateway.LinkState{
		gateway.LinkConnected: gateway.LinkDisconnected, gateway.LinkConnecting: gateway.LinkDisconnected,
		gateway.LinkBanned: gateway.LinkBanned, gateway.LinkLoggedOut: gateway.LinkLoggedOut,
	} {
		t.Run(string(state), func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				link(t, s, nil)
				set(t, s, hold(t, s, "a")[0], state)
				wantLink(t, s, state)
				lapse(t, s, "a")
				wantLink(t, s, want)
				if ls := got(s.Links(t.Context()))(t); len(ls) != 1 || ls[0].State != want {
					t.Errorf("listed as %+v", ls)
				}
			})
		})
	}
}

func TestLoggingOutIsTheHoldersToDo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		link(t, s, nil)
		wantKind(t, s.AskLogout(t.Context(), sandbox), gateway.NotFound)
		wantKind(t, s.AskLogout(t.Context(), "acc_none"), gateway.NotFound)
		must(t, s.AskLogout(t.Context(), phone))
		l := hold(t, s, "a")[0]
		if l.LoggingOut {
			t.Error("it is to log out of nothing")
		}
		set(t, s, l, gateway.LinkConnected)
		must(t, s.AskLogout(t.Context(), phone))
		set(t, s, l, gateway.LinkConnected) // by a holder that did not hear of it yet
		if l = hold(t, s, "a")[0]; !l.LoggingOut {
			t.Error("the wish was lost")
		}
		l.Device, l.State = "", gateway.LinkLoggedOut
		must(t, s.SetLink(t.Context(), &l))
		if l := wantLink(t, s, gateway.LinkLoggedOut); l.LoggingOut {
			t.Error("the wish outlives the device")
		}
	})
}

func TestDeleteAccount(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		wantKind(t, s.DeleteAccount(t.Context(), sandbox), gateway.Conflict) // it is declared
		wantKind(t, s.DeleteAccount(t.Context(), "acc_none"), gateway.NotFound)
		const other gateway.AccountID = "acc_unpaired"
		link(t, s, nil)
		link(t, s, func(a *gateway.Account) { a.ID = other })
		ls := hold(t, s, "a")
		equal(t, "held", accountsOf(ls), []gateway.AccountID{phone, other})
		set(t, s, ls[0], gateway.LinkConnected)
		got(s.StartPairing(t.Context(), other, gateway.ByQR, ""))(t)
		for _, id := range []gateway.AccountID{phone, other} {
			must(t, s.DeleteAccount(t.Context(), id))
			wantKind(t, s.DeleteAccount(t.Context(), id), gateway.NotFound)
			_, err := s.AddMessages(t.Context(), []gateway.Arrival{from(id, alice, "wamid.1")})
			wantKind(t, err, gateway.NotFound)
			_, err = s.StartPairing(t.Context(), id, gateway.ByQR, "")
			wantKind(t, err, gateway.NotFound)
			got(s.Account(t.Context(), id))(t) // what was said on it is still on record
		}
		if as := got(s.Accounts(t.Context()))(t); len(as) != 2 {
			t.Errorf("in use are %+v", as)
		}
		if p := got(s.Pairing(t.Context(), other))(t); p.Step != gateway.StepFailed || p.Error == "" {
			t.Errorf("its pairing is %+v", p)
		}
		equal(t, "links", len(got(s.Links(t.Context()))(t)), 0)

		// Whoever holds it unlinks the device, also after a crash.
		lapse(t, s, "a")
		ls = hold(t, s, "b")
		if len(ls) != 1 || ls[0].Account != phone || !ls[0].LoggingOut {
			t.Fatalf("b holds %+v", ls)
		}
		ls[0].Device, ls[0].State = "", gateway.LinkLoggedOut
		must(t, s.SetLink(t.Context(), &ls[0]))
		equal(t, "held when it is done", len(hold(t, s, "b")), 0)

		link(t, s, nil)
		lapse(t, s, "b")
		equal(t, "held when it is there again", accountsOf(hold(t, s, "b")), []gateway.AccountID{phone})
	})
}

func TestWhatVanishedFromTheFileIsNotHeld(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		declare := func(as ...gateway.Account) { t.Helper(); must(t, s.Declare(t.Context(), as, nil, nil, nil)) }
		a := gateway.Account{ID: phone, Kind: gateway.LinkedDevice, Linked: gateway.DefaultLinked()}
		declare(a)
		set(t, s, hold(t, s, "a")[0], gateway.LinkConnected)
		declare()
		equal(t, "held", len(hold(t, s, "a")), 0)
		equal(t, "links", len(got(s.Links(t.Context()))(t)), 0)
		must(t, s.ReleaseLinks(t.Context(), "a"))
		equal(t, "held by another", len(hold(t, s, "b")), 0)
		declare(a)
		if ls := hold(t, s, "b"); len(ls) != 1 || ls[0].Device == "" || ls[0].Fence != 2 || ls[0].LoggingOut {
			t.Errorf("back again it is held as %+v", ls)
		}
	})
}

func TestAccountsKeepHowTheyBehave(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		want := gateway.Account{
			ID: phone, Kind: gateway.LinkedDevice, Name: "Shop", AllowFrom: []string{alice, bob}, Takeover: 7 * time.Minute,
			Linked: gateway.Linked{Groups: gateway.GroupsMentioned, MarkRead: gateway.ReadNever, Typing: true, SendGap: 1500 * time.Millisecond},
		}
		read := func() gateway.Account {
			t.Helper()
			a := got(s.Account(t.Context(), phone))(t)
			a.CreatedAt = time.Time{}
			return a
		}
		must(t, s.PutAccount(t.Context(), want))
		equal(t, "put", read(), want)
		want.AllowFrom, want.Takeover, want.Linked, want.Declared = nil, 0, gateway.DefaultLinked(), true
		must(t, s.Declare(t.Context(), []gateway.Account{want}, nil, nil, nil))
		equal(t, "declared", read(), want)
	})
}

func TestAnAccountChangesItsKind(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		toKind := func(kind gateway.AccountKind) error {
			return s.PutAccount(t.Context(), gateway.Account{ID: phone, Kind: kind})
		}
		must(t, toKind(gateway.LinkedDevice))
		got(s.StartPairing(t.Context(), phone, gateway.ByQR, ""))(t)
		must(t, toKind(gateway.Sandbox))
		_, err := s.Link(t.Context(), phone)
		wantKind(t, err, gateway.NotFound)
		_, err = s.Pairing(t.Context(), phone)
		wantKind(t, err, gateway.NotFound)
		must(t, toKind(gateway.LinkedDevice))
		l := hold(t, s, "a")[0]
		set(t, s, l, gateway.LinkConnected)
		wantKind(t, toKind(gateway.Sandbox), gateway.Conflict)
		if a := got(s.Account(t.Context(), phone))(t); a.Kind != gateway.LinkedDevice {
			t.Errorf("a refused change left it as %s", a.Kind)
		}
	})
}

// Each process claims, renews, stalls and gives up as it likes: for no account
// does the next holder's time begin before the last one's is over.
func TestReplicasNeverHoldALinkTogether(t *testing.T) {
	const accounts, processes, rounds = 5, 4, 60
	type term struct {
		holder       string
		began, until time.Time
	}
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		first := storetest.At(t, cfg)
		for i := range accounts {
			link(t, first, func(a *gateway.Account) { a.ID = gateway.AccountID(fmt.Sprint("acc_", i)) })
		}
		var mu sync.Mutex
		terms := map[gateway.AccountID]map[int64]*term{}
		note := func(l *gateway.Link, lease time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			if terms[l.Account] == nil {
				terms[l.Account] = map[int64]*term{}
			}
			old := terms[l.Account][l.Fence]
			switch {
			case old == nil:
				terms[l.Account][l.Fence] = &term{l.Holder, l.LeaseUntil.Add(-lease), l.LeaseUntil}
			case old.holder != l.Holder:
				t.Errorf("%s has fence %d for %s and %s", l.Account, l.Fence, old.holder, l.Holder)
			default:
				old.until = l.LeaseUntil
			}
		}
		var wg sync.WaitGroup
		for p := range processes {
			s := first
			if p%2 == 1 {
				s = storetest.At(t, cfg)
			}
			holder := fmt.Sprint("holder_", p)
			wg.Go(func() {
				for round := range rounds {
					lease := time.Duration(1+(round*7+p)%9) * time.Millisecond
					ls, err := s.ClaimLinks(t.Context(), holder, lease, 2)
					switch {
					case gateway.KindOf(err) == gateway.Unavailable: // one SQLite file is not made for several processes
					case err != nil:
						t.Error(err)
					}
					for i := range ls {
						note(&ls[i], lease)
					}
				}
			})
		}
		wg.Wait()
		takeovers := 0
		for account, byFence := range terms {
			fences := make([]int64, 0, len(byFence))
			for fence := range byFence {
				fences = append(fences, fence)
			}
			slices.Sort(fences)
			for i := range fences[1:] {
				last, next := byFence[fences[i]], byFence[fences[i+1]]
				if next.began.Before(last.until) {
					t.Errorf("%s is %s's from %v on, while it is %s's until %v", account, next.holder, next.began, last.holder, last.until)
				}
				if next.holder != last.holder {
					takeovers++
				}
			}
		}
		if takeovers < 5 {
			t.Errorf("%d takeovers prove nothing", takeovers)
		}
	})
}
