package debounce

import (
	"sync"
	"time"
)

// standIn is how much later than its owner somebody else looks at a shard: when
// the owner is busy or does not answer, that is how late a batch comes.
const standIn = 200 * time.Millisecond

// An agenda knows when to look at each shard next.
type agenda struct {
	wake chan struct{} // holds a token when a time was brought forward

	mu sync.Mutex // guards the shards' times
}

// plan has a shard looked at by t, or earlier if that was planned; a little
// later if it is another process's to look at.
func (a *agenda) plan(s *shard, t time.Time) {
	if !s.mine.Load() {
		t = t.Add(standIn)
	}
	a.set(s, t)
}

func (a *agenda) set(s *shard, t time.Time) {
	a.mu.Lock()
	earlier := s.at.IsZero() || t.Before(s.at)
	if earlier {
		s.at = t
	}
	a.mu.Unlock()
	if earlier {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// planAll has shards looked at by t, whoever else does.
func (a *agenda) planAll(t time.Time, shards []*shard) {
	for _, s := range shards {
		a.set(s, t)
	}
}

// take reports whether it is time to look at a shard, and if so forgets that
// time. What is planned from now on belongs to the next look: a claim's answer
// must never hide an Add that came after the claim.
func (a *agenda) take(s *shard, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.at.IsZero() || s.at.After(now) {
		return false
	}
	s.at = time.Time{}
	return true
}

// next returns when the first shard is to be looked at, or no later than limit.
func (a *agenda) next(limit time.Time, shards []*shard) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range shards {
		if !s.at.IsZero() && s.at.Before(limit) {
			limit = s.at
		}
	}
	return limit
}
