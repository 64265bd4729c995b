package events_test

import (
	"context"
	"fmt"

	"wagent/gateway/client/events"
)

func ExampleRegistry() {
	var registry events.Registry
	registry.On("message.received", func(_ context.Context, e events.Event) error {
		fmt.Printf("%s\n", e.Data)
		return nil
	})
	fmt.Println(registry.EventTypes(), registry.IsRegistered("agent_run.failed"))

	// A body that Verify or VerifyWebhook accepted; Handler does all of it.
	e, err := events.Parse([]byte(`{"event":"message.received","data":{"from":"15550001234"},"timestamp":"2026-03-04T05:06:07Z"}`))
	if err != nil {
		panic(err)
	}
	known, err := registry.Dispatch(context.Background(), e)
	fmt.Println(known, err, e.Timestamp)
	known, err = registry.Dispatch(context.Background(), events.Event{Event: "agent_run.failed"})
	fmt.Println(known, err)
	// Output:
	// [message.received] false
	// {"from":"15550001234"}
	// true <nil> 2026-03-04 05:06:07 +0000 UTC
	// false <nil>
}
