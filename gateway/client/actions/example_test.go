package actions_test

import (
	"context"
	"encoding/json"
	"fmt"

	"wagent/gateway/client/actions"
)

func ExampleRegistry() {
	type ticket struct{ Message string }
	var registry actions.Registry
	registry.Register("create_ticket", actions.Typed(func(_ context.Context, t ticket) error {
		fmt.Println("a ticket:", t.Message)
		return nil
	}))
	registry.Register("create_task", func(_ context.Context, a actions.Action) error {
		fmt.Printf("task %d: %s\n", a.Index, a.Payload)
		return nil
	})
	fmt.Println(registry.ActionTypes(), registry.IsRegistered("create_task"), registry.IsRegistered("call_taxi"))

	ctx := context.Background()
	one := actions.Action{Type: "create_ticket", Payload: json.RawMessage(`{"message":"the AC in room 107"}`)}
	known, err := registry.Dispatch(ctx, one)
	fmt.Println(known, err)
	report, err := registry.DispatchAll(ctx, []actions.Action{
		{Type: "create_task", Payload: json.RawMessage(`{"room_number":"107"}`), Index: 0},
		{Type: "call_taxi", Payload: json.RawMessage(`{}`), Index: 1},
	})
	fmt.Println(len(report.Done), report.Unknown[0].Type, err)
	// Output:
	// [create_task create_ticket] true false
	// a ticket: the AC in room 107
	// true <nil>
	// task 0: {"room_number":"107"}
	// 1 call_taxi <nil>
}
