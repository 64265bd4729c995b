package webhook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"code.dny.dev/ssrf"

	"wagent/gateway"
)

// What is read of an answer: the first is kept, the second is read so that the
// connection can be used again; of a longer one the connection is closed.
const (
	keptAnswer    = 1 << 10
	drainedAnswer = 64 << 10
)

// A result is how one attempt ended.
type result struct {
	how        string // outcomeDisabled where nothing was tried, else empty
	status     int    // 0: no answer
	answer     string
	text       string // why there is none, or why it is not whole
	retryAfter time.Duration
	timedOut   bool
}

// ok reports whether the endpoint took the delivery: a whole answer of 2xx.
func (r *result) ok() bool { return r.status >= 200 && r.status <= 299 && r.text == "" }

// kind is the label of the attempt's metric.
func (r *result) kind() string {
	switch {
	case r.ok():
		return attemptSucceeded
	case r.timedOut:
		return attemptTimeout
	case r.text != "":
		return attemptFailed
	default:
		return attemptRefused
	}
}

// newClient returns a client that follows no redirects and, unless cfg dials
// by itself, reaches no address that the guard refuses. The guard looks at the
// address that is dialled, after the lookup of its name. No proxy is used: the
// guard would see the proxy's address only.
func newClient(cfg Config) *http.Client {
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Control: guard(cfg.AllowAddresses).Safe}).DialContext
	}
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dial,
			ForceAttemptHTTP2:      true, // a DialContext turns it off otherwise
			DisableCompression:     true, // sizes are those on the wire
			MaxIdleConns:           cfg.Concurrency,
			MaxIdleConnsPerHost:    cfg.PerWebhook,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

func guard(allowed []netip.Prefix) *ssrf.Guardian {
	var v4, v6 []netip.Prefix
	for _, p := range allowed {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))
}

// attempt sends the delivery once.
func (d *Deliverer) attempt(ctx context.Context, hook *gateway.Webhook, del *gateway.Delivery, at time.Time) result {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	var p phases
	req, err := http.NewRequestWithContext(p.trace(ctx), http.MethodPost, hook.URL, bytes.NewReader(del.Body))
	if err != nil || req.URL.Host == "" || req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return result{text: "url: not an http or https URL"}
	}
	var older []gateway.Secret
	if hook.PreviousSecret != "" && at.Before(hook.PreviousUntil) {
		older = append(older, hook.PreviousSecret)
	}
	req.Header = Sign(hook.Secret, string(del.ID), at, del.Body, older...)
	req.Header.Set("X-Webhook-Event", del.Event)
	resp, err := d.client.Do(req)
	if err != nil {
		return failure(p.now(), err)
	}
	defer func() { _ = resp.Body.Close() }()
	r := result{status: resp.StatusCode}
	if !r.ok() {
		r.retryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	if r.status == http.StatusSwitchingProtocols {
		return r // its body is the bare connection, which no deadline ends
	}
	kept, err := io.ReadAll(io.LimitReader(resp.Body, keptAnswer))
	r.answer = storable(kept)
	if err == nil {
		_, err = io.CopyN(io.Discard, resp.Body, drainedAnswer-keptAnswer)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		f := failure(phaseBody, err)
		r.text, r.timedOut = f.text, f.timedOut
	}
	return r
}

// storable makes a stranger's bytes fit for SQL: valid UTF-8 without the zero
// byte, which PostgreSQL refuses. What the cut left of a last character goes.
func storable(b []byte) string {
	if len(b) == keptAnswer {
		b = wholeRunes(b)
	}
	return strings.ReplaceAll(strings.ToValidUTF8(string(b), "\uFFFD"), "\x00", "")
}

// wholeRunes drops the start of a UTF-8 sequence at the end of b.
func wholeRunes(b []byte) []byte {
	for back := 1; back <= 3 && back <= len(b); back++ {
		c := b[len(b)-back]
		if c&0xC0 == 0x80 {
			continue // inside a sequence
		}
		need := 1
		switch {
		case c >= 0xF0:
			need = 4
		case c >= 0xE0:
			need = 3
		case c >= 0xC0:
			need = 2
		}
		if need > back {
			return b[:len(b)-back]
		}
		break
	}
	return b
}

// retryAfter reads the header in both forms, seconds and date (RFC 9110,
// section 10.2.3); zero where it says nothing that can be read.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if n, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(n, uint64(maxRetryAfter/time.Second))) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		return maxRetryAfter
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// hostOf is the part of a URL that a log may show.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}
