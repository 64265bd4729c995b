package whatsrb

import (
	"net/http"

	"wagent/gateway/api/openapi"
)

// Operations are the calls that [API.Mount] registers.
func Operations() []openapi.Operation {
	const run = "/agents/:agent/runs/:run"
	return []openapi.Operation{
		{Method: http.MethodGet, Path: "/agents", Summary: "List agents", Reply: openapi.List(agentBody{})},
		{
			Method: http.MethodPost, Path: "/agents", Summary: "Create an agent",
			Body: openapi.Member("agent", agentInput{}, "name", "system_prompt"), Status: http.StatusCreated, Reply: openapi.Data(agentBody{}),
		},
		{Method: http.MethodGet, Path: "/agents/:agent", Summary: "Retrieve an agent", Reply: openapi.Data(agentBody{})},
		{
			Method: http.MethodPatch, Path: "/agents/:agent", Summary: "Change what the body names of an agent",
			Body: openapi.Member("agent", agentInput{}), Reply: openapi.Data(agentBody{}), Errors: []int{http.StatusConflict},
		},
		{Method: http.MethodDelete, Path: "/agents/:agent", Summary: "Delete an agent", Errors: []int{http.StatusConflict}},
		{
			Method: http.MethodGet, Path: "/agents/:agent/settings", Summary: "Retrieve the settings of an agent that only wagent has",
			Reply: openapi.Data(settingsBody{}),
		},
		{Method: http.MethodGet, Path: "/agent_templates", Summary: "List agents to start from", Reply: openapi.List(agentTemplate{})},

		{
			Method: http.MethodGet, Path: "/agents/:agent/runs", Summary: "List the last runs of an agent, newest first",
			Query: []openapi.Query{
				{Name: "limit", Type: "integer", Description: "At most this many, up to 50"},
				{Name: "before", Type: "string", Description: "The id of a run: only those that were made before it"},
			},
			Reply: openapi.List(runBody{}),
		},
		{
			Method: http.MethodPost, Path: "/agents/:agent/runs", Summary: "Run an agent",
			Body: openapi.Member("run", runInput{}, "input"), Status: http.StatusCreated, Reply: openapi.Data(runBody{}),
		},
		{Method: http.MethodGet, Path: run, Summary: "Retrieve a run", Reply: openapi.Data(runBody{})},
		{
			Method: http.MethodGet, Path: run + "/route", Summary: "Retrieve why a run was an agent's, and how it went",
			Reply: openapi.Data(routeBody{}),
		},
		{
			Method: http.MethodGet, Path: run + "/actions", Summary: "List the actions of a run, and what came of each",
			Reply: openapi.List(actionBody{}),
		},
		{
			Method: http.MethodPost, Path: run + "/actions", Summary: "Confirm or reject actions of a run",
			Body: openapi.Object(decisionsInput{}, "actions"), Reply: openapi.Data(runBody{}),
		},

		{
			Method: http.MethodGet, Path: "/sandbox/:account/messages", Summary: "List the last messages of a sandbox account, newest first",
			Query: []openapi.Query{
				{Name: "limit", Type: "integer", Description: "At most this many, up to 100"},
				{Name: "phone_number", Type: "string", Description: "Only those with this customer, in E.164 form"},
			},
			Reply: openapi.List(sandboxMessageBody{}),
		},
		{
			Method: http.MethodPost, Path: "/sandbox/:account/messages", Summary: "Write to a sandbox account as a customer",
			Body: openapi.Member("message", injectInput{}, "from", "text"), Status: http.StatusCreated, Reply: openapi.Data(injectBody{}),
		},
	}
}
