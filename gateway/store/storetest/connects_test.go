package storetest_test

import (
	"errors"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// number is a new account on the Cloud API.
func number(phoneNumberID string) gateway.Account {
	return gateway.Account{
		ID: gateway.NewAccountID(), Kind: gateway.CloudAPI, Name: "Reception", Business: "Hotel", PhoneNumber: alice, Takeover: time.Hour,
		Cloud: gateway.Cloud{PhoneNumberID: phoneNumberID, WABAID: "9001", AccessToken: "token", GraphURL: "https://graph.example.com/v23.0"},
	}
}

func TestACloudAccountHasANumberOfItsOwn(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		a := number("2001")
		must(t, s.AddCloudAccount(t.Context(), a, ""))
		back := got(s.Account(t.Context(), a.ID))(t)
		back.CreatedAt = time.Time{}
		equal(t, "the account", back, a)
		for _, id := range []string{"2001", "1001"} { // one that was added, and one that is declared
			err := s.AddCloudAccount(t.Context(), number(id), "")
			wantKind(t, err, gateway.Invalid)
			if e, ok := errors.AsType[*gateway.Error](err); !ok || len(e.Details["phone_number_id"]) != 1 {
				t.Errorf("%s: %v", id, err)
			}
		}
		must(t, s.AddCloudAccount(t.Context(), a, "")) // the number is its own
		must(t, s.DeleteAccount(t.Context(), a.ID))
		must(t, s.AddCloudAccount(t.Context(), number("2001"), "")) // the number is free again
	})
}

func TestAConnectIsUsedOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		at := time.Now().UTC().Truncate(time.Millisecond)
		open := gateway.Connect{ID: gateway.NewConnectID(), ExpiresAt: at.Add(gateway.ConnectTTL), CreatedAt: at}
		over := gateway.Connect{ID: gateway.NewConnectID(), ExpiresAt: at, CreatedAt: at.Add(-gateway.ConnectTTL)}
		must(t, s.AddConnect(t.Context(), open))
		must(t, s.AddConnect(t.Context(), over))
		equal(t, "the connect", got(s.Connect(t.Context(), open.ID))(t), open)

		errs := make(chan error)
		rivals := []gateway.Account{number("2001"), number("2002"), number("2003")}
		for _, a := range rivals {
			go func() { errs <- s.AddCloudAccount(t.Context(), a, open.ID) }()
		}
		won := 0
		for range rivals {
			if err := <-errs; err == nil {
				won++
			} else {
				wantKind(t, err, gateway.Conflict)
			}
		}
		equal(t, "how often it was used", won, 1)
		used := got(s.Connect(t.Context(), open.ID))(t)
		if a := got(s.Account(t.Context(), used.Account))(t); a.Cloud.WABAID != "9001" {
			t.Errorf("it added %+v", a)
		}
		equal(t, "accounts", len(got(s.Accounts(t.Context()))(t)), 3)

		late := number("2004")
		wantKind(t, s.AddCloudAccount(t.Context(), late, over.ID), gateway.Conflict)
		wantKind(t, s.AddCloudAccount(t.Context(), late, "con_none"), gateway.NotFound)
		_, err := s.Account(t.Context(), late.ID)
		wantKind(t, err, gateway.NotFound)
	})
}

// TestAConnectOutlivesWhatWasWrong: who is told that the number is taken may try
// again with another.
func TestAConnectOutlivesWhatWasWrong(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		c := gateway.Connect{ID: gateway.NewConnectID(), ExpiresAt: time.Now().Add(time.Hour), CreatedAt: time.Now()}
		must(t, s.AddConnect(t.Context(), c))
		wantKind(t, s.AddCloudAccount(t.Context(), number("1001"), c.ID), gateway.Invalid)
		must(t, s.AddCloudAccount(t.Context(), number("1002"), c.ID))
	})
}

func TestConnectsAreNotKeptForEver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		old, newer := gateway.Connect{ID: "con_1", ExpiresAt: time.Now().Add(-31 * 24 * time.Hour)}, gateway.Connect{ID: "con_2", ExpiresAt: time.Now()}
		must(t, s.AddConnect(t.Context(), old))
		must(t, s.AddConnect(t.Context(), newer))
		_, err := s.Connect(t.Context(), old.ID)
		wantKind(t, err, gateway.NotFound)
		got(s.Connect(t.Context(), newer.ID))(t)
	})
}
