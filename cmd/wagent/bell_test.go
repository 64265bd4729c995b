package main

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"wagent/debounce/redistest"
)

func TestReplicasTellEachOtherOfWebhooks(t *testing.T) {
	rdb := redistest.InMemory(t)
	heard := make(chan []int64, 9)
	var bells []*bell
	for _, name := range []string{"one", "two"} {
		b := &bell{rdb: rdb, channel: "bell", self: name, log: slog.New(slog.DiscardHandler)}
		bells = append(bells, b)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- b.Run(ctx, func(what, about string) {
				if name == "two" && what == ringHooks {
					heard <- webhooksOf(about)
				}
			})
		}()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	var nobody *bell
	nobody.ringWebhooks(1)
	bells[1].ringWebhooks(7) // its own
	for _, want := range [][]int64{{1, 22}, nil} {
		limit := time.NewTimer(20 * time.Second)
		for rung := false; !rung; {
			bells[0].ringWebhooks(want...) // until the other has subscribed
			tick := time.NewTimer(10 * time.Millisecond)
			select {
			case got := <-heard:
				if rung = slices.Equal(got, want); !rung && !slices.Equal(got, []int64{1, 22}) {
					t.Fatalf("heard %v, want %v", got, want)
				}
			case <-tick.C:
			case <-limit.C:
				t.Fatalf("%v were not heard", want)
			}
		}
	}
}
