package sessions

import (
	"maps"
	"net/http"
	"slices"

	"wagent/gateway/api/openapi"
)

// Operations are the calls that [API.Mount] registers.
func Operations() []openapi.Operation {
	const one = "/sessions/:session"
	files := append(slices.Sorted(maps.Keys(safe)), unsafeType)
	return []openapi.Operation{
		{Method: http.MethodGet, Path: "/sessions", Summary: "List sessions", Reply: openapi.List(sessionBody{})},
		{
			Method: http.MethodPost, Path: "/sessions", Summary: "Create a session and begin to link it",
			Body: openapi.Member("session", createInput{}, "name"), Status: http.StatusCreated, Reply: openapi.Data(sessionBody{}),
		},
		{Method: http.MethodGet, Path: one, Summary: "Retrieve a session", Reply: openapi.Data(sessionBody{})},
		{Method: http.MethodDelete, Path: one, Summary: "Unlink and delete a session", Errors: []int{http.StatusConflict}},
		{
			Method: http.MethodPost, Path: one + "/pairing", Summary: "Begin to link a session: by QR code, unless the body says otherwise",
			Body: openapi.Member("pairing", pairInput{}).Optional(), Status: http.StatusCreated, Reply: openapi.Data(sessionBody{}),
		},
		{
			Method: http.MethodPost, Path: one + "/passkey", Summary: "Hand in what a passkey answered",
			Body: openapi.Member("passkey", passkeyInput{}, "id", "response"), Reply: openapi.Data(sessionBody{}),
		},
		{
			Method: http.MethodPost, Path: one + "/passkey/confirm", Summary: "Say that the codes on both screens are the same",
			Reply: openapi.Data(sessionBody{}),
		},
		{
			Method: http.MethodPost, Path: one + "/logout", Summary: "Unlink a session's device",
			Status: http.StatusAccepted, Reply: openapi.Data(sessionBody{}),
		},
		{
			Method: http.MethodGet, Path: one + "/media/:message", Summary: "Download the file that came with a message",
			Reply: openapi.File(files...), Errors: []int{http.StatusConflict, http.StatusGone},
		},
	}
}
