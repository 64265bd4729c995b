package pauses

import (
	"net/http"

	"wagent/gateway/api/openapi"
)

// Operations are the calls that [API.Mount] registers.
func Operations() []openapi.Operation {
	const path = "/business_accounts/:account/conversation_pauses"
	return []openapi.Operation{
		{
			Method: http.MethodGet, Path: path, Summary: "List pauses, newest first",
			Query: []openapi.Query{{Name: "include_expired", Type: "boolean", Description: "Also those that are over"}},
			Reply: openapi.List(pauseBody{}),
		},
		{
			Method: http.MethodPost, Path: path, Summary: "Keep agents out of a conversation, or extend its pause",
			Body: openapi.Object(createInput{}, "phone_number"), Status: http.StatusCreated, Reply: openapi.Data(pauseBody{}),
		},
		{
			Method: http.MethodGet, Path: path + "/check", Summary: "Say whether agents are kept out of a conversation",
			Query: []openapi.Query{{Name: "phone_number", Type: "string", Description: "The customer's, in E.164 form", Required: true}},
			Reply: openapi.Bare(checkBody{}),
		},
		{Method: http.MethodGet, Path: path + "/:pause", Summary: "Retrieve a pause", Reply: openapi.Data(pauseBody{})},
		{Method: http.MethodDelete, Path: path + "/:pause", Summary: "End a pause", Reply: openapi.Data(pauseBody{})},
	}
}
