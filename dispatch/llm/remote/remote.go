// Package remote is what providers that are reached over HTTP have in common: how
// much is read of their answers, and what their errors mean.
//
// Nothing of what a stranger answers gets into an error but what looks like a
// code, and never the key.
package remote

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"wagent/gateway"
)

// A Provider is whom errors are about.
type Provider struct {
	Name string
	Key  gateway.Secret // is kept out of errors; may be empty
	Idle time.Duration  // how long a stream may be silent; 0: a minute
}

// BaseURL reads a base URL, or returns an Error of kind Invalid that says what is
// wrong with it, without repeating it: it may hold credentials.
func BaseURL(name, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, &gateway.Error{Kind: gateway.Invalid, Msg: name + ": base_url must be an http or https URL"}
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, &gateway.Error{Kind: gateway.Invalid, Msg: name + ": base_url must have no user, query or fragment"}
	}
	return u, nil
}

// Client returns a client like c, or like the default one if c is nil, that
// follows no redirects: they could carry a prompt or a key elsewhere.
func Client(c *http.Client) *http.Client {
	out := &http.Client{}
	if c != nil {
		*out = *c
	}
	out.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return out
}

// Classify turns what went wrong without an HTTP error into a gateway.Error.
func (p *Provider) Classify(ctx context.Context, err error) error {
	if e, ok := errors.AsType[*gateway.Error](err); ok {
		return e
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return &gateway.Error{Kind: gateway.Unavailable, Msg: p.Name + " was not waited for", Err: ctx.Err()}
	}
	if ctx.Err() != nil {
		return &gateway.Error{Kind: gateway.Unavailable, Msg: p.Name + " did not answer in time", Err: ctx.Err()}
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // less the URL
	}
	var timeout interface{ Timeout() bool }
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return &gateway.Error{Kind: gateway.Unavailable, Msg: p.Name + " did not answer in time", Err: err}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &gateway.Error{Kind: gateway.Unavailable, Msg: p.Name + " broke off in the middle of its answer", Err: err}
	}
	return &gateway.Error{Kind: gateway.Unavailable, Msg: p.Name + " can not be reached", Err: err}
}

// Tokens keeps a stranger's count in bounds.
func Tokens(n int64) int { return int(min(max(n, 0), 1<<31-1)) }
