package sandbox

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// newReceived returns the counter of messages that came in, which every edge
// counts in: whoever comes first registers it, the others use it.
func newReceived(reg prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wagent_messages_received_total",
		Help: "Messages that came in, by account and what became of them.",
	}, []string{"account", "kind", "outcome"})
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	if err == nil {
		return c
	}
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if like, ok := already.ExistingCollector.(*prometheus.CounterVec); ok {
			return like
		}
	}
	panic(err) // two metrics of one name: a programmer's error, seen at start
}
