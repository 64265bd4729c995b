package storetest_test

import (
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestAStatusProvesASendThatWasToBeTriedAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		x := sent(t, s, cloud, alice, "wamid.1")
		y := claimOne(t, s)
		y.State, y.NextAt = gateway.SendReady, time.Now() // "not taken", said the Graph API
		got(s.SettleSend(t.Context(), &y))(t)
		must(t, s.ApplyStatuses(t.Context(), []gateway.StatusUpdate{{
			Account: cloud, ExternalID: "wamid.out", Message: x.ID, Status: gateway.StatusDelivered, At: time.Now(),
		}}))
		if c, _, _ := claim(t, s, true); len(c) != 0 {
			t.Error("what the customer has already is sent again")
		}
		wantSend(t, s, x, gateway.SendAccepted, gateway.StatusDelivered)
	})
}
