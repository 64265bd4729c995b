package check

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"wagent/gateway"
)

// Schema returns the JSON Schema that an agent's model is asked to answer in,
// and whether it keeps to what strict modes can express: every object closed,
// every property required, no keywords for ranges or formats.
//
// It is strict for an agent with allowed actions and a payload schema, whose
// optional fields may then be null. Otherwise payloads, or the types of
// actions, are free and no strict mode can express that. What the schema does
// not say, [Checker.Check] enforces all the same.
func Schema(ag *gateway.Agent) (schema json.RawMessage, strict bool) {
	strict = len(ag.AllowedActions) > 0 && len(ag.PayloadSchema) > 0
	text := func(about string) any { return map[string]any{"type": "string", "description": about} }
	members := []property{
		{name: "intent", schema: text("what the customer wants, in a word or a few, snake_case")},
		{name: "confidence", schema: map[string]any{"type": "number", "description": "how sure the intent is, from 0 to 1"}},
		{name: "actions", schema: map[string]any{"type": "array", "items": actionSchema(ag, strict)}},
		{name: "language", schema: text("the customer's language, ISO 639-1, such as en")},
		{name: "suggested_reply", schema: text("what is sent to the customer")},
		{name: "analysis_summary", schema: text("what happened, for the business")},
		{name: "context_summary", schema: text("what to remember of the conversation")},
	}
	if ag.ContactMemory > 0 {
		about := fmt.Sprintf("all that is to be kept of the customer for good, at most %d characters; null: as it is", ag.ContactMemory)
		members = append(members, property{name: memory, schema: map[string]any{"type": []string{"string", "null"}, "description": about}})
	}
	return object(true, members...), strict
}

// memory is the member that only agents with a ContactMemory have.
const memory = "contact_memory"

// actionSchema is the schema of one action. System actions carry nothing.
func actionSchema(ag *gateway.Agent, strict bool) any {
	var kind any = map[string]any{"type": "string", "description": "domain.resource.action in snake_case"}
	if len(ag.AllowedActions) > 0 {
		kind = enum(ag.AllowedActions)
	}
	if len(ag.PayloadSchema) == 0 {
		if len(ag.AllowedActions) > 0 {
			kind = enum(slices.Concat(ag.AllowedActions, systemActions()))
		}
		return object(false, property{name: "type", schema: kind}, property{name: "payload", schema: map[string]any{"type": "object"}})
	}
	var payload []property
	for _, f := range ag.PayloadSchema {
		payload = append(payload, property{name: f.Name, schema: fieldSchema(f, strict), optional: !strict && !f.Required})
	}
	fields := object(strict, payload...)
	return map[string]any{"anyOf": []any{
		object(true, property{name: "type", schema: kind}, property{name: "payload", schema: fields}),
		object(true, property{name: "type", schema: enum(systemActions())}, property{name: "payload", schema: object(true)}),
	}}
}

func systemActions() []string { return []string{gateway.ActionSkip, gateway.ActionPause} }

// IsSystem reports whether a type is one of the actions that are always allowed
// and that take effect here, with nobody told of them.
func IsSystem(actionType string) bool { return slices.Contains(systemActions(), actionType) }

func enum(values []string) any {
	all := slices.Clone(values)
	slices.Sort(all)
	return map[string]any{"type": "string", "enum": slices.Compact(all)}
}

// fieldSchema is the schema of a payload's field, as a model is told.
func fieldSchema(f gateway.Field, strict bool) any {
	kind, about := "string", ""
	switch f.Type {
	case gateway.FieldNumber:
		kind = "number"
	case gateway.FieldBoolean:
		kind = "boolean"
	case gateway.FieldDate, gateway.FieldTime, gateway.FieldDateTime:
		about = fieldWords(f.Type)
	case gateway.FieldText:
	}
	s := map[string]any{"type": kind}
	if strict && !f.Required {
		s["type"] = []string{kind, "null"}
	}
	if about != "" {
		s["description"] = about
	}
	return s
}

// fieldWords says what a field holds. Its examples name no zone: models repeat
// them, and say that a customer's half past two is UTC's.
func fieldWords(t gateway.FieldType) string {
	switch t {
	case gateway.FieldNumber:
		return "a number"
	case gateway.FieldBoolean:
		return "true or false"
	case gateway.FieldDate:
		return "a date such as 2026-11-30"
	case gateway.FieldTime:
		return "a time such as 14:30" + localTime
	case gateway.FieldDateTime:
		return "a date and time such as 2026-11-30T14:30" + localTime
	default:
		return "a string"
	}
}

const localTime = ", local time of the business unless the customer names another zone, whose offset then follows"

// A property is a member of an object's schema. Models write members in the
// schema's order, so that it is ours to choose.
type property struct {
	name     string
	schema   any
	optional bool
}

// object is the schema of an object with the properties.
func object(closed bool, props ...property) json.RawMessage {
	names := make([]string, 0, len(props))
	var members bytes.Buffer
	for i, p := range props {
		if i > 0 {
			members.WriteByte(',')
		}
		fmt.Fprintf(&members, "%s:%s", encode(p.name), encode(p.schema))
		if !p.optional {
			names = append(names, p.name)
		}
	}
	out := fmt.Sprintf(`{"type":"object","properties":{%s},"required":%s`, members.Bytes(), encode(names))
	if closed {
		out += `,"additionalProperties":false`
	}
	return json.RawMessage(out + "}")
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("check: encode schema: %v", err)) // strings, lists and maps of them always encode
	}
	return b
}
