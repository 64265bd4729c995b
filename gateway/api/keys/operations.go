package keys

import (
	"net/http"

	"wagent/gateway/api/openapi"
)

// Operations are the calls that [API.Mount] registers.
func Operations() []openapi.Operation {
	hidden := []int{http.StatusNotFound} // from keys that are limited to accounts
	return []openapi.Operation{
		{
			Method: http.MethodGet, Path: "/keys", Summary: "List API keys, those that were revoked too",
			Reply: openapi.List(keyBody{}), Errors: hidden,
		},
		{
			Method: http.MethodPost, Path: "/keys", Summary: "Create an API key, which is shown this once",
			Body: openapi.Member("key", Draft{}, "name").Closed(), Status: http.StatusCreated, Reply: openapi.Data(createdBody{}), Errors: hidden,
		},
		{
			Method: http.MethodDelete, Path: "/keys/:key", Summary: "Revoke an API key, by its id, its name, or sha256: and the hex digest of the key itself",
			Errors: []int{http.StatusConflict},
		},
		{
			Method: http.MethodGet, Path: "/audit", Summary: "List what was changed over the API, newest first",
			Query: []openapi.Query{
				{Name: "limit", Type: "integer", Description: "At most this many, up to 1000; otherwise 100"},
				{Name: "before", Type: "integer", Description: "Only those from before the entry with this id"},
			},
			Reply: openapi.List(auditBody{}), Errors: hidden,
		},
	}
}
