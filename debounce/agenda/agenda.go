// Package agenda knows when to look at what.
package agenda

import (
	"sync"
	"sync/atomic"
	"time"
)

// StandIn is how much later than its owner somebody else looks: when the owner
// is busy or does not answer, that is how late a batch comes.
const StandIn = 200 * time.Millisecond

// An Agenda knows when to look at each of its entries next. It is safe for
// concurrent use.
type Agenda struct {
	Wake chan struct{} // holds a token when a time was brought forward

	mu sync.Mutex // guards the entries' times
}

// New returns an Agenda.
func New() *Agenda { return &Agenda{Wake: make(chan struct{}, 1)} }

// An Entry is what one may look at. The zero Entry is somebody else's, and there
// is no reason to look at it.
type Entry struct {
	Mine atomic.Bool // we look as soon as something is due; others later
	at   time.Time   // when to look; guarded by an agenda; zero: no reason to
}

// Plan has an entry looked at by t, or earlier if that was planned; a little
// later if it is another process's to look at.
func (a *Agenda) Plan(e *Entry, t time.Time) {
	if !e.Mine.Load() {
		t = t.Add(StandIn)
	}
	a.Set(e, t)
}

// Set has an entry looked at by t, whoever else does, or earlier if that was
// planned.
func (a *Agenda) Set(e *Entry, t time.Time) {
	a.mu.Lock()
	earlier := e.at.IsZero() || t.Before(e.at)
	if earlier {
		e.at = t
	}
	a.mu.Unlock()
	if earlier {
		select {
		case a.Wake <- struct{}{}:
		default:
		}
	}
}

// Take reports whether it is time to look at an entry, and if so forgets that
// time. What is planned from now on belongs to the next look: a claim's answer
// must never hide an Add that came after the claim.
func (a *Agenda) Take(e *Entry, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.at.IsZero() || e.at.After(now) {
		return false
	}
	e.at = time.Time{}
	return true
}

// Soonest returns when the entry is to be looked at, or no later than limit.
func (a *Agenda) Soonest(limit time.Time, e *Entry) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !e.at.IsZero() && e.at.Before(limit) {
		return e.at
	}
	return limit
}
