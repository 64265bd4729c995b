package windows

import (
	"net/http"

	"wagent/gateway/api/openapi"
)

// Operations are the calls that [API.Mount] registers.
func Operations() []openapi.Operation {
	const path = "/business_accounts/:account/conversation_windows"
	return []openapi.Operation{
		{
			Method: http.MethodGet, Path: path, Summary: "List conversations that have settings of their own, newest first",
			Reply: openapi.List(windowBody{}),
		},
		{
			Method: http.MethodGet, Path: path + "/:phone", Summary: "Retrieve when a conversation is answered",
			Reply: openapi.Data(windowBody{}),
		},
		{
			Method: http.MethodPut, Path: path + "/:phone", Summary: "Replace what a conversation has otherwise than its agent",
			Body: openapi.Object(settings{}).Closed(), Reply: openapi.Data(windowBody{}),
		},
		{
			Method: http.MethodDelete, Path: path + "/:phone", Summary: "Have a conversation as its agent has it",
			Reply: openapi.Data(windowBody{}),
		},
		{
			Method: http.MethodPost, Path: path + "/:phone", Summary: "Answer now what waits in a conversation",
			Status: http.StatusAccepted, Reply: openapi.Data(answerBody{}),
		},
	}
}
