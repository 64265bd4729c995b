package wire

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/mask"
)

// errorBody is the body of every answer that is not a success.
type errorBody struct {
	Error   string              `json:"error"`
	Details map[string][]string `json:"details,omitempty"`
}

// failure is an error as the client sees it.
type failure struct {
	status     int
	body       errorBody
	retryAfter time.Duration
}

// ErrorHandler answers every error of the API, and of whatever else the
// server has no dialect for. It is the one place that turns kinds of error
// into statuses, and that logs what an operator must see.
func ErrorHandler(log *slog.Logger) echo.HTTPErrorHandler {
	return func(err error, c echo.Context) {
		ctx := c.Request().Context()
		f := translate(ctx, err)
		request := slog.String("request", c.Response().Header().Get(echo.HeaderXRequestID))
		switch {
		case f.status == http.StatusInternalServerError:
			log.ErrorContext(ctx, "request failed", request, slog.String("route", c.Path()), slog.String("err", logged(c, err)))
		case f.status > http.StatusInternalServerError:
			log.WarnContext(ctx, "request refused", request, slog.String("route", c.Path()), slog.String("err", logged(c, err)))
		}
		if c.Response().Committed {
			return
		}
		h := c.Response().Header()
		if f.retryAfter > 0 {
			h.Set(echo.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(f.retryAfter.Seconds()))))
		}
		if f.status == http.StatusUnauthorized {
			h.Set(echo.HeaderWWWAuthenticate, "Bearer") // RFC 9110, section 11.6.1
		}
		if err := JSON(c, f.status, f.body); err != nil {
			log.DebugContext(ctx, "answer not written", request, slog.Any("err", err))
		}
	}
}

// logged is what the log says of an error, which may name what the path does:
// without whole phone numbers, and without what opens something.
func logged(c echo.Context, err error) string {
	text := err.Error()
	for _, name := range c.ParamNames() {
		v, ok := PathID(c, name)
		if !ok {
			continue
		}
		hidden := mask.Path(v)
		if name == "phone" { // whatever it looks like
			hidden = mask.Number(v)
		}
		if hidden != v {
			text = strings.ReplaceAll(text, v, hidden)
		}
	}
	return mask.Text(text)
}

// statusClientGone is for metrics and the log: nobody reads the answer. The
// number is nginx's.
const statusClientGone = 499

func translate(ctx context.Context, err error) failure {
	if e, ok := errors.AsType[*gateway.Error](err); ok && e.Kind != gateway.Internal {
		return translateKind(e)
	}
	if e, ok := errors.AsType[*echo.HTTPError](err); ok {
		return translateEcho(e)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return failure{status: statusClientGone, body: errorBody{Error: "The client has gone"}}
	}
	return internalError
}

var (
	internalError = failure{status: http.StatusInternalServerError, body: errorBody{Error: "Internal error"}}
	notFound      = failure{status: http.StatusNotFound, body: errorBody{Error: "Not found"}}
)

func translateKind(e *gateway.Error) failure {
	answer := func(status int) failure {
		f := failure{status: status, body: errorBody{Error: e.Msg}, retryAfter: e.RetryAfter}
		if f.body.Error == "" {
			f.body.Error = http.StatusText(status)
		}
		return f
	}
	switch e.Kind {
	case gateway.Invalid:
		f := answer(http.StatusUnprocessableEntity)
		f.body.Details = e.Details
		return f
	case gateway.NotFound:
		return notFound
	case gateway.Conflict:
		return answer(http.StatusConflict)
	case gateway.Unauthorized:
		return answer(http.StatusUnauthorized)
	case gateway.RateLimited:
		f := answer(http.StatusTooManyRequests)
		f.retryAfter = max(f.retryAfter, time.Second)
		return f
	case gateway.Unavailable:
		return answer(http.StatusServiceUnavailable)
	case gateway.Ambiguous:
		return answer(http.StatusBadGateway)
	case gateway.WindowClosed:
		return answer(http.StatusUnprocessableEntity)
	case gateway.TooLong:
		return answer(http.StatusRequestEntityTooLarge)
	case gateway.Internal:
	}
	return internalError
}

// translateEcho answers what the router and the middleware say. A method that
// a path does not have is not found, as in the original.
func translateEcho(e *echo.HTTPError) failure {
	if e.Code == http.StatusNotFound || e.Code == http.StatusMethodNotAllowed {
		return notFound
	}
	if msg, ok := e.Message.(string); ok && e.Code < http.StatusInternalServerError {
		return failure{status: e.Code, body: errorBody{Error: msg}}
	}
	return internalError
}

// BadRequest is for what is wrong with a request before its fields are.
func BadRequest(msg string) error { return echo.NewHTTPError(http.StatusBadRequest, msg) }

// NotFound is for what a path names and is not there.
func NotFound(what string) error {
	return &gateway.Error{Kind: gateway.NotFound, Msg: "no such " + what}
}

// Problems gathers what is wrong with the fields of a request.
type Problems map[string][]string

// Add says what is wrong with a field.
func (p Problems) Add(field, msg string) { p[field] = append(p[field], msg) }

// Merge adds the details of a validation error, and returns any other error.
func (p Problems) Merge(err error) error {
	e, ok := errors.AsType[*gateway.Error](err)
	if !ok || e.Kind != gateway.Invalid || len(e.Details) == 0 {
		return err
	}
	for field, msgs := range e.Details {
		p[field] = append(p[field], msgs...)
	}
	return nil
}

// Err returns nil if there are no problems.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return &gateway.Error{Kind: gateway.Invalid, Msg: "Validation failed", Details: p}
}
