package dispatch

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
)

// slowStore takes forever to renew a run.
type slowStore struct {
	RunStore
	RequestStore
	ActionStore
}

func (slowStore) RenewRun(ctx context.Context, _ gateway.RunID, _ int64, _ time.Time) error {
	<-ctx.Done()
	return fmt.Errorf("renew run: %w", ctx.Err())
}

func TestARenewalThatTheEndOfTheWorkCutsShortIsNoTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d, err := New(Parts{Runs: slowStore{}, Requests: slowStore{}, Actions: slowStore{}},
			Config{Concurrency: 1, Timeout: time.Minute, Lease: 3 * time.Second, MaxAttempts: 1}, slog.New(slog.NewTextHandler(&log, nil)), nil)
		if err != nil {
			t.Fatal(err)
		}
		err = d.held(t.Context(), &gateway.Run{ID: "run_1"}, func(context.Context) error {
			time.Sleep(1500 * time.Millisecond) // a renewal begins after 1 s
			return nil
		})
		if err != nil || log.Len() > 0 {
			t.Errorf("held = %v, and it is told:\n%s", err, &log)
		}
	})
}
