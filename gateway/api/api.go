// Package api is wagent's HTTP server: who may come in, what a request may
// cost, how errors look, and what an operator's tools ask for. The agents API
// itself is package whatsrb, which it mounts at /api/v1.
//
// It guarantees that nothing under /api/v1 is reached without a key, that
// every request ends in one answer and one line in the log, a panic included,
// and that neither holds a message's text, a key or a query's values. It keeps
// no state: after a crash there is nothing to mend.
package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"wagent/gateway/api/whatsrb"
	"wagent/gateway/api/wire"
)

// What one request of the API may cost. The webhook has limits of its own.
const (
	maxBody        = 1 << 20 // bytes
	requestTimeout = 30 * time.Second
)

// Deps are what the server serves.
type Deps struct {
	Keys     Keys
	AgentAPI whatsrb.API
	// Ready asks each dependency whether it can be worked with. A name is
	// shown to whoever asks, an error only to the log.
	Ready    map[string]Check
	Webhook  http.Handler         // at /webhooks/whatsapp, as it is; nil: not served
	Registry *prometheus.Registry // takes our metrics, and is served at /metrics; nil: a new one
	Log      *slog.Logger
}

// New returns the handler of wagent's port. It is safe for concurrent use.
func New(d Deps) (http.Handler, error) {
	switch {
	case d.Keys == nil:
		return nil, errors.New("api: no Keys")
	case d.Log == nil:
		return nil, errors.New("api: no Log")
	}
	if err := d.AgentAPI.Validate(); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	if d.Registry == nil {
		d.Registry = prometheus.NewRegistry()
	}
	e := echo.New()
	e.Logger.SetOutput(io.Discard) // echo's own logger says nothing that ours does not
	e.HTTPErrorHandler = wire.ErrorHandler(d.Log)
	o := &observer{log: d.Log}
	e.Use(o.observe, recoverPanics)

	probes := []string{http.MethodGet, http.MethodHead}
	e.Match(probes, "/healthz", healthz)
	e.Match(probes, "/readyz", readyz(d.Ready, d.Log))
	e.Match(probes, "/metrics", echo.WrapHandler(promhttp.HandlerFor(d.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 4})))
	if d.Webhook != nil {
		e.Any("/webhooks/whatsapp", echo.WrapHandler(d.Webhook))
	}
	d.AgentAPI.Mount(e.Group("/api/v1", authenticate(d.Keys), limit))

	o.metrics = newMetrics(d.Registry, e.Routes())
	return e, nil
}
