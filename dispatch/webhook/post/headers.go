package post

import (
	"net/http"
	"slices"
	"strings"
)

// What is kept of the headers of an answer.
const (
	shownHeaders = 20
	shownValue   = 200
)

// shown returns the headers of an answer that a person may see, without what may
// be a secret.
func shown(h http.Header) map[string]string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	out := map[string]string{}
	for _, name := range names[:min(len(names), shownHeaders)] {
		value := strings.Join(h[name], ", ")
		switch {
		case secretive(name):
			value = "***"
		case len(value) > shownValue:
			value = value[:shownValue] + "…"
		}
		out[storable([]byte(name[:min(len(name), shownValue)]))] = storable([]byte(value))
	}
	return out
}

// secretive reports whether a header of that name may hold a secret.
func secretive(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"cookie", "auth", "token", "secret", "key", "session", "signature", "password", "credential", "location"},
		func(part string) bool { return strings.Contains(name, part) })
}
