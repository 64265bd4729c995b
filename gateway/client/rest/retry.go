package rest

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	// firstBackoff bounds the wait before the first repetition; it doubles to
	// maxBackoff.
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 8 * time.Second
	// maxRetryAfter is how long a call is held because the server says so. Who
	// must wait longer is told instead.
	maxRetryAfter = time.Minute
)

// retry says whether a failed try is to be repeated, and after what time.
func retry(try int, method string, a *answer, err error) (time.Duration, bool) {
	backoff := rand.N(min(maxBackoff, firstBackoff<<min(try, 10)))
	if err != nil {
		return backoff, !permanent(err)
	}
	after, told := RetryAfter(a.header)
	switch {
	case told && after > maxRetryAfter:
		return 0, false
	case told && (a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable),
		told && a.status == http.StatusConflict && method == http.MethodPost:
		return after + backoff, true // not all at the same moment
	default:
		return backoff, a.status == http.StatusTooManyRequests || a.status >= 500 && a.status != http.StatusNotImplemented
	}
}

// RetryAfter returns the time that an answer's Retry-After header names, in
// seconds or as a date, and whether it has one.
func RetryAfter(h http.Header) (time.Duration, bool) {
	s := h.Get("Retry-After")
	if n, err := strconv.ParseInt(s, 10, 32); err == nil && n >= 0 {
		return time.Duration(n) * time.Second, true
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(at)), true
	}
	return 0, false
}
