package events

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// Handlers are added while events come, also to the same event.
func TestARegistryIsSharedByMany(t *testing.T) {
	var r Registry
	var all sync.WaitGroup
	var ran atomic.Int64
	for n := range 8 {
		all.Go(func() {
			for i := range 50 {
				own := fmt.Sprintf("event.%d_%d", n, i)
				for _, event := range []string{own, "event.common"} {
					r.On(event, func(context.Context, Event) error { ran.Add(1); return nil })
				}
				if known, err := r.Dispatch(t.Context(), Event{Event: own}); !known || err != nil {
					t.Errorf("Dispatch = %v, %v", known, err)
				}
			}
		})
	}
	all.Wait()
	ran.Store(0)
	if _, err := r.Dispatch(t.Context(), Event{Event: "event.common"}); err != nil || ran.Load() != 8*50 || len(r.EventTypes()) != 8*50+1 {
		t.Errorf("%d handlers ran, %v, of %d events", ran.Load(), err, len(r.EventTypes()))
	}
}
