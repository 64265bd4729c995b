// Package rest makes the calls of wagent's agents API. The services of
// [wagent/gateway/client] stand on it; use it directly for what has no service.
//
// A call that may be repeated is: after a network error, a 429 and a 5xx, up to
// Config.Retries times, and after a 409 that names a time to come back (the same
// POST is still in hand elsewhere) until that is over or ctx ends. GET, PATCH and DELETE say what is to be, not what is to
// change; a POST carries an Idempotency-Key, under which the gateway does it
// once. Between tries passes what Retry-After says, or a random time below a
// bound that doubles (full jitter). Nothing is logged and nothing is kept, but
// for the connections of the http.Client.
package rest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	prefix = "/api/v1"
	// maxAnswer is in bytes: a list of runs with long outputs is far below.
	maxAnswer = 64 << 20
)

// Config is what a Client needs.
type Config struct {
	BaseURL string       // scheme and host, perhaps with a path; /api/v1 is added to it
	Key     string       // wrb_live_… or wrb_test_…
	HTTP    *http.Client // required; it is copied, and redirects are not followed
	Retries int          // how often a failed call is repeated, what is in hand elsewhere not counted; 0: never
	// Refused makes the error of an answer that is none of 2xx. Its result is
	// wrapped and returned. Required.
	Refused func(status int, header http.Header, body []byte) error
}

// Client calls one gateway with one key. It may be used concurrently.
type Client struct {
	cfg  Config
	base string
	http http.Client
}

// New returns a client, or says what is wrong with cfg. It dials nothing.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(cfg.BaseURL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("parse base URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("the base URL %q must begin with http:// or https:// and a host", cfg.BaseURL)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the base URL must have no user, query or fragment")
	case cfg.Key == "":
		return nil, errors.New("the API key is empty")
	case strings.ContainsFunc(cfg.Key, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return nil, errors.New("the API key holds a space, a line break or a character that no key has")
	case cfg.HTTP == nil || cfg.Refused == nil:
		return nil, errors.New("rest: no HTTP or no Refused")
	case cfg.Retries < 0:
		return nil, errors.New("retries must not be negative")
	}
	c := &Client{cfg: cfg, http: *cfg.HTTP}
	c.base = strings.TrimSuffix(strings.TrimSuffix(u.String(), "/"), prefix) + prefix
	// A POST that follows a redirect becomes a GET, and the key goes astray.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// Call is one call of the API.
type Call struct {
	Method string
	Path   []string   // segments below /api/v1, as they are: they are escaped here
	Query  url.Values // may be nil
	In     any        // the body, as JSON; nil: none
	Key    string     // the Idempotency-Key of a POST; "": one is made
}

// name is what errors call it. The query is left out: it may hold a customer's
// number.
func (call *Call) name() string { return call.Method + " /" + strings.Join(call.Path, "/") }

func (call *Call) url(base string) (string, error) {
	var b strings.Builder
	b.WriteString(base)
	for _, s := range call.Path {
		if s == "" || s == "." || s == ".." {
			return "", fmt.Errorf("%q is no id", s)
		}
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	if len(call.Query) > 0 {
		b.WriteString("?" + call.Query.Encode())
	}
	return b.String(), nil
}

// Do makes the call, with its repetitions, and decodes the answer's whole body
// into out unless that is nil. It blocks until there is an answer, the tries
// are used up or ctx ends, which alone bounds the wait for a POST that is in hand
// elsewhere. Errors name the call and wrap what Config.Refused
// made or the network's error of the last try, and ctx's if that ended. Those of
// a nil Client say that what was called comes from no client.
func (c *Client) Do(ctx context.Context, call Call, out any) error {
	if err := c.do(ctx, &call, out); err != nil {
		return fmt.Errorf("%s: %w", call.name(), err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, call *Call, out any) error {
	if c == nil {
		return errors.New("it does not come from a client: retrieve it")
	}
	target, err := call.url(c.base)
	if err != nil {
		return err
	}
	var body []byte
	if call.In != nil {
		if body, err = json.Marshal(call.In); err != nil {
			return fmt.Errorf("encode body: %w", err)
		}
	}
	if call.Method == http.MethodPost && call.Key == "" {
		call.Key = rand.Text()
	}
	// failed counts tries; lost says that one of them may have done it.
	for failed, lost := 0, false; ; {
		a, err := c.once(ctx, call, target, body)
		if err == nil && a.status/100 == 2 {
			return a.decode(out)
		}
		if err == nil && lost && call.Method == http.MethodDelete && a.status == http.StatusNotFound && out == nil {
			return nil
		}
		lost = lost || err != nil || a.status >= 500
		wait, again := retry(failed, call.Method, &a, err)
		inHand := again && err == nil && a.status == http.StatusConflict
		if err == nil {
			err = c.cfg.Refused(a.status, a.header, a.body)
		}
		left := failed < c.cfg.Retries || inHand && c.cfg.Retries > 0
		if !inHand {
			failed++
		}
		if !again || !left || !sleep(ctx, wait) {
			if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
				return fmt.Errorf("%w, after %w", ended, err)
			}
			return err
		}
	}
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// once makes one try. An error is the network's, or ctx's.
func (c *Client) once(ctx context.Context, call *Call, target string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, call.Method, target, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.cfg.Key)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "wagent-go")
	if call.In != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if call.Method == http.MethodPost {
		req.Header.Set("Idempotency-Key", call.Key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err // the rest of it is the URL, with its query
		}
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("read answer: %w", err)
	}
	return answer{resp.StatusCode, resp.Header, b}, nil
}

func (a *answer) decode(out any) error {
	if out == nil {
		return nil
	}
	if len(a.body) > maxAnswer {
		return fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("decode answer %d: %w", a.status, err)
	}
	return nil
}

// permanent reports whether trying again can not help.
func permanent(err error) bool {
	certificate := (*tls.CertificateVerificationError)(nil)
	return errors.Is(err, context.Canceled) || errors.As(err, &certificate)
}

// sleep reports whether the time passed. It does not begin to wait where ctx
// would end first: what is known already is the better answer.
func sleep(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d || ctx.Err() != nil {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
