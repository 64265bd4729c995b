package debounce

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// countTimeout is how long a scrape waits for Redis.
const countTimeout = time.Second

// measure records a batch that is about to be handled.
func (d *Debouncer) measure(c *claimed) {
	if c.Attempt > 1 {
		return
	}
	d.metrics.Wait.Observe(c.at.Sub(c.OpenedAt).Seconds())
	d.metrics.Items.Observe(float64(len(c.Items)))
	d.metrics.Lateness.Observe((c.at.Sub(c.DueAt) + time.Since(c.got)).Seconds())
}

// countWindows counts the keys of all shards.
func (d *Debouncer) countWindows() (waiting, inFlight int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
	defer cancel()
	b, err := d.known(ctx)
	if err != nil {
		return 0, 0, err
	}
	due, leases := make([]*redis.StringCmd, len(b.shards)), make([]*redis.IntCmd, len(b.shards))
	_, err = d.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, s := range b.shards {
			due[i] = p.HGet(ctx, s.prefix+"gen", "waiting")
			leases[i] = p.ZCard(ctx, s.prefix+"lease")
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, 0, err
	}
	for i := range due {
		n, err := due[i].Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			return 0, 0, err
		}
		waiting += n
		inFlight += leases[i].Val()
	}
	return waiting, inFlight, nil
}
