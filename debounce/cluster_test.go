package debounce

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/debounce/redistest"
)

// TestCoreOnACluster also moves and loses what windows lie on.
func TestCoreOnACluster(t *testing.T) {
	c := redistest.StartCluster(t)
	rdb := c.Client()
	for name, f := range core {
		t.Run(name, func(t *testing.T) {
			flushAll(t, rdb)
			env{t, rdb, 100 * time.Millisecond}.play(f)
		})
	}
	t.Run("slots that move", func(t *testing.T) { moveSlots(env{t, rdb, 100 * time.Millisecond}, c) })
	t.Run("a slot that moves under load", func(t *testing.T) { moveLoaded(env{t, rdb, 100 * time.Millisecond}, c) })
	t.Run("a cluster that is down", func(t *testing.T) { down(env{t, rdb, 100 * time.Millisecond}, c) })
	t.Run("a master that hangs", func(t *testing.T) { hang(env{t, rdb, 100 * time.Millisecond}) })
	t.Run("a master that dies", func(t *testing.T) { failOver(env{t, rdb, 100 * time.Millisecond}, c) })
}

// down has nobody serve a slot for a while, for which a cluster serves none.
func down(t env, c *redistest.Cluster) {
	t.Helper()
	flushAll(t, t.rdb)
	d := newDebouncer(t, t.rdb, config())
	got := collect(t, d)
	want := map[string][]string{}
	for i := range 20 {
		key := strconv.Itoa(i)
		want[key] = []string{"a", "b"}
		add(t, d, key, Window{Quiet: 500 * time.Millisecond}, "a")
	}
	c.Unserve(boardOf(t, d).shards[0].prefix, func() {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := d.Add(ctx, "group", "0", "b", Window{}); err == nil || !strings.Contains(err.Error(), "CLUSTERDOWN") {
			t.Errorf("Add = %v, want an error that has CLUSTERDOWN", err)
		}
		<-ctx.Done() // since when all are due
		nothing(t, got)
	})
	for key := range want {
		add(t, d, key, Window{}, "b")
	}
	for len(want) > 0 {
		b := receive(t, got)
		rest := want[b.Key]
		wantItems(t, b.Items, rest[:len(b.Items)]...)
		if want[b.Key] = rest[len(b.Items):]; len(want[b.Key]) == 0 {
			delete(want, b.Key)
		}
	}
}

// moveSlots has the slots of all shards move while windows wait there and a
// batch is in flight.
func moveSlots(t env, c *redistest.Cluster) {
	t.Helper()
	flushAll(t, t.rdb)
	d := newDebouncer(t, t.rdb, config())
	got, finish := make(chan delivery, 100), make(chan struct{})
	run(t, d, func(_ context.Context, b Batch) error {
		got <- delivery{b, time.Now()}
		if b.Key == "in flight" {
			<-finish
		}
		return nil
	})
	add(t, d, "in flight", Window{}, "x")
	receive(t, got)
	want := map[string][]string{}
	for i := range 40 {
		key := strconv.Itoa(i)
		want[key] = []string{"a", "b", "c"}
		add(t, d, key, Window{Quiet: forever}, "a")
	}
	for _, s := range boardOf(t, d).shards {
		c.Move(s.prefix, func() { // half of the slot's keys are here, half there: Adds are told to ask
			for key := range want {
				if d.layouts.board.Load().newest().shard(key) == s {
					_ = d.Add(t.Context(), "group", key, "b", Window{Quiet: forever}) // or TRYAGAIN
				}
			}
		})
	}
	for key := range want {
		add(t, d, key, Window{Quiet: forever}, "b", "c")
		if err := d.Flush(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	close(finish)
	for len(want) > 0 {
		b := receive(t, got)
		wantItems(t, b.Items, want[b.Key]...)
		delete(want, b.Key)
	}
}

// moveLoaded has a slot move while more is due than there are handlers: whatever
// a claim takes away for good is then taken for being on the other node.
func moveLoaded(t env, c *redistest.Cluster) {
	t.Helper()
	flushAll(t, t.rdb)
	cfg := config()
	cfg.Shards, cfg.Concurrency = 1, 2
	d := newDebouncer(t, t.rdb, cfg)
	got, finish, last := make(chan delivery), make(chan struct{}), make(chan struct{})
	run(t, d, func(_ context.Context, b Batch) error {
		got <- delivery{b, time.Now()}
		if b.Key == "first" { // there is always something in flight
			<-last
		} else {
			<-finish
		}
		return nil
	})
	want := map[string]int{}
	addIn := func(group, key string, w Window) {
		want[key]++
		if err := d.Add(t.Context(), group, key, "x", w); err != nil {
			t.Fatal(err)
		}
	}
	come := func() { want[receive(t, got).Key]-- }
	addIn("quiet", "later", Window{Quiet: forever})
	addIn("busy", "much later", Window{Quiet: forever}) // a script that knows a key beforehand asks for it
	addIn("busy", "first", Window{})
	come()
	for i := range 10 {
		addIn("busy", strconv.Itoa(i), Window{})
	}
	come()
	finish <- struct{}{}
	come() // and others were due, so their group is in the ring
	c.Move(boardOf(t, d).shards[0].prefix, func() {
		for range 5 {
			finish <- struct{}{}
			come()
		}
	})
	if err := d.Flush(t.Context(), "later"); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		finish <- struct{}{}
		come()
	}
	delete(want, "much later")
	close(finish)
	close(last)
	for key, n := range want {
		if n != 0 {
			t.Errorf("%s is %d times less there than it should be", key, n)
		}
	}
}

// hang has a master answer nobody for a while: what is due on others comes.
func hang(t env) {
	t.Helper()
	flushAll(t, t.rdb)
	d := newDebouncer(t, t.rdb, config())
	got := collect(t, d)
	rdb, shards := t.rdb.(*redis.ClusterClient), boardOf(t, d).shards
	node := func(s *shard) string {
		c, err := rdb.MasterForKey(t.Context(), s.prefix)
		if err != nil {
			t.Fatal(err)
		}
		return c.Options().Addr
	}
	hangs := node(shards[0])
	for i := range 100 { // of all shards, so that all are asked
		add(t, d, strconv.Itoa(i), Window{}, "x")
	}
	for range 100 {
		receive(t, got)
	}
	const pause = 4 * time.Second
	others := map[string]bool{}
	for i := range 100 {
		key := strconv.Itoa(i)
		add(t, d, key, Window{Quiet: time.Second}, "x")
		if s := d.layouts.board.Load().newest().shard(key); node(s) != hangs {
			others[key] = true
		}
	}
	if len(others) == 0 || len(others) == 100 {
		t.Fatalf("%d of 100 keys are on other nodes", len(others))
	}
	begin := time.Now()
	c := redis.NewClient(&redis.Options{Addr: hangs})
	defer c.Close()
	if err := c.Do(t.Context(), "CLIENT", "PAUSE", pause.Milliseconds(), "WRITE").Err(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if b := receive(t, got); others[b.Key] {
			if delete(others, b.Key); b.at.Sub(begin) > pause {
				t.Errorf("%s waited for a node that it is not on", b.Key)
			}
		}
	}
	if len(others) > 0 {
		t.Errorf("%d windows did not come", len(others))
	}
}

// failOver kills a master; its replica goes on.
func failOver(t env, c *redistest.Cluster) {
	t.Helper()
	flushAll(t, t.rdb)
	d := newDebouncer(t, t.rdb, config())
	want := map[string][]string{}
	for i := range 40 {
		key := strconv.Itoa(i)
		want[key] = []string{"a", "b"}
		add(t, d, key, Window{Quiet: forever}, "a")
	}
	got := collect(t, d)
	if err := t.rdb.(*redis.ClusterClient).ForEachMaster(t.Context(), func(ctx context.Context, c *redis.Client) error {
		return c.Wait(ctx, 1, 500*time.Millisecond).Err() // what a replica does not have yet is lost with its master
	}); err != nil {
		t.Fatal(err)
	}
	c.Fail()
	for key := range want {
		for add := range 100 { // until the client has learned of it
			err := d.Add(t.Context(), "group", key, "b", Window{Quiet: t.unit})
			if err == nil {
				break
			}
			if add == 99 {
				t.Fatal(err)
			}
		}
	}
	for len(want) > 0 {
		b := receive(t, got)
		wantItems(t, b.Items, want[b.Key]...)
		delete(want, b.Key)
	}
}

// everywhere runs f on each master.
func everywhere(tb testing.TB, rdb redis.UniversalClient, f func(*redis.Client) error) {
	tb.Helper()
	var err error
	switch rdb := rdb.(type) {
	case *redis.ClusterClient:
		err = rdb.ForEachMaster(context.Background(), func(_ context.Context, c *redis.Client) error { return f(c) })
	case *redis.Client:
		err = f(rdb)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// flushAll has Redis lose all its data.
func flushAll(tb testing.TB, rdb redis.UniversalClient) {
	tb.Helper()
	everywhere(tb, rdb, func(c *redis.Client) error { return c.FlushAll(context.Background()).Err() })
}

// keysLike lists keys.
func keysLike(tb testing.TB, rdb redis.UniversalClient, pattern string) []string {
	tb.Helper()
	var mu sync.Mutex
	var all []string
	everywhere(tb, rdb, func(c *redis.Client) error {
		keys, err := c.Keys(context.Background(), pattern).Result()
		mu.Lock()
		defer mu.Unlock()
		all = append(all, keys...)
		return err
	})
	return all
}
