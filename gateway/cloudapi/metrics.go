package cloudapi

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"wagent/gateway"
)

// The outcomes of what never reaches the inbox, beside gateway's own.
const (
	outcomeForeign   = "foreign"         // signed with another account's secret
	outcomeUnknown   = "unknown_account" // for a number that no account has
	outcomeMalformed = "malformed"       // without an id or without an address
	outcomeSkipped   = "skipped"         // history that nobody can use: our own words, placeholders

	statusIgnored = "ignored" // a status that we keep no record of
)

type handlerMetrics struct {
	received *prometheus.CounterVec
	rejected prometheus.Counter
	statuses *prometheus.CounterVec
}

func newHandlerMetrics(reg prometheus.Registerer) *handlerMetrics {
	f := promauto.With(reg)
	m := &handlerMetrics{
		received: register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_messages_received_total",
			Help: "Messages that came in, by account and what became of them.",
		}, []string{"account", "kind", "outcome"})),
		rejected: f.NewCounter(prometheus.CounterOpts{
			Name: "wagent_webhook_signatures_rejected_total",
			Help: "Webhook requests refused because their signature was absent or wrong.",
		}),
		statuses: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_message_statuses_total",
			Help: "Status updates of messages of ours that WhatsApp reported.",
		}, []string{"status"}),
	}
	for _, s := range []string{
		string(gateway.StatusSent), string(gateway.StatusDelivered),
		string(gateway.StatusRead), string(gateway.StatusFailed), statusIgnored,
	} {
		m.statuses.WithLabelValues(s)
	}
	m.received.WithLabelValues("", string(gateway.CloudAPI), outcomeUnknown)
	return m
}

type channelMetrics struct {
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
}

const outcomeOK = "ok"

func newChannelMetrics(reg prometheus.Registerer) *channelMetrics {
	f := promauto.With(reg)
	m := &channelMetrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_graph_requests_total",
			Help: "Requests to the Graph API, by the kind of error that they ended in, or ok.",
		}, []string{"outcome"}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name:                            "wagent_graph_request_seconds",
			Help:                            "How long requests to the Graph API took.",
			Buckets:                         []float64{0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
		}),
	}
	m.requests.WithLabelValues(outcomeOK)
	for k := gateway.Internal; k <= gateway.WindowClosed; k++ {
		m.requests.WithLabelValues(k.String())
	}
	return m
}

// register returns c, or its like that another edge registered first: every
// edge counts in wagent_messages_received_total.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if err == nil {
		return c
	}
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if like, ok := already.ExistingCollector.(C); ok {
			return like
		}
	}
	panic(err) // two metrics of one name: a programmer's error, seen at start
}
