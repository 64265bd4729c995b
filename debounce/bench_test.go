package debounce

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/debounce/redistest"
)

func benchConfig() Config {
	return Config{Shards: 16, Lease: 30 * time.Second, Concurrency: 256, Prefix: "bench"}
}

// benchServer returns a Redis with its append-only file on, and a client with
// room for many callers.
func benchServer(b *testing.B) *redis.Client {
	b.Helper()
	opts := redistest.Start(b).Options()
	opts.PoolSize = 600
	rdb := redis.NewClient(opts)
	b.Cleanup(func() { rdb.Close() })
	return rdb
}

// BenchmarkAdd adds to 10,000 keys, each item a new one, beside the ceiling: the
// same script by the client alone.
func BenchmarkAdd(b *testing.B) {
	w := Window{Quiet: time.Hour, MaxWait: 2 * time.Hour}
	for _, callers := range []int{1, 50, 500} {
		for _, what := range []string{"client alone", "Add"} {
			b.Run(fmt.Sprintf("%s/%d", what, callers), func(b *testing.B) {
				rdb := benchServer(b)
				d := newDebouncer(b, rdb, benchConfig())
				add(b, d, "warm", w, "x")
				newest := boardOf(b, d).newest()
				var n atomic.Int64
				var all sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for range callers {
					all.Go(func() {
						for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
							key, item := "key"+strconv.FormatInt(i%10_000, 10), strconv.FormatInt(i, 10)
							var err error
							if what == "Add" {
								err = d.Add(context.Background(), "group", key, item, w)
							} else {
								s := newest.shard(key)
								err = addScript.EvalSha(context.Background(), rdb, s.keys("w:"+key, "d:group", "heads"),
									key, item, "group", w.Quiet.Microseconds(), w.MaxWait.Microseconds(), 0, 0, d.channel(), s.name).Err()
							}
							if err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				all.Wait()
			})
		}
	}
}

// BenchmarkLateness measures how long after their due times windows come that
// fall due over 10 s, while 2,000 items a second are added to others. One round
// is one of them all.
func BenchmarkLateness(b *testing.B) {
	for _, pending := range []int{1000, 10_000, 100_000} {
		b.Run(strconv.Itoa(pending), func(b *testing.B) {
			rdb := benchServer(b)
			d := newDebouncer(b, rdb, benchConfig())
			const spread = 10 * time.Second
			for range b.N {
				fill(b, d, pending, func(left time.Duration) Window {
					return Window{Quiet: left + rand.N(spread)}
				}, time.Duration(pending)*100*time.Microsecond+2*time.Second)
				var mu sync.Mutex
				var late []time.Duration
				done := make(chan struct{})
				ctx, stop := context.WithCancel(context.Background())
				var background sync.WaitGroup
				background.Go(func() {
					tick := time.NewTicker(time.Millisecond)
					defer tick.Stop()
					for i := 0; ; i++ {
						select {
						case <-ctx.Done():
							return
						case <-tick.C:
						}
						for k := range 2 {
							background.Go(func() {
								_ = d.Add(context.WithoutCancel(ctx), "group", "b"+strconv.Itoa((2*i+k)%1000), strconv.Itoa(2*i+k), Window{Quiet: time.Second, MaxItems: 10})
							})
						}
					}
				})
				err := d.Run(ctx, func(_ context.Context, batch Batch) error {
					if !strings.HasPrefix(batch.Key, "p") {
						return nil
					}
					since := time.Since(batch.DueAt)
					mu.Lock()
					defer mu.Unlock()
					if late = append(late, since); len(late) == pending {
						close(done)
						stop()
					}
					return nil
				})
				stop()
				background.Wait()
				<-done
				if err != nil {
					b.Fatal(err)
				}
				slices.Sort(late)
				for name, q := range map[string]float64{"p50": .5, "p99": .99, "p99.9": .999} {
					b.ReportMetric(late[int(q*float64(len(late)-1))].Seconds()*1000, name+"-ms")
				}
			}
		})
	}
}

// fill adds windows of three items of 40 bytes that fall due no sooner than
// soonest from now.
func fill(b *testing.B, d *Debouncer, n int, window func(left time.Duration) Window, soonest time.Duration) {
	b.Helper()
	start := time.Now()
	var next atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				for item := range 3 {
					w := window(soonest - time.Since(start))
					if item < 2 {
						w.Quiet = time.Hour
					}
					if err := d.Add(context.Background(), "group", "p"+strconv.FormatInt(i, 10), fmt.Sprintf("%040d", 3*i+int64(item)), w); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	if took := time.Since(start); took > soonest {
		b.Logf("%d windows took %v to add, longer than planned: the first are late", n, took)
	}
}

// BenchmarkBurst handles windows of three items that are all due in the same
// instant, and reports what a window takes in Redis's memory and what the
// slowest script took.
func BenchmarkBurst(b *testing.B) {
	const windows = 100_000
	rdb := benchServer(b)
	ctx := context.Background()
	for range b.N {
		flushAll(b, rdb)
		d := newDebouncer(b, rdb, benchConfig())
		before := usedMemory(b, rdb)
		at := time.Now().Add(20 * time.Second)
		fill(b, d, windows, func(time.Duration) Window { return Window{Quiet: time.Until(at)} }, 20*time.Second)
		b.ReportMetric((usedMemory(b, rdb)-before)/windows, "B/window")
		for _, s := range []string{"slowlog-log-slower-than 2000", "slowlog-max-len 1000"} {
			name, value, _ := strings.Cut(s, " ")
			if err := rdb.ConfigSet(ctx, name, value).Err(); err != nil {
				b.Fatal(err)
			}
		}
		rdb.Do(ctx, "SLOWLOG", "RESET")
		run, stop := context.WithCancel(ctx)
		var n atomic.Int64
		err := d.Run(run, func(context.Context, Batch) error {
			if n.Add(1) == windows {
				stop()
			}
			return nil
		})
		stop()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(at).Seconds()*1000, "ms-to-drain") // Run waited for the instant
		logs, err := rdb.SlowLogGet(ctx, 1000).Result()
		if err != nil {
			b.Fatal(err)
		}
		slowest := time.Duration(0)
		for _, l := range logs {
			slowest = max(slowest, l.Duration)
		}
		b.ReportMetric(float64(len(logs)), "scripts>2ms")
		b.ReportMetric(slowest.Seconds()*1000, "slowest-ms")
	}
}

func usedMemory(b *testing.B, rdb *redis.Client) float64 {
	b.Helper()
	info, err := rdb.InfoMap(context.Background(), "memory").Result()
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.ParseFloat(info["Memory"]["used_memory"], 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
