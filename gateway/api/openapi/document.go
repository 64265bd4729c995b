package openapi

import (
	"net/http"
	"strings"

	"github.com/swaggest/jsonschema-go"
)

// document is an OpenAPI document (OpenAPI Specification 3.1, section 4.8), as
// far as we have something to say.
type document struct {
	OpenAPI    string                          `json:"openapi"`
	Info       info                            `json:"info"`
	Servers    []server                        `json:"servers"`
	Security   []map[string][]string           `json:"security"`
	Tags       []tag                           `json:"tags"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components components                      `json:"components"`
}

type info struct {
	Title       string  `json:"title"`
	Description string  `json:"description"`
	License     license `json:"license"`
	Version     string  `json:"version"`
}

type license struct {
	Name       string `json:"name"`
	Identifier string `json:"identifier"` // SPDX
}

type server struct {
	URL string `json:"url"`
}

type tag struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

type operation struct {
	ID         string              `json:"operationId"`
	Summary    string              `json:"summary"`
	Tags       []string            `json:"tags"`
	Parameters []parameter         `json:"parameters,omitempty"`
	Body       *requestBody        `json:"requestBody,omitempty"`
	Responses  map[string]response `json:"responses"`
}

type parameter struct {
	Ref         string             `json:"$ref,omitempty"`
	Name        string             `json:"name,omitempty"`
	In          string             `json:"in,omitempty"`
	Description string             `json:"description,omitempty"`
	Required    bool               `json:"required,omitempty"`
	Schema      *jsonschema.Schema `json:"schema,omitempty"`
}

type requestBody struct {
	Required bool               `json:"required"`
	Content  map[string]content `json:"content"`
}

type response struct {
	Ref         string             `json:"$ref,omitempty"`
	Description string             `json:"description,omitempty"`
	Headers     map[string]header  `json:"headers,omitempty"`
	Content     map[string]content `json:"content,omitempty"`
}

type header struct {
	Description string             `json:"description"`
	Schema      *jsonschema.Schema `json:"schema"`
}

type content struct {
	Schema *jsonschema.Schema `json:"schema,omitempty"` // nil: bytes
}

type components struct {
	Schemas         map[string]*jsonschema.Schema `json:"schemas"`
	Responses       map[string]response           `json:"responses"`
	Parameters      map[string]parameter          `json:"parameters"`
	SecuritySchemes map[string]securityScheme     `json:"securitySchemes"`
}

type securityScheme struct {
	Type        string `json:"type"`
	Scheme      string `json:"scheme"`
	Description string `json:"description"`
}

// idempotencyKey may come with every POST.
var idempotencyKey = struct {
	component string
	parameter parameter
}{"IdempotencyKey", parameter{
	Name: "Idempotency-Key", In: "header", Schema: typed("string"),
	Description: "With the same key and body, a call that succeeded is done once, and answered the same for 24 hours; with another body it is then refused (409). " +
		"So is one of which nobody knows whether it was done (502). " +
		"Any other call that was refused or failed did nothing that is remembered: repeated, it is judged again.",
}}

// failureTexts are the statuses that an error is answered with, and when.
var failureTexts = map[int]string{
	http.StatusBadRequest:            "The request can't be read: its body is not JSON, or a parameter is missing or not valid",
	http.StatusUnauthorized:          "The API key is missing or not known",
	http.StatusForbidden:             "The API key may not do this",
	http.StatusNotFound:              "What the path names is not there",
	http.StatusRequestTimeout:        "The body took too long",
	http.StatusConflict:              "How things stand, this can't be done",
	http.StatusGone:                  "It was there, and is not any more",
	http.StatusRequestEntityTooLarge: "The body is too large",
	http.StatusUnprocessableEntity:   "What the body says is not valid: details says why, for each member",
	http.StatusTooManyRequests:       "Too much was asked for: try again after as many seconds as Retry-After says",
	http.StatusInternalServerError:   "It is not the request's fault",
	http.StatusBadGateway:            "It is not known whether a server that we depend on did it",
	http.StatusServiceUnavailable:    "A server that we depend on is away: try again later",
}

// failureName is the name of a status among the components.
func failureName(code int) string { return strings.ReplaceAll(http.StatusText(code), " ", "") }

// failures are the answers to what did not succeed.
func failures() map[string]response {
	out := map[string]response{}
	for code, text := range failureTexts {
		r := response{Description: text, Content: asJSON(reference("Error"))}
		if code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable {
			r.Headers = map[string]header{"Retry-After": {"In how many seconds to try again", typed("integer")}}
		}
		out[failureName(code)] = r
	}
	return out
}

func asJSON(s *jsonschema.Schema) map[string]content {
	return map[string]content{"application/json": {s}}
}
