package webhooks

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// The bounds of what a call says of deliveries.
const (
	maxOnly = 100 // agents, or accounts
	maxID   = 100 // bytes of an id of these
)

// settingsInput is what a call says of how a webhook is delivered to. Absent members
// are left as they are; null is the default.
type settingsInput struct {
	Paused      wire.Nullable[bool]               `json:"paused" description:"Nothing is delivered, and nothing given up, until it is false again"`
	Ordered     wire.Nullable[bool]               `json:"ordered" description:"Of one conversation, nothing is delivered before what came earlier has succeeded or was given up"`
	Concurrency wire.Nullable[*int]               `json:"concurrency" minimum:"1" maximum:"100" description:"Attempts at once, at most; null: 16"`
	PerMinute   wire.Nullable[*int]               `json:"per_minute" minimum:"1" maximum:"100000" description:"Attempts, at most; null: any number"`
	Headers     wire.Nullable[map[string]*string] `json:"headers" description:"Sent with each attempt, in the place of those there were; their values are not shown again"`
	Agents      wire.Nullable[[]string]           `json:"agents" maxItems:"100" description:"Whose runs and actions it is told of, and of nothing that is no agent's; none: of all"`
	Accounts    wire.Nullable[[]string]           `json:"accounts" maxItems:"100" description:"Whose events it is told of, and of nothing that is no account's; none: of all"`
}

// settingsBody is how a webhook is delivered to, as clients see it.
type settingsBody struct {
	Paused      bool     `json:"paused"`
	Ordered     bool     `json:"ordered"`
	Concurrency *int     `json:"concurrency"`
	PerMinute   *int     `json:"per_minute"`
	HeaderNames []string `json:"header_names"`
	Agents      []string `json:"agents"`
	Accounts    []string `json:"accounts"`
	// How it fares.
	FailingSince *string `json:"failing_since" description:"When the first attempt failed since one succeeded"`
	RestsUntil   *string `json:"rests_until" description:"Too many failed one after the other: until then none is made"`
}

func newSettingsBody(w *gateway.Webhook) settingsBody {
	b := settingsBody{
		Paused: w.Paused, Ordered: w.Ordered, Concurrency: orNone(w.Concurrency), PerMinute: orNone(w.PerMinute),
		HeaderNames: append([]string{}, slices.Sorted(maps.Keys(w.Headers))...), Agents: []string{}, Accounts: []string{},
		FailingSince: wire.Stamp(w.FailingSince), RestsUntil: wire.Stamp(w.RestsUntil),
	}
	for _, a := range w.Agents {
		b.Agents = append(b.Agents, a.String())
	}
	for _, a := range w.Accounts {
		b.Accounts = append(b.Accounts, string(a))
	}
	return b
}

// orNone returns nil for 0.
func orNone(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

func (h *API) settings(c echo.Context) error {
	w, err := h.find(c)
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusOK, newSettingsBody(&w))
}

func (h *API) set(c echo.Context) error {
	old, err := h.find(c)
	if err != nil {
		return err
	}
	var in settingsInput
	if err := wire.ReadMember(c, "settings", &in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	change := func() (gateway.Webhook, error) {
		return h.Editor.ChangeWebhook(c.Request().Context(), old.ID, in.apply)
	}
	if in.onlyPauses() {
		change = func() (gateway.Webhook, error) {
			return h.Editor.PauseWebhook(c.Request().Context(), old.ID, in.Paused.Value)
		}
	}
	w, err := change()
	if err != nil {
		return fmt.Errorf("change webhook %d: %w", old.ID, err)
	}
	return wire.Data(c, http.StatusOK, newSettingsBody(&w))
}

// check returns all that is wrong with what the call says.
func (in *settingsInput) check() error {
	p := wire.Problems{}
	for name, n := range map[string]struct {
		value *int
		most  int
	}{"concurrency": {in.Concurrency.Value, gateway.MaxWebhookConcurrency}, "per_minute": {in.PerMinute.Value, gateway.MaxWebhookPerMinute}} {
		if n.value != nil && (*n.value < 1 || *n.value > n.most) {
			p.Add(name, fmt.Sprintf("must be between 1 and %d", n.most))
		}
	}
	if fault := headersFault(in.Headers.Value); fault != "" {
		p.Add("headers", fault)
	}
	for name, values := range map[string][]string{"agents": in.Agents.Value, "accounts": in.Accounts.Value} {
		if len(values) > maxOnly {
			p.Add(name, fmt.Sprintf("must have at most %d entries", maxOnly))
		}
		if slices.Contains(values, "") {
			p.Add(name, "can't be blank")
		}
		if slices.ContainsFunc(values, func(s string) bool { return len(s) > maxID }) {
			p.Add(name, fmt.Sprintf("must be ids of at most %d bytes", maxID))
		}
	}
	for _, a := range in.Agents.Value {
		if _, ok := gateway.ParseAgentID(a); a != "" && !ok {
			p.Add("agents", fmt.Sprintf("%.64q is not the id of an agent, such as agt_0123456789abcdef0123456789abcdef", a))
			break
		}
	}
	return p.Err()
}

// headersFault says what is wrong with headers, or returns "".
func headersFault(headers map[string]*string) string {
	if len(headers) > gateway.MaxWebhookHeaders {
		return fmt.Sprintf("must be at most %d", gateway.MaxWebhookHeaders)
	}
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		key := http.CanonicalHeaderKey(name)
		if seen[key] {
			return name + " stands there twice, in small letters and large ones"
		}
		if headers[name] == nil {
			return name + " must be a text: leave it out, and it is not sent any more"
		}
		seen[key] = true
		if fault := gateway.HeaderFault(name, *headers[name]); fault != "" {
			return fault
		}
	}
	return ""
}

// onlyPauses reports whether the call changes nothing but the pause.
func (in *settingsInput) onlyPauses() bool {
	return in.Paused.Set && !in.Ordered.Set && !in.Concurrency.Set && !in.PerMinute.Set && !in.Headers.Set && !in.Agents.Set && !in.Accounts.Set
}

// apply changes a webhook as the call says.
func (in *settingsInput) apply(w *gateway.Webhook) error {
	in.Paused.To(&w.Paused)
	in.Ordered.To(&w.Ordered)
	for _, n := range []struct {
		in wire.Nullable[*int]
		to *int
	}{{in.Concurrency, &w.Concurrency}, {in.PerMinute, &w.PerMinute}} {
		if n.in.Set {
			*n.to = 0
			if n.in.Value != nil {
				*n.to = *n.in.Value
			}
		}
	}
	if in.Headers.Set {
		w.Headers = nil
		for name, value := range in.Headers.Value {
			if w.Headers == nil {
				w.Headers = map[string]gateway.Secret{}
			}
			w.Headers[http.CanonicalHeaderKey(name)] = gateway.Secret(*value)
		}
	}
	if in.Agents.Set {
		w.Agents = nil
		for _, s := range once(in.Agents.Value) {
			id, _ := gateway.ParseAgentID(s)
			w.Agents = append(w.Agents, id)
		}
	}
	if in.Accounts.Set {
		w.Accounts = nil
		for _, s := range once(in.Accounts.Value) {
			w.Accounts = append(w.Accounts, gateway.AccountID(s))
		}
	}
	return nil
}
