package webhooks

import (
	"net/http"

	"wagent/gateway"
	"wagent/gateway/api/openapi"
)

// Operations are the calls that [API.Mount] registers.
func Operations() []openapi.Operation {
	const one = "/webhooks/:webhook"
	hidden := []int{http.StatusNotFound} // from keys that are limited to accounts
	return []openapi.Operation{
		{Method: http.MethodGet, Path: "/webhooks", Summary: "List webhooks, oldest first", Reply: openapi.List(webhookBody{}), Errors: hidden},
		{
			Method: http.MethodPost, Path: "/webhooks", Summary: "Create a webhook, and show its secret this once",
			Body: openapi.Member("webhook", webhookInput{}, "url"), Status: http.StatusCreated, Reply: openapi.Data(secretBody{}), Errors: hidden,
		},
		{Method: http.MethodGet, Path: one, Summary: "Retrieve a webhook", Reply: openapi.Data(webhookBody{})},
		{
			Method: http.MethodPatch, Path: one, Summary: "Change what the body names of a webhook",
			Body: openapi.Member("webhook", webhookInput{}), Reply: openapi.Data(webhookBody{}), Errors: []int{http.StatusConflict},
		},
		{
			Method: http.MethodDelete, Path: one, Summary: "Delete a webhook, with what is still to be delivered to it",
			Errors: []int{http.StatusConflict},
		},
		{
			Method: http.MethodPost, Path: one + "/rotate_secret", Summary: "Give a webhook a new secret, and show it this once",
			Reply: openapi.Data(secretBody{}),
		},
		{Method: http.MethodGet, Path: one + "/settings", Summary: "Retrieve how a webhook is delivered to, and how it fares", Reply: openapi.Data(settingsBody{})},
		{
			Method: http.MethodPatch, Path: one + "/settings", Summary: "Change what the body names of how a webhook is delivered to",
			Body: openapi.Member("settings", settingsInput{}), Reply: openapi.Data(settingsBody{}), Errors: []int{http.StatusConflict},
		},
	}
}

// Enum returns what an event may be, for its schema.
func (event) Enum() []any {
	all := gateway.Events()
	out := make([]any, len(all))
	for i, e := range all {
		out[i] = e
	}
	return out
}

// InlineJSONSchema marks the schema as one to write out where it stands.
func (event) InlineJSONSchema() {}
