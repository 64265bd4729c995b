package debounce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"wagent/debounce/redistest"
)

// An env is a test with a Redis, and a unit of time that is long in a bubble and
// short elsewhere.
type env struct {
	*testing.T
	rdb  redis.UniversalClient
	unit time.Duration
}

// core is what holds on every Redis.
var core = map[string]func(t env){
	"quiet ends a batch, which holds each item once, in order": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		got := collect(t, d)
		start := time.Now()
		add(t, d, "k", Window{Quiet: t.unit, MaxWait: forever}, "b", "a", "b", "c", "a")
		b := receive(t, got)
		wantItems(t, b.Items, "b", "a", "c")
		wantAt(t, "batch", b.at, start.Add(t.unit))
		wantAt(t, "window", b.OpenedAt, start.Truncate(time.Microsecond))
		if b.Key != "k" || b.Attempt != 1 || b.at.Before(b.DueAt) || b.DueAt.Sub(b.OpenedAt) < t.unit {
			t.Errorf("got %+v at %v", b.Batch, b.at)
		}
	},
	"max wait ends a window that never gets quiet": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		got := collect(t, d)
		start := time.Now()
		add(t, d, "k", Window{Quiet: forever, MaxWait: t.unit}, "a", "b")
		b := receive(t, got)
		wantItems(t, b.Items, "a", "b")
		wantAt(t, "batch", b.at, start.Add(t.unit))
	},
	"a full window is due at once": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		start := time.Now()
		add(t, d, "k", Window{Quiet: forever, MaxItems: 3}, "a", "b", "b", "c")
		b := receive(t, collect(t, d))
		wantItems(t, b.Items, "a", "b", "c")
		wantAt(t, "batch", b.at, start)
	},
	"a window without quiet is due at once": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		got := collect(t, d)
		start := time.Now()
		add(t, d, "k", Window{}, "a")
		b := receive(t, got)
		wantItems(t, b.Items, "a")
		wantAt(t, "batch", b.at, start)
	},
	"a flush makes a window due now, and only what waits": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		got := collect(t, d)
		if err := d.Flush(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		add(t, d, "k", Window{Quiet: forever}, "a", "b")
		start := time.Now()
		if err := d.Flush(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		b := receive(t, got)
		wantItems(t, b.Items, "a", "b")
		wantAt(t, "batch", b.at, start)
	},
	"what was dropped never comes": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		got := collect(t, d)
		add(t, d, "k", Window{Quiet: t.unit}, "a", "b")
		if err := d.Drop(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		onlyConstants(t, t.rdb)
		add(t, d, "k", Window{Quiet: 2 * t.unit}, "c")
		wantItems(t, receive(t, got).Items, "c")
		nothing(t, got)
	},
	"what arrives while a batch is in flight comes after it, and nothing twice": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		got, finish := make(chan delivery, 10), make(chan error)
		run(t, d, func(_ context.Context, b Batch) error {
			got <- delivery{b, time.Now()}
			return <-finish
		})
		add(t, d, "k", Window{}, "a")
		first := receive(t, got)
		start := time.Now()
		add(t, d, "k", Window{Quiet: t.unit}, "b", "a", "c") // a is in flight
		add(t, d, "other", Window{Quiet: 3 * t.unit}, "x")
		if b := receive(t, got); b.Key != "other" {
			t.Errorf("%q came although a batch of its key is in flight", b.Key)
		}
		ended := time.Now()
		finish <- nil
		finish <- nil
		second := receive(t, got)
		finish <- nil
		wantItems(t, second.Items, "b", "c")
		wantAt(t, "second batch", second.at, ended)
		wantAt(t, "second window", second.OpenedAt, start.Truncate(time.Microsecond))
		wantAt(t, "second due time", second.DueAt, ended)
		if second.Generation <= first.Generation || second.ID == first.ID || second.Attempt != 1 {
			t.Errorf("first %+v, second %+v", first.Batch, second.Batch)
		}
	},
	"a batch that failed comes again with the same items": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		got := make(chan delivery, 10)
		run(t, d, func(_ context.Context, b Batch) error {
			got <- delivery{b, time.Now()}
			if b.Items[0] == "a" && b.Attempt == 1 {
				add(t, d, "k", Window{}, "b")
				return errors.New("no")
			}
			return nil
		})
		add(t, d, "k", Window{}, "a")
		first, second, third := receive(t, got), receive(t, got), receive(t, got)
		wantItems(t, second.Items, "a")
		wantAt(t, "second attempt", second.at, first.at.Add(time.Second))
		if second.Attempt != 2 || second.ID != first.ID || second.Generation <= first.Generation ||
			!second.OpenedAt.Equal(first.OpenedAt) || !second.DueAt.Equal(first.DueAt) {
			t.Errorf("first %+v, second %+v", first.Batch, second.Batch)
		}
		wantItems(t, third.Items, "b")
	},
	"a batch whose process died comes again when its lease ends": func(t env) {
		cfg := config()
		cfg.Lease = 3 * t.unit
		dead, d := newDebouncer(t, t.rdb, cfg), newDebouncer(t, t.rdb, cfg)
		add(t, dead, "k", Window{}, "a", "b")
		start := time.Now()
		first := claimAll(t, dead)
		if len(first) != 1 {
			t.Fatalf("%d batches were due, want 1", len(first))
		}
		add(t, dead, "k", Window{}, "c", "b")
		got := collect(t, d)
		second := receive(t, got)
		wantItems(t, second.Items, "a", "b")
		wantAt(t, "second attempt", second.at, start.Add(cfg.Lease))
		if second.Attempt != 2 || second.Generation <= first[0].Generation || second.ID != first[0].ID {
			t.Errorf("first %+v, second %+v", first[0].Batch, second.Batch)
		}
		third := receive(t, got)
		wantItems(t, third.Items, "c")
		if third.Attempt != 1 {
			t.Errorf("attempt %d of the next window", third.Attempt)
		}
		if h := dead.done(t, &first[0]); h != lost {
			t.Errorf("the dead one's done = %q, want lost", h)
		}
	},
	"one process is woken by what another adds and flushes": func(t env) {
		adder, d := newDebouncer(t, t.rdb, config()), newDebouncer(t, t.rdb, config())
		got := collect(t, d)
		add(t, adder, "warm", Window{}, "x") // Run is at work from here on
		receive(t, got)
		start := time.Now()
		add(t, adder, "k", Window{Quiet: t.unit}, "a")
		wantAt(t, "batch", receive(t, got).at, start.Add(t.unit))
		add(t, adder, "k", Window{Quiet: forever}, "b")
		start = time.Now()
		if err := adder.Flush(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		wantAt(t, "flushed batch", receive(t, got).at, start)
	},
	"a script cache that was flushed is filled again": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		got := collect(t, d)
		for _, item := range []string{"a", "b"} {
			everywhere(t, t.rdb, func(c *redis.Client) error { return c.ScriptFlush(t.Context()).Err() })
			add(t, d, "k", Window{}, item)
			wantItems(t, receive(t, got).Items, item)
		}
	},
	"keys, items and groups may be any bytes": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		got := collect(t, d)
		for _, s := range []string{"", "\x00", "\xff\xfe", "{a}", "}{", "=", "a b\r\n", "due", "cut", strings.Repeat("x", 10_000)} {
			if err := d.Add(t.Context(), s, s, s, Window{}); err != nil {
				t.Fatal(err)
			}
			b := receive(t, got)
			wantItems(t, b.Items, s)
			if b.Key != s {
				t.Errorf("key %q came back as %q", s, b.Key)
			}
		}
	},
	"a thousand items of one window keep their order": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		var want []string
		for i := range 500 {
			want = append(want, strings.Repeat("z", i%3)+string(rune('a'+i)))
		}
		add(t, d, "k", Window{Quiet: forever}, want...)
		if err := d.Flush(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		first := claimAll(t, d)
		next := slices.Clone(want)
		for i := range next {
			next[i] = "next" + next[i]
		}
		add(t, d, "k", Window{}, next...)
		if h := d.done(t, &first[0]); h != held {
			t.Fatalf("done = %q, want held", h)
		}
		wantItems(t, first[0].Items, want...)
		second := claimAll(t, d)
		wantItems(t, second[0].Items, next...)
		if h := d.done(t, &second[0]); h != held {
			t.Fatalf("done = %q, want held", h)
		}
	},
	"a Redis that lost its data has another epoch": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		epoch := func() string {
			id, err := d.Epoch(t.Context())
			if err != nil || id == "" {
				t.Fatalf("Epoch = %q, %v", id, err)
			}
			return id
		}
		first := epoch()
		if again := epoch(); again != first {
			t.Errorf("epoch went from %s to %s", first, again)
		}
		flushAll(t, t.rdb)
		if second := epoch(); second == first {
			t.Errorf("epoch stayed %s", second)
		}
	},
	"a window that Redis lost can be added again": func(t env) {
		d := newDebouncer(t, t.rdb, config())
		got := collect(t, d)
		add(t, d, "k", Window{Quiet: forever}, "a", "b")
		flushAll(t, t.rdb)
		add(t, d, "k", Window{Quiet: t.unit}, "a", "b")
		wantItems(t, receive(t, got).Items, "a", "b")
	},
	"a Redis that lost its data does not cancel a handler": func(t env) {
		cfg := config()
		cfg.Lease = 5 * t.unit
		d := newDebouncer(t, t.rdb, cfg)
		begun, ended := make(chan Batch, 10), make(chan error, 10)
		run(t, d, func(ctx context.Context, b Batch) error {
			if b.Key == "later" {
				begun <- b
				return nil
			}
			flushAll(t, t.rdb)
			add(t, d, "later", Window{Quiet: 3 * cfg.Lease}, "x")
			receive(t, begun) // three leases have passed
			ended <- context.Cause(ctx)
			return nil
		})
		add(t, d, "k", Window{}, "a")
		if err := receive(t, ended); err != nil {
			t.Errorf("the handler was cancelled: %v", err)
		}
	},
}

// play runs a core test and checks what it left behind.
func (t env) play(f func(env)) {
	t.Cleanup(func() { // after Run has ended
		for _, k := range keysLike(t, t.rdb, "*.*}:[dlwhr]*") {
			t.Errorf("key %q is left", k)
		}
	})
	f(t)
}

func TestCoreInVirtualTime(t *testing.T) {
	for name, f := range core {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { env{t, redistest.InMemory(t), 10 * time.Second}.play(f) })
		})
	}
}

func TestCoreOnARealServer(t *testing.T) {
	rdb := redistest.Start(t).Client()
	for name, f := range core {
		t.Run(name, func(t *testing.T) {
			flushAll(t, rdb)
			env{t, rdb, 100 * time.Millisecond}.play(f)
		})
	}
}

// TestAWindowIsKeptInLittleMemory: a field that is too long has Redis keep the hash
// as a table.
func TestAWindowIsKeptInLittleMemory(t *testing.T) {
	rdb := redistest.Start(t).Client()
	d := newDebouncer(t, rdb, config())
	for i := range 20 {
		add(t, d, "k", Window{Quiet: time.Hour}, fmt.Sprintf("%040d", i))
	}
	key := boardOf(t, d).newest().shard("k").prefix + "w:k"
	kept := func(when string) {
		if how, err := rdb.ObjectEncoding(t.Context(), key).Result(); err != nil || how != "listpack" {
			t.Errorf("%s it is kept as %q, %v", when, how, err)
		}
	}
	kept("as it waits")
	if err := d.Flush(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if n := len(claimAll(t, d)); n != 1 {
		t.Fatalf("%d batches were claimed", n)
	}
	add(t, d, "k", Window{Quiet: time.Hour}, "one more")
	kept("in flight")
}

func TestWindowsSurviveACrashOfRedis(t *testing.T) {
	s := redistest.Start(t)
	rdb := s.Client()
	logs := &logbook{}
	d, err := New(rdb, config(), logs.logger(), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan delivery, 10)
	finish := make(chan error)
	run(t, d, func(_ context.Context, b Batch) error {
		got <- delivery{b, time.Now()}
		return <-finish
	})
	epoch, err := d.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	add(t, d, "in flight", Window{}, "a")
	receive(t, got)
	add(t, d, "waiting", Window{Quiet: 200 * time.Millisecond}, "b", "c")
	s.Stop()
	finish <- nil // while Redis is away
	s.Restart()
	wantItems(t, receive(t, got).Items, "b", "c")
	finish <- nil
	add(t, d, "in flight", Window{}, "d") // its first batch is done, or will be
	wantItems(t, receive(t, got).Items, "d")
	finish <- nil
	if again, err := d.Epoch(t.Context()); err != nil || again != epoch {
		t.Errorf("epoch went from %s to %s, %v", epoch, again, err)
	}
	if n := logs.count("level=WARN"); n > 1 { // none, if the client's own attempts bridged it
		t.Errorf("one outage was logged %d times:\n%s", n, logs.buf.String())
	}
}

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"as it should be":      {change: func(*Config) {}},
		"no shards":            {change: func(c *Config) { c.Shards = 0 }, want: "shards must be between 1 and 4096, not 0"},
		"too many shards":      {change: func(c *Config) { c.Shards = 5000 }, want: "shards must be between 1 and 4096, not 5000"},
		"a short lease":        {change: func(c *Config) { c.Lease = 1 }, want: "lease must be at least 10ms, not 1ns"},
		"no concurrency":       {change: func(c *Config) { c.Concurrency = 0 }, want: "concurrency must be positive, not 0"},
		"no prefix":            {change: func(c *Config) { c.Prefix = "" }, want: `prefix must not be empty or hold braces: ""`},
		"a brace in a prefix":  {change: func(c *Config) { c.Prefix = "a}" }, want: `prefix must not be empty or hold braces: "a}"`},
		"a negative drain":     {change: func(c *Config) { c.Drain = -1 }, want: "drain must not be negative: -1ns"},
		"a window that counts": {change: func(c *Config) { c.Drain = time.Second }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg, got := config(), ""
			tt.change(&cfg)
			if err := cfg.Validate(); err != nil {
				got = err.Error()
				if _, err := New(nil, cfg, nil, nil); err == nil || !strings.HasSuffix(err.Error(), got) {
					t.Errorf("New = %v, want the same error", err)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Validate (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAWindowWithNegativeTimesIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDebouncer(t, redistest.InMemory(t), config())
		for _, w := range []Window{{Quiet: -1}, {MaxWait: -1}, {MaxItems: -1}, {Recalls: -1}} {
			if err := d.Add(t.Context(), "g", "k", "i", w); err == nil {
				t.Errorf("%+v was taken", w)
			}
		}
	})
}
