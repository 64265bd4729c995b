package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"wagent/gateway"
)

// newRegistry returns a registry with the metrics of the process itself.
func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		version.NewCollector("wagent"),
	)
	return reg
}

// replyMetrics counts what became of sends; package gateway, whose rules
// decide that, has no metrics of its own.
type replyMetrics struct {
	replies *prometheus.CounterVec
	seconds prometheus.Histogram
}

func newReplyMetrics(reg prometheus.Registerer) *replyMetrics {
	f := promauto.With(reg)
	m := &replyMetrics{
		replies: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_replies_total",
			Help: "Ends of attempts to send, by outcome; ready means that it is tried again.",
		}, []string{"outcome"}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name:                            "wagent_reply_seconds",
			Help:                            "Time from the last message of a batch to the moment when its reply was accepted.",
			Buckets:                         []float64{1, 2.5, 5, 7.5, 10, 12.5, 15, 20, 30, 45, 60, 90, 120, 300, 600},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
		}),
	}
	for _, s := range []gateway.SendState{gateway.SendReady, gateway.SendAccepted, gateway.SendUnknown, gateway.SendRefused, gateway.SendCancelled} {
		m.replies.WithLabelValues(string(s))
	}
	return m
}

func (m *replyMetrics) observe(s *gateway.Send) {
	m.replies.WithLabelValues(string(s.State)).Inc()
	if s.State == gateway.SendAccepted && !s.Answers.IsZero() && s.Origin != gateway.FromAPI && !s.OfAction() { // people and endpoints answer when they like
		m.seconds.Observe(time.Since(s.Answers).Seconds())
	}
}

// newSkipped returns what counts messages that no run is to answer.
func newSkipped(reg prometheus.Registerer) func(*gateway.Message) {
	c := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "wagent_messages_skipped_total",
		Help: "Customers' messages that were ignored or held as they came in, by reason.",
	}, []string{"reason"})
	for _, r := range gateway.Reasons() {
		c.WithLabelValues(r)
	}
	return func(m *gateway.Message) { c.WithLabelValues(m.StateReason).Inc() }
}
