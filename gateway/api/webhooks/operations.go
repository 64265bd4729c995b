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
		{
			Method: http.MethodGet, Path: one + "/deliveries", Reply: openapi.List(deliveryBody{}),
			Summary: "List the deliveries of a webhook, newest first, and how many there are, counted up to 10,000",
			Query: []openapi.Query{
				{Name: "state", Type: "string", Enum: []string{"pending", "succeeded", "dead"}, Description: "Only those: pending are to be made, dead were given up"},
				{Name: "event", Type: "string", Description: "Only those of this event"},
				{Name: "run_id", Type: "string", Description: "Only those of this run"},
				{Name: "since", Type: "string", Description: "Only those that were made at this time or later, such as 2026-11-27T08:00:00Z"},
				{Name: "limit", Type: "integer", Description: "At most this many, up to 50"},
				{Name: "before", Type: "string", Description: "The id of a delivery: only those that were made before it"},
			},
		},
		{Method: http.MethodGet, Path: one + "/deliveries/:delivery", Summary: "Retrieve a delivery, what it says, and every attempt", Reply: openapi.Data(wholeDelivery{})},
		{
			Method: http.MethodPost, Path: one + "/deliveries/:delivery/replay", Summary: "Make a delivery that ended again, with all the attempts that a new one has",
			Reply: openapi.Data(wholeDelivery{}), Errors: []int{http.StatusConflict},
		},
		{
			Method: http.MethodPost, Path: one + "/deliveries/replay", Summary: "Make the dead letters of a webhook since a time again, in their order",
			Body: openapi.Member("replay", replayInput{}, "since"), Reply: openapi.Data(replayedBody{}), Errors: []int{http.StatusConflict},
		},
		{
			Method: http.MethodPost, Path: one + "/test", Summary: "Have a test delivered, once, and wait up to 15 s for how it ends",
			Reply: openapi.Data(wholeDelivery{}), Errors: []int{http.StatusConflict},
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
