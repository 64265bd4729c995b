package debounce

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"wagent/debounce/redistest"
)

// An op is one call of the model test. No two happen at the same time, nor
// when anything that came of another one does: each has microseconds of its
// own, while windows and handlers last whole milliseconds.
type op struct {
	at   time.Duration
	what string // add, flush or drop
	key  string
	item string
	w    Window
}

// A handled is a call of the handler.
type handled struct {
	Items   []string
	Attempt int
	At      time.Duration
}

// behave says how long the handler takes and how it ends.
func behave(seed uint64, b handled) (time.Duration, string) {
	h := fnv.New64a()
	fmt.Fprint(h, seed, b.Items[0], b.Attempt)
	r := rand.New(rand.NewPCG(h.Sum64(), 0))
	took := time.Duration(1+r.IntN(9000)) * time.Millisecond
	if n := r.IntN(8); b.Attempt < 4 && n < 2 {
		return took, []string{"error", "panic"}[n]
	}
	return took, "ok"
}

func script(seed uint64) []op {
	r := rand.New(rand.NewPCG(seed, 1))
	ops := make([]op, 400)
	var at time.Duration
	for i := range ops {
		at += time.Duration(r.IntN(900)) * time.Millisecond
		o := op{
			at: at.Truncate(time.Millisecond) + time.Duration(i)*time.Microsecond, what: "add",
			key: string(rune('a' + r.IntN(5))), item: fmt.Sprint(i - r.IntN(3)*r.IntN(10)),
			w: Window{
				Quiet:    time.Duration(r.IntN(5000)) * time.Millisecond,
				MaxWait:  time.Duration(r.IntN(8000)) * time.Millisecond,
				MaxItems: r.IntN(6),
			},
		}
		switch n := r.IntN(20); n {
		case 0:
			o.what = "flush"
		case 1:
			o.what = "drop"
		}
		ops[i] = o
	}
	return ops
}

// A model is what the package promises of one key, without Redis.
type model struct {
	seed        uint64
	waiting     []string
	opened, due time.Duration
	batch       []string
	attempt     int
	inFlight    bool
	next        time.Duration // when the batch ends, or is due again
	log         []handled
}

// advance lets everything happen that does before a time.
func (m *model) advance(until time.Duration) {
	for {
		switch {
		case m.batch != nil && m.next < until && m.inFlight:
			_, how := behave(m.seed, m.log[len(m.log)-1])
			m.inFlight = false
			if how != "ok" {
				m.next += min(time.Second<<(m.attempt-1), 30*time.Second)
				continue
			}
			m.batch = nil
			m.due = max(m.due, m.next)
		case m.batch != nil && m.next < until:
			m.begin(m.next)
		case m.batch == nil && m.waiting != nil && m.due < until:
			m.batch, m.waiting, m.attempt = m.waiting, nil, 0
			m.begin(m.due)
		default:
			return
		}
	}
}

func (m *model) begin(at time.Duration) {
	m.attempt++
	m.inFlight = true
	m.log = append(m.log, handled{m.batch, m.attempt, at})
	took, _ := behave(m.seed, m.log[len(m.log)-1])
	m.next = at + took
}

func (m *model) do(o op) {
	m.advance(o.at)
	switch o.what {
	case "add":
		if slices.Contains(m.waiting, o.item) || slices.Contains(m.batch, o.item) {
			return
		}
		open := m.waiting != nil
		if !open {
			m.opened = o.at
		}
		m.waiting = append(m.waiting, o.item)
		if open && m.due <= o.at {
			return
		}
		m.due = o.at + o.w.Quiet
		if o.w.MaxWait > 0 {
			m.due = max(o.at, min(m.due, m.opened+o.w.MaxWait))
		}
		if o.w.MaxItems > 0 && len(m.waiting) >= o.w.MaxItems {
			m.due = o.at
		}
	case "flush":
		m.due = min(m.due, o.at)
		if m.batch != nil && !m.inFlight {
			m.next = min(m.next, o.at)
		}
	case "drop":
		m.waiting = nil
		if !m.inFlight {
			m.batch = nil
		}
	}
}

func TestModel(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { followModel(t, redistest.InMemory(t), seed) })
		})
	}
}

func followModel(t *testing.T, rdb *redis.Client, seed uint64) {
	t.Helper()
	cfg := config()
	cfg.Lease = 3 * time.Second // shorter than many handlers
	d := newDebouncer(t, rdb, cfg)
	start := time.Now()
	var mu sync.Mutex
	got := map[string][]handled{}
	run(t, d, func(_ context.Context, b Batch) error {
		h := handled{b.Items, b.Attempt, time.Since(start)}
		mu.Lock()
		got[b.Key] = append(got[b.Key], h)
		mu.Unlock()
		took, how := behave(seed, h)
		time.Sleep(took)
		switch how {
		case "error":
			return errors.New("no")
		case "panic":
			panic("no")
		}
		return nil
	})
	models := map[string]*model{}
	for _, o := range script(seed) {
		time.Sleep(time.Until(start.Add(o.at)))
		var err error
		switch o.what {
		case "add":
			err = d.Add(t.Context(), "group", o.key, o.item, o.w)
		case "flush":
			err = d.Flush(t.Context(), o.key)
		case "drop":
			err = d.Drop(t.Context(), o.key)
		}
		if err != nil {
			t.Fatal(err)
		}
		m := models[o.key]
		if m == nil {
			m = &model{seed: seed}
			models[o.key] = m
		}
		m.do(o)
	}
	time.Sleep(3 * time.Minute)
	want := map[string][]handled{}
	for key, m := range models {
		m.advance(forever)
		want[key] = m.log
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("handled (-model +Debouncer):\n%s", diff)
	}
	onlyConstants(t, rdb)
}

// A process is a Debouncer that can be killed: it stops with nothing said to
// Redis, and its handlers end where they are.
type process struct {
	kill func()
}

func TestProcessesThatDieLoseAndMixNothing(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { killProcesses(t, redistest.InMemory(t), seed) })
		})
	}
}

func killProcesses(t *testing.T, rdb *redis.Client, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	cfg := config()
	cfg.Lease, cfg.Concurrency = 3*time.Second, 4
	var mu sync.Mutex
	active, finished, added := map[string]int{}, map[string][]string{}, map[string][]string{}
	start := func() *process {
		reached, c := through(t, rdb)
		cfg := cfg
		cfg.Shards = []int{4, 4, 1, 7}[r.IntN(4)] // most often it is as it was
		d := newDebouncer(t, reached, cfg)
		var dead atomic.Bool
		stop := run(t, d, func(ctx context.Context, b Batch) error {
			mu.Lock()
			if active[b.Key]++; active[b.Key] > 1 {
				t.Errorf("two batches of %s at once", b.Key)
			}
			mu.Unlock()
			took, how := behave(seed, handled{Items: b.Items, Attempt: b.Attempt})
			timer := time.NewTimer(took)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			mu.Lock()
			defer mu.Unlock()
			active[b.Key]--
			if how != "ok" || ctx.Err() != nil || dead.Load() {
				return errors.New("no")
			}
			finished[b.Key] = append(finished[b.Key], b.Items...)
			return nil
		})
		return &process{kill: func() { dead.Store(true); c.cut.Store(true); stop() }}
	}
	d := newDebouncer(t, rdb, cfg)
	ps := []*process{start(), start()}
	for i := range 600 {
		// Odd microseconds, while all that follows lasts milliseconds: nothing
		// ends in the moment in which its process dies.
		time.Sleep(time.Duration(r.IntN(200))*time.Millisecond + time.Microsecond)
		if i%40 == 20 {
			n := r.IntN(len(ps))
			ps[n].kill()
			ps[n] = start()
			continue
		}
		key, item := string(rune('a'+r.IntN(8))), fmt.Sprint(i)
		w := Window{Quiet: time.Duration(r.IntN(2000)) * time.Millisecond, MaxWait: 5 * time.Second, MaxItems: 4}
		mu.Lock()
		added[key] = append(added[key], item)
		mu.Unlock()
		for range 1 + r.IntN(2) {
			add(t, d, key, w, item)
		}
	}
	time.Sleep(3 * time.Minute)
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(added, finished); diff != "" {
		t.Errorf("items in finished batches (-added +finished):\n%s", diff)
	}
	onlyConstants(t, rdb)
}
