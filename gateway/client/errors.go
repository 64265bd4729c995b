package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"wagent/gateway/client/rest"
)

// The kinds of [APIError], for errors.Is.
var (
	ErrBadRequest   = errors.New("bad request")            // 400: no JSON, or a parameter is missing or wrong
	ErrUnauthorized = errors.New("unauthorized")           // 401: no such key
	ErrForbidden    = errors.New("forbidden")              // 403: the key's scope does not cover it
	ErrNotFound     = errors.New("not found")              // 404, also of what the key does not reach
	ErrConflict     = errors.New("conflict")               // 409: decided already, not connected, declared in a file
	ErrValidation   = errors.New("validation failed")      // 422: Details says what of which field
	ErrRateLimited  = errors.New("too many requests")      // 429: RetryAfter says when to come back
	ErrServer       = errors.New("the server had trouble") // 5xx
)

// APIError is an answer that refuses. errors.As finds it in what a call returns.
type APIError struct {
	Status     int                 // of HTTP
	Message    string              // the gateway's words, or the name of the status if a proxy answered
	Details    map[string][]string // by field, of a 422; nil if there are none
	RetryAfter time.Duration       // 0: the answer does not say
	UpgradeURL string              // of WhatsRB Cloud: where its plan is changed
}

// Error is status, message and details, these in the order of their fields.
func (e *APIError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", e.Status, e.Message)
	separator := ": "
	for _, field := range slices.Sorted(maps.Keys(e.Details)) {
		for _, msg := range e.Details[field] {
			b.WriteString(separator + field + " " + msg)
			separator = ", "
		}
	}
	return b.String()
}

// Is reports whether target is the kind of e: one of ErrBadRequest and so on.
func (e *APIError) Is(target error) bool {
	kind := map[int]error{
		http.StatusBadRequest: ErrBadRequest, http.StatusUnauthorized: ErrUnauthorized, http.StatusForbidden: ErrForbidden,
		http.StatusNotFound: ErrNotFound, http.StatusConflict: ErrConflict, http.StatusUnprocessableEntity: ErrValidation,
		http.StatusTooManyRequests: ErrRateLimited,
	}[e.Status]
	if e.Status >= 500 {
		kind = ErrServer
	}
	return kind != nil && target == kind
}

// refused makes the error of an answer. A proxy's may be anything.
func refused(status int, header http.Header, body []byte) error {
	e := &APIError{Status: status, Message: http.StatusText(status)}
	e.RetryAfter, _ = rest.RetryAfter(header)
	var in struct {
		Error      string
		Details    json.RawMessage
		UpgradeURL string `json:"upgrade_url"`
	}
	if json.Unmarshal(body, &in) == nil && in.Error != "" {
		e.Message, e.UpgradeURL = in.Error, in.UpgradeURL
		if json.Unmarshal(in.Details, &e.Details) != nil {
			e.Details = nil // in another form than the contract's
		}
	}
	if e.Message == "" {
		e.Message = "unknown status"
	}
	return e
}
