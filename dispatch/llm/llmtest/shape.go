package llmtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// A problem is why a request is refused.
type problem struct {
	status               int
	code, param, message string
}

func invalid(param, format string, args ...any) *problem {
	return &problem{
		status: http.StatusBadRequest, code: "invalid_value", param: param,
		message: "Invalid parameter " + param + ": " + fmt.Sprintf(format, args...),
	}
}

func contentType(h http.Header) *problem {
	if ct := h.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
		return invalid("content-type", "it is %q", ct)
	}
	return nil
}

// decode reads a body, and refuses what the shape does not have, but for the
// extra members of its root.
func decode(raw []byte, into any, extra ...string) *problem {
	if len(extra) > 0 {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			return invalid("body", "%v", err)
		}
		maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return slices.Contains(extra, name) })
		raw = encode(members)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return invalid("body", "%v", err)
	}
	return nil
}

// first returns the first problem there is.
func first(checks ...func() *problem) *problem {
	for _, check := range checks {
		if p := check(); p != nil {
			return p
		}
	}
	return nil
}

func oneOf(param, value string, values ...string) *problem {
	if !slices.Contains(values, value) {
		return invalid(param, "%q is none of %s", value, strings.Join(values, ", "))
	}
	return nil
}

var toolName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// strictKeywords are those that every strict mode takes, with those of the
// meta kind. OpenAI's takes more by now (pattern, minimum, …), but the servers
// that imitate it do not.
var strictKeywords = map[string]bool{
	"type": true, "properties": true, "required": true, "additionalProperties": true, "items": true,
	"enum": true, "const": true, "anyOf": true, "description": true, "title": true, "$defs": true, "$ref": true,
}

// What a strict schema may have at most
// (https://platform.openai.com/docs/guides/structured-outputs).
const (
	maxDepth      = 10
	maxProperties = 5000
	maxEnums      = 1000
	maxCharacters = 120_000 // of names, values of enums and consts
)

// A checker checks a schema against the rules of strict mode: every object is
// closed, and requires each of its properties.
type checker struct {
	param                         string
	defs                          object // by their names
	properties, enums, characters int
}

// strict checks a whole schema.
func strict(param string, raw json.RawMessage) *problem {
	var root object
	if json.Unmarshal(raw, &root) != nil || root == nil {
		return invalid(param, "it is no object")
	}
	if root["type"] != "object" || root["anyOf"] != nil {
		return invalid(param, "invalid schema: its root must be of type object and no anyOf")
	}
	c := &checker{param: param}
	c.defs, _ = root["$defs"].(object)
	if p := c.check("", root, 0); p != nil {
		return p
	}
	for name, v := range c.defs {
		s, ok := v.(object)
		if !ok {
			return invalid(param, "invalid schema at %q: it is no object", "/$defs/"+name)
		}
		if p := c.check("/$defs/"+name, s, 1); p != nil {
			return p
		}
	}
	switch {
	case c.properties > maxProperties:
		return invalid(param, "invalid schema: it has %d properties, at most %d may be", c.properties, maxProperties)
	case c.enums > maxEnums:
		return invalid(param, "invalid schema: it has %d values of enums, at most %d may be", c.enums, maxEnums)
	case c.characters > maxCharacters:
		return invalid(param, "invalid schema: its names and values have %d characters, at most %d may be", c.characters, maxCharacters)
	}
	return nil
}

func (c *checker) check(path string, s object, depth int) *problem {
	bad := func(format string, args ...any) *problem {
		return invalid(c.param, "invalid schema at %q: "+format, append([]any{path}, args...)...)
	}
	for k := range s {
		if !strictKeywords[k] {
			return bad("%q is not permitted", k)
		}
	}
	types, ok := typesOf(s["type"])
	if !ok {
		return bad("its 'type' is none")
	}
	props, isObject := s["properties"].(object)
	if isObject || slices.Contains(types, "object") {
		if depth++; depth > maxDepth {
			return bad("more than %d levels of nesting", maxDepth)
		}
		if s["additionalProperties"] != false {
			return bad("'additionalProperties' is required to be supplied and to be false")
		}
		var required []string
		list, _ := s["required"].([]any)
		for _, v := range list {
			name, _ := v.(string)
			required = append(required, name)
		}
		slices.Sort(required)
		if !slices.Equal(required, slices.Sorted(maps.Keys(props))) {
			return bad("'required' must list every key in properties")
		}
	}
	if s["type"] == nil && s["anyOf"] == nil && s["enum"] == nil && s["const"] == nil && s["$ref"] == nil {
		return bad("it must have a 'type'")
	}
	if enum, ok := s["enum"].([]any); s["enum"] != nil && (!ok || len(enum) == 0) {
		return bad("'enum' must have values")
	}
	if slices.Contains(types, "array") && s["items"] == nil {
		return bad("array schema missing items")
	}
	if ref, ok := s["$ref"].(string); s["$ref"] != nil {
		name, found := strings.CutPrefix(ref, "#/$defs/")
		if !ok || ref != "#" && (!found || c.defs[name] == nil) {
			return bad("'$ref' leads nowhere")
		}
	}
	return c.inside(path, s, props, depth)
}

// typesOf returns the types that a schema names, which are one or a list, and
// reports whether they are types.
func typesOf(v any) ([]string, bool) {
	if v == nil {
		return nil, true
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, v := range list {
		name, _ := v.(string)
		if !slices.Contains([]string{"string", "number", "integer", "boolean", "object", "array", "null"}, name) {
			return nil, false
		}
		out = append(out, name)
	}
	return out, len(out) > 0
}

// inside checks what a schema holds.
func (c *checker) inside(path string, s, props object, depth int) *problem {
	child := func(path string, v any) *problem {
		if s, ok := v.(object); ok {
			return c.check(path, s, depth)
		}
		return invalid(c.param, "invalid schema at %q: it is no object", path)
	}
	c.properties += len(props)
	for name, v := range props {
		c.characters += len(name)
		if p := child(path+"/"+name, v); p != nil {
			return p
		}
	}
	enums, _ := s["enum"].([]any)
	c.enums += len(enums)
	for _, v := range append(enums, s["const"]) {
		text, _ := v.(string)
		c.characters += len(text)
	}
	if items, ok := s["items"]; ok {
		if p := child(path+"/items", items); p != nil {
			return p
		}
	}
	options, _ := s["anyOf"].([]any)
	for i, v := range options {
		if p := child(fmt.Sprintf("%s/anyOf/%d", path, i), v); p != nil {
			return p
		}
	}
	return nil
}
