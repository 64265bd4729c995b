package dispatch

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
)

// fullDisk can be read and not written.
type fullDisk struct {
	Directory
	RequestStore
	tried int
}

func (*fullDisk) Webhooks(context.Context) ([]gateway.Webhook, error) { return nil, nil }

func (*fullDisk) ClaimRuns(context.Context, int, time.Duration) ([]gateway.Run, time.Time, error) {
	return nil, time.Time{}, nil
}

func (*fullDisk) DueActions(context.Context, int) ([]gateway.Run, time.Time, error) {
	return []gateway.Run{{ID: "run_1", Actions: []gateway.Action{{Status: gateway.ActionPending, ExpiresAt: time.Now()}}}}, time.Time{}, nil
}

func (f *fullDisk) DecideActions(context.Context, gateway.AgentID, gateway.RunID, func(gateway.Run) (gateway.Decided, error)) (gateway.Run, error) {
	f.tried++
	if f.tried > 100 {
		panic("it does not stop trying")
	}
	return gateway.Run{}, &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is not available"}
}

func TestExpiryWaitsWhileNothingCanBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fullDisk{}
		d, err := New(Parts{Actions: f, Directory: f, Requests: f},
			Config{Concurrency: 1, Timeout: time.Second, Lease: time.Second, MaxAttempts: 1}, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 9500*time.Millisecond)
		defer stop()
		if err := d.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if f.tried != 10 {
			t.Errorf("tried %d times in 9.5 s, want 10", f.tried)
		}
	})
}
