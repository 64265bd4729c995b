package llmtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// chat is Chat Completions
// (https://platform.openai.com/docs/api-reference/chat/create).
type chat struct{}

// chatBody is the part of a request's published shape that any client of ours may
// send; anything else is refused by a server that is as strict as OpenAI's.
type chatBody struct {
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
	StreamOptions       *streamOptions   `json:"stream_options"`
	Tools               []chatTool       `json:"tools"`
	ToolChoice          json.RawMessage  `json:"tool_choice"`
	ParallelToolCalls   *bool            `json:"parallel_tool_calls"`
	PromptCacheKey      *string          `json:"prompt_cache_key"`
	Stop                *json.RawMessage `json:"stop"`
	User                *string          `json:"user"`
}

type rawMessage struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
	Name    *string         `json:"name"`
}

type responseFormat struct {
	Type       string      `json:"type"`
	JSONSchema *jsonSchema `json:"json_schema"`
}

type jsonSchema struct {
	Name        string          `json:"name"`
	Description *string         `json:"description"`
	Strict      *bool           `json:"strict"`
	Schema      json.RawMessage `json:"schema"`
}

type streamOptions struct {
	IncludeUsage       *bool `json:"include_usage"`
	IncludeObfuscation *bool `json:"include_obfuscation"`
}

type chatTool struct {
	Type     string `json:"type"`
	Function struct {
		Name        string          `json:"name"`
		Description *string         `json:"description"`
		Parameters  json.RawMessage `json:"parameters"`
		Strict      *bool           `json:"strict"`
	} `json:"function"`
}

var (
	// thinks matches OpenAI's models that refuse a temperature.
	thinks = regexp.MustCompile(`^(o[0-9]+(-|$)|gpt-5)`)
	// newest matches those that refuse tools with an effort in Chat Completions
	// (https://github.com/openai/openai-openapi/issues/541).
	newest = regexp.MustCompile(`^gpt-5\.[4-9]`)
)

func efforts() []string {
	return []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}
}

func (chat) carries(h http.Header, key string) bool {
	return h.Get("Authorization") == "Bearer "+key || h.Get("Api-Key") == key
}
func (chat) wrongKey() string { return "invalid_api_key" }
func (chat) invalid() string  { return "" }

func (chat) parse(s *Server, req *Request) *problem {
	var b chatBody
	if p := decode(req.Body, &b, s.Extra...); p != nil {
		return p
	}
	if b.Model == "" {
		return invalid("model", "you must provide a model")
	}
	req.Model, req.Temperature = b.Model, b.Temperature
	req.Stream = b.Stream != nil && *b.Stream
	return first(
		func() *problem { return said(req, b.Messages) },
		func() *problem { return b.numbers(req, s.OpenAI) },
		func() *problem { return b.format(req) },
		func() *problem { return b.tools(req, s.OpenAI) },
		func() *problem { return b.rest(req) },
	)
}

// said reads the messages.
func said(req *Request, list []rawMessage) *problem {
	if len(list) == 0 {
		return invalid("messages", "empty array")
	}
	for i, m := range list {
		if p := oneOf(fmt.Sprintf("messages[%d].role", i), m.Role, "system", "developer", "user", "assistant"); p != nil {
			return p
		}
		text, p := content(fmt.Sprintf("messages[%d].content", i), m.Content, "text")
		if p != nil {
			return p
		}
		if m.Role == "assistant" && text == "" {
			return invalid(fmt.Sprintf("messages[%d].content", i), "an assistant's message is empty")
		}
		req.Messages = append(req.Messages, Message{Role: m.Role, Content: text})
	}
	return nil
}

// content reads a text, or its parts.
func content(param string, raw json.RawMessage, types ...string) (string, *problem) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	var parts []struct{ Type, Text string }
	if json.Unmarshal(raw, &parts) != nil || len(parts) == 0 {
		return "", invalid(param, "neither a string nor parts")
	}
	for _, p := range parts {
		if !slices.Contains(types, p.Type) {
			return "", invalid(param, "%q is not a type of part", p.Type)
		}
		text += p.Text
	}
	return text, nil
}

func (b *chatBody) numbers(req *Request, openai bool) *problem {
	if t := b.Temperature; t != nil && (*t < 0 || *t > 2) {
		return invalid("temperature", "%v is not between 0 and 2", *t)
	}
	if openai && b.MaxTokens != nil {
		return &problem{
			status: http.StatusBadRequest, code: "unsupported_parameter", param: "max_tokens",
			message: "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
		}
	}
	if openai && b.Temperature != nil && *b.Temperature != 1 && thinks.MatchString(b.Model) {
		return noTemperature()
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

func noTemperature() *problem {
	return &problem{
		status: http.StatusBadRequest, code: "unsupported_value", param: "temperature",
		message: "Unsupported value: 'temperature' does not support this value with this model. Only the default (1) value is supported.",
	}
}

func (b *chatBody) format(req *Request) *problem {
	f := b.ResponseFormat
	if f == nil {
		return nil
	}
	req.Format = f.Type
	if p := oneOf("response_format.type", f.Type, "text", "json_object", "json_schema"); p != nil {
		return p
	}
	if f.Type != "json_schema" {
		return saysJSON(req, f.Type, "response_format")
	}
	if f.JSONSchema == nil {
		return invalid("response_format.json_schema", "it is required")
	}
	return f.JSONSchema.check(req, "response_format.json_schema")
}

// saysJSON checks that a prompt which asks for an object says so.
func saysJSON(req *Request, format, param string) *problem {
	if format == "json_object" && !slices.ContainsFunc(req.Messages, func(m Message) bool { return strings.Contains(strings.ToLower(m.Content), "json") }) {
		return invalid(param, "'messages' must contain the word 'json' in some form")
	}
	return nil
}

func (s *jsonSchema) check(req *Request, param string) *problem {
	if !toolName.MatchString(s.Name) {
		return invalid(param+".name", "it must match %s", toolName)
	}
	var root object
	if json.Unmarshal(s.Schema, &root) != nil || root == nil {
		return invalid(param+".schema", "it is no object")
	}
	if req.Schema, req.Strict = s.Schema, s.Strict != nil && *s.Strict; req.Strict {
		return strict("response_format", s.Schema)
	}
	return nil
}

func (b *chatBody) tools(req *Request, openai bool) *problem {
	if len(b.Tools) == 0 {
		switch {
		case b.Tools != nil:
			return invalid("tools", "empty array")
		case b.ToolChoice != nil:
			return invalid("tool_choice", "it is only allowed when tools are specified")
		case b.ParallelToolCalls != nil:
			return invalid("parallel_tool_calls", "it is only allowed when tools are specified")
		}
		return nil
	}
	names := []string{}
	for i, t := range b.Tools {
		param := fmt.Sprintf("tools[%d].function", i)
		f := &t.Function
		if t.Type != "function" || !toolName.MatchString(f.Name) || slices.Contains(names, f.Name) {
			return invalid(param, "it must be a function whose name is its own and matches %s", toolName)
		}
		var root object
		if json.Unmarshal(f.Parameters, &root) != nil || root["type"] != "object" {
			return invalid(param+".parameters", "it must be the schema of an object")
		}
		if f.Strict != nil && *f.Strict {
			if p := strict(param, f.Parameters); p != nil {
				return p
			}
			req.Strict = true
		}
		names = append(names, f.Name)
		req.Format, req.Schema, req.tool = "tool", f.Parameters, f.Name
	}
	if openai && newest.MatchString(b.Model) && (b.ReasoningEffort == nil || *b.ReasoningEffort != "none") {
		return &problem{
			status: http.StatusBadRequest, code: "invalid_request_error", param: "reasoning_effort",
			message: "Function tools with reasoning_effort are not supported for " + b.Model + " in /v1/chat/completions. To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
		}
	}
	return choice(req, b.ToolChoice, names)
}

// choice reads which of the tools is to be called.
func choice(req *Request, raw json.RawMessage, names []string) *problem {
	if raw == nil {
		req.Choice = "auto"
		return nil
	}
	if json.Unmarshal(raw, &req.Choice) == nil {
		return oneOf("tool_choice", req.Choice, "none", "auto", "required")
	}
	var named struct {
		Type     string
		Function struct{ Name string }
	}
	if json.Unmarshal(raw, &named) != nil || named.Type != "function" || !slices.Contains(names, named.Function.Name) {
		return invalid("tool_choice", "it names no tool of the request")
	}
	req.Choice = named.Function.Name
	return nil
}

func (b *chatBody) rest(req *Request) *problem {
	if e := b.ReasoningEffort; e != nil {
		if p := oneOf("reasoning_effort", *e, efforts()...); p != nil {
			return p
		}
	}
	if o := b.StreamOptions; o != nil {
		if !req.Stream {
			return invalid("stream_options", "it is only allowed when stream is true")
		}
		req.Usage = o.IncludeUsage != nil && *o.IncludeUsage
	}
	return cacheKey(req, b.PromptCacheKey)
}

func cacheKey(req *Request, key *string) *problem {
	if key == nil {
		return nil
	}
	if *key == "" || len(*key) > 64 {
		return invalid("prompt_cache_key", "it must have 1 to 64 characters")
	}
	req.CacheKey = *key
	return nil
}
