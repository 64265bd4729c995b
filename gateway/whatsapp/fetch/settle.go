package fetch

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"wagent/gateway"
)

func settle(m *gateway.Media, state gateway.MediaState, reason string) {
	m.State, m.Error, m.NextAt = state, reason, time.Time{}
}

// again makes m due after a pause.
func again(m *gateway.Media, wait time.Duration, reason string) {
	m.State, m.Error, m.NextAt = gateway.MediaWanted, reason, time.Now().Add(wait)
}

// pause is how long to leave m alone after an attempt that failed.
func pause(m *gateway.Media) time.Duration {
	return min(firstPause<<min(max(m.Attempt-1, 0), 20), longestPause)
}

// brief is an error's text without the URL, which holds where the file is.
func brief(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return err.Error()
}

// record writes down what became of m, and reports whether it is still ours.
// Where it can not, the lease runs out, and the file is fetched again.
func (f *Fetcher) record(ctx context.Context, m *gateway.Media, data []byte, took time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	err := f.store.SettleMedia(ctx, m, data)
	switch {
	case err == nil:
		f.total.WithLabelValues(outcome(m)).Inc()
	case gateway.KindOf(err) != gateway.Conflict:
		f.log.ErrorContext(ctx, "settle media", "message", m.Message, "account", m.Account, "state", m.State, "err", err)
		return false
	}
	f.log.InfoContext(ctx, "media", "message", m.Message, "account", m.Account, "state", m.State, "attempt", m.Attempt,
		"size", m.Size, "reason", m.Error, "took", took, "settled", err == nil)
	return err == nil
}

// outcomeAgain is the one that is no state: an attempt that failed, and is not
// the last.
const outcomeAgain = "again"

func outcome(m *gateway.Media) string {
	if m.State == gateway.MediaWanted {
		return outcomeAgain
	}
	return string(m.State)
}

func newMetrics(reg prometheus.Registerer) *prometheus.CounterVec {
	total := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "wagent_media_total",
		Help: "Attempts to fetch the files of messages, by what became of them, and files whose time was over.",
	}, []string{"outcome"})
	for _, s := range []gateway.MediaState{
		gateway.MediaAsked, gateway.MediaKept, gateway.MediaGone, gateway.MediaTooLarge, gateway.MediaExpired, outcomeAgain,
	} {
		total.WithLabelValues(string(s))
	}
	return total
}
