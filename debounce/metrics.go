package debounce

import (
	"context"
	"time"

	"wagent/debounce/meter"
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
	prefixes := make([]string, len(b.shards))
	for i, s := range b.shards {
		prefixes[i] = s.prefix
	}
	return meter.Count(ctx, d.rdb, prefixes)
}
