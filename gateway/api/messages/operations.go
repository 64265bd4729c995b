package messages

import (
	"net/http"

	"wagent/gateway/api/openapi"
)

// Operations are the calls that [API.Mount] registers.
func Operations() []openapi.Operation {
	const total = ", and how many there are, counted up to 10,000"
	cursor := []openapi.Query{
		{Name: "limit", Type: "integer", Description: "At most this many, up to 100"},
		{Name: "before", Type: "string", Description: "The id of a message: only those that came before it"},
	}
	const account, session = "/business_accounts/:account/messages", "/sessions/:session/messages"
	return []openapi.Operation{
		{
			Method: http.MethodGet, Path: account, Summary: "List the messages of an account, newest first" + total,
			Query: cursor, Reply: openapi.List(messageBody{}),
		},
		{
			Method: http.MethodPost, Path: account, Summary: "Send a message from an account",
			Body: openapi.Member("message", messageInput{}, "to"), Status: http.StatusCreated, Reply: openapi.Data(messageBody{}),
		},
		{Method: http.MethodGet, Path: account + "/:message", Summary: "Retrieve a message of an account", Reply: openapi.Data(messageBody{})},
		{
			Method: http.MethodGet, Path: session, Summary: "List the messages of a session, newest first" + total,
			Query: cursor, Reply: openapi.List(messageBody{}),
		},
		{
			Method: http.MethodPost, Path: session, Summary: "Send a text from a session, which sends nothing else",
			Body: openapi.Member("message", messageInput{}, "to", "content"), Status: http.StatusCreated, Reply: openapi.Data(messageBody{}),
		},
		{Method: http.MethodGet, Path: session + "/:message", Summary: "Retrieve a message of a session", Reply: openapi.Data(messageBody{})},
	}
}
