// Package meter measures windows and the batches that they become, and tells of
// outages of the Redis that holds them.
package meter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what is measured of each batch.
type Metrics struct {
	Wait     prometheus.Histogram // seconds from a window's first item to the claim of its batch
	Items    prometheus.Histogram // of a batch, when it was first claimed
	Lateness prometheus.Histogram // seconds from a window's due time to its handler, first attempts only
	Expired  prometheus.Counter   // batches taken again because their lease ended
	Recalled prometheus.Counter   // batches that newer items called back
}

// New registers what a Debouncer measures; with a nil reg nowhere. count is
// asked at each scrape. Two Debouncers can not share a registry.
func New(reg prometheus.Registerer, count func() (waiting, inFlight int64, err error)) (*Metrics, error) {
	m := &Metrics{
		Wait: prometheus.NewHistogram(native(prometheus.HistogramOpts{
			Name:    "wagent_window_wait_seconds",
			Help:    "From a window's first item to the claim of its batch.",
			Buckets: []float64{.1, .5, 1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600},
		})),
		Items: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "wagent_batch_messages",
			Help:    "Items in a batch when it was first claimed.",
			Buckets: []float64{1, 2, 3, 5, 8, 13, 21, 34, 55},
		}),
		Lateness: prometheus.NewHistogram(native(prometheus.HistogramOpts{
			Name:    "wagent_window_lateness_seconds",
			Help:    "From a window's due time to its handler, first attempts only.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		})),
		Expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wagent_leases_expired_total",
			Help: "Batches taken again because their lease ended.",
		}),
		Recalled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wagent_batches_recalled_total",
			Help: "Batches that newer items called back from their handler.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	w := &windows{count: count, desc: prometheus.NewDesc("wagent_windows",
		"Windows in Redis, of all processes: waiting for their time or for a handler, and in flight.",
		[]string{"state"}, nil)}
	for _, c := range []prometheus.Collector{m.Wait, m.Items, m.Lateness, m.Expired, m.Recalled, w} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func native(o prometheus.HistogramOpts) prometheus.HistogramOpts {
	o.NativeHistogramBucketFactor = 1.1
	o.NativeHistogramMaxBucketNumber = 160
	o.NativeHistogramMinResetDuration = time.Hour
	return o
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
