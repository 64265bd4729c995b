package templates

import (
	"net/http"

	"wagent/gateway/api/openapi"
)

// Operations are the calls that [API.Mount] registers.
func Operations() []openapi.Operation {
	const path = "/business_accounts/:account/templates"
	const one = path + "/:template"
	// Where Meta makes a template, it may be that nobody knows whether it did.
	unknown := []int{http.StatusBadGateway}
	return []openapi.Operation{
		{
			Method: http.MethodGet, Path: path, Summary: "List templates by name and language, up to 1000",
			Query: []openapi.Query{
				{Name: "status", Type: "string", Description: "Only those that are " + oneOf(statuses) + ", in either case"},
				{Name: "category", Type: "string", Description: "Only those of " + oneOf(categories) + ", in either case"},
			},
			Reply: openapi.List(templateBody{}),
		},
		{
			Method: http.MethodPost, Path: path, Summary: "Submit a template to Meta",
			Body:   openapi.Member("template", createInput{}, "name", "language", "category", "components"),
			Status: http.StatusCreated, Reply: openapi.Data(templateBody{}), Errors: unknown,
		},
		{
			Method: http.MethodPost, Path: path + "/sync", Summary: "Replace what is known of the templates by what Meta has, and list them",
			Reply: openapi.List(templateBody{}),
			// Nothing of the body matters, but it is read.
			Errors: []int{
				http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity,
			},
		},
		{Method: http.MethodGet, Path: one, Summary: "Retrieve a template", Reply: openapi.Data(templateBody{})},
		{
			Method: http.MethodDelete, Path: one, Summary: "Delete a template at Meta",
			Errors: []int{http.StatusConflict, http.StatusUnprocessableEntity},
		},
		{
			Method: http.MethodPost, Path: one + "/clone", Summary: "Submit a template to Meta that is like another one",
			Body:   openapi.Member("template", cloneInput{}).Optional(),
			Status: http.StatusCreated, Reply: openapi.Data(templateBody{}), Errors: unknown,
		},
		{
			Method: http.MethodPost, Path: one + "/send_test", Summary: "Send a template to somebody",
			Body: openapi.Object(sendTestInput{}, "to"), Status: http.StatusCreated, Reply: openapi.Data(messageBody{}),
		},
	}
}
