package debounce

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/debounce/redistest"
)

// A slow Redis answers after a while.
type slow struct{ took time.Duration }

func (s slow) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s slow) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		time.Sleep(s.took)
		return next(ctx, cmd)
	}
}

func (s slow) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		time.Sleep(s.took)
		return next(ctx, cmds)
	}
}

// slowDebouncer returns a Debouncer that reaches Redis slowly once it has added
// an item.
func slowDebouncer(t *testing.T, rdb *redis.Client, took time.Duration) *Debouncer {
	t.Helper()
	reached := redis.NewClient(rdb.Options())
	t.Cleanup(func() { reached.Close() })
	d := newDebouncer(t, reached, config())
	add(t, d, "first", Window{Quiet: forever}, "x") // learns of the shards
	reached.AddHook(slow{took})
	return d
}

// TestAddsThatComeTogetherShareRoundTrips: a hundred at once need few
// of them.
func TestAddsThatComeTogetherShareRoundTrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		d := slowDebouncer(t, rdb, time.Second)
		start := time.Now()
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() { add(t, d, fmt.Sprint(i), Window{Quiet: forever}, "x") })
		}
		all.Wait()
		// A pipeline takes some thirty of these.
		if took := time.Since(start); took > 8*time.Second {
			t.Errorf("100 Adds took %v, want a few round trips of a second", took)
		}
		if waiting, _, err := newDebouncer(t, rdb, config()).countWindows(); err != nil || waiting != 101 {
			t.Errorf("%d windows wait, %v, want 101", waiting, err)
		}
	})
}

// TestAnAddThatGaveUpIsNotSent: during an outage nothing piles up.
func TestAnAddThatGaveUpIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		d := slowDebouncer(t, rdb, time.Minute)
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				err := d.Add(ctx, "group", fmt.Sprint(i), "x", Window{Quiet: forever})
				// Whoever sends can not leave before the answer.
				if took := time.Since(start); took < time.Minute && (took != time.Second || !errors.Is(err, context.DeadlineExceeded)) {
					t.Errorf("Add = %v after %v", err, took)
				}
			})
		}
		all.Wait()
		time.Sleep(time.Hour)
		waiting, _, err := newDebouncer(t, rdb, config()).countWindows()
		if err != nil || waiting > 1+pipelines {
			t.Errorf("%d windows wait, %v, want the first and those that were under way", waiting, err)
		}
	})
}

// TestAnAddEndsWithItsTime: one whose context ends does not wait for a Redis
// that hangs, be it the first one, the one that sends, or behind others.
func TestAnAddEndsWithItsTime(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	rdb := redis.NewClient(&redis.Options{Addr: silent.Addr().String(), ContextTimeoutEnabled: true, MaxRetries: -1})
	defer rdb.Close()
	d := newDebouncer(t, rdb, config())
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			if err := d.Add(ctx, "group", "key", "item", Window{}); err == nil || time.Since(start) > 3*time.Second {
				t.Errorf("Add = %v after %v, want an error in time", err, time.Since(start))
			}
		})
	}
	all.Wait()
}
