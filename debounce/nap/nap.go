// Package nap sleeps for parts of a millisecond. Go's timers are up to one late on
// Linux: its scheduler waits by epoll_wait, which counts whole milliseconds
// (runtime.netpoll).
package nap

import "time"

// Longest is how long a nap lasts at most.
const Longest = time.Millisecond

// Toward waits for t where that is less than [Longest] away, and returns how long
// a timer is to wait until Toward is called again; nothing, when t has come. A
// nap blocks a thread, and can't be ended. On some systems, and in a bubble of
// testing/synctest, there are none: what is returned is then until t itself.
func Toward(t time.Time) time.Duration {
	left := time.Until(t)
	switch {
	case left > Longest:
		return left - Longest
	case left > 0:
		sleep(left)
	}
	return max(0, time.Until(t))
}
