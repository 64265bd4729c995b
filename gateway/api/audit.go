package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/access"
	"wagent/gateway/api/mask"
	"wagent/gateway/api/wire"
)

// Auditor keeps what was changed over the API.
type Auditor interface {
	// AddAudit keeps an entry, which gets its Seq.
	AddAudit(ctx context.Context, e *gateway.AuditEntry) error
}

const (
	// auditPatience is how long an answer waits for its entry.
	auditPatience = 5 * time.Second
	// maxSubject is how much of a path is kept, in bytes.
	maxSubject = 512
	// replayed is the header of an answer that is repeated: the change that it is
	// about was made, and kept, before. Its name is Stripe's.
	replayed = "Idempotent-Replayed"
)

// audit keeps an entry of each request that may have changed something: all but
// those that only read, those of no route, and repetitions. One that failed (5xx)
// has its entry, too: it may have failed after the change, or nobody can tell. The
// entry is on disk before the client reads an answer. Where it can't be kept, the
// answer is as it is, and the log says what is missing.
func audit(to Auditor, who func(context.Context) string, log *slog.Logger) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
				return next(c)
			}
			c.Response().Before(func() {
				status := c.Response().Status
				if routeOf(c) == unmatched || c.Response().Header().Get(replayed) != "" {
					return
				}
				e := gateway.AuditEntry{
					At: time.Now(), Who: who(r.Context()), Action: r.Method + " " + routeOf(c), Subject: subject(c),
					Status: status, Request: c.Response().Header().Get(echo.HeaderXRequestID),
				}
				ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), auditPatience)
				defer cancel()
				if err := to.AddAudit(ctx, &e); err != nil {
					log.ErrorContext(ctx, "a change is missing in the audit", "request", e.Request, "key", e.Who, "action", e.Action,
						"status", e.Status, "err", err)
				}
			})
			return next(c)
		}
	}
}

// routeOf is the request's route as metrics show it, too.
func routeOf(c echo.Context) string {
	if path := c.Path(); path != "" && !strings.Contains(path, "*") {
		return path
	}
	return unmatched
}

// subject is the request's path without what opens something and without whole
// phone numbers.
func subject(c echo.Context) string {
	path := c.Request().URL.Path
	if p, ok := wire.PathID(c, "phone"); ok { // whatever it looks like
		path = strings.ReplaceAll(path, "/"+p, "/"+mask.Number(p))
	}
	path = mask.Path(path)
	return strings.ToValidUTF8(path[:min(len(path), maxSubject)], "")
}

// ofKey says who the request's key is.
func ofKey(ctx context.Context) string { return access.KeyOf(ctx).Name }

// ofLink says that it was whoever has the link.
func ofLink(context.Context) string { return "(link)" }
