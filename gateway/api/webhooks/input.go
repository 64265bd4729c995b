package webhooks

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// maxURL is how long a URL may be, in bytes.
const maxURL = 2048

// webhookInput is what a call says of a webhook. Absent members are left as they
// are; null is the default: active, all events, no action patterns.
type webhookInput struct {
	URL     wire.Nullable[string]   `json:"url" minLength:"1" maxLength:"2048" description:"Without a name, a password or a fragment; https, unless the operator lets deliveries through to the host"`
	Active  wire.Nullable[*bool]    `json:"active" description:"Null: true, which also turns on what wagent turned off"`
	Events  wire.Nullable[[]event]  `json:"events" description:"None, and no actions: all"`
	Actions wire.Nullable[[]string] `json:"actions" maxItems:"50" description:"Patterns of action types: three segments in which * stands for anything, such as support.*.*"`
}

// event is the name of one that webhooks are told of.
type event string

// read reads and checks the request's body.
func (h *API) read(c echo.Context) (*webhookInput, error) {
	var in webhookInput
	if err := wire.ReadMember(c, "webhook", &in); err != nil {
		return nil, err
	}
	p := wire.Problems{}
	if in.URL.Set && in.URL.Value != "" {
		if fault := h.urlFault(c, in.URL.Value); fault != "" {
			p.Add("url", fault)
		}
	}
	for _, e := range in.Events.Value {
		if !slices.Contains(gateway.Events(), string(e)) {
			p.Add("events", fmt.Sprintf("%.64q is not an event; the events are %s", e, strings.Join(gateway.Events(), ", ")))
			break // the list once is enough
		}
	}
	if len(in.Actions.Value) > gateway.MaxActionPatterns {
		p.Add("actions", fmt.Sprintf("must have at most %d entries", gateway.MaxActionPatterns))
	}
	if i := slices.IndexFunc(in.Actions.Value, func(s string) bool { return !gateway.ValidActionPattern(s) }); i >= 0 {
		p.Add("actions", fmt.Sprintf("%.64q must be three segments in which * stands for anything, such as support.*.*", in.Actions.Value[i]))
	}
	return &in, p.Err()
}

// urlFault says what is wrong with a URL, or returns "".
func (h *API) urlFault(c echo.Context, s string) string {
	if len(s) > maxURL {
		return fmt.Sprintf("must be at most %d bytes", maxURL)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return "must be a URL such as https://example.com/hook"
	case u.User != nil:
		return "must not hold a name or a password"
	case u.Fragment != "" || strings.Contains(s, "#"):
		return "must not have a fragment"
	case u.Scheme == "http" && !h.Network.Allowed(c.Request().Context(), u.Hostname()):
		return "must be https, unless webhook_delivery.allow_addresses names the host's addresses"
	}
	return ""
}

// apply changes a webhook as the call says. Nothing else of it may be invalid.
func (in *webhookInput) apply(w *gateway.Webhook) error {
	in.URL.To(&w.URL)
	if in.Events.Set {
		w.Events = once(in.Events.Value)
	}
	if in.Actions.Set {
		w.Actions = once(in.Actions.Value)
	}
	if in.Active.Set {
		w.Active = in.Active.Value == nil || *in.Active.Value
		if w.Active {
			w.Disabled = "" // a person says that it works again
		}
	}
	p := wire.Problems{}
	if w.URL == "" {
		p.Add("url", "can't be blank")
	}
	return p.Err()
}

// once leaves each name out after the first time.
func once[T ~string](names []T) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, string(n)) {
			out = append(out, string(n))
		}
	}
	return out
}
