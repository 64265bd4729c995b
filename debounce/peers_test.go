package debounce

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wagent/debounce/redistest"
)

// TestWhatOthersGotWrong: bugs that were reported of other engines, as far as no
// test of a promise covers them.
func TestWhatOthersGotWrong(t *testing.T) {
	tests := map[string]func(t *testing.T){
		// go-redis #3228, asynq's BatchEnqueue.
		"a script that Redis forgot is sent in a pipeline": func(t *testing.T) {
			rdb := redistest.InMemory(t)
			d := slowDebouncer(t, rdb, time.Second)
			if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			together(50, func(i int) { add(t, d, fmt.Sprint(i), Window{Quiet: forever}, "x") })
			if waiting, _, err := newDebouncer(t, rdb, config()).countWindows(); err != nil || waiting != 51 {
				t.Errorf("%d windows wait, %v, want 51", waiting, err)
			}
		},
		// Trigger.dev #3453, Inngest #4150: writers of one key hold each other up.
		"all the world writes to one key": func(t *testing.T) {
			rdb := redistest.InMemory(t)
			ds := []*Debouncer{newDebouncer(t, rdb, config()), newDebouncer(t, rdb, config())}
			got := collect(t, newDebouncer(t, rdb, config()))
			var want []string
			for i := range 200 {
				want = append(want, fmt.Sprintf("%03d", i))
			}
			together(len(want), func(i int) { add(t, ds[i%2], "k", Window{Quiet: time.Second}, want[i]) })
			b := receive(t, got)
			slices.Sort(b.Items)
			wantItems(t, b.Items, want...)
		},
		// Inngest #3554: an item just before the longest wait prolongs it.
		"the longest wait is the longest": func(t *testing.T) {
			d := newDebouncer(t, redistest.InMemory(t), config())
			got := collect(t, d)
			synctest.Wait()
			start, w := time.Now(), Window{Quiet: 2 * time.Second, MaxWait: 5 * time.Second}
			for i, at := range []time.Duration{0, 1900 * time.Millisecond, 3800 * time.Millisecond, 4999 * time.Millisecond} {
				time.Sleep(time.Until(start.Add(at)))
				add(t, d, "k", w, fmt.Sprint(i))
			}
			b := receive(t, got)
			wantItems(t, b.Items, "0", "1", "2", "3")
			wantAt(t, "the batch", b.at, start.Add(w.MaxWait))
		},
		// BullMQ #2466: a wait of less than a millisecond is one without end.
		"a window of some microseconds": func(t *testing.T) {
			d := newDebouncer(t, redistest.InMemory(t), config())
			got := collect(t, d)
			synctest.Wait()
			for _, quiet := range []time.Duration{time.Microsecond, 400 * time.Microsecond, 999 * time.Microsecond} {
				at := time.Now().Add(quiet)
				add(t, d, "k", Window{Quiet: quiet}, "x")
				wantAt(t, fmt.Sprint("a window of ", quiet), receive(t, got).at, at)
				synctest.Wait()
			}
		},
		// asynq #632: a hundred are taken each time that somebody looks.
		"more are due than one claim takes": func(t *testing.T) {
			cfg := config()
			cfg.Concurrency = 1000
			d := newDebouncer(t, redistest.InMemory(t), cfg)
			got := collect(t, d)
			due := time.Now().Add(time.Minute)
			for i := range 700 {
				add(t, d, fmt.Sprint(i), Window{Quiet: time.Until(due)}, "x")
			}
			for range 700 {
				wantAt(t, "one of 700", receive(t, got).at, due)
			}
		},
		// asynq #529: what came while nobody was at work is never looked at.
		"nobody was at work": func(t *testing.T) {
			rdb := redistest.InMemory(t)
			add(t, newDebouncer(t, rdb, config()), "k", Window{Quiet: time.Second}, "a", "b")
			time.Sleep(time.Hour)
			start := time.Now()
			b := receive(t, collect(t, newDebouncer(t, rdb, config())))
			wantItems(t, b.Items, "a", "b")
			wantAt(t, "the batch", b.at, start)
		},
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
}

// together calls f n times at once.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}
