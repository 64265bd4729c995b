// Package api is wagent's HTTP server: who may come in, what a request may
// cost, and what an operator's tools ask for. What stands at /api/v1 is in the
// packages that it mounts there: keys in keys, agents in whatsrb, linked devices
// in sessions, numbers of a business in accounts and their message templates in
// templates, what people say in messages, people who take over in pauses, when
// conversations are answered in windows, what agents remember of whom in contacts,
// who is told of what happens in webhooks, how much that was in usage. Package
// access says what a route asks of a key, idempotency lets a POST be repeated, and
// wire is how they all look.
//
// It guarantees that nothing under /api/v1 is reached without a key, except
// over connections that the process itself trusts ([Trusted]), that a key does
// what its scope says and sees the accounts that it reaches (package access says
// what that is for each route), that a change which was answered is in the
// audit, if the database took it, that every request ends in one answer and one line in the log, a panic included,
// and that neither holds a message's text, a key or a query's values. It keeps
// no state but how many requests each key made lately, each client and link
// of /connect, and each client whose key is not known, which is of this process alone: after a crash there is nothing to
// mend. Who a client is says the connection; where that comes from a private
// address, as a proxy's does, X-Forwarded-For says it.
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

	"wagent/gateway"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/wire"
)

// What one request of the API may cost. The webhook has limits of its own.
const (
	maxBody        = 1 << 20 // bytes
	requestTimeout = 30 * time.Second
)

// A Part serves what it has of /api/v1.
type Part interface {
	// Validate says which part of it is missing.
	Validate() error
	// Mount registers its routes in a group that stands at /api/v1.
	Mount(g *echo.Group)
}

// A linked part also serves links at /connect that need no key: each is one.
type linked interface{ MountLinks(g *echo.Group) }

// Deps are what the server serves.
type Deps struct {
	Keys     Keys
	Owners   Owners
	Auditor  Auditor
	Requests idempotency.Requests
	Used     func(*gateway.APIKey) // told of each request's key, at once; must not block; may be nil
	Parts    []Part
	// Ready asks each dependency whether it can be worked with. A name is
	// shown to whoever asks, an error only to the log.
	Ready    map[string]Check
	Webhook  http.Handler         // at /webhooks/whatsapp, as it is; nil: not served
	Registry *prometheus.Registry // takes our metrics, and is served at /metrics; nil: a new one
	Log      *slog.Logger
}

func (d *Deps) validate() error {
	switch {
	case d.Keys == nil:
		return errors.New("no Keys")
	case d.Owners == nil:
		return errors.New("no Owners")
	case d.Auditor == nil:
		return errors.New("no Auditor")
	case d.Requests == nil:
		return errors.New("no Requests")
	case d.Log == nil:
		return errors.New("no Log")
	}
	for _, p := range d.Parts {
		if err := p.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// New returns the handler of wagent's port. It is safe for concurrent use.
func New(d Deps) (http.Handler, error) {
	if err := d.validate(); err != nil {
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
	doc, err := document()
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	describe(e, doc)
	repeats := idempotency.Middleware{
		Requests: d.Requests, Timeout: requestTimeout, Log: d.Log,
		Who: func(c echo.Context) string { who, _ := c.Get(keyName).(string); return who },
	}
	v1 := e.Group("/api/v1", authenticate(d.Keys, d.Used), new(limiter).limit, audit(d.Auditor, ofKey, d.Log), limit, authorize(d.Owners), repeats.Handle, late)
	for _, p := range d.Parts {
		p.Mount(v1)
		if l, ok := p.(linked); ok {
			l.MountLinks(e.Group("/connect", limitLinks(), audit(d.Auditor, ofLink, d.Log), limit, late))
		}
	}

	o.metrics = newMetrics(d.Registry, e.Routes())
	return e, nil
}
