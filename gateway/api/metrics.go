package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// unmatched is the route of requests that match none: their paths are the
// stranger's, and must not become labels.
const unmatched = "unmatched"

type metrics struct {
	routes   map[string]bool
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer, routes []*echo.Route) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		routes: map[string]bool{unmatched: true},
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "wagent_http_requests_total",
			Help: "HTTP requests answered, by route and status.",
		}, []string{"route", "code"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "wagent_http_request_seconds",
			Help:                            "Time from a request's head to its answer's end, by route.",
			Buckets:                         []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  160,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"route"}),
	}
	for _, r := range routes {
		if r.Method != echo.RouteNotFound && !strings.Contains(r.Path, "*") {
			m.routes[r.Path] = true
		}
	}
	for route := range m.routes {
		m.seconds.WithLabelValues(route)
		// The codes that alerts are about exist before they happen.
		for _, code := range []int{http.StatusOK, http.StatusInternalServerError, http.StatusServiceUnavailable} {
			m.requests.WithLabelValues(route, strconv.Itoa(code))
		}
	}
	return m
}

// observe counts a request, and returns its route as it is shown.
func (m *metrics) observe(path string, status int, took time.Duration) string {
	if !m.routes[path] {
		path = unmatched
	}
	m.requests.WithLabelValues(path, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(path).Observe(took.Seconds())
	return path
}
