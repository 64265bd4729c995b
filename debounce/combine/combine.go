// Package combine sends together what is asked for at the same time.
package combine

import (
	"context"
	"sync"
)

// A Combiner has calls that come at the same time sent together: whoever comes
// first sends for all who come while it waits for an answer. A call that is
// alone pays nothing for it. It is safe for concurrent use; its fields are not to
// be changed any more.
type Combiner[T any] struct {
	Exec func(ctx context.Context, items []T) // tells each item what became of it
	Most int                                  // items sent at once
	Wide int                                  // sendings at once

	mu      sync.Mutex
	queue   []T
	sending int
}

// Add has an item sent, by this goroutine if nobody else is at it. It returns
// when that is done, or at once if somebody else does it.
func (c *Combiner[T]) Add(ctx context.Context, item T) {
	c.mu.Lock()
	c.queue = append(c.queue, item)
	if c.sending == c.Wide {
		c.mu.Unlock()
		return
	}
	c.sending++
	batch := c.take()
	c.mu.Unlock()
	// Others wait for this too, so it must not end with our context.
	ctx = context.WithoutCancel(ctx)
	c.Exec(ctx, batch)
	c.mu.Lock()
	if len(c.queue) == 0 {
		c.sending--
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	go c.rest(ctx) // ours is sent: somebody else's time from here on
}

// rest sends until nothing is left.
func (c *Combiner[T]) rest(ctx context.Context) {
	for {
		c.mu.Lock()
		batch := c.take()
		if len(batch) == 0 {
			c.sending--
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		c.Exec(ctx, batch)
	}
}

// take takes what is to be sent next. The caller holds mu.
func (c *Combiner[T]) take() []T {
	n := min(len(c.queue), c.Most)
	batch := c.queue[:n:n]
	if n == len(c.queue) {
		c.queue = nil
	} else {
		c.queue = c.queue[n:]
	}
	return batch
}
