// Package post makes one attempt to deliver an event to an endpoint: signed, within
// a time, to addresses that it may reach, and says how it ended.
package post

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"code.dny.dev/ssrf"

	"wagent/gateway"
)

// A Client makes attempts. It may be used by several goroutines at once.
type Client struct {
	http    *http.Client
	timeout time.Duration
}

// Config sets how attempts are made.
type Config struct {
	AtOnce         int            // attempts, of which connections are kept
	Timeout        time.Duration  // of one attempt, from the lookup of the name to the end of the answer
	AllowAddresses []netip.Prefix // reached although they are private, loopback and the like
	// Dial connects to an endpoint; nil: TCP to public addresses and to
	// AllowAddresses. Another one is responsible for what it reaches.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// An Answer is how an attempt ended.
type Answer struct {
	Status     int           // 0: there was none
	Body       string        // the first KiB
	Whole      []byte        // the body of a success, if it has at most 64 KiB; nil otherwise
	Failure    string        // why there is no answer, or why it is not whole; empty otherwise
	RetryAfter time.Duration // that a refusal asks for; at most MaxRetryAfter
	TimedOut   bool
	Phases     gateway.Phases
	Headers    map[string]string // without what may be secret
}

// OK reports whether the endpoint took the delivery: a whole answer of 2xx.
func (a *Answer) OK() bool { return a.Status >= 200 && a.Status <= 299 && a.Failure == "" }

// MaxRetryAfter is the longest that an endpoint may put us off.
const MaxRetryAfter = 24 * time.Hour

// What is read of an answer, so that it can be understood and the connection used
// again; of a longer one the connection is closed. The first is what is kept.
const (
	keptAnswer = 1 << 10
	maxAnswer  = 64 << 10
)

// New returns a Client that follows no redirects and, unless cfg dials by itself,
// reaches no address that the guard refuses. The guard looks at the address that is
// dialled, after the lookup of its name. No proxy is used: the guard would see the
// proxy's address only.
func New(cfg Config) *Client {
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Control: guard(cfg.AllowAddresses).Safe}).DialContext
	}
	return &Client{timeout: cfg.Timeout, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            dial,
			ForceAttemptHTTP2:      true, // a DialContext turns it off otherwise
			DisableCompression:     true, // sizes are those on the wire
			MaxIdleConns:           cfg.AtOnce,
			MaxIdleConnsPerHost:    cfg.AtOnce, // endpoints may share a host
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}}
}

// Close ends the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

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

// Post sends a delivery once, signed as of at.
func (c *Client) Post(ctx context.Context, hook *gateway.Webhook, del *gateway.Delivery, at time.Time) Answer {
	var p phases
	a := c.post(ctx, hook, del, at, &p)
	a.Phases = p.end()
	return a
}

func (c *Client) post(ctx context.Context, hook *gateway.Webhook, del *gateway.Delivery, at time.Time, p *phases) Answer {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(p.trace(ctx), http.MethodPost, hook.URL, bytes.NewReader(del.Body))
	if err != nil || req.URL.Host == "" || req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return Answer{Failure: "url: not an http or https URL"}
	}
	var older []gateway.Secret
	if hook.PreviousSecret != "" && at.Before(hook.PreviousUntil) {
		older = append(older, hook.PreviousSecret)
	}
	req.Header = Sign(hook.Secret, string(del.ID), at, del.Body, older...)
	req.Header.Set("X-Webhook-Event", del.Event)
	for name, value := range hook.Headers {
		if !gateway.ReservedHeader(name) {
			req.Header.Set(name, string(value))
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return failure(p.now(), err)
	}
	defer func() { _ = resp.Body.Close() }()
	p.enter(phaseBody)
	hide := Hiding(hook, func(string) bool { return true })
	a := Answer{Status: resp.StatusCode, Headers: shown(resp.Header, hide)}
	if !a.OK() {
		a.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	if a.Status == http.StatusSwitchingProtocols {
		return a // its body is the bare connection, which no deadline ends
	}
	whole, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	seen := []byte(hide(string(whole)))
	a.Body = storable(seen[:min(len(seen), keptAnswer)])
	if err != nil {
		f := failure(phaseBody, err)
		a.Failure, a.TimedOut = f.Failure, f.TimedOut
	}
	if a.OK() && len(whole) <= maxAnswer {
		a.Whole = whole
	}
	return a
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
		return time.Duration(min(n, uint64(MaxRetryAfter/time.Second))) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		return MaxRetryAfter
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}
