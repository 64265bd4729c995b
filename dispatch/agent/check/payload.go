package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"wagent/gateway"
)

// maxExact is the largest number up to which a float64 holds every integer.
const maxExact = 1<<53 - 1

// payloadSchema is the full schema of a payload, formats included.
func payloadSchema(fields []gateway.Field) []byte {
	var props []property
	for _, f := range fields {
		s := map[string]any{"type": "string"}
		switch f.Type {
		case gateway.FieldNumber: // beyond this an order's number would change on its way
			s["type"], s["minimum"], s["maximum"] = "number", -maxExact, maxExact
		case gateway.FieldBoolean:
			s["type"] = "boolean"
		case gateway.FieldDate, gateway.FieldTime:
			s["format"] = string(f.Type)
		case gateway.FieldDateTime:
			s["format"] = "date-time"
		case gateway.FieldText:
			if f.Required {
				s["pattern"] = strings.ReplaceAll(visible, `\\`, `\`)
			}
		}
		props = append(props, property{name: f.Name, schema: s, optional: !f.Required})
	}
	return object(true, props...)
}

// rfc3339Time is a full-time or, since the zone of the business goes without
// saying, a partial-time of RFC 3339, section 5.6.
var rfc3339Time = regexp.MustCompile(`^(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?$`)

func validateTime(v any) error {
	if s, ok := v.(string); ok && !rfc3339Time.MatchString(s) {
		return errors.New("not a time of RFC 3339")
	}
	return nil
}

// payloadFaults checks a payload against the agent's fields. Beforehand it
// brings it into their form: nulls of optional fields and fields that nobody
// declared are removed, 19:30 becomes 19:30:00, and a date and time without a
// zone is given that of the business. A time alone stays without one: which offset
// it would be is the day's to say.
func (c *Checker) payloadFaults(v *Verdict, i int, payload map[string]any) {
	if c.payload != nil {
		if n := c.tidy(v, i, payload); n > 0 {
			v.note("dropped what was not declared of action %d (fields: %d)", i, n)
		}
		for _, f := range violations(c.payload, payload) {
			v.fault(false, "actions[%d].payload.%s", i, f.words)
		}
	}
	b, err := json.Marshal(payload)
	switch {
	case err != nil:
		v.fault(false, "actions[%d].payload must be JSON", i)
	case len(b) > maxPayload:
		v.fault(false, "actions[%d].payload must be smaller than %d KiB", i, maxPayload>>10)
	case depth(payload) > maxDepth:
		v.fault(false, "actions[%d].payload must be nested less deeply", i)
	case c.payload == nil && !exact(payload):
		v.fault(false, "actions[%d].payload must have no number that would be rounded: it can be a string", i)
	}
}

// shortTime is a time without seconds.
var shortTime = regexp.MustCompile(`^((?:[0-9]{4}-[0-9]{2}-[0-9]{2}T)?(?:[01][0-9]|2[0-3]):[0-5][0-9])((?:Z|[+-][0-9]{2}:[0-9]{2})?)$`)

func (c *Checker) tidy(v *Verdict, i int, payload map[string]any) (undeclared int) {
	declared := make(map[string]bool, len(c.agent.PayloadSchema))
	for _, f := range c.agent.PayloadSchema {
		declared[f.Name] = true
		value, ok := payload[f.Name]
		if ok && value == nil && !f.Required {
			delete(payload, f.Name)
		}
		s, ok := value.(string)
		switch {
		case !ok:
		case f.Type == gateway.FieldTime:
			payload[f.Name] = shortTime.ReplaceAllString(s, "$1:00$2")
		case f.Type == gateway.FieldDateTime:
			if clock, ok := wallClock(s); ok {
				payload[f.Name] = c.locate(v, fmt.Sprintf("actions[%d].payload.%s", i, f.Name), clock)
			} else {
				payload[f.Name] = shortTime.ReplaceAllString(s, "$1:00$2")
			}
		}
	}
	for name := range payload {
		if !declared[name] {
			delete(payload, name)
			undeclared++
		}
	}
	return undeclared
}

// locate returns a date and time of the business's clocks as one of RFC 3339.
func (c *Checker) locate(v *Verdict, where string, clock time.Time) string {
	times := at(clock, c.zone)
	switch len(times) {
	case 0:
		v.fault(false, "%s must be a time that exists: clocks in %s are put forward past this one", where, c.zone)
		return clock.Format(time.RFC3339Nano) // not used, and no second fault
	case 2:
		v.note("%s happens twice, since clocks in %s are put back: the earlier one was taken", where, c.zone)
	}
	return times[0].Format(time.RFC3339Nano)
}

func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	default:
		return 0
	}
	return deepest + 1
}

// exact reports whether no number of a value is beyond those that a float64
// holds one by one: an order's number would be another's.
func exact(v any) bool {
	switch v := v.(type) {
	case float64:
		return math.Abs(v) <= maxExact
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !exact(e) })
	case map[string]any:
		for _, e := range v {
			if !exact(e) {
				return false
			}
		}
	}
	return true
}
