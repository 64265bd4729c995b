package debounce

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"wagent/debounce/redistest"
)

func benchConfig() Config {
	return Config{Shards: 16, Lease: 30 * time.Second, Concurrency: 64, Prefix: "bench"}
}

// BenchmarkAdd adds to 10,000 keys, each item a new one.
func BenchmarkAdd(b *testing.B) {
	d := newDebouncer(b, redistest.Start(b).Client(), benchConfig())
	w := Window{Quiet: time.Hour, MaxWait: 2 * time.Hour}
	var n atomic.Int64
	b.SetParallelism(16)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			err := d.Add(context.Background(), "group", "key"+strconv.FormatInt(i%10_000, 10), strconv.FormatInt(i, 10), w)
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkDrain handles windows of three items that are all due at once.
func BenchmarkDrain(b *testing.B) {
	rdb := redistest.Start(b).Client()
	d := newDebouncer(b, rdb, benchConfig())
	for i := range b.N {
		for item := range 3 {
			if err := d.Add(b.Context(), "group", strconv.Itoa(i), strconv.Itoa(item), Window{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var n atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	err := d.Run(ctx, func(context.Context, Batch) error {
		if n.Add(1) == int64(b.N) {
			stop()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
