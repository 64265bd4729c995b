package remote

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"wagent/dispatch/llm"
	"wagent/gateway"
)

// What is read of an answer: of a good one, and of an error.
const (
	maxAnswer = 4 << 20
	maxError  = 64 << 10
)

// A roundTrip is what a middleware of the providers' libraries goes on with.
type roundTrip = func(*http.Request) (*http.Response, error)

// Read is a middleware of the providers' libraries: it reads the whole answer
// within our limits and turns what is no completion into an error of ours, so
// that nothing else of a stranger's answer reaches the library.
func (p *Provider) Read(req *http.Request, next roundTrip) (*http.Response, error) {
	resp, err := next(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp)
	}
	body, err := p.all(req.Context(), resp.Body)
	if err != nil {
		return nil, err
	}
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil || object == nil {
		return nil, p.Unusable("with what is no JSON object")
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.Header.Set("Content-Type", "application/json") // not every server says so
	return resp, nil
}

var errStalled = errors.New("nothing came for too long")

// ReadStream is [Provider.Read] for an answer that is asked for as a stream. It
// too waits for the whole of it, since nobody can use half an answer; what a
// stream is for is to tell a server that has stalled from one that works.
func (p *Provider) ReadStream(req *http.Request, next roundTrip) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	resp, err := next(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp)
	}
	idle := cmp.Or(p.Idle, time.Minute)
	timer := time.AfterFunc(idle, func() { cancel(errStalled) })
	defer timer.Stop()
	body, err := p.all(req.Context(), &watched{resp.Body, func() { timer.Reset(idle) }})
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) && req.Context().Err() == nil {
			return nil, &gateway.Error{Kind: gateway.Unavailable, Msg: p.Name + " stalled in the middle of its answer", Err: errStalled}
		}
		return nil, err
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/event-stream" {
		// Routers answer so if the server behind them failed at once.
		if a := NewRefusal(resp.StatusCode, resp.Header, body); a.Inner >= 400 && a.Inner < 600 {
			a.Status = a.Inner
			return nil, a
		}
		return nil, p.Unusable("with what is no stream")
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// watched calls moved whenever something was read.
type watched struct {
	io.Reader
	moved func()
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if n > 0 {
		w.moved()
	}
	return n, err
}

// refusal reads an answer that is no completion. A status is news enough, even
// where the words after it are cut.
func refusal(resp *http.Response) *Refusal {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
	return NewRefusal(resp.StatusCode, resp.Header, body)
}

// all reads a good answer.
func (p *Provider) all(ctx context.Context, r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		return nil, &gateway.Error{Kind: gateway.Unavailable, Msg: p.Name + " broke off in the middle of its answer", Err: err}
	case len(body) > maxAnswer:
		return nil, p.Unusable("with more than 4 MiB")
	}
	return body, nil
}

// Unusable is the error of an answer that is none, although its status was 200;
// how says why.
func (p *Provider) Unusable(how string) error {
	return &gateway.Error{Kind: gateway.Unavailable, Msg: p.Name + " answered 200 " + how, Err: llm.ErrThisModel}
}

// StreamError is the error of a stream that the library could not read. What was
// refused, or is an error of ours, stays what it is.
func (p *Provider) StreamError(err error) error {
	if _, ok := errors.AsType[*Refusal](err); ok {
		return err
	}
	if _, ok := errors.AsType[*gateway.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*url.Error](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	// It was read whole before, so it is what stands in it. The error is not kept:
	// it quotes.
	return p.Unusable("with a stream that can not be read")
}
