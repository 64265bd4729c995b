package recall

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// How a Recall ended.
const (
	outcomeHit       = "hit"       // Redis had it
	outcomeRestored  = "restored"  // SQL had it
	outcomeNone      = "none"      // there was no run
	outcomeExpired   = "expired"   // the last run is too long ago
	outcomeStateless = "stateless" // the agent remembers nothing
	outcomeError     = "error"     // SQL is away
)

type metrics struct {
	context *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		context: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_context_total",
			Help: "Runs by where their context came from.",
		}, []string{"outcome"}),
	}
	for _, o := range []string{outcomeHit, outcomeRestored, outcomeNone, outcomeExpired, outcomeStateless, outcomeError} {
		m.context.WithLabelValues(o)
	}
	return m
}
