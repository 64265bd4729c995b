// Package api is wagent's HTTP server: who may come in, what a request may
// cost, and what an operator's tools ask for. What stands at /api/v1 is in the
// packages that it mounts there: agents in whatsrb, linked devices in sessions,
// people who take over in pauses, when conversations are answered in windows,
// what agents remember of whom in contacts; package wire is how they all look.
//
// It guarantees that nothing under /api/v1 is reached without a key, except
// over connections that the process itself trusts ([Trusted]), that every request ends in one answer and one line in the log, a panic included,
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

	"wagent/gateway/api/contacts"
	"wagent/gateway/api/pauses"
	"wagent/gateway/api/sessions"
	"wagent/gateway/api/whatsrb"
	"wagent/gateway/api/windows"
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
	Sessions sessions.API
	Pauses   pauses.API
	Windows  windows.API
	Contacts contacts.API
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
	for _, validate := range []func() error{d.AgentAPI.Validate, d.Sessions.Validate, d.Pauses.Validate, d.Windows.Validate, d.Contacts.Validate} {
		if err := validate(); err != nil {
			return nil, fmt.Errorf("api: %w", err)
		}
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
	v1 := e.Group("/api/v1", authenticate(d.Keys), limit)
	d.AgentAPI.Mount(v1)
	d.Sessions.Mount(v1)
	d.Pauses.Mount(v1)
	d.Windows.Mount(v1)
	d.Contacts.Mount(v1)

	o.metrics = newMetrics(d.Registry, e.Routes())
	return e, nil
}
