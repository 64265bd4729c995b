package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
)

// observer writes what the operator sees of each request.
type observer struct {
	log     *slog.Logger
	metrics *metrics
}

// requestID is what a caller may name a request, for the sake of our log.
var requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// observe is the outermost middleware: it names the request, has its error
// answered, counts it and logs it.
func (o *observer) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if !requestID.MatchString(id) {
			id = rand.Text()
		}
		h := c.Response().Header()
		h.Set(echo.HeaderXRequestID, id)
		h.Set(echo.HeaderXContentTypeOptions, "nosniff")
		h.Set(echo.HeaderXFrameOptions, "DENY")
		h.Set(echo.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'")
		h.Set(echo.HeaderReferrerPolicy, "no-referrer")
		h.Set(echo.HeaderCacheControl, "no-store")

		if err := next(c); err != nil {
			c.Error(err)
		}

		took, status := time.Since(start), c.Response().Status
		route := o.metrics.observe(c.Path(), status, took)
		level := slog.LevelDebug
		if status >= http.StatusInternalServerError {
			level = slog.LevelInfo
		}
		key, _ := c.Get(keyName).(string)
		o.log.LogAttrs(c.Request().Context(), level, "request",
			slog.String("request", id), slog.String("method", c.Request().Method), slog.String("route", route),
			slog.Int("status", status), slog.Int64("bytes", c.Response().Size), slog.Duration("took", took),
			slog.String("key", key))
		return nil
	}
}

// recoverPanics makes an error of a panic, so that it is answered and logged
// like any other.
func recoverPanics(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch r := recover(); r {
			case nil:
			case http.ErrAbortHandler: // net/http wants it back
				panic(r)
			default:
				err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		return next(c)
	}
}

// limit bounds what a request may read and how long it may take.
func limit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		r.Body = http.MaxBytesReader(c.Response(), r.Body, maxBody)
		// A body that trickles in is not bound by the context. Where the
		// connection has no deadlines, whoever made it bounds it.
		_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(requestTimeout))
		c.SetRequest(r.WithContext(ctx))
		defer c.SetRequest(r) // what answers and logs the error outlives ctx
		return next(c)
	}
}

// late says of what failed because its time was over that it took too long.
func late(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		ctx := c.Request().Context()
		err := next(c)
		_, answered := errors.AsType[*echo.HTTPError](err)
		if err != nil && !answered && gateway.KindOf(err) == gateway.Internal && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return &gateway.Error{Kind: gateway.Unavailable, Msg: "The request took too long", Err: err}
		}
		return err
	}
}
