package debounce

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
)

// countTimeout is how long a scrape waits for Redis.
const countTimeout = time.Second

type metrics struct {
	wait     prometheus.Histogram
	items    prometheus.Histogram
	lateness prometheus.Histogram
	expired  prometheus.Counter
	recalled prometheus.Counter
}

// newMetrics registers what a Debouncer measures. count is asked at each
// scrape.
func newMetrics(reg prometheus.Registerer, count func() (waiting, inFlight int64, err error)) (*metrics, error) {
	f := promauto.With(reg)
	m := &metrics{
		wait: f.NewHistogram(native(prometheus.HistogramOpts{
			Name:    "wagent_window_wait_seconds",
			Help:    "From a window's first item to the claim of its batch.",
			Buckets: []float64{.1, .5, 1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600},
		})),
		items: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "wagent_batch_messages",
			Help:    "Items in a batch when it was first claimed.",
			Buckets: []float64{1, 2, 3, 5, 8, 13, 21, 34, 55},
		}),
		lateness: f.NewHistogram(native(prometheus.HistogramOpts{
			Name:    "wagent_window_lateness_seconds",
			Help:    "From a window's due time to its handler, first attempts only.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		})),
		expired: f.NewCounter(prometheus.CounterOpts{
			Name: "wagent_leases_expired_total",
			Help: "Batches taken again because their lease ended.",
		}),
		recalled: f.NewCounter(prometheus.CounterOpts{
			Name: "wagent_batches_recalled_total",
			Help: "Batches that newer items called back from their handler.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	return m, reg.Register(&windows{count: count, desc: prometheus.NewDesc("wagent_windows",
		"Windows in Redis, of all processes: waiting for their time or for a handler, and in flight.",
		[]string{"state"}, nil)})
}

func native(o prometheus.HistogramOpts) prometheus.HistogramOpts {
	o.NativeHistogramBucketFactor = 1.1
	o.NativeHistogramMaxBucketNumber = 160
	o.NativeHistogramMinResetDuration = time.Hour
	return o
}

// claimed records a batch that is about to be handled.
func (m *metrics) claimed(c *claimed) {
	if c.Attempt > 1 {
		return
	}
	m.wait.Observe(c.at.Sub(c.OpenedAt).Seconds())
	m.items.Observe(float64(len(c.Items)))
	m.lateness.Observe((c.at.Sub(c.DueAt) + time.Since(c.got)).Seconds())
}

// windows collects a gauge that lies in Redis. While Redis is away there is no
// value rather than a wrong one.
type windows struct {
	desc  *prometheus.Desc
	count func() (waiting, inFlight int64, err error)
}

// Describe implements prometheus.Collector.
func (w *windows) Describe(ch chan<- *prometheus.Desc) { ch <- w.desc }

// Collect implements prometheus.Collector.
func (w *windows) Collect(ch chan<- prometheus.Metric) {
	waiting, inFlight, err := w.count()
	if err != nil {
		return
	}
	ch <- prometheus.MustNewConstMetric(w.desc, prometheus.GaugeValue, float64(waiting), "waiting")
	ch <- prometheus.MustNewConstMetric(w.desc, prometheus.GaugeValue, float64(inFlight), "in_flight")
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
	for i := range b.shards {
		n, err := due[i].Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			return 0, 0, err
		}
		waiting += n
		inFlight += leases[i].Val()
	}
	return waiting, inFlight, nil
}
