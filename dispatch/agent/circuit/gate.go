package circuit

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"wagent/gateway"
)

const (
	inARow   = 5                // failures that open a circuit
	goesOn   = 2 * time.Second  // for which those have come at least
	enough   = 20               // requests of which half may not fail
	window   = time.Minute      // in which those are counted
	openFor  = 10 * time.Second // until the next request is let through
	probeFor = time.Second      // when to come back while that one is under way
)

// A gate lets requests to somebody through unless they failed again and again.
type gate struct {
	name    string // in errors
	breaker *gobreaker.CircuitBreaker[struct{}]
	shut    atomic.Bool  // not every request is let through
	until   atomic.Int64 // when an open circuit ends, in nanoseconds since 1970

	// These are guarded by the breaker's lock.
	since time.Time         // the first of the failures in a row
	bad   [inARow]time.Time // the last seconds in which something failed, oldest first
}

// newGate returns a gate that is open for all. changed is called with the breaker
// locked.
func newGate(name string, changed func(from, to gobreaker.State)) *gate {
	g := &gate{name: name}
	g.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name, MaxRequests: 1, Interval: window, BucketPeriod: window / 6, Timeout: openFor,
		ReadyToTrip: g.tooMuch,
		IsExcluded:  func(err error) bool { return errors.Is(err, errSaysNothing) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			g.shut.Store(to != gobreaker.StateClosed)
			if to == gobreaker.StateOpen {
				g.until.Store(time.Now().Add(openFor).UnixNano())
			}
			changed(from, to)
		},
	})
	return g
}

// tooMuch is called after each failure. Those that a single event can have caused
// are not too much, however many they are.
func (g *gate) tooMuch(c gobreaker.Counts) bool {
	now := time.Now()
	if c.ConsecutiveFailures == 1 {
		g.since = now
	}
	if now.Sub(g.bad[inARow-1]) >= time.Second {
		copy(g.bad[:], g.bad[1:])
		g.bad[inARow-1] = now
	}
	n := c.TotalFailures + c.TotalSuccesses
	return c.ConsecutiveFailures >= inARow && now.Sub(g.since) >= goesOn ||
		n >= enough && 2*c.TotalFailures >= n && now.Sub(g.bad[0]) < window
}

// through lets a request through, which returns what it is worth to the gate; or
// returns an error that wraps ErrNotAsked.
func (g *gate) through(request func() error) error {
	_, err := g.breaker.Execute(func() (struct{}, error) { return struct{}{}, request() })
	wait := probeFor
	switch {
	case errors.Is(err, gobreaker.ErrOpenState):
		// The library lets nobody through at this time exactly, but after it.
		wait = time.Until(time.Unix(0, g.until.Load())) + time.Millisecond
	case !errors.Is(err, gobreaker.ErrTooManyRequests):
		return nil
	}
	return &gateway.Error{
		Kind: gateway.Unavailable, Msg: g.name + " failed too often and is left alone for a moment",
		RetryAfter: max(wait, time.Millisecond), Err: ErrNotAsked,
	}
}
