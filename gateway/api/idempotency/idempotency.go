// Package idempotency lets clients repeat a POST safely: under the same
// Idempotency-Key the same request is done once, and is answered the same for
// 24 hours.
//
// It guarantees that of requests of one API key with one Idempotency-Key, on
// whatever replica, one at a time is done, and that its answer is on record
// before the client gets it. Another request under the key is a conflict.
//
// What is remembered is what was done (2xx). A refusal (4xx) did nothing, and may
// be over the next moment: the account is connected, the agent active, the run
// completed, the template approved. Remembered for a day, it would make a
// repetition useless exactly where it is meant to help, and no status tells it
// from one that stays: an inactive agent and a name that is too long are both a
// 422. So who repeats a request that was refused, or that met trouble (5xx), has
// it judged again, and is refused again while the reason stands; and the key is
// free for a request that is mended. But one trouble says that nobody can tell
// whether it was done (502): done again, it would be refused for what the first try
// did, so it is remembered, too. What was turned away before it came here
// (401, 403, 429) never claimed its key.
//
// A request whose process died is done again once its lease is over: nobody can
// tell how far it came, and what it did is then done at least once. Until then, and
// for a day if nobody repeats it, its key is no other request's. What it makes
// can be named by [ID], which is the same at each try: a run is, and is therefore
// made once even so.
//
// State lives in the store that satisfies [Requests]. Answers may hold what is
// shown once, so they are never logged, and the store is to seal them.
package idempotency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// Requests remember what was answered to requests that a client may repeat.
type Requests interface {
	// ClaimRequest reports true, and fills r, if the request is the caller's
	// to do until r.Until, which is after a lease. Else it fills r with what
	// is on record under its key: another request, one that is being done, or
	// its answer.
	ClaimRequest(ctx context.Context, r *gateway.IdempotentRequest, lease time.Duration) (bool, error)
	// AnswerRequest keeps r's Status and Body. Conflict: r's lease was over,
	// and somebody else does the request.
	AnswerRequest(ctx context.Context, r *gateway.IdempotentRequest) error
	// ReleaseRequest lets anybody do the request at once, under the same ID.
	ReleaseRequest(ctx context.Context, r *gateway.IdempotentRequest) error
}

// The headers of requests that may be repeated, and of answers that were given
// before. The first is that of the IETF's draft-ietf-httpapi-idempotency-key-header;
// quotes around a key are a part of it.
const (
	header         = "Idempotency-Key"
	headerReplayed = "Idempotent-Replayed"
	maxKey         = 255 // bytes
)

// Times of a request that is repeated while it is done.
const (
	margin   = 30 * time.Second       // between a request's timeout and the moment when it is taken for abandoned
	wait     = 5 * time.Second        // that a repetition waits for the answer
	poll     = 250 * time.Millisecond // at most, between two looks
	retry    = 5 * time.Second        // after which the client may ask again
	patience = 5 * time.Second        // with the store, once the request is done
)

// A Middleware gives who repeats a POST under the same Idempotency-Key the answer
// that the first one got. All fields are required. It belongs inside what
// authenticates and what limits bodies and times, and outside what makes errors
// of what took too long.
type Middleware struct {
	Requests Requests
	Who      func(c echo.Context) string // the name of the request's API key
	Timeout  time.Duration               // of a request
	Log      *slog.Logger
}

// idName is where a request's ID stands in echo's context.
const idName = "idempotency_id"

// ID returns what the request can name what it makes by: the same at each try
// at it, and no other request's. It is lower-case letters and digits, and empty
// where the request has no Idempotency-Key.
func ID(c echo.Context) string {
	id, _ := c.Get(idName).(string)
	return id
}

// Handle is an [echo.MiddlewareFunc].
func (m *Middleware) Handle(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		keys := r.Header.Values(header)
		if r.Method != http.MethodPost || len(keys) == 0 {
			return next(c)
		}
		if len(keys) > 1 || !validKey(keys[0]) {
			return wire.BadRequest(fmt.Sprintf("%s must be one key of 1 to %d bytes without control characters", header, maxKey))
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			r.Body = io.NopCloser(broken{err})
			_, err = wire.ReadObject(c) // which knows the words
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		req := gateway.IdempotentRequest{Who: m.Who(c), Key: keys[0], Request: fingerprint(r, body)}
		claimed, err := m.claim(r.Context(), &req)
		switch {
		case err != nil:
			return err
		case !claimed:
			return replay(c, &req)
		}
		return m.do(c, &req, next)
	}
}

// broken is what is left of a body that can't be read.
type broken struct{ err error }

// Read returns why.
func (b broken) Read([]byte) (int, error) { return 0, b.err }

func validKey(key string) bool {
	if key == "" || len(key) > maxKey || !utf8.ValidString(key) {
		return false
	}
	for _, r := range key {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// fingerprint tells requests apart.
func fingerprint(r *http.Request, body []byte) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s %s\n", r.Method, r.URL.RequestURI()) // never fails (hash.Hash)
	_, _ = h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// claim reports whether the request is to be done. Else it has an answer, which
// is then in req; while there is none yet, claim waits for a moment. The two may
// be in different processes, so it looks again rather than being told.
func (m *Middleware) claim(ctx context.Context, req *gateway.IdempotentRequest) (bool, error) {
	wanted, end := *req, time.Now().Add(wait)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, poll) {
		select {
		case <-ctx.Done():
			return false, tooLate(ctx, fmt.Errorf("wait for the answer to a request: %w", ctx.Err()))
		case <-timer.C:
		}
		*req = wanted
		claimed, err := m.ask(ctx, req)
		switch {
		case err != nil:
			return false, tooLate(ctx, fmt.Errorf("claim request: %w", err))
		case claimed:
			return true, nil
		case req.Request != wanted.Request:
			return false, &gateway.Error{Kind: gateway.Conflict, Msg: "This Idempotency-Key was used for another request: take a new one for each"}
		case req.Status != 0:
			return false, nil
		case !time.Now().Add(pause).Before(end):
			return false, &gateway.Error{
				Kind: gateway.Conflict, RetryAfter: retry,
				Msg: "A request with this Idempotency-Key is still being worked on: repeat it in a moment",
			}
		}
		timer.Reset(pause)
	}
}

// ask claims the request. A client that goes meanwhile does not cut it off: what
// was claimed then would be nobody's until its lease ends.
func (m *Middleware) ask(ctx context.Context, req *gateway.IdempotentRequest) (bool, error) {
	ctx, cancel := outlasting(ctx)
	defer cancel()
	return m.Requests.ClaimRequest(ctx, req, m.Timeout+margin)
}

// outlasting returns a context that ends with ctx's time, and not when its client
// goes.
func outlasting(ctx context.Context) (context.Context, context.CancelFunc) {
	out := context.WithoutCancel(ctx)
	if end, ok := ctx.Deadline(); ok {
		return context.WithDeadline(out, end)
	}
	return out, func() {}
}

// tooLate says of what failed because the request's time was over that nothing was
// done: nobody within looks at it.
func tooLate(ctx context.Context, err error) error {
	over := errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) // who outlasts ctx may see it first
	if over && gateway.KindOf(err) == gateway.Internal {
		return &gateway.Error{Kind: gateway.Unavailable, Msg: "The request took too long", Err: err}
	}
	return err
}

// replay answers as the first time.
func replay(c echo.Context, req *gateway.IdempotentRequest) error {
	c.Response().Header().Set(headerReplayed, "true")
	if req.Body == "" {
		return c.NoContent(req.Status)
	}
	return c.Blob(req.Status, echo.MIMEApplicationJSON, []byte(req.Body))
}

// do has the request done, and keeps the answer before the client gets it: a
// client that got none can repeat the request. It goes on when the client is
// gone, who may come back for the answer.
func (m *Middleware) do(c echo.Context, req *gateway.IdempotentRequest, next echo.HandlerFunc) error {
	r := c.Request()
	ctx := context.WithoutCancel(r.Context())
	keep := func(what func(context.Context, *gateway.IdempotentRequest) error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := what(ctx, req); err != nil {
			// Until its lease ends nobody else does it; then a repetition will.
			m.Log.WarnContext(ctx, "what became of a request is not kept", "route", c.Path(), "err", err)
		}
	}
	w := c.Response().Writer
	answered := false
	defer func() {
		if answered {
			return
		}
		if c.Response().Writer != w { // a panic goes by, and is to be answered
			c.SetRequest(r)
			c.Response().Writer, c.Response().Committed, c.Response().Size = w, false, 0
		}
		keep(m.Requests.ReleaseRequest)
	}()

	working, cancel := outlasting(r.Context())
	defer cancel()
	c.SetRequest(r.WithContext(working))
	c.Set(idName, req.ID)
	held := &heldAnswer{ResponseWriter: w}
	c.Response().Writer = held
	if err := next(c); err != nil {
		c.Error(err)
	}
	c.SetRequest(r)
	c.Response().Writer = w
	req.Status, req.Body = c.Response().Status, gateway.Secret(held.body.Bytes())
	if answered = memorable(req.Status); answered {
		keep(m.Requests.AnswerRequest)
	}
	w.WriteHeader(req.Status)
	_, err := w.Write(held.body.Bytes())
	return err
}

// memorable reports whether something was done, or may have been, which must not be
// done twice. A refusal, or what broke, may go well the next time.
func memorable(status int) bool {
	return status < http.StatusMultipleChoices || status == http.StatusBadGateway
}

// A heldAnswer keeps what is written from the client. It has no Unwrap: what
// goes around it would go out.
type heldAnswer struct {
	http.ResponseWriter
	body bytes.Buffer
}

// WriteHeader leaves the status to echo's Response, which has it.
func (*heldAnswer) WriteHeader(int) {}

// Write keeps b.
func (h *heldAnswer) Write(b []byte) (int, error) { return h.body.Write(b) }
