package store_test

import (
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestSummariesWhoseLifeIsOverAreDeleted(t *testing.T) {
	s := storetest.Open(t)
	ctx := t.Context()
	if err := s.PutAccount(ctx, gateway.Account{ID: "acc_try", Kind: gateway.Sandbox}); err != nil {
		t.Fatal(err)
	}
	c, err := s.OpenConversation(ctx, "acc_try", gateway.Address{Phone: "+15550000001"})
	if err != nil {
		t.Fatal(err)
	}
	for _, life := range []time.Duration{-time.Millisecond, time.Hour} {
		x := gateway.ContextSummary{Agent: gateway.NewAgentID(), Conversation: c.ID, Text: "x", ExpiresAt: time.Now().Add(life)}
		if err := s.PutSummary(ctx, &x); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if err := store.DB(s).QueryRowContext(ctx, `SELECT COUNT(*) FROM context_summaries`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d summaries are on record, %v; want the living one", n, err)
	}
}
