package debounce

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/debounce/redistest"
)

// BenchmarkAdd adds to 10,000 keys, each item a new one. How much of what is
// possible that is, how late windows come and what they cost is measured by
// wagent bench debounce.
func BenchmarkAdd(b *testing.B) {
	w := Window{Quiet: time.Hour, MaxWait: 2 * time.Hour}
	for _, callers := range []int{1, 50, 500} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			rdb := redis.NewClient(redistest.Start(b).Options())
			b.Cleanup(func() { rdb.Close() })
			d := newDebouncer(b, rdb, Config{Shards: 16, Lease: 30 * time.Second, Concurrency: 256, Prefix: "bench"})
			add(b, d, "warm", w, "x")
			var n atomic.Int64
			var all sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range callers {
				all.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						if err := d.Add(context.Background(), "group", "key"+strconv.FormatInt(i%10_000, 10), strconv.FormatInt(i, 10), w); err != nil {
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
