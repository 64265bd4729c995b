package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"wagent/gateway"
)

// A hookLine is a webhook as the API shows it, with how it is delivered to.
type hookLine struct {
	ID       int64    `json:"id"`
	URL      string   `json:"url"`
	Active   bool     `json:"active"`
	Disabled *string  `json:"disabled"`
	Events   []string `json:"events"`
	Actions  []string `json:"actions"`
	hookFare
}

type hookFare struct {
	Paused       bool       `json:"paused"`
	Ordered      bool       `json:"ordered"`
	FailingSince *time.Time `json:"failing_since"`
	RestsUntil   *time.Time `json:"rests_until"`
}

// state is how a webhook fares, in a word or two.
func (h *hookLine) state(now time.Time) string {
	switch {
	case h.Disabled != nil:
		return "turned off: " + *h.Disabled
	case !h.Active:
		return "off"
	case h.Paused:
		return "paused"
	case h.RestsUntil != nil && h.RestsUntil.After(now):
		return "rests until " + moment(h.RestsUntil)
	case h.FailingSince != nil:
		return "fails since " + moment(h.FailingSince)
	default:
		return "on"
	}
}

// hostOf is what of a webhook's URL is no secret.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "-"
	}
	return u.Host
}

// A deliveryLine is a delivery as the API shows it.
type deliveryLine struct {
	ID         string          `json:"id"`
	Event      string          `json:"event"`
	State      string          `json:"state"`
	Attempts   int             `json:"attempts"`
	RunID      *string         `json:"run_id"`
	LastStatus *int            `json:"last_status"`
	LastError  *string         `json:"last_error"`
	NextAt     *time.Time      `json:"next_attempt_at"`
	CreatedAt  *time.Time      `json:"created_at"`
	Body       json.RawMessage `json:"body"`
	Log        []attemptLine   `json:"attempt_log"`
}

type attemptLine struct {
	Number     int                `json:"number"`
	At         *time.Time         `json:"at"`
	DurationMS int64              `json:"duration_ms"`
	Status     *int               `json:"status"`
	Error      *string            `json:"error"`
	Answer     string             `json:"answer"`
	Headers    map[string]string  `json:"headers"`
	Phases     map[string]float64 `json:"phases"`
}

// ended is how an attempt ended, in a few words.
func ended(status *int, why *string, attempts int) string {
	switch {
	case why != nil && status != nil:
		return fmt.Sprintf("%d, %s", *status, *why)
	case why != nil:
		return *why
	case status != nil:
		return strconv.Itoa(*status)
	case attempts == 0:
		return "-"
	default:
		return "no answer"
	}
}

// deliveriesTable shows deliveries to people.
func deliveriesTable(w io.Writer, all []json.RawMessage) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tEVENT\tSTATE\tATTEMPTS\tLAST\tNEXT\tCREATED")
	for _, raw := range all {
		var d deliveryLine
		if err := json.Unmarshal(raw, &d); err != nil {
			return fmt.Errorf("read a delivery: %w", err)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", d.ID, d.Event, d.State, d.Attempts, ended(d.LastStatus, d.LastError, d.Attempts), moment(d.NextAt), moment(d.CreatedAt))
	}
	return t.Flush()
}

// print shows a delivery and its attempts to people.
func (d *deliveryLine) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("delivery", "%s, %s", d.ID, d.State)
	row("event", "%s", d.Event)
	if d.RunID != nil {
		row("run", "%s", *d.RunID)
	}
	row("created", "%s", moment(d.CreatedAt))
	if d.NextAt != nil {
		row("next attempt", "%s", moment(d.NextAt))
	}
	if d.State == string(gateway.DeliveryPending) && d.Attempts == 0 {
		row("attempts", "none yet; there are none while no wagent runs, and while the webhook is paused or rests")
	}
	row("body", "%s", d.Body)
	for i := range d.Log {
		a := &d.Log[i]
		var phases []string
		for _, name := range slices.Sorted(maps.Keys(a.Phases)) {
			if ms := a.Phases[name]; ms > 0 {
				phases = append(phases, fmt.Sprintf("%s %.2f ms", strings.TrimSuffix(name, "_ms"), ms))
			}
		}
		row(fmt.Sprintf("attempt %d", a.Number), "%s after %d ms: %s; %s", second(a.At), a.DurationMS, ended(a.Status, a.Error, 1), strings.Join(phases, ", "))
		for _, name := range slices.Sorted(maps.Keys(a.Headers)) {
			row("", "%s: %s", name, a.Headers[name])
		}
		if a.Answer != "" {
			row("", "%q", a.Answer)
		}
	}
	return t.Flush()
}

// second is a time to the second.
func second(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// printJSON prints for programs.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
