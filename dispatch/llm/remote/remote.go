// Package remote is what providers that are reached over HTTP have in common: how
// much is read of their answers, and what their errors mean.
//
// Nothing of what a stranger answers gets into an error but what looks like a
// code, and never the key.
package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"wagent/gateway"
)

// What is read of an answer: of a good one, and of an error.
const (
	maxAnswer = 4 << 20
	maxError  = 64 << 10
)

// A Provider is whom errors are about.
type Provider struct {
	Name string
	Key  gateway.Secret // is kept out of errors; may be empty
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

// Read is a middleware of the providers' libraries: it reads the whole answer
// within our limits and turns what is no completion into an error of ours, so
// that nothing else of a stranger's answer reaches the library.
func (p *Provider) Read(req *http.Request, next func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	resp, err := next(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	limit := int64(maxAnswer)
	if resp.StatusCode != http.StatusOK {
		limit = maxError
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if resp.StatusCode != http.StatusOK {
		// A status is news enough, even where the words after it are cut.
		return nil, NewRefusal(resp.StatusCode, resp.Header, body)
	}
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if int64(len(body)) > limit {
		return nil, p.unusable("with more than 4 MiB")
	}
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil || object == nil {
		return nil, p.unusable("with what is no JSON object")
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.Header.Set("Content-Type", "application/json") // not every server says so
	return resp, nil
}

func (p *Provider) unusable(how string) error {
	return &gateway.Error{Kind: gateway.Unavailable, Msg: p.Name + " answered 200 " + how}
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
