package debounce

import (
	"context"
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
	}{
		"it became a replica": {
			begin: func(ctx context.Context, rdb *redis.Client) error { return rdb.ReplicaOf(ctx, "127.0.0.1", "1").Err() },
			end:   func(ctx context.Context, rdb *redis.Client) error { return rdb.ReplicaOf(ctx, "NO", "ONE").Err() },
			says:  "READONLY",
		},
		"it is full": {
			begin: func(ctx context.Context, rdb *redis.Client) error { return rdb.ConfigSet(ctx, "maxmemory", "1").Err() },
			end:   func(ctx context.Context, rdb *redis.Client) error { return rdb.ConfigSet(ctx, "maxmemory", "0").Err() },
			says:  "OOM",
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
			d := newDebouncer(t, s.Client(), config())
			got, finish := make(chan delivery, 10), make(chan error)
			run(t, d, func(_ context.Context, b Batch) error {
				got <- delivery{b, time.Now()}
				return <-finish
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
			finish <- nil
			<-ctx.Done() // since when the window is due
			nothing(t, got)
			if err := tt.end(t.Context(), control); err != nil {
				t.Fatal(err)
			}
			add(t, d, "late", late, "c")
			var items []string // each shard is tried again in its own time
			for range 2 {
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
