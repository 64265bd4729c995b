package store

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"wagent/gateway"
)

// TestWhatIsClaimedIsLookedAtOnceMore: what happened since the outbox was looked at.
func TestWhatIsClaimedIsLookedAtOnceMore(t *testing.T) {
	for name, tc := range map[string]struct {
		change string
		goes   bool
	}{
		"nothing happened":           {`UPDATE sends SET body = body`, true},
		"the account is not in use":  {`UPDATE accounts SET active = FALSE`, false},
		"a template waits for a day": {`UPDATE sends SET created_at = 1`, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), Config{Path: filepath.Join(t.TempDir(), "wagent.db"), Key: [32]byte{1}}, slog.New(slog.DiscardHandler), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if err := s.PutAccount(t.Context(), gateway.Account{ID: "acc", Kind: gateway.CloudAPI}); err != nil {
				t.Fatal(err)
			}
			x := gateway.Send{Account: "acc", To: gateway.Address{Phone: "+15550000001"}, Type: gateway.TypeTemplate}
			if _, err := s.QueueMessage(t.Context(), &x); err != nil {
				t.Fatal(err)
			}
			if _, err := s.q.exec(t.Context(), tc.change); err != nil {
				t.Fatal(err)
			}
			claimed, err := claimFree(t.Context(), s.q, []any{x.ID}, time.Now())
			if err != nil || (len(claimed) == 1) != tc.goes {
				t.Errorf("claimed %+v, %v", claimed, err)
			}
		})
	}
}
