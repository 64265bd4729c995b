package post

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"wagent/gateway"
)

// The phases of an attempt, as an error's text names them.
const (
	phaseDNS       = "dns"
	phaseConnect   = "connect"
	phaseTLS       = "tls"
	phaseFirstByte = "first byte" // the request and the wait for its answer
	phaseBody      = "body"
)

// phases knows which phase an attempt is in. The zero value is in none yet.
type phases struct {
	mu      sync.Mutex
	current string
	since   time.Time
	times   gateway.Phases
}

// trace returns a context that tells p how a request goes on.
func (p *phases) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:          func(httptrace.DNSStartInfo) { p.enter(phaseDNS) },
		ConnectStart:      func(string, string) { p.enter(phaseConnect) },
		TLSHandshakeStart: func() { p.enter(phaseTLS) },
		GotConn:           func(httptrace.GotConnInfo) { p.enter(phaseFirstByte) },
	})
}

func (p *phases) enter(phase string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if took := p.time(); took != nil {
		*took += now.Sub(p.since)
	}
	p.current, p.since = phase, now
}

// time is where the time of the current phase is kept.
func (p *phases) time() *time.Duration {
	switch p.current {
	case phaseDNS:
		return &p.times.DNS
	case phaseConnect:
		return &p.times.Connect
	case phaseTLS:
		return &p.times.TLS
	case phaseFirstByte:
		return &p.times.FirstByte
	case phaseBody:
		return &p.times.Body
	default:
		return nil
	}
}

// end ends the current phase and returns how long each was.
func (p *phases) end() gateway.Phases {
	p.enter("")
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.times
}

func (p *phases) now() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == "" {
		return phaseConnect // a dialer of the caller's, or no free connection
	}
	return p.current
}

// failure says why there was no whole answer, in words of ours: an error of
// net/http's may hold the URL with its query, or bytes that the endpoint sent.
func failure(phase string, err error) Answer {
	if isTimeout(err) {
		return Answer{Failure: phase + ": timed out", TimedOut: true}
	}
	return Answer{Failure: phase + ": " + reason(err)}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

func reason(err error) string {
	var (
		dns         *net.DNSError
		hostname    x509.HostnameError
		authority   x509.UnknownAuthorityError
		certificate x509.CertificateInvalidError
		alert       tls.AlertError
		record      tls.RecordHeaderError
		errno       syscall.Errno
	)
	switch {
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, ssrf.ErrProhibitedIP), errors.Is(err, ssrf.ErrProhibitedNetwork):
		return "the address is not a public one and not allowed by configuration"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host"
	case errors.As(err, &dns):
		return "the lookup failed"
	case errors.As(err, &hostname):
		return "the certificate is for another host"
	case errors.As(err, &authority):
		return "the certificate is signed by an unknown authority"
	case errors.As(err, &certificate):
		return "the certificate is not valid, or no longer"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "the endpoint does not speak TLS"
	case errors.As(err, &alert):
		return alert.Error()
	case errors.As(err, &errno):
		return errno.Error() // "connection refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return "the connection was closed"
	case strings.Contains(err.Error(), "response headers exceeded"): // net/http has no name for it
		return "the answer's headers are too large"
	default:
		return "the exchange broke off, or was not HTTP"
	}
}
