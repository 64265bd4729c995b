package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wagent/gateway/client"
	"wagent/gateway/client/actions"
	"wagent/gateway/client/agents"
	"wagent/gateway/client/runs"
)

// The examples call a gateway in this process. Yours is named by its URL.
func Example() {
	c, end := start() // client.New("https://wagent.example.com", "wrb_live_…")
	defer end()
	ctx := context.Background()

	agent, err := c.Agents.Create(ctx, agents.Params{Name: "Hotel Concierge", SystemPrompt: "You are a hotel operations agent…"})
	if err != nil {
		panic(err)
	}
	run, err := agent.Run(ctx, "Clean room 204 tomorrow at 8")
	if err != nil {
		panic(err)
	}
	fmt.Println(run.SuggestedReply())
	// Output:
	// I'll arrange cleaning for room 204 tomorrow at 8am.
}

// concierge returns a client, an agent of its gateway, and what ends both.
func concierge(p agents.Params) (*client.Client, *agents.Agent, func()) {
	c, end := start()
	if p.Name == "" {
		p.Name = "Hotel Concierge"
	}
	p.SystemPrompt = "Extract structured tasks from hotel guest messages."
	agent, err := c.Agents.Create(context.Background(), p)
	if err != nil {
		panic(err)
	}
	return c, agent, end
}

func Example_listAgents() {
	c, _, end := concierge(agents.Params{})
	defer end()
	ctx := context.Background()

	for agent, err := range c.Agents.All(ctx) {
		if err != nil {
			panic(err)
		}
		fmt.Println(agent.ID, agent.Name)
	}
	list, err := c.Agents.List(ctx)
	fmt.Println(list.Total, err)
	// Output:
	// agt_1 Hotel Concierge
	// 1 <nil>
}

func Example_createAgent() {
	c, end := start()
	defer end()

	agent, err := c.Agents.Create(context.Background(), agents.Params{
		Name:              "Hotel Concierge",
		SystemPrompt:      "You are a hotel operations agent…",
		BusinessAccountID: new("acc_01hx"),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(agent.ID, agent.Name, agent.BusinessAccountID)
	// Output:
	// agt_1 Hotel Concierge acc_01hx
}

func Example_createAgentWithFields() {
	c, end := start()
	defer end()

	agent, err := c.Agents.Create(context.Background(), agents.Params{
		Name:         "Hotel Concierge",
		SystemPrompt: "Extract structured tasks from hotel guest messages.",
		PayloadSchema: []agents.Field{
			{Name: "room_number", FieldType: "text", Required: true},
			{Name: "description", FieldType: "text", Required: true},
			{Name: "due_at", FieldType: "datetime"},
			{Name: "priority", FieldType: "text"},
		},
	})
	if err != nil {
		panic(err)
	}
	for _, f := range agent.PayloadSchema {
		fmt.Println(f.Name, f.FieldType, f.Required)
	}
	// Output:
	// room_number text true
	// description text true
	// due_at datetime false
	// priority text false
}

func Example_createAgentWithAllowedActions() {
	c, end := start()
	defer end()
	ctx := context.Background()

	agent, err := c.Agents.Create(ctx, agents.Params{
		Name:         "Support Agent",
		SystemPrompt: "Handle customer support requests.",
		AllowedActions: []string{
			"support.refund.process",
			"support.ticket.create",
			"support.escalation.request",
		},
	})
	if err != nil {
		panic(err)
	}
	run, err := agent.Run(ctx, runs.Input{LastMessage: "I want a refund for order #1234"})
	if err != nil {
		panic(err)
	}
	for _, a := range run.Actions() {
		switch a.Type {
		case "support.refund.process":
			fmt.Printf("refund %s\n", a.Payload)
		case "support.ticket.create":
			fmt.Printf("ticket %s\n", a.Payload)
		case "support.escalation.request":
			fmt.Printf("escalate %s\n", a.Payload)
		}
	}
	// Output:
	// refund {"order":"1234"}
	// escalate {"to":"manager"}
	// ticket {"message":"refund of order 1234"}
}

func Example_retrieveAgent() {
	c, _, end := concierge(agents.Params{})
	defer end()

	agent, err := c.Agents.Retrieve(context.Background(), "agt_1")
	if err != nil {
		panic(err)
	}
	fmt.Println(agent.Active, agent.AutoRunInbound)
	// Output:
	// true false
}

func Example_updateAgent() {
	c, _, end := concierge(agents.Params{})
	defer end()

	agent, err := c.Agents.Update(context.Background(), "agt_1", agents.Params{Name: "Updated Concierge", Active: new(false)})
	if err != nil {
		panic(err)
	}
	fmt.Println(agent.Name, agent.Active, agent.DebounceSeconds) // what is not named stays
	// Output:
	// Updated Concierge false 10
}

func Example_deleteAgent() {
	c, _, end := concierge(agents.Params{})
	defer end()
	ctx := context.Background()

	fmt.Println(c.Agents.Delete(ctx, "agt_1"))
	_, err := c.Agents.Retrieve(ctx, "agt_1")
	fmt.Println(errors.Is(err, client.ErrNotFound))
	// Output:
	// <nil>
	// true
}

// A string is the customer's last message; runs.Input has the ones before it.
func Example_run() {
	_, agent, end := concierge(agents.Params{})
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	run, err := agent.Run(ctx, runs.Input{
		LastMessage:    "Clean room 204 tomorrow at 8",
		RecentMessages: []string{"Hi, I have a request"},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(run.Status)
	fmt.Println(run.Intent())
	fmt.Println(run.Confidence())
	for _, a := range run.Actions() {
		fmt.Printf("%s %s\n", a.Type, a.Payload)
	}
	fmt.Println(run.SuggestedReply())
	fmt.Println(run.ContextSummary)
	// Output:
	// completed
	// task_extraction
	// 0.95
	// hospitality.room_service.request {"priority":"normal","room_number":"204"}
	// I'll arrange cleaning for room 204 tomorrow at 8am.
	// Guest requested room 204 cleaning for tomorrow 8am.
}

func Example_runAsync() {
	_, agent, end := concierge(agents.Params{})
	defer end()
	ctx := context.Background()

	run, err := agent.RunAsync(ctx, "Clean room 204 tomorrow at 8")
	if err != nil {
		panic(err)
	}
	fmt.Println(run.Status)
	// … do other things …
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	fmt.Println(run.Wait(ctx), run.Status)
	// Output:
	// pending
	// <nil> completed
}

func Example_runThatFails() {
	_, agent, end := concierge(agents.Params{})
	defer end()

	run, err := agent.Run(context.Background(), "Words that the model does not answer")
	fmt.Println(errors.Is(err, runs.ErrFailed), run.Error)
	// Output:
	// true the model did not answer
}

func Example_listRuns() {
	c, agent, end := concierge(agents.Params{})
	defer end()
	ctx := context.Background()
	if _, err := agent.Run(ctx, "Clean room 204 tomorrow at 8"); err != nil {
		panic(err)
	}

	// From an agent, with a loop:
	for run, err := range agent.Runs().All(ctx) {
		if err != nil {
			panic(err)
		}
		fmt.Println(run.ID, run.Status)
	}
	// From the client, at once:
	list, err := c.AgentRuns("agt_1").List(ctx)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(list.Items), list.Total)
	// Output:
	// run_1 completed
	// 1 1
}

func Example_retrieveRun() {
	c, agent, end := concierge(agents.Params{})
	defer end()
	ctx := context.Background()
	if _, err := agent.Run(ctx, "Clean room 204 tomorrow at 8"); err != nil {
		panic(err)
	}

	run, err := c.AgentRuns("agt_1").Retrieve(ctx, "run_1")
	if err != nil {
		panic(err)
	}
	fmt.Println(run.ID, run.TriggeredBy, run.ModelUsed, run.CompletedAt)
	// Output:
	// run_1 api openai/gpt-4o-mini 2026-03-04 05:06:07 +0000 UTC
}

func Example_dispatch() {
	_, agent, end := concierge(agents.Params{})
	defer end()
	ctx := context.Background()

	type request struct {
		Room     string `json:"room_number"`
		Priority string `json:"priority"`
	}
	var registry actions.Registry
	registry.Register("hospitality.room_service.request", actions.Typed(func(_ context.Context, r request) error {
		fmt.Println("room", r.Room, "with priority", r.Priority)
		return nil
	}))
	registry.Register("create_ticket", func(_ context.Context, a actions.Action) error {
		fmt.Printf("ticket %s\n", a.Payload)
		return nil
	})
	fmt.Println(registry.ActionTypes(), registry.IsRegistered("create_task"))

	run, err := agent.Run(ctx, "Clean room 204 tomorrow at 8")
	if err != nil {
		panic(err)
	}
	report, err := run.Dispatch(ctx, &registry)
	fmt.Println(len(report.Done), len(report.Unknown), err)
	// Output:
	// [create_ticket hospitality.room_service.request] false
	// room 204 with priority normal
	// 1 0 <nil>
}

func Example_confirmActions() {
	c, _, end := concierge(agents.Params{})
	defer end()
	ctx := context.Background()
	var registry actions.Registry
	for _, t := range []string{"support.refund.process", "support.escalation.request", "support.ticket.create"} {
		registry.Register(t, func(_ context.Context, a actions.Action) error {
			fmt.Println("dispatched", a.Index, a.Type)
			return nil
		})
	}

	agent, err := c.Agents.Update(ctx, "agt_1", agents.Params{
		ConfirmationMode:           new(agents.Confirm),
		ConfirmationTimeoutMinutes: new(30),
	})
	if err != nil {
		panic(err)
	}
	run, err := agent.Run(ctx, "I want a refund for order #1234")
	if err != nil {
		panic(err)
	}
	fmt.Println(len(run.ActionStatuses), run.ActionStatuses[0].Status)

	fmt.Println(run.ConfirmActions(ctx, 0, 2))
	fmt.Println(run.RejectActions(ctx, 1))
	fmt.Println(run.ActionsDecidedAt.IsZero())
	if _, err := run.Dispatch(ctx, &registry); err != nil {
		panic(err)
	}
	fmt.Println(errors.Is(run.ConfirmActions(ctx, 1), client.ErrConflict))
	// Output:
	// 3 pending
	// <nil>
	// <nil>
	// false
	// dispatched 0 support.refund.process
	// dispatched 2 support.ticket.create
	// true
}
