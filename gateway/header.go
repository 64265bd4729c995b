package gateway

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The bounds of how a webhook is delivered to.
const (
	MaxWebhookConcurrency = 100
	MaxWebhookPerMinute   = 100_000
	MaxWebhookHeaders     = 20
	maxHeader             = 4096 // bytes of a value
)

// headerName is a token (RFC 9110, section 5.6.2).
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")

// reservedHeaders are those that say what is delivered, or how.
var reservedHeaders = []string{
	"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature",
	"X-Webhook-Event", "X-Webhook-Timestamp", "X-Webhook-Signature", "X-Whatsrb-Signature",
	"Connection", "Content-Encoding", "Content-Length", "Content-Type", "Expect", "Host", "Keep-Alive", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// ReservedHeader reports whether a header of that name is not to be among a
// webhook's Headers.
func ReservedHeader(name string) bool {
	return slices.ContainsFunc(reservedHeaders, func(r string) bool { return strings.EqualFold(r, name) })
}

// HeaderFault says what is wrong with a header that is to be among a webhook's
// Headers, without its value, which may be a secret; empty: nothing is.
func HeaderFault(name, value string) string {
	switch {
	case !headerName.MatchString(name):
		return fmt.Sprintf("%.64q is not the name of a header", name)
	case ReservedHeader(name):
		return name + " says what is delivered, or how, and can't be set"
	case len(value) > maxHeader:
		return fmt.Sprintf("%s must be at most %d bytes", name, maxHeader)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return name + " must not hold a line break or another control character"
	default:
		return ""
	}
}
