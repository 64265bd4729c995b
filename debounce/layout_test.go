package debounce

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"wagent/debounce/redistest"
)

// TestTheNumberOfShardsMayChange: a process is started with another number
// while windows wait and a batch is in flight. None is lost, none comes twice,
// and in the end nothing is left of the old number.
func TestTheNumberOfShardsMayChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		var mu sync.Mutex
		got, active := map[string][]string{}, map[string]int{}
		handle := func(_ context.Context, b Batch) error {
			mu.Lock()
			if active[b.Key]++; active[b.Key] > 1 {
				t.Errorf("two batches of %s at once", b.Key)
			}
			mu.Unlock()
			time.Sleep(2 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			active[b.Key]--
			got[b.Key] = append(got[b.Key], b.Items...)
			return nil
		}
		want := map[string][]string{}
		say := func(d *Debouncer, quiet time.Duration, item string) {
			t.Helper()
			for i := range 20 {
				key := fmt.Sprint("key", i)
				add(t, d, key, Window{Quiet: quiet}, item)
				want[key] = append(want[key], item)
			}
		}
		cfg := config()
		cfg.Concurrency = 100
		old := newDebouncer(t, rdb, cfg)
		stop := run(t, old, handle)
		say(old, 0, "in flight")
		synctest.Wait()
		say(old, 5*time.Second, "waiting")
		cfg.Shards = 16
		d := newDebouncer(t, rdb, cfg)
		say(d, 5*time.Second, "joins") // although d has another number
		run(t, d, handle)
		synctest.Wait()
		add(t, old, "fresh", Window{}, "from the old one") // which learns of it now
		want["fresh"] = []string{"from the old one"}
		time.Sleep(4 * time.Second)
		say(old, 5*time.Second, "joins too")
		time.Sleep(20 * time.Second)
		if b := boardOf(t, old); len(b.chain) != 1 || len(b.shards) != 16 {
			t.Errorf("the old process knows %d layouts with %d shards, want the new one only", len(b.chain), len(b.shards))
		}
		stop()
		say(d, time.Second, "after")
		time.Sleep(10 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("handled (-want +got):\n%s", diff)
		}
		onlyConstants(t, rdb)
		if n := rdb.LLen(t.Context(), "{test}:layouts").Val(); n != 1 {
			t.Errorf("%d layouts are left, want 1", n)
		}
	})
}

// TestAProcessThatSleptThroughAChange adds to where keys go now.
func TestAProcessThatSleptThroughAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		cfg := config()
		slept := newDebouncer(t, rdb, cfg)
		add(t, slept, "k", Window{Quiet: time.Minute}, "a")
		for _, n := range []int{7, 16} {
			cfg.Shards = n
			d := newDebouncer(t, rdb, cfg)
			got := collect(t, d)
			if n == 7 {
				wantItems(t, receive(t, got).Items, "a")
			}
			time.Sleep(time.Minute) // the older ones are drained
		}
		add(t, slept, "k", Window{}, "b") // it had the others look at its layout once more
		time.Sleep(time.Minute)
		if b := boardOf(t, slept); len(b.chain) != 1 || len(b.shards) != 16 {
			t.Errorf("it knows %d layouts with %d shards, want one with 16", len(b.chain), len(b.shards))
		}
		onlyConstants(t, rdb)
	})
}

// TestAProcessThatOnlyAddsHearsOfALoss: Redis lost its data and the processes at
// work started anew, so nobody but whoever only adds knows the layout of before.
func TestAProcessThatOnlyAddsHearsOfALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		adds := newDebouncer(t, rdb, config())
		add(t, adds, "k", Window{Quiet: forever}, "a")
		flushAll(t, rdb)
		got := collect(t, newDebouncer(t, rdb, config()))
		time.Sleep(time.Minute)
		add(t, adds, "k", Window{Quiet: time.Second}, "b")
		wantItems(t, receive(t, got).Items, "b")
		add(t, adds, "k", Window{Quiet: forever}, "c")
		if err := adds.Flush(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		wantItems(t, receive(t, got).Items, "c")
	})
}

// TestManyCallersAskForTheShardsOnce at a cold start.
func TestManyCallersAskForTheShardsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		slowly := redis.NewClient(rdb.Options())
		t.Cleanup(func() { slowly.Close() })
		slowly.AddHook(slow{time.Second})
		d, start := newDebouncer(t, slowly, config()), time.Now()
		together(50, func(i int) { add(t, d, strconv.Itoa(i), Window{Quiet: forever}, "x") })
		// One trip for the shards (two, where the script is new) and some for the Adds.
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("50 Adds took %v, want a few round trips of a second", took)
		}
	})
}
