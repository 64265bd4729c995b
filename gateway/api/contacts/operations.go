package contacts

import (
	"net/http"

	"wagent/gateway/api/openapi"
)

// Operations are the calls that [API.Mount] registers.
func Operations() []openapi.Operation {
	const one = "/contacts/:contact"
	const agents = one + "/agents/:agent"
	limit := openapi.Query{Name: "limit", Type: "integer", Description: "At most this many, up to 1000"}
	return []openapi.Operation{
		{
			Method: http.MethodGet, Path: "/contacts", Summary: "List contacts, newest first",
			Query: []openapi.Query{
				limit,
				{Name: "phone_number", Type: "string", Description: "Only those whose number it is, in E.164 form"},
				{Name: "after", Type: "string", Description: "Only those that come after the contact with this id"},
			},
			Reply: openapi.List(contactBody{}),
		},
		{Method: http.MethodGet, Path: one, Summary: "Retrieve a contact", Reply: openapi.Data(contactBody{})},
		{
			Method: http.MethodPatch, Path: one, Summary: "Change what the body names of a contact",
			Body: openapi.Object(contactInput{}).Closed(), Reply: openapi.Data(contactBody{}),
		},
		{
			Method: http.MethodGet, Path: one + "/skipped", Summary: "List the contact's messages that no run took, newest first",
			Query: []openapi.Query{limit}, Reply: openapi.Data([]skippedBody{}),
		},
		{Method: http.MethodDelete, Path: one + "/context", Summary: "Erase what agents remember of a contact"},
		{
			Method: http.MethodGet, Path: agents + "/context", Summary: "Retrieve what an agent remembers of the conversation",
			Reply: openapi.Data(contextBody{}),
		},
		{Method: http.MethodDelete, Path: agents + "/context", Summary: "Erase what an agent remembers of the conversation"},
		{
			Method: http.MethodGet, Path: agents + "/memory", Summary: "Retrieve what an agent keeps of a contact",
			Reply: openapi.Data(memoryBody{}),
		},
		{
			Method: http.MethodPut, Path: agents + "/memory", Summary: "Replace what an agent keeps of a contact",
			Body: openapi.Object(memoryInput{}, "text").Closed(), Reply: openapi.Data(memoryBody{}),
		},
		{
			Method: http.MethodDelete, Path: agents + "/memory", Summary: "Erase what an agent keeps of a contact",
			Reply: openapi.Data(memoryBody{}),
		},
	}
}
