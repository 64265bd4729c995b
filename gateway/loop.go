package gateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// A Loop does what falls due in SQL: it claims as much work as it has slots,
// works on it, and sleeps until more is due. One type serves every timer that
// is a column (sends, deliveries, confirmations, runs of the API, the sweeper).
//
// The zero Loop is not usable: Claim, Work and Log are required.
type Loop[T any] struct {
	Name  string        // for the log
	Slots int           // how much work at once; 0 means 1
	Idle  time.Duration // the longest sleep; 0 means 5 s
	// Claim takes at most limit pieces of work that are due, and says when the
	// next one will be: zero if nothing is known to be waiting.
	Claim func(ctx context.Context, limit int) (work []T, next time.Time, err error)
	// Work does one piece. It runs on a context that outlives Run's by Drain
	// (see Grace), so that a shutdown does not cut what is in hand.
	Work  func(ctx context.Context, work T)
	Drain time.Duration // 0: work in hand is cancelled with Run
	Flush bool          // when ctx ends, go on until nothing is due, for at most Drain
	Log   *slog.Logger

	once sync.Once
	wake chan struct{}
}

func (l *Loop[T]) init() {
	l.once.Do(func() { l.wake = make(chan struct{}, 1) })
}

// Wake makes the loop look again at once: something was made due. It never
// blocks and may be called at any time, before Run too.
func (l *Loop[T]) Wake() {
	l.init()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx is done, waits for what is in hand, and returns nil. It
// may be called once.
func (l *Loop[T]) Run(ctx context.Context) error {
	l.init()
	slots, idle := max(l.Slots, 1), l.Idle
	if idle <= 0 {
		idle = 5 * time.Second
	}
	work, cancel := Grace(ctx, l.Drain)
	defer cancel()
	free := make(chan struct{}, slots)
	var inHand sync.WaitGroup
	defer inHand.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	done := ctx.Done()
	for busy := 0; ; {
		select {
		case <-done:
			done = nil
			if !l.Flush {
				return nil
			}
		case <-work.Done():
			return nil
		case <-free:
			busy--
		case <-l.wake:
		case <-timer.C:
		}
		for len(free) > 0 {
			<-free
			busy--
		}
		if busy == slots {
			continue // a slot that comes free asks again
		}
		limit := slots - busy
		got, next, err := l.Claim(work, limit)
		if err != nil && work.Err() == nil {
			l.Log.WarnContext(work, "claim due work", "loop", l.Name, "err", err)
		}
		for _, w := range got {
			busy++
			inHand.Go(func() {
				defer func() { free <- struct{}{} }()
				l.Work(work, w)
			})
		}
		if ctx.Err() != nil && busy == 0 { // what is in hand may make more due
			return nil
		}
		timer.Reset(pause(len(got) == limit, next, err, idle))
	}
}

// pause is how long a loop sleeps after a claim: not at all where there may be
// more, and until what comes next, but never longer than idle.
func pause(more bool, next time.Time, err error, idle time.Duration) time.Duration {
	switch {
	case err != nil:
		return min(idle, time.Second)
	case more:
		return 0
	case next.IsZero():
		return idle
	default:
		return min(idle, max(time.Until(next), 0))
	}
}

// A Stop is the cause of a context that ends a part of the program, where
// whoever ends it knows until when the part may go on with what is in hand.
type Stop struct{ Until time.Time }

// Error implements error.
func (s Stop) Error() string { return "stopping until " + s.Until.Format(time.TimeOnly) }

// Grace returns a context that outlives ctx by d, for work in hand when a
// shutdown begins, or until the time that the Stop says with which ctx ended,
// if that is later. With d of zero it ends with ctx. The caller must call the
// CancelFunc.
func Grace(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var timer *time.Timer
	var mu sync.Mutex
	ended := false
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if !ended {
			timer = time.AfterFunc(left(ctx, d), cancel)
		}
	})
	return out, func() {
		stop()
		mu.Lock()
		defer mu.Unlock()
		ended = true
		if timer != nil {
			timer.Stop()
		}
		cancel()
	}
}

// left is how long a grace of d lasts after ctx ended.
func left(ctx context.Context, d time.Duration) time.Duration {
	if stop, ok := errors.AsType[Stop](context.Cause(ctx)); ok {
		return max(d, time.Until(stop.Until))
	}
	return d
}
