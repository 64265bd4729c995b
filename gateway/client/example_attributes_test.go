package client_test

import (
	"context"
	"fmt"

	"wagent/gateway/client/agents"
	"wagent/gateway/client/runs"
)

// What WhatsRB Cloud's other SDKs call is_active and is_auto_run are Active and
// AutoRunInbound.
func Example_agentAttributes() {
	_, agent, end := concierge(agents.Params{
		Description: new("Takes requests"), BusinessAccountID: new("acc_1"), AllowedActions: []string{"hospitality.room_service.request"},
		PayloadSchema: []agents.Field{{Name: "room_number", FieldType: "text", Required: true}},
		InboundConfig: &agents.InboundConfig{TriggerOn: "text_only", IgnorePatterns: []string{"^ok$"}},
	})
	defer end()

	fmt.Println(agent.ID, agent.Name, agent.Description)
	fmt.Println(agent.Model, agent.Temperature, agent.MaxTokens)
	fmt.Println(agent.Active, agent.AutoRunInbound, agent.DebounceSeconds, agent.ContextTTLMinutes)
	fmt.Println(agent.BusinessAccountID, agent.AllowedActions, agent.Tools[0].Name)
	fmt.Println(agent.PayloadSchema)
	fmt.Println(agent.ConfirmationMode == agents.Auto, agent.ConfirmationTimeoutMinutes)
	fmt.Println(agent.InboundConfig.TriggerOn, agent.InboundConfig.IgnorePatterns)
	fmt.Println(agent.CreatedAt, agent.UpdatedAt)
	// Output:
	// agt_1 Hotel Concierge Takes requests
	// gpt-4o-mini 0.3 1024
	// true false 10 60
	// acc_1 [hospitality.room_service.request] Hospitality room service request
	// [{room_number text true}]
	// true 30
	// text_only [^ok$]
	// 2026-03-04 05:06:07 +0000 UTC 2026-03-04 05:06:07 +0000 UTC
}

// Status says what is_pending, is_completed and is_failed do elsewhere.
func Example_runAttributes() {
	_, agent, end := concierge(agents.Params{})
	defer end()
	ctx := context.Background()

	run, err := agent.RunAsync(ctx, "Clean room 204 tomorrow at 8")
	if err != nil {
		panic(err)
	}
	fmt.Println(run.ID, run.AgentID, run.TriggeredBy, run.Status == runs.Pending, run.Output == nil, run.IsFinished())
	if err := run.Wait(ctx); err != nil {
		panic(err)
	}
	fmt.Println(run.Status == runs.Completed, run.Status == runs.Failed, run.Error == "", run.IsFinished())
	fmt.Println(run.ModelUsed, run.InputTokens, run.OutputTokens, run.LatencyMS, run.DurationMS)
	fmt.Println(run.Output.Language, run.Intent(), run.Confidence(), len(run.Actions()))
	fmt.Println(run.SuggestedReply())
	fmt.Println(run.ContextSummary)
	fmt.Println(run.ActionStatuses == nil, run.ActionsDecidedAt.IsZero())
	// Output:
	// run_1 agt_1 api true true false
	// true false true true
	// openai/gpt-4o-mini 210 64 812 1430
	// en task_extraction 0.95 1
	// I'll arrange cleaning for room 204 tomorrow at 8am.
	// Guest requested room 204 cleaning for tomorrow 8am.
	// true true
}
