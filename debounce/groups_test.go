package debounce

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wagent/debounce/agenda"
	"wagent/debounce/redistest"
)

// TestANoisyGroupHoldsUpNobody: where handlers are the bottleneck, a group with
// little to do does not wait behind one with much.
func TestANoisyGroupHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		cfg := config()
		cfg.Concurrency = 1
		d := newDebouncer(t, rdb, cfg)
		for i := range 200 {
			if err := d.Add(t.Context(), "noisy", fmt.Sprint("noisy", i), "x", Window{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // all of the noisy ones are older
		start := time.Now()
		var quiet []time.Duration
		done := make(chan struct{})
		run(t, d, func(_ context.Context, b Batch) error {
			if b.Key[0] == 'q' {
				if quiet = append(quiet, time.Since(start)); len(quiet) == 4 {
					close(done)
				}
			}
			time.Sleep(time.Second)
			return nil
		})
		for i := range 4 {
			if err := d.Add(t.Context(), "quiet", fmt.Sprint("quiet", i), "x", Window{}); err != nil {
				t.Fatal(err)
			}
		}
		<-done
		// Each of the four shards serves the two groups in turn.
		for i, at := range quiet {
			if limit := time.Duration(8*(i+1)) * time.Second; at > limit {
				t.Errorf("the quiet group's window %d had to wait for %v, want %v at most", i, at, limit)
			}
		}
	})
}

// TestWritingMoreGetsAGroupNoMoreTurns: an item for a key that is overdue changes
// nothing of whose turn it is.
func TestWritingMoreGetsAGroupNoMoreTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.Shards, cfg.Concurrency = 1, 1
		d := newDebouncer(t, redistest.InMemory(t), cfg)
		const keys = 40
		key := func(group string, i int) string { return fmt.Sprintf("%s%02d", group, i) }
		for i := range keys {
			for _, group := range []string{"noisy", "other"} {
				if err := d.Add(t.Context(), group, key(group, i), "x", Window{}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Millisecond)
		}
		got := map[string]int{}
		half := make(chan struct{})
		run(t, d, func(ctx context.Context, b Batch) error {
			got[b.Key[:5]]++
			if got["noisy"]+got["other"] == keys {
				close(half)
			}
			time.Sleep(time.Second)
			if next := got["noisy"]; next < keys { // the first that is overdue
				return d.Add(ctx, "noisy", key("noisy", next), "after "+b.Key, Window{})
			}
			return nil
		})
		<-half
		if n := got["noisy"]; n < keys/2-2 || n > keys/2+2 {
			t.Errorf("of %d turns the noisy group had %d", keys, n)
		}
	})
}

func TestGroupsGetEqualShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		cfg := config()
		cfg.Shards, cfg.Concurrency = 1, 3
		d := newDebouncer(t, rdb, cfg)
		for i, n := range []int{300, 60, 60} { // the first two come before the others
			for k := range n {
				group := fmt.Sprint("group", i)
				if err := d.Add(t.Context(), group, group+fmt.Sprint(" key", k), "x", Window{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		var mu sync.Mutex
		got := map[string]int{}
		handled, halfway := 0, make(chan struct{})
		stop := run(t, d, func(_ context.Context, b Batch) error {
			mu.Lock()
			got[b.Key[:6]]++
			if handled++; handled == 90 {
				close(halfway)
			}
			mu.Unlock()
			time.Sleep(time.Second)
			return nil
		})
		<-halfway
		mu.Lock()
		for group, n := range got {
			if n < 29 || n > 31 {
				t.Errorf("of 90 batches %d were of %s, want a third", n, group)
			}
		}
		mu.Unlock()
		stop()
	})
}

// TestProcessesShareTheShards: whoever has a shard hands over its batches in
// time, and nobody else asks for them.
func TestProcessesShareTheShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		cfg := config()
		cfg.Shards, cfg.Concurrency = 16, 100
		var mu sync.Mutex
		got := map[int]int{}
		late := time.Duration(0)
		start := func(n int) (c *cable, stop func()) {
			reached, c := through(t, rdb)
			return c, run(t, newDebouncer(t, reached, cfg), func(_ context.Context, b Batch) error {
				mu.Lock()
				defer mu.Unlock()
				got[n]++
				late = max(late, time.Since(b.DueAt))
				return nil
			})
		}
		round := func() (map[int]int, time.Duration) {
			mu.Lock()
			clear(got)
			late = 0
			mu.Unlock()
			d := newDebouncer(t, rdb, cfg)
			for i := range 320 {
				add(t, d, fmt.Sprint("key", i), Window{Quiet: time.Second + time.Duration(i)*time.Millisecond}, "x")
			}
			time.Sleep(3 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			return got, late
		}
		_, stop := start(0)
		synctest.Wait()
		cables := make([]*cable, 3)
		for i := 1; i < 3; i++ {
			cables[i], _ = start(i)
			synctest.Wait()
		}
		shares, late1 := round()
		for n := range 3 {
			if shares[n] < 70 || shares[n] > 150 { // five or six of sixteen shards, some fuller than others
				t.Errorf("process %d had %d of 320 batches, want about a third", n, shares[n])
			}
		}
		if late1 != 0 {
			t.Errorf("a batch came %v late", late1)
		}

		stop() // with a word to the others
		synctest.Wait()
		if shares, late := round(); late != 0 || shares[1]+shares[2] != 320 || shares[1] < 110 || shares[2] < 110 {
			t.Errorf("after a stop: %v late, shares %v, want two halves in time", late, shares)
		}

		cables[1].cut.Store(true) // without one
		if shares, late := round(); shares[2] != 320 || late > agenda.StandIn {
			t.Errorf("after a process went silent: %v late, shares %v, want all of them %v late at most", late, shares, agenda.StandIn)
		}
		time.Sleep(2 * cfg.Lease) // the other one counts as gone
		if shares, late := round(); shares[2] != 320 || late != 0 {
			t.Errorf("later: %v late, shares %v, want all of them in time", late, shares)
		}
		cables[1].cut.Store(false)
	})
}

// TestAnOverloadedProcessIsHelped: what a busy process can not take, one that
// is free takes a moment later.
func TestAnOverloadedProcessIsHelped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		cfg := config()
		cfg.Shards, cfg.Concurrency = 1, 2
		var mu sync.Mutex
		var late []time.Duration
		for range 2 {
			run(t, newDebouncer(t, rdb, cfg), func(_ context.Context, b Batch) error {
				mu.Lock()
				late = append(late, time.Since(b.DueAt))
				mu.Unlock()
				time.Sleep(time.Minute)
				return nil
			})
			synctest.Wait()
		}
		d := newDebouncer(t, rdb, cfg)
		for i := range 4 {
			add(t, d, fmt.Sprint(i), Window{Quiet: time.Second}, "x")
		}
		time.Sleep(2 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if len(late) != 4 || late[1] != 0 || late[3] != agenda.StandIn {
			t.Errorf("batches were %v late, want two in time and two %v late", late, agenda.StandIn)
		}
		time.Sleep(time.Minute)
	})
}
