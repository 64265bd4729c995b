package accounts

import (
	"net/http"

	"wagent/gateway/api/openapi"
)

// Operations are the calls that [API.Mount] registers.
func Operations() []openapi.Operation {
	const all, one = "/business_accounts", "/business_accounts/:account"
	// What the body holds is passed over, but it is read.
	unread := []int{http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge}
	return []openapi.Operation{
		{Method: http.MethodGet, Path: all, Summary: "List accounts", Reply: openapi.List(accountBody{})},
		{
			Method: http.MethodPost, Path: all, Summary: "Add an account on the Cloud API",
			Body:   openapi.Member("business_account", accountInput{}, "waba_id", "phone_number_id", "meta_access_token"),
			Status: http.StatusCreated, Reply: openapi.Data(accountBody{}),
		},
		{Method: http.MethodGet, Path: one, Summary: "Retrieve an account", Reply: openapi.Data(accountBody{})},
		{Method: http.MethodDelete, Path: one, Summary: "Delete an account", Errors: []int{http.StatusConflict}},
		{
			Method: http.MethodGet, Path: one + "/window", Summary: "Say whether a customer can be written to without a template",
			Query: []openapi.Query{{Name: "phone_number", Type: "string", Description: "The customer's, in E.164 form", Required: true}},
			Reply: openapi.Data(windowBody{}),
		},

		{
			Method: http.MethodPost, Path: all + "/connect", Summary: "Make a link through which somebody without a key adds an account",
			Status: http.StatusCreated, Reply: openapi.Data(connectBody{}), Errors: unread,
		},
		{Method: http.MethodGet, Path: "/connects/:connect", Summary: "Retrieve how a link stands", Reply: openapi.Data(connectBody{})},
		{
			Method: http.MethodGet, Path: all + "/connects/:connect", Summary: "Retrieve how a link stands, by its other path",
			Reply: openapi.Data(connectBody{}),
		},
	}
}
