// Package several does the same for many things, some of them at once. It keeps
// nothing.
package several

import (
	"errors"
	"fmt"
	"sync"
)

// How many are done at once, and after how many failures in a row nothing is to be
// hoped for.
const (
	wide     = 16
	Hopeless = 2 * wide
)

// ErrHopeless says that the rest was not tried.
var ErrHopeless = errors.New("nothing goes through")

// Each calls do for each of xs, from several goroutines, each of which takes the next
// one. It blocks until all are done, and returns the first error that there was; where
// Hopeless in a row failed it gives up, and the error is ErrHopeless, too.
func Each[T any](xs []T, do func(*T) error) (first error) {
	var mu sync.Mutex
	next, inARow := 0, 0
	take := func() *T {
		mu.Lock()
		defer mu.Unlock()
		if next == len(xs) || inARow >= Hopeless {
			return nil
		}
		next++
		return &xs[next-1]
	}
	var all sync.WaitGroup
	for range min(wide, len(xs)) {
		all.Go(func() {
			for x := take(); x != nil; x = take() {
				err := do(x)
				mu.Lock()
				if err == nil {
					inARow = 0
				} else if inARow++; first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if inARow >= Hopeless {
		first = fmt.Errorf("%w: %w", ErrHopeless, first)
	}
	return first
}
