package post

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"wagent/gateway"
)

// What is kept of the headers of an answer.
const (
	shownHeaders = 20
	shownValue   = 200
)

// shown returns the headers of an answer that a person may see, without what may
// be a secret.
func shown(h http.Header, hide func(string) string) map[string]string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	out := map[string]string{}
	for _, name := range names[:min(len(names), shownHeaders)] {
		value := hide(strings.Join(h[name], ", "))
		switch {
		case Secretive(name):
			value = "***"
		case len(value) > shownValue:
			value = value[:shownValue] + "…"
		}
		out[storable([]byte(name[:min(len(name), shownValue)]))] = storable([]byte(value))
	}
	return out
}

// Secretive reports whether a header of that name may hold a secret.
func Secretive(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"cookie", "auth", "token", "secret", "key", "session", "signature", "password", "credential", "location"},
		func(part string) bool { return strings.Contains(name, part) })
}

// leastHidden is how long a secret is at least that is looked for in what an endpoint
// answers, in bytes: what is shorter stands there by chance.
const leastHidden = 6

// Hiding takes out of what an endpoint answers what we sent along and is secret, as it
// is and as JSON may have it: some answer with what they were asked. Of the webhook's
// headers it hides those whose name which picks.
func Hiding(hook *gateway.Webhook, which func(name string) bool) func(string) string {
	secrets := []string{string(hook.Secret), string(hook.PreviousSecret)}
	for name, value := range hook.Headers {
		if which(name) {
			secrets = append(secrets, string(value))
			if _, token, ok := strings.Cut(string(value), " "); ok { // after "Bearer"
				secrets = append(secrets, token)
			}
		}
	}
	for _, s := range slices.Clone(secrets) {
		if escaped := strings.ReplaceAll(s, "/", `\/`); escaped != s {
			secrets = append(secrets, escaped)
		}
	}
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return len(s) < leastHidden })
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) }) // one may begin with another
	return func(text string) string {
		for _, s := range secrets {
			text = strings.ReplaceAll(text, s, "***")
		}
		return text
	}
}
