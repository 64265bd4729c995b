package dispatch

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"wagent/dispatch/route"
	"wagent/gateway"
)

type metrics struct {
	runs     *prometheus.CounterVec
	duration prometheus.Histogram
	routed   *prometheus.CounterVec
	actions  *prometheus.CounterVec
	unrouted prometheus.Counter
	swept    *prometheus.CounterVec

	superseded prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		runs: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_runs_total",
			Help: "Runs that ended, by how.",
		}, []string{"status", "trigger", "stop_reason"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:                            "wagent_run_duration_seconds",
			Help:                            "Time from a run's claim to its end.",
			Buckets:                         []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
		}),
		routed: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_runs_routed_total",
			Help: "Runs of batches that ended, by why their agent answered.",
		}, []string{"reason"}),
		actions: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_actions_total",
			Help: "Actions of runs, by what became of them.",
		}, []string{"status"}),
		unrouted: f.NewCounter(prometheus.CounterOpts{
			Name: "wagent_actions_unrouted_total",
			Help: "Actions that went nowhere, since no webhook takes them.",
		}),
		swept: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_swept_total",
			Help: "What the sweeper put back into a window.",
		}, []string{"what"}),
		superseded: f.NewCounter(prometheus.CounterOpts{
			Name: "wagent_runs_superseded_total",
			Help: "Times that a newer message called a run back before it finished.",
		}),
	}
	for _, t := range []gateway.Trigger{gateway.TriggerAPI, gateway.TriggerInbound} {
		m.runs.WithLabelValues(string(gateway.RunCompleted), string(t), string(gateway.StopEndTurn))
		m.runs.WithLabelValues(string(gateway.RunCompleted), string(t), string(gateway.StopApproval))
		for _, s := range []gateway.StopReason{gateway.StopError, gateway.StopLLMError, gateway.StopInvalidResponse, gateway.StopMaxTokens, gateway.StopCancelled, gateway.StopSpent, gateway.StopTooLong} {
			m.runs.WithLabelValues(string(gateway.RunFailed), string(t), string(s))
		}
	}
	for _, r := range route.Reasons() {
		m.routed.WithLabelValues(r)
	}
	for _, s := range []gateway.ActionStatus{gateway.ActionAuto, gateway.ActionPending, gateway.ActionConfirmed, gateway.ActionRejected, gateway.ActionExpired} {
		m.actions.WithLabelValues(string(s))
	}
	m.swept.WithLabelValues("message")
	m.swept.WithLabelValues("run")
	return m
}

func (m *metrics) ended(r *gateway.Run) {
	m.runs.WithLabelValues(string(r.Status), string(r.Trigger), string(r.StopReason)).Inc()
	m.duration.Observe(r.Duration.Seconds())
	if r.Routed != "" {
		m.routed.WithLabelValues(r.Routed).Inc()
	}
}
