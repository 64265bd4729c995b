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
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"wagent/gateway"
)

// What an answer may hold at most, whatever the model was told.
const (
	maxActions = 20
	maxPayload = 16 << 10 // bytes of JSON
	maxDepth   = 32       // of a payload's nesting
)

// visible is the pattern of a text that is not blank, in a JSON string: neither
// spaces of any script nor characters without width make one.
const visible = `[^\\s\\p{Z}\\p{C}]`

// envelope is the schema of every answer, but for its actions.
const envelope = `{
	"type": "object",
	"required": ["intent", "confidence", "actions", "language", "suggested_reply", "analysis_summary", "context_summary"],
	"properties": {
		"intent": {"type": "string", "maxLength": 200, "pattern": "` + visible + `"},
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
		c.payload, err = payloads.of(payloadSchema(ag.PayloadSchema))
	}
	return c, err
}

// payloads are the schemas of payloads as they were compiled before: that takes
// longer than all else that is done with an answer.
var payloads = compiled{by: map[string]*jsonschema.Schema{}}

// maxCompiled is how many schemas are remembered.
const maxCompiled = 1000

type compiled struct {
	mu sync.Mutex
	by map[string]*jsonschema.Schema // which is safe for concurrent use
}

func (c *compiled) of(src []byte) (*jsonschema.Schema, error) {
	c.mu.Lock()
	s, ok := c.by[string(src)]
	c.mu.Unlock()
	if ok {
		return s, nil
	}
	s, err := compile(src)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.by) >= maxCompiled {
		clear(c.by)
	}
	c.by[string(src)] = s
	return s, nil
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
	twice := errors.Is(err, errRepeated)
	if err != nil {
		v.fault(!twice, "%v", err)
	}
	if answer == nil {
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
	if twice && len(actions) > 0 {
		// Any one that is left would be allowed, but nobody can tell if it was meant.
		v.note("dropped the actions (%d): an object of the answer had a member twice", len(actions))
		actions = nil
	}
	if n := len(actions) - maxActions; n > 0 {
		v.fault(false, "actions must have at most %d entries", maxActions)
		v.note("dropped the last %d actions: at most %d are taken", n, maxActions)
		actions = actions[:maxActions]
	}
	for i, a := range actions {
		c.action(&v, i, a)
	}
	if raw := answer[memory]; twice && raw != nil && c.agent.ContactMemory > 0 {
		v.note("dropped %s: an object of the answer had a member twice", memory)
	} else {
		c.memory(&v, raw)
	}
	return v
}

// memory takes what the agent wants kept of the contact. A text that is too long
// is not cut: what was kept until now says more than half of another. One that is
// empty is what models without a strict mode write for null: what was kept for good
// is not lost by that. Who wants it erased does so over the API.
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
		if text != "" {
			v.Memory = &text
		}
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

// Summary is what a run's notes and error say of faults: the first three.
func Summary(faults []string) string {
	if len(faults) > 3 {
		return strings.Join(faults[:3], "; ") + fmt.Sprintf("; and %d more", len(faults)-3)
	}
	return strings.Join(faults, "; ")
}
