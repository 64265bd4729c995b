package actions

import (
	"context"
	"fmt"
	"sync"
	"testing"
)

// Who registers need not wait for who dispatches.
func TestARegistryIsSharedByMany(t *testing.T) {
	var r Registry
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for i := range 200 {
				kind := fmt.Sprintf("a.b.c%d_%d", n, i)
				r.Register(kind, func(context.Context, Action) error { return nil })
				if report, err := r.DispatchAll(t.Context(), []Action{{Type: kind}, {Type: "x.y.z"}}); err != nil || len(report.Done) != 1 || len(report.Unknown) != 1 {
					t.Errorf("report %+v, %v", report, err)
				}
			}
		})
	}
	all.Wait()
	if got := len(r.ActionTypes()); got != 8*200 {
		t.Errorf("%d types", got)
	}
}
