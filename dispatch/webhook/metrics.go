package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"wagent/gateway"
)

// What became of a delivery after an attempt.
const (
	outcomeSucceeded = "succeeded"
	outcomeRetried   = "retried"
	outcomeDead      = "dead"
	outcomeDisabled  = "disabled" // dead, because its webhook is off, gone, or said 410
)

// How an attempt ended.
const (
	attemptSucceeded = "succeeded"
	attemptRefused   = "refused" // an answer, but not 2xx
	attemptTimeout   = "timeout"
	attemptFailed    = "failed" // no whole answer
)

// What endpoints answered to actions.
const (
	answerResult  = "result"
	answerReply   = "reply"
	answerIgnored = "ignored" // it was no text, or too long
)

type metrics struct {
	answers    *prometheus.CounterVec
	deliveries *prometheus.CounterVec
	delivery   prometheus.Histogram
	attempt    *prometheus.HistogramVec
	wait       prometheus.Histogram
	disabled   prometheus.Counter
	lanes      prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		deliveries: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_deliveries_total",
			Help: "Settled delivery attempts by what became of the delivery.",
		}, []string{"outcome"}),
		delivery: f.NewHistogram(histogram("wagent_delivery_seconds",
			"From the making of a delivery to its 2xx.",
			[]float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200, 86400})),
		attempt: f.NewHistogramVec(histogram("wagent_delivery_attempt_seconds",
			"Duration of one delivery attempt.",
			[]float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}), []string{"outcome"}),
	}
	m.wait = f.NewHistogram(histogram("wagent_delivery_wait_seconds",
		"From the making of a delivery to its first attempt.",
		[]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60, 600}))
	m.disabled = f.NewCounter(prometheus.CounterOpts{
		Name: "wagent_webhooks_disabled_total",
		Help: "Webhooks that were turned off, since they answered 410 or only failed for days.",
	})
	m.lanes = f.NewGauge(prometheus.GaugeOpts{
		Name: "wagent_delivery_lanes",
		Help: "Lanes of webhooks that this process delivers; all processes together have 16.",
	})
	m.answers = f.NewCounterVec(prometheus.CounterOpts{
		Name: "wagent_action_answers_total",
		Help: "What endpoints answered to actions: results, replies, and parts that were ignored.",
	}, []string{"part"})
	for _, p := range []string{answerResult, answerReply, answerIgnored} {
		m.answers.WithLabelValues(p)
	}
	for _, o := range []string{outcomeSucceeded, outcomeRetried, outcomeDead, outcomeDisabled} {
		m.deliveries.WithLabelValues(o)
	}
	for _, o := range []string{attemptSucceeded, attemptRefused, attemptTimeout, attemptFailed} {
		m.attempt.WithLabelValues(o)
	}
	return m
}

// begun counts how long a delivery waited for its first attempt.
func (m *metrics) begun(d *gateway.Delivery, at time.Time) {
	if d.Attempt == 0 {
		m.wait.Observe(at.Sub(d.CreatedAt).Seconds())
	}
}

func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}
