package debounce

import (
	"context"
	"errors"
	"fmt"
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
		"it loads its file": {
			begin: reload,
			end: func(ctx context.Context, rdb *redis.Client) error {
				for {
					err := rdb.Ping(ctx).Err()
					if err == nil || !strings.Contains(err.Error(), "LOADING") {
						return err
					}
				}
			},
			says: "LOADING",
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

// reload has a server load its data again, which takes some seconds, as of a large file.
func reload(ctx context.Context, rdb *redis.Client) error {
	for setting, value := range map[string]string{"key-load-delay": "20000", "loading-process-events-interval-bytes": "1024", "rdbcompression": "no"} {
		if err := rdb.ConfigSet(ctx, setting, value).Err(); err != nil {
			return err
		}
	}
	for i := range 150 {
		if err := rdb.Set(ctx, fmt.Sprint("ballast:", i), strings.Repeat(fmt.Sprint(i, " "), 200), 0).Err(); err != nil {
			return err
		}
	}
	opts := *rdb.Options()
	opts.ReadTimeout = time.Minute
	patient := redis.NewClient(&opts)
	go func() {
		_ = patient.Do(ctx, "DEBUG", "RELOAD").Err()
		_ = patient.Close()
	}()
	for {
		if err := rdb.Ping(ctx).Err(); err != nil {
			if strings.Contains(err.Error(), "LOADING") {
				err = nil
			}
			return err
		}
	}
}

// TestAFullRedisIsEmptiedByWhoStarts: whoever was there when it became full has stopped.
func TestAFullRedisIsEmptiedByWhoStarts(t *testing.T) {
	rdb := redistest.Start(t).Client()
	d := newDebouncer(t, rdb, config())
	add(t, d, "k", Window{Quiet: 100 * time.Millisecond}, "a")
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	wantItems(t, receive(t, collect(t, newDebouncer(t, rdb, config()))).Items, "a")
}

// TestAFullRedisTakesNoteOfFailures: what a handler could not do comes again as
// ever, and not only once its lease is over.
func TestAFullRedisTakesNoteOfFailures(t *testing.T) {
	s := redistest.Start(t)
	rdb := s.Client()
	d := newDebouncer(t, rdb, config())
	got := make(chan delivery, 10)
	full := make(chan struct{})
	run(t, d, func(_ context.Context, b Batch) error {
		got <- delivery{b, time.Now()}
		if b.Attempt == 1 {
			<-full
			return errors.New("no")
		}
		return nil
	})
	add(t, d, "k", Window{}, "a")
	receive(t, got)
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	close(full)
	if b := receive(t, got); b.Attempt != 2 {
		t.Errorf("it came again as attempt %d", b.Attempt)
	}
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
}
