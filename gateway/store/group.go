package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"wagent/gateway"
)

const (
	groupMessages = 256              // messages that share a transaction, at most, unless one call has more
	groupTimeout  = 10 * time.Second // of a shared transaction
	groupGoal     = time.Second      // fewer share one after one took longer
)

// A group lets concurrent calls of AddMessages share a transaction, and so the
// wait for the disk. The first caller leads: it commits whatever has gathered,
// and then hands the lead to the first of those who came meanwhile. There is no
// goroutine, and no delay while nobody else calls.
type group struct {
	commit func(ctx context.Context, batches [][]gateway.Arrival) ([][]gateway.Arrived, error)

	mu    sync.Mutex
	led   bool // somebody leads
	queue []*caller
	fewer int // messages that share a transaction now are so many fewer than groupMessages
}

// A caller is one call of AddMessages.
type caller struct {
	batch []gateway.Arrival
	turn  chan bool // true: lead; false: out and err are set. Sent to once.
	out   []gateway.Arrived
	err   error
}

var errLost = errors.New("the transaction did not end")

// do has the batch committed. A ctx that ends takes it back only while it is
// still waiting: afterwards its result is waited for, at most for groupTimeout.
func (g *group) do(ctx context.Context, batch []gateway.Arrival) ([]gateway.Arrived, error) {
	c := &caller{batch: batch, turn: make(chan bool, 1), err: errLost}
	g.mu.Lock()
	g.queue = append(g.queue, c)
	lead := !g.led
	g.led = true
	g.mu.Unlock()
	if !lead {
		select {
		case lead = <-c.turn:
		case <-ctx.Done():
			if g.leave(c) {
				return nil, ctx.Err()
			}
			lead = <-c.turn
		}
	}
	if lead {
		g.lead(ctx, c)
	}
	return c.out, c.err
}

// leave takes back what nobody took yet, and reports whether it could.
func (g *group) leave(c *caller) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.queue, c)
	if i < 0 || len(c.turn) > 0 {
		return false
	}
	g.queue = slices.Delete(g.queue, i, i+1)
	return true
}

// lead commits what is in the queue, where c stands first.
func (g *group) lead(ctx context.Context, c *caller) {
	taken := g.take()
	defer func() {
		for _, t := range taken {
			if t != c {
				t.turn <- false
			}
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.led = len(g.queue) > 0; g.led {
			g.queue[0].turn <- true
		}
	}()
	// The others must not fail because the leader's caller went away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), groupTimeout)
	defer cancel()
	batches := make([][]gateway.Arrival, len(taken))
	messages := 0
	for i := range taken {
		batches[i] = taken[i].batch
		messages += len(batches[i])
	}
	began := time.Now()
	out, err := g.commit(ctx, batches)
	g.learn(messages, time.Since(began), err)
	for i, t := range taken {
		switch {
		case err == nil:
			t.out, t.err = out[i], nil
		case len(taken) == 1 || gateway.KindOf(err) == gateway.Unavailable:
			t.err = err
		default: // one bad batch must not fail the others
			t.out, t.err = g.alone(ctx, t.batch)
		}
	}
}

// learn keeps transactions to what the database manages in groupGoal. Were they
// larger than it manages in groupTimeout, none would end any more: all of their
// messages come back, and meet again.
func (g *group) learn(messages int, took time.Duration, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	most := groupMessages - g.fewer
	switch {
	case took > groupGoal:
		most = max(1, min(most, messages)/2)
	case err == nil && took < groupGoal/2:
		most = min(2*most, groupMessages)
	}
	g.fewer = groupMessages - most
}

func (g *group) alone(ctx context.Context, batch []gateway.Arrival) ([]gateway.Arrived, error) {
	out, err := g.commit(ctx, [][]gateway.Arrival{batch})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

func (g *group) take() []*caller {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, messages, most := 0, 0, groupMessages-g.fewer
	for n < len(g.queue) && (n == 0 || messages+len(g.queue[n].batch) <= most) {
		messages += len(g.queue[n].batch)
		n++
	}
	taken := slices.Clone(g.queue[:n])
	g.queue = slices.Delete(g.queue, 0, n)
	return taken
}
