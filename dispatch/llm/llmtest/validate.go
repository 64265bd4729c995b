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
	"time"
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

// body is the part of a request's published shape that any client of ours may
// send; anything else is refused by a server that is as strict as OpenAI's.
type body struct {
	Model               string           `json:"model"`
	Messages            []rawMessage     `json:"messages"`
	Temperature         *float64         `json:"temperature"`
	TopP                *float64         `json:"top_p"`
	N                   *int             `json:"n"`
	Seed                *int64           `json:"seed"`
	MaxTokens           *int             `json:"max_tokens"`
	MaxCompletionTokens *int             `json:"max_completion_tokens"`
	ResponseFormat      *responseFormat  `json:"response_format"`
	ReasoningEffort     *string          `json:"reasoning_effort"`
	Stream              *bool            `json:"stream"`
	Stop                *json.RawMessage `json:"stop"`
	User                *string          `json:"user"`
}

type rawMessage struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
	Name    *string         `json:"name"`
}

type responseFormat struct {
	Type       string `json:"type"`
	JSONSchema *struct {
		Name        string          `json:"name"`
		Description *string         `json:"description"`
		Strict      *bool           `json:"strict"`
		Schema      json.RawMessage `json:"schema"`
	} `json:"json_schema"`
}

var (
	schemaName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	// reasoning matches OpenAI's models that refuse a temperature.
	reasoning = regexp.MustCompile(`^(o[0-9]+(-|$)|gpt-5)`)
)

// parse checks a request against the published shape.
func parse(r *http.Request, raw []byte, openai bool) (Request, *problem) {
	req := Request{Path: r.URL.Path, Header: r.Header.Clone(), Body: raw, At: time.Now()}
	if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/chat/completions") {
		return req, &problem{status: http.StatusNotFound, code: "unknown_url", message: "Invalid URL (" + r.Method + " " + r.URL.Path + ")"}
	}
	if ct := r.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
		return req, invalid("content-type", "it is %q", ct)
	}
	var b body
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&b); err != nil {
		return req, invalid("body", "%v", err)
	}
	if b.Model == "" {
		return req, invalid("model", "you must provide a model")
	}
	req.Model, req.Temperature = b.Model, b.Temperature
	if p := messages(&req, b.Messages); p != nil {
		return req, p
	}
	if p := numbers(&req, &b, openai); p != nil {
		return req, p
	}
	if b.Stream != nil && *b.Stream {
		return req, invalid("stream", "this server does not stream")
	}
	return req, format(&req, b.ResponseFormat)
}

func messages(req *Request, list []rawMessage) *problem {
	if len(list) == 0 {
		return invalid("messages", "empty array")
	}
	for i, m := range list {
		switch m.Role {
		case "system", "developer", "user", "assistant":
		default:
			return invalid(fmt.Sprintf("messages[%d].role", i), "%q is not a role", m.Role)
		}
		var text string
		if json.Unmarshal(m.Content, &text) != nil {
			var parts []struct{ Type, Text string }
			if json.Unmarshal(m.Content, &parts) != nil || len(parts) == 0 {
				return invalid(fmt.Sprintf("messages[%d].content", i), "neither a string nor parts")
			}
			for _, p := range parts {
				if p.Type != "text" {
					return invalid(fmt.Sprintf("messages[%d].content", i), "%q is not a type of part", p.Type)
				}
				text += p.Text
			}
		}
		if m.Role == "assistant" && text == "" {
			return invalid(fmt.Sprintf("messages[%d].content", i), "an assistant's message is empty")
		}
		req.Messages = append(req.Messages, Message{Role: m.Role, Content: text})
	}
	return nil
}

func numbers(req *Request, b *body, openai bool) *problem {
	if t := b.Temperature; t != nil && (*t < 0 || *t > 2) {
		return invalid("temperature", "%v is not between 0 and 2", *t)
	}
	if openai && b.MaxTokens != nil {
		return &problem{
			status: http.StatusBadRequest, code: "unsupported_parameter", param: "max_tokens",
			message: "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
		}
	}
	if openai && b.Temperature != nil && *b.Temperature != 1 && reasoning.MatchString(b.Model) {
		return &problem{
			status: http.StatusBadRequest, code: "unsupported_value", param: "temperature",
			message: "Unsupported value: 'temperature' does not support this value with this model. Only the default (1) value is supported.",
		}
	}
	if b.MaxTokens != nil && b.MaxCompletionTokens != nil {
		return invalid("max_tokens", "it stands beside max_completion_tokens")
	}
	for _, n := range []*int{b.MaxTokens, b.MaxCompletionTokens} {
		if n == nil {
			continue
		}
		if *n < 1 {
			return invalid("max_tokens", "%d is below 1", *n)
		}
		req.MaxTokens = *n
	}
	return nil
}

func format(req *Request, f *responseFormat) *problem {
	if f == nil {
		return nil
	}
	req.Format = f.Type
	switch f.Type {
	case "text":
		return nil
	case "json_object":
		if !slices.ContainsFunc(req.Messages, func(m Message) bool { return strings.Contains(strings.ToLower(m.Content), "json") }) {
			return invalid("response_format", "'messages' must contain the word 'json' in some form")
		}
		return nil
	case "json_schema":
	default:
		return invalid("response_format.type", "%q is not a type", f.Type)
	}
	s := f.JSONSchema
	if s == nil || !schemaName.MatchString(s.Name) {
		return invalid("response_format.json_schema.name", "it must match %s", schemaName)
	}
	var root map[string]any
	if json.Unmarshal(s.Schema, &root) != nil || root == nil {
		return invalid("response_format.json_schema.schema", "it is no object")
	}
	req.Schema, req.Strict = s.Schema, s.Strict != nil && *s.Strict
	if !req.Strict {
		return nil
	}
	if root["type"] != "object" || root["anyOf"] != nil {
		return invalid("response_format", "invalid schema: its root must be of type object and no anyOf")
	}
	return strict("", root)
}

// strictKeywords are those that every strict mode takes, with those of the
// meta kind. OpenAI's takes more by now (pattern, minimum, …), but the servers
// that imitate it do not.
var strictKeywords = map[string]bool{
	"type": true, "properties": true, "required": true, "additionalProperties": true, "items": true,
	"enum": true, "const": true, "anyOf": true, "description": true, "title": true, "$defs": true, "$ref": true,
}

// strict checks a schema against the rules of strict mode
// (https://platform.openai.com/docs/guides/structured-outputs): every object
// is closed, and requires each of its properties.
func strict(path string, s map[string]any) *problem {
	for k := range s {
		if !strictKeywords[k] {
			return invalid("response_format", "invalid schema at %q: %q is not permitted", path, k)
		}
	}
	props, isObject := s["properties"].(map[string]any)
	if isObject || s["type"] == "object" {
		if s["additionalProperties"] != false {
			return invalid("response_format", "invalid schema at %q: 'additionalProperties' is required to be supplied and to be false", path)
		}
		var required []string
		list, _ := s["required"].([]any)
		for _, v := range list {
			name, _ := v.(string)
			required = append(required, name)
		}
		slices.Sort(required)
		if !slices.Equal(required, slices.Sorted(maps.Keys(props))) {
			return invalid("response_format", "invalid schema at %q: 'required' must list every key in properties", path)
		}
	}
	for name, v := range props {
		if p := child(path+"/"+name, v); p != nil {
			return p
		}
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
	if s["type"] == nil && s["anyOf"] == nil && s["enum"] == nil && s["const"] == nil && s["$ref"] == nil {
		return invalid("response_format", "invalid schema at %q: it must have a 'type'", path)
	}
	return nil
}

func child(path string, v any) *problem {
	s, ok := v.(map[string]any)
	if !ok {
		return invalid("response_format", "invalid schema at %q: it is no object", path)
	}
	return strict(path, s)
}
