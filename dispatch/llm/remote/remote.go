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
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

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

// A Refusal is an HTTP answer that is no completion. Its text is safe to show: of
// what the server wrote it has only what looks like a code.
type Refusal struct {
	Status     int
	Inner      int           // a status that the body gives as its code, or 0
	code       string        // such as insufficient_quota; may be empty
	param      string        // the parameter that is wrong; may be empty
	words      string        // all that the server said, in lower case: to be looked into, never shown
	retryAfter time.Duration // 0 where nobody said
}

// Error returns the status and the code.
func (a *Refusal) Error() string {
	switch {
	case a.code != "" && a.param != "":
		return fmt.Sprintf("%d (%s: %s)", a.Status, a.code, a.param)
	case a.code != "" || a.param != "":
		return fmt.Sprintf("%d (%s)", a.Status, a.code+a.param)
	default:
		return strconv.Itoa(a.Status)
	}
}

// Filtered reports whether a content filter stopped the prompt or the answer
// (Azure and Anthropic say so with status 400).
func (a *Refusal) Filtered() bool {
	return a.Status == http.StatusBadRequest &&
		(a.code == "content_filter" || a.code == "content_policy_violation" || a.About("blocked by content filtering policy"))
}

// About reports whether what the server said has any of the words, which are in
// lower case.
func (a *Refusal) About(words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(a.words, w) })
}

// code is what error codes and parameters look like. Keys do not.
var code = regexp.MustCompile(`^[a-z][a-z0-9_.\[\]]{0,63}$`)

// NewRefusal reads an error's body in the forms that servers have:
// {"error":{message,type,param,code}}, the same in an array, {"error":"…"} and
// {"message":"…"}; code may be a number.
func NewRefusal(status int, h http.Header, body []byte) *Refusal {
	a := &Refusal{Status: status, retryAfter: retryAfter(h), words: strings.ToLower(string(body))}
	type detail struct {
		Type  any `json:"type"`
		Param any `json:"param"`
		Code  any `json:"code"`
	}
	type envelope struct {
		Error json.RawMessage `json:"error"`
		detail
	}
	var e envelope
	if json.Unmarshal(body, &e) != nil {
		var list []envelope
		if json.Unmarshal(body, &list) == nil && len(list) > 0 {
			e = list[0]
		}
	}
	d := e.detail
	if len(e.Error) > 0 {
		var inner detail
		if json.Unmarshal(e.Error, &inner) == nil {
			d = inner
		}
	}
	a.param = safe(d.Param)
	if a.code = safe(d.Code); a.code == "" {
		a.code = safe(d.Type)
	}
	if n, ok := d.Code.(float64); ok && n == float64(int(n)) {
		a.Inner = int(n)
	}
	return a
}

func safe(v any) string {
	s, _ := v.(string)
	if code.MatchString(s) {
		return s
	}
	return ""
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

// ClassifyRefusal turns an answer that is no completion into a gateway.Error.
func (p *Provider) ClassifyRefusal(a *Refusal) error {
	if p.Key != "" && (strings.Contains(a.code, string(p.Key)) || strings.Contains(a.param, string(p.Key))) {
		a.code, a.param = "", ""
	}
	e := &gateway.Error{Msg: p.Name + " answered " + a.Error(), RetryAfter: a.retryAfter}
	switch s := a.Status; {
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusPaymentRequired:
		e.Kind = gateway.Unauthorized
	case s == http.StatusTooManyRequests && a.About("insufficient_quota"):
		// No waiting helps an account without money.
		e.Kind = gateway.Unauthorized
	case s == http.StatusTooManyRequests:
		e.Kind = gateway.RateLimited
	case s >= 500, s == http.StatusRequestTimeout, s == http.StatusConflict, s == http.StatusTooEarly:
		e.Kind = gateway.Unavailable
	default:
		e.Kind = gateway.Invalid
	}
	return e
}

// retryAfter reads when to come back: retry-after-ms, which OpenAI sends, or
// Retry-After in seconds or as a date (RFC 9110, section 10.2.3). It is 0
// where nothing usable stands there, and at most a day.
func retryAfter(h http.Header) time.Duration {
	const day = 24 * time.Hour
	bound := func(n float64, unit time.Duration) time.Duration {
		if !(n > 0) { // NaN too
			return 0
		}
		return time.Duration(min(n*float64(unit), float64(day)))
	}
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil {
		return bound(ms, time.Millisecond)
	}
	v := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil {
		return bound(s, time.Second)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(at), 0), day)
	}
	return 0
}

// Tokens keeps a stranger's count in bounds.
func Tokens(n int64) int { return int(min(max(n, 0), 1<<31-1)) }
