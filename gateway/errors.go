package gateway

import (
	"errors"
	"time"
)

// A Kind says what a caller may do about an error.
type Kind uint8

// The kinds of error. The zero Kind is Internal: log it, show nothing.
const (
	Internal     Kind = iota
	Invalid           // the request is wrong; do not repeat it
	NotFound          // there is no such thing
	Conflict          // the thing is in another state
	Unauthorized      // the credentials are missing, wrong or expired
	RateLimited       // too many requests; repeat after Error.RetryAfter
	Unavailable       // a dependency is down, and nothing was done; repeat later
	Ambiguous         // it may or may not have been done; nobody can tell yet
	WindowClosed      // the customer's service window is over
	TooLong           // what was sent is larger than the receiver takes; send less
)

var kindNames = [...]string{
	"internal", "invalid", "not_found", "conflict", "unauthorized",
	"rate_limited", "unavailable", "ambiguous", "window_closed", "too_long",
}

// String returns the kind's name as metrics and logs show it.
func (k Kind) String() string { return kindNames[k] }

// Error is an error whose text may be shown to a client.
type Error struct {
	Kind       Kind
	Msg        string
	Details    map[string][]string // for Invalid: what is wrong with each field
	RetryAfter time.Duration       // for RateLimited, Unavailable and what Conflict waits for; zero where nobody said
	Err        error               // the cause, for the log only
}

// Error returns the message and its cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Msg
	}
	return e.Msg + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first Error in err's chain, or Internal.
func KindOf(err error) Kind {
	if e, ok := asError(err); ok {
		return e.Kind
	}
	return Internal
}

func asError(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// publicText is what a person may read of err: not its cause, which may hold
// what a server said.
func publicText(err error) string {
	if e, ok := asError(err); ok && e.Msg != "" {
		return e.Msg
	}
	return "internal error"
}
