// Package check holds what models answer to the rules of the agent that asked.
//
// A [Checker] takes any bytes and returns what is left of them that an agent
// may say and do: actions of allowed types, payloads of the declared types,
// bounded sizes, text that a database takes. Beside that it says what a repair
// should mend and what was dropped, in words that repeat nothing of a
// customer's. [Schema] is the same rules as far as a model can be told them.
//
// It keeps no state.
package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"wagent/gateway"
)

// What an answer may hold at most, whatever the model was told.
const (
	maxActions = 20
	maxPayload = 16 << 10 // bytes of JSON
	maxDepth   = 32       // of a payload's nesting
)

// envelope is the schema of every answer, but for its actions.
const envelope = `{
	"type": "object",
	"required": ["intent", "confidence", "actions", "language", "suggested_reply", "analysis_summary", "context_summary"],
	"properties": {
		"intent": {"type": "string", "maxLength": 200, "pattern": "\\S"},
		"confidence": {"type": "number", "minimum": 0, "maximum": 1},
		"actions": {"type": "array"},
		"language": {"type": "string"},
		"suggested_reply": {"type": "string", "maxLength": 16000},
		"analysis_summary": {"type": "string", "maxLength": 8000},
		"context_summary": {"type": "string", "maxLength": 8000}
	}
}`

// spare are the members without which an answer still is one.
var spare = []string{"language", "analysis_summary", "context_summary"}

var compiledEnvelope = sync.OnceValues(func() (*jsonschema.Schema, error) { return compile([]byte(envelope)) })

// A Checker validates the answers of one agent. It is used by one goroutine.
type Checker struct {
	agent    *gateway.Agent
	zone     *time.Location
	envelope *jsonschema.Schema
	payload  *jsonschema.Schema // nil: payloads are free
}

// New returns an agent's Checker. Dates and times that name no zone are taken
// to be of zone; nil: of UTC. It fails if the agent's payload schema is not what
// Agent.Validate lets through.
func New(ag *gateway.Agent, zone *time.Location) (*Checker, error) {
	env, err := compiledEnvelope()
	if err != nil {
		return nil, err
	}
	c := &Checker{agent: ag, zone: time.UTC, envelope: env}
	if zone != nil {
		c.zone = zone
	}
	if len(ag.PayloadSchema) > 0 {
		c.payload, err = compile(payloadSchema(ag.PayloadSchema))
	}
	return c, err
}

// compile compiles a schema whose formats are enforced.
func compile(src []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(src))
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiler.RegisterFormat(&jsonschema.Format{Name: "time", Validate: validateTime})
	if err := compiler.AddResource("answer.json", doc); err != nil {
		return nil, fmt.Errorf("add schema: %w", err)
	}
	s, err := compiler.Compile("answer.json")
	if err != nil {
		return nil, fmt.Errorf("compile schema: %w", err)
	}
	return s, nil
}

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
				s["pattern"] = `\S`
			}
		}
		props = append(props, property{name: f.Name, schema: s, optional: !f.Required})
	}
	return object(true, props...)
}

// rfc3339Time is a full-time or, since the customer's zone may go without
// saying, a partial-time of RFC 3339, section 5.6.
var rfc3339Time = regexp.MustCompile(`^(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?$`)

func validateTime(v any) error {
	if s, ok := v.(string); ok && !rfc3339Time.MatchString(s) {
		return errors.New("not a time of RFC 3339")
	}
	return nil
}

// A Verdict is what an answer is worth.
type Verdict struct {
	Output gateway.Output // what is left of it; fit for use if Fatal is empty
	Faults []string       // what a repair should mend, without the values
	Fatal  []string       // those of the faults that leave no answer
	Notes  []string       // what was dropped
	Memory *string        // what is to be kept of the contact; nil: what was kept
}

func (v *Verdict) fault(fatal bool, format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	v.Faults = append(v.Faults, s)
	if fatal {
		v.Fatal = append(v.Fatal, s)
	}
}

func (v *Verdict) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

// Check validates a model's text, whatever its bytes are.
func (c *Checker) Check(text string) Verdict {
	var v Verdict
	v.Output.Actions = []gateway.OutputAction{}
	answer, err := extract(text)
	if err != nil {
		v.fault(true, "%v", err)
		return v
	}
	clean(answer)
	for _, f := range violations(c.envelope, answer) {
		name := f.member()
		isSpare := slices.Contains(spare, name)
		v.fault(!isSpare, "%s", f.words)
		if isSpare {
			delete(answer, name)
			v.note("dropped %s: %s", name, f.words)
		}
	}
	o := &v.Output
	o.Intent, _ = answer["intent"].(string)
	o.Confidence, _ = answer["confidence"].(float64)
	o.SuggestedReply, _ = answer["suggested_reply"].(string)
	o.AnalysisSummary, _ = answer["analysis_summary"].(string)
	o.ContextSummary, _ = answer["context_summary"].(string)
	o.Intent = strings.TrimSpace(o.Intent)
	if lang, ok := answer["language"].(string); ok {
		if o.Language, ok = language(lang); !ok {
			v.note("dropped language: it is no code of ISO 639-1")
		}
	}
	actions, _ := answer["actions"].([]any)
	for i, a := range actions {
		c.action(&v, i, a)
	}
	c.memory(&v, answer[memory])
	return v
}

// memory takes what the agent wants kept of the contact. A text that is too long
// is not cut: what was kept until now says more than half of another.
func (c *Checker) memory(v *Verdict, raw any) {
	limit := c.agent.ContactMemory
	if limit == 0 || raw == nil {
		return
	}
	var fault string
	text, ok := raw.(string)
	text = strings.TrimSpace(text)
	switch n := utf8.RuneCountInString(text); {
	case !ok:
		fault = memory + " must be of type string or null"
	case n > limit:
		fault = fmt.Sprintf("%s must have at most %d characters, not %d", memory, limit, n)
	default:
		v.Memory = &text
		return
	}
	v.fault(false, "%s", fault)
	v.note("dropped %s: %s", memory, fault)
}

var languageCode = regexp.MustCompile(`^[a-z]{2}$`)

// language returns the ISO 639-1 code that a tag such as pt-BR starts with.
func language(tag string) (string, bool) {
	code, _, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(strings.TrimSpace(tag)), "_", "-"), "-")
	if code == "" {
		return "", true
	}
	if !languageCode.MatchString(code) {
		return "", false
	}
	return code, true
}

// action takes one action into the output, or drops it.
func (c *Checker) action(v *Verdict, i int, raw any) {
	before := len(v.Faults)
	drop := func(format string, args ...any) { v.fault(false, "actions[%d]"+format, append([]any{i}, args...)...) }
	act, isObject := raw.(map[string]any)
	kind, isString := act["type"].(string)
	payload, hasPayload := act["payload"].(map[string]any)
	switch {
	case i >= maxActions:
		drop(" is one too many: at most %d", maxActions)
	case !isObject:
		drop(" must be an object")
	case !isString:
		drop(".type must be a string")
	case !c.allowed(kind):
		drop(".type must be %s", c.allowedWords())
	case IsSystem(kind):
		payload = map[string]any{} // nothing that it might say is asked for
	case !hasPayload:
		drop(".payload must be an object")
	default:
		c.payloadFaults(v, i, payload)
	}
	if faults := v.Faults[before:]; len(faults) > 0 {
		v.note("dropped action %d%s: %s", i, shown(kind), Summary(faults))
		return
	}
	v.Output.Actions = append(v.Output.Actions, gateway.OutputAction{Type: kind, Payload: payload})
}

// payloadFaults checks a payload against the agent's fields. Beforehand it
// brings it into their form: nulls of optional fields and fields that nobody
// declared are removed, 19:30 becomes 19:30:00, and a date and time without a
// zone is given that of the business.
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
	}
}

var shortTime = regexp.MustCompile(`^(?:[01][0-9]|2[0-3]):[0-5][0-9]$`)

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
		case f.Type == gateway.FieldTime && shortTime.MatchString(s):
			payload[f.Name] = s + ":00"
		case f.Type == gateway.FieldDateTime:
			if clock, ok := wallClock(s); ok {
				payload[f.Name] = c.locate(v, fmt.Sprintf("actions[%d].payload.%s", i, f.Name), clock)
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

// actionType is what the types of free-form agents look like; nobody may make
// up system actions.
var actionType = regexp.MustCompile(`^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*){2}$`)

const maxType = 120

func (c *Checker) allowed(kind string) bool {
	if IsSystem(kind) {
		return true
	}
	if len(c.agent.AllowedActions) > 0 {
		return slices.Contains(c.agent.AllowedActions, kind)
	}
	return len(kind) <= maxType && actionType.MatchString(kind) && !strings.HasPrefix(kind, "system.")
}

func (c *Checker) allowedWords() string {
	if len(c.agent.AllowedActions) == 0 {
		return "domain.resource.action in snake_case"
	}
	return "one of " + strings.Join(slices.Concat(c.agent.AllowedActions, systemActions()), ", ")
}

// shown is an action's type as notes have it: only if it is one, since a model
// may be made to write anything there.
func shown(kind string) string {
	if len(kind) > maxType || !actionType.MatchString(kind) {
		return ""
	}
	return " (" + kind + ")"
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

// Summary is what a run's notes and error say of faults: the first three.
func Summary(faults []string) string {
	if len(faults) > 3 {
		return strings.Join(faults[:3], "; ") + fmt.Sprintf("; and %d more", len(faults)-3)
	}
	return strings.Join(faults, "; ")
}

// A violation is one rule that a value breaks.
type violation struct {
	path  []string
	words string // the path and the rule, without the value
}

func (v *violation) member() string { return v.path[0] }

// violations returns what is wrong with a value, in a stable order.
func violations(s *jsonschema.Schema, value any) []violation {
	err := s.Validate(value)
	if err == nil {
		return nil
	}
	ve, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return []violation{{path: []string{""}, words: "it can not be validated"}}
	}
	var out []violation
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) > 0 {
			for _, cause := range e.Causes {
				walk(cause)
			}
			return
		}
		out = append(out, leaf(e)...)
	}
	walk(ve)
	slices.SortFunc(out, func(a, b violation) int { return strings.Compare(a.words, b.words) })
	return out
}

// leaf says in our words what one error of the library is: its own repeat the
// value, which may be a customer's.
func leaf(e *jsonschema.ValidationError) []violation {
	if k, ok := e.ErrorKind.(*kind.Required); ok {
		var out []violation
		for _, name := range k.Missing {
			path := append(slices.Clone(e.InstanceLocation), name)
			out = append(out, violation{path, strings.Join(path, ".") + " is missing"})
		}
		return out
	}
	rule := "is not valid"
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		rule = "must be of type " + strings.Join(k.Want, " or ")
	case *kind.Minimum:
		rule = "must be at least " + k.Want.RatString()
	case *kind.Maximum:
		rule = "must be at most " + k.Want.RatString()
	case *kind.MaxLength:
		rule = fmt.Sprintf("must have at most %d characters", k.Want)
	case *kind.Pattern:
		rule = "must not be blank" // the only pattern that we use
	case *kind.Format:
		t := gateway.FieldType(k.Want)
		if k.Want == "date-time" {
			t = gateway.FieldDateTime
		}
		rule = "must be " + fieldWords(t)
	}
	path := slices.Clone(e.InstanceLocation)
	if len(path) == 0 {
		path = []string{"the answer"}
	}
	return []violation{{path, strings.Join(path, ".") + " " + rule}}
}
