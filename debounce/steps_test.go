package debounce

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/debounce/inmemory"
	"wagent/debounce/redistest"
)

// A ledger is the truth of a caller who keeps items outside of Redis and fences
// what handlers write: what is asked of the package where Redis loses its data
// and its clock is set.
type ledger struct {
	mu      sync.Mutex
	keys    []string
	items   map[string][]*entry // of each key, in the order of their Adds
	claims  map[string]int      // how often each key was claimed
	entries map[string]*entry
}

// An entry is an item in the ledger.
type entry struct {
	name              string
	started, finished bool
	forgotten         bool // it was dropped: not to be handled, but if it had been started
}

func (l *ledger) add(key, item string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.items[key] == nil {
		l.keys = append(l.keys, key)
	}
	e := &entry{name: item}
	l.items[key] = append(l.items[key], e)
	l.entries[item] = e
}

// begin notes that a batch was claimed, and returns its number.
func (l *ledger) begin(t *testing.T, b Batch) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims[b.Key]++
	for _, item := range b.Items {
		e := l.entries[item]
		if e.forgotten && !e.started {
			t.Errorf("%s was handed over after it was dropped", item)
		}
		e.started = true
	}
	return l.claims[b.Key]
}

// finish notes that a batch was handled, unless it was claimed again since. What
// was finished in it by a claim before, whose process then died or was slow to
// tell Redis, is not new.
func (l *ledger) finish(t *testing.T, b Batch, claim int, inOrder bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claims[b.Key] != claim {
		return false
	}
	for _, item := range b.Items {
		l.entries[item].finished = true
	}
	if !inOrder {
		return true
	}
	before := true // nothing is finished behind something that is not
	for _, e := range l.items[b.Key] {
		if e.forgotten {
			continue
		}
		if e.finished && !before {
			t.Errorf("%s of %s was finished before an older one", e.name, b.Key)
		}
		before = e.finished
	}
	return true
}

// drop notes that what waits was dropped.
func (l *ledger) drop(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.items[key] {
		if !e.finished {
			e.forgotten = true
		}
	}
}

// left returns what is to be handled still, of all keys.
func (l *ledger) left() map[string][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string][]string{}
	for _, key := range l.keys {
		for _, e := range l.items[key] {
			if !e.finished && !e.forgotten {
				out[key] = append(out[key], e.name)
			}
		}
	}
	return out
}

// TestStepsOfAllKinds drives the package by Adds, flushes and drops while
// processes die, Redis's clock is set forward and back and, with every other
// seed, Redis loses its data. The caller adds again what is left when it did.
func TestStepsOfAllKinds(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rdb, server := redistest.InMemoryServer(t)
				s := &steps{
					T: t, rdb: rdb, server: server, seed: seed, forgets: seed%2 == 1, r: rand.New(rand.NewPCG(seed, 3)),
					ledger: ledger{items: map[string][]*entry{}, claims: map[string]int{}, entries: map[string]*entry{}},
				}
				s.play()
			})
		})
	}
}

// steps is one play of TestStepsOfAllKinds.
type steps struct {
	*testing.T
	rdb     *redis.Client
	server  *inmemory.Server
	seed    uint64
	forgets bool
	r       *rand.Rand
	ledger  ledger
	d       *Debouncer
	epoch   string
	done    map[string]int
}

func (s *steps) play() {
	s.done = map[string]int{}
	s.d = newDebouncer(s.T, s.rdb, s.config())
	s.sweep()
	ps := []*process{s.start(), s.start()}
	for i := range 800 {
		// Odd microseconds, while all that follows lasts milliseconds.
		time.Sleep(time.Duration(s.r.IntN(200))*time.Millisecond + time.Microsecond)
		key := string(rune('a' + s.r.IntN(8)))
		switch n := s.r.IntN(100); {
		case n < 3:
			victim := s.r.IntN(len(ps))
			ps[victim].kill()
			ps[victim] = s.start()
			s.done["kill"]++
		case n < 6:
			s.server.SetClock(time.Duration(s.r.IntN(20_000)-10_000) * time.Millisecond)
			s.done["step"]++
		case n < 7 && s.forgets:
			if err := s.rdb.FlushAll(s.Context()).Err(); err != nil {
				s.Fatal(err)
			}
			s.done["loss"]++
		case n < 10:
			s.ledger.drop(key)
			if err := s.d.Drop(s.Context(), key); err != nil {
				s.Fatal(err)
			}
			s.done["drop"]++
		case n < 15:
			if err := s.d.Flush(s.Context(), key); err != nil {
				s.Fatal(err)
			}
			s.done["flush"]++
		default:
			item := fmt.Sprint(i)
			s.ledger.add(key, item)
			add(s.T, s.d, key, s.window(), item)
			s.done["add"]++
		}
		s.sweep()
	}
	for range 60 {
		time.Sleep(5 * time.Second)
		s.sweep()
	}
	if left := s.ledger.left(); len(left) > 0 {
		s.Errorf("never handled: %v", left)
	}
	s.Log(s.done)
	for what, n := range s.done {
		if n == 0 && (what != "loss" || s.forgets) {
			s.Errorf("there was no %s", what)
		}
	}
}

func (s *steps) config() Config {
	cfg := config()
	cfg.Lease, cfg.Concurrency = 3*time.Second, 4
	return cfg
}

func (s *steps) window() Window {
	return Window{Quiet: time.Duration(s.r.IntN(2000)) * time.Millisecond, MaxWait: 5 * time.Second, MaxItems: 4, Recalls: s.r.IntN(3)}
}

// sweep adds what is left when Redis has forgotten it.
func (s *steps) sweep() {
	epoch, err := s.d.Epoch(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	if epoch == s.epoch {
		return
	}
	left := s.ledger.left()
	for _, key := range slices.Sorted(maps.Keys(left)) {
		add(s.T, s.d, key, s.window(), left[key]...)
	}
	s.epoch = epoch
}

// start starts a process. Its handlers do not heed that their time is over: what
// they write then is refused.
func (s *steps) start() *process {
	reached, c := through(s.T, s.rdb)
	d := newDebouncer(s.T, reached, s.config())
	var dead atomic.Bool
	stop := run(s.T, d, func(_ context.Context, b Batch) error {
		claim := s.ledger.begin(s.T, b)
		took, how := behave(s.seed, handled{Items: b.Items, Attempt: b.Attempt})
		time.Sleep(took)
		switch {
		case dead.Load(), how != "ok":
			return errors.New("no")
		case !s.ledger.finish(s.T, b, claim, !s.forgets):
			return errors.New("it was claimed again")
		}
		return nil
	})
	return &process{kill: func() { dead.Store(true); c.cut.Store(true); stop() }}
}
