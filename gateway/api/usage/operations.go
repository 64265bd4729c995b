package usage

import (
	"net/http"

	"wagent/gateway/api/openapi"
)

// Operations are the calls that [API.Mount] registers.
func Operations() []openapi.Operation {
	hidden := []int{http.StatusNotFound} // from keys that are limited to accounts
	return []openapi.Operation{
		{
			Method: http.MethodGet, Path: "/usage", Summary: "Retrieve how much was done today, and in a period if one is asked for",
			Query: []openapi.Query{
				{Name: "from", Type: "string", Description: "The first day of the period, in UTC and as 2026-11-01; otherwise the first of the last one's month"},
				{Name: "to", Type: "string", Description: "The last day of the period, at most 366 with the first one; otherwise today"},
				{Name: "group_by", Type: "string", Description: "How by_period divides the period; otherwise by day", Enum: []string{"day", "month"}},
			},
			Reply: openapi.Data(summaryBody{}), Errors: hidden,
		},
		{
			Method: http.MethodGet, Path: "/usage/metrics", Summary: "Retrieve how well messages and linked devices do",
			Reply: openapi.Data(metricsBody{}), Errors: hidden,
		},
	}
}
