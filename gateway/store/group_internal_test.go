package store

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
)

// slowly commits in so much time for each message, or not at all.
func slowly(each time.Duration, sizes *[]int) func(context.Context, [][]gateway.Arrival) ([][]gateway.Arrived, error) {
	return func(ctx context.Context, batches [][]gateway.Arrival) ([][]gateway.Arrived, error) {
		*sizes = append(*sizes, len(batches))
		timer := time.NewTimer(time.Duration(len(batches)) * each)
		defer timer.Stop()
		select {
		case <-timer.C:
			return make([][]gateway.Arrived, len(batches)), nil
		case <-ctx.Done():
			return nil, &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is not available", Err: ctx.Err()}
		}
	}
}

// storm has many callers who come again until their message is taken, and returns
// how long that took.
func storm(ctx context.Context, g *group, callers int) time.Duration {
	start := time.Now()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := g.do(ctx, make([]gateway.Arrival, 1)); err == nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

func TestASlowDatabaseGetsSmallerTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers, each = 600, 50 * time.Millisecond // 256 of them would take longer than they may
		var sizes []int
		g := &group{commit: slowly(each, &sizes)}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if took := storm(ctx, g, callers); took > callers*each+groupTimeout+time.Second {
			t.Fatalf("%d messages took %v, in transactions of %v", callers, took, sizes)
		}
		g.commit = slowly(time.Millisecond, &sizes)
		sizes = nil
		storm(ctx, g, 4*callers)
		if last := sizes[len(sizes)-2]; last != groupMessages {
			t.Errorf("a fast database got transactions of %v, want %d in the end", sizes, groupMessages)
		}
	})
}
