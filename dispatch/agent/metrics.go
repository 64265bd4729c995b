package agent

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The outcomes of a request to a model.
const (
	outcomeOK            = "ok"
	outcomeInvalidAnswer = "invalid_answer" // an answer that needs repair
	outcomeTruncated     = "truncated"
	outcomeRefused       = "refused"
	outcomeTimeout       = "timeout" // the run's deadline passed
	outcomeCancelled     = "cancelled"
	outcomeRateLimited   = "rate_limited"
	outcomeUnavailable   = "unavailable"
	outcomeUnauthorized  = "unauthorized"
	outcomeInvalid       = "invalid_request"
	outcomeTooLong       = "too_long"
	outcomeInternal      = "internal"
)

// outcomeNotAsked is a reason of fallbacks only: no request was made, because
// the provider is known to be down, or because it said when to come back.
const outcomeNotAsked = "not_asked"

func outcomes() []string {
	return []string{
		outcomeOK, outcomeInvalidAnswer, outcomeTruncated, outcomeRefused, outcomeTimeout, outcomeCancelled,
		outcomeRateLimited, outcomeUnavailable, outcomeUnauthorized, outcomeInvalid, outcomeTooLong, outcomeInternal,
	}
}

type metrics struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	tokens    *prometheus.CounterVec
	fallbacks *prometheus.CounterVec
	dropped   *prometheus.CounterVec
	seen      sync.Map // of [2]string, provider and model: those whose series stand at 0
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_llm_requests_total",
			Help: "Requests to language models, repeated ones counted each, but for those that only learn how a model wants to be asked.",
		}, []string{"provider", "model", "outcome"}),
		durations: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "wagent_llm_duration_seconds",
			Help:                            "How long a request to a language model took, failed ones included.",
			Buckets:                         []float64{0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"provider", "model"}),
		tokens: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_llm_tokens_total",
			Help: "Tokens that language models read (input) and wrote (output); of those read, how many stood in a provider's cache (cached).",
		}, []string{"direction"}),
	}
	m.fallbacks = f.NewCounterVec(prometheus.CounterOpts{
		Name: "wagent_llm_fallbacks_total",
		Help: "How often an agent's next model was asked because this one gave no answer, by why.",
	}, []string{"provider", "model", "reason"})
	m.dropped = f.NewCounterVec(prometheus.CounterOpts{
		Name: "wagent_llm_dropped_total",
		Help: "What was dropped of models' answers that were used, as the notes of their runs say: actions, payloads, and other parts against the agent's rules.",
	}, []string{"provider", "model"})
	m.tokens.WithLabelValues("input")
	m.tokens.WithLabelValues("output")
	m.tokens.WithLabelValues("cached")
	return m
}

// prepareFallbacks is prepare for a model that is not an agent's last.
func (m *metrics) prepareFallbacks(provider, model string) {
	for _, o := range append(outcomes(), outcomeNotAsked) {
		if o != outcomeOK && o != outcomeCancelled {
			m.fallbacks.WithLabelValues(provider, model, o)
		}
	}
}

// prepare makes a model's series before they count anything, so that a rate
// over them is right from the first failure on.
func (m *metrics) prepare(provider, model string) {
	if _, ok := m.seen.LoadOrStore([2]string{provider, model}, true); ok {
		return
	}
	for _, o := range outcomes() {
		m.requests.WithLabelValues(provider, model, o)
	}
	m.durations.WithLabelValues(provider, model)
	m.dropped.WithLabelValues(provider, model)
}
