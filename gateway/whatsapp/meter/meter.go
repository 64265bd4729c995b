// Package meter counts what linked devices do and tells how they stand, for
// Prometheus. Its counters end with the process.
package meter

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"wagent/gateway"
)

// A Meter is what is counted. Its labels are those of the metrics.
type Meter struct {
	Received, Statuses, Sends, Pairings             *prometheus.CounterVec
	SendSeconds                                     prometheus.Histogram
	Undecryptable, Panics, StoreErrors, Disconnects prometheus.Counter
}

// A Standing is how one account stands.
type Standing struct {
	Account           gateway.AccountID
	Connected, Paired bool
	Heard             time.Time // when WhatsApp was last heard of; zero: never
}

// New returns a Meter. standings is called with each scrape, for the accounts
// that this process holds. A nil reg registers nothing.
func New(reg prometheus.Registerer, standings func() []Standing) *Meter {
	auto := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return auto.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Meter{
		Received: shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_messages_received_total",
			Help: "Messages that came in, by account and what became of them.",
		}, []string{"account", "kind", "outcome"})),
		Statuses: shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_message_statuses_total",
			Help: "Status updates of messages of ours that WhatsApp reported.",
		}, []string{"status"})),
		Sends: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_linked_sends_total",
			Help: "Messages handed to WhatsApp by linked devices, by how that ended.",
		}, []string{"outcome"}),
		SendSeconds: auto.NewHistogram(prometheus.HistogramOpts{
			Name:                        "wagent_linked_send_seconds",
			Help:                        "Time from handing a message to a linked device until WhatsApp confirmed or refused it.",
			Buckets:                     prometheus.ExponentialBuckets(0.01, 2, 11),
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}),
		Pairings: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_pairings_total",
			Help: "Pairings that are over, by their last step.",
		}, []string{"step"}),
		Undecryptable: counter("wagent_undecryptable_messages_total", "Messages that could not be decrypted when they came."),
		Panics:        counter("wagent_linked_panics_total", "Panics while an event of WhatsApp's was handled; it is delivered again."),
		StoreErrors:   counter("wagent_device_store_errors_total", "Errors of the database of linked devices, each of which ends a connection."),
		Disconnects:   counter("wagent_link_disconnects_total", "Connections of linked devices that were lost."),
	}
	for _, o := range []string{"ok", gateway.Ambiguous.String(), gateway.Unavailable.String()} {
		m.Sends.WithLabelValues(o)
	}
	if reg != nil {
		reg.MustRegister(gauges(standings))
	}
	return m
}

// shared registers a counter that other edges count in, too: whoever comes
// first registers it.
func shared(reg prometheus.Registerer, c *prometheus.CounterVec) *prometheus.CounterVec {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if like, ok := already.ExistingCollector.(*prometheus.CounterVec); ok {
			return like
		}
	}
	if err != nil {
		panic(err) // two metrics of one name: a programmer's error, seen at start
	}
	return c
}

// gauges tells how the accounts stand that this process holds.
type gauges func() []Standing

var (
	connectedDesc = prometheus.NewDesc("wagent_account_connected",
		"Whether the linked device is connected and logged in: 1 or 0, by the process that holds it.", []string{"account"}, nil)
	lastFrameDesc = prometheus.NewDesc("wagent_account_last_frame_seconds",
		"Seconds since WhatsApp was last heard of on a linked device's connection.", []string{"account"}, nil)
	pairedDesc = prometheus.NewDesc("wagent_account_paired",
		"Whether the account has a linked device: 0 needs a person, who links the phone.", []string{"account"}, nil)
)

// Describe satisfies prometheus.Collector.
func (gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- connectedDesc
	ch <- lastFrameDesc
	ch <- pairedDesc
}

// Collect satisfies prometheus.Collector.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, account gateway.AccountID) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, string(account))
	}
	one := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}
	for _, s := range g() {
		gauge(connectedDesc, one(s.Connected), s.Account)
		gauge(pairedDesc, one(s.Paired), s.Account)
		if s.Paired && !s.Heard.IsZero() {
			gauge(lastFrameDesc, time.Since(s.Heard).Seconds(), s.Account)
		}
	}
}
