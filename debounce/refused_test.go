package debounce

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/debounce/redistest"
)

// TestWindowsWaitWhileRedisRefuses what a server may refuse at any time: what is
// in hand ends meanwhile, and what is due comes afterwards, each once.
func TestWindowsWaitWhileRedisRefuses(t *testing.T) {
	tests := map[string]struct {
		begin, end func(ctx context.Context, rdb *redis.Client) error
		says       string // to an Add
		claims     bool   // windows are handed over all the same
	}{
		"it became a replica": {
			begin: func(ctx context.Context, rdb *redis.Client) error { return rdb.ReplicaOf(ctx, "127.0.0.1", "1").Err() },
			end:   func(ctx context.Context, rdb *redis.Client) error { return rdb.ReplicaOf(ctx, "NO", "ONE").Err() },
			says:  "READONLY",
		},
		"it is full": {
			begin:  func(ctx context.Context, rdb *redis.Client) error { return rdb.ConfigSet(ctx, "maxmemory", "1").Err() },
			end:    func(ctx context.Context, rdb *redis.Client) error { return rdb.ConfigSet(ctx, "maxmemory", "0").Err() },
			says:   "OOM",
			claims: true, // or it would be full for ever
		},
		"it lets everybody wait": {
			begin: func(ctx context.Context, rdb *redis.Client) error {
				return rdb.Do(ctx, "CLIENT", "PAUSE", 3_600_000, "WRITE").Err()
			},
			end:  func(ctx context.Context, rdb *redis.Client) error { return rdb.ClientUnpause(ctx).Err() },
			says: "deadline",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			control := s.Client()
			if err := control.Ping(t.Context()).Err(); err != nil { // it has its connection
				t.Fatal(err)
			}
			cfg := config()
			if tt.claims {
				cfg.Lease = 300 * time.Millisecond // renewed meanwhile
			}
			d := newDebouncer(t, s.Client(), cfg)
			got, finish := make(chan delivery, 10), make(chan error)
			run(t, d, func(ctx context.Context, b Batch) error {
				got <- delivery{b, time.Now()}
				err := <-finish
				if tt.claims && errors.Is(context.Cause(ctx), ErrLeaseLost) {
					t.Errorf("the lease of %q was lost", b.Key)
				}
				return err
			})
			add(t, d, "in flight", Window{}, "a")
			receive(t, got)
			add(t, d, "waiting", Window{Quiet: 100 * time.Millisecond}, "b")
			if err := tt.begin(t.Context(), control); err != nil {
				t.Fatal(err)
			}
			late := Window{Quiet: 200 * time.Millisecond}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := d.Add(ctx, "group", "late", "c", late); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Add = %v, want an error that has %q", err, tt.says)
			}
			var items []string // each shard is tried again in its own time
			if tt.claims {
				items = append(items, receive(t, got).Items...)
				<-ctx.Done()
				finish <- nil
			}
			finish <- nil
			<-ctx.Done() // since when the window is due
			nothing(t, got)
			if err := tt.end(t.Context(), control); err != nil {
				t.Fatal(err)
			}
			add(t, d, "late", late, "c")
			for len(items) < 2 {
				items = append(items, receive(t, got).Items...)
				finish <- nil
			}
			slices.Sort(items)
			wantItems(t, items, "b", "c")
			add(t, d, "in flight", Window{}, "d") // its first batch is done, or will be
			wantItems(t, receive(t, got).Items, "d")
			finish <- nil
		})
	}
}
