package llmtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
)

// messages is Anthropic's protocol
// (https://platform.claude.com/docs/en/api/messages).
type messages struct{}

// messagesBody is the part of a request's published shape that any client of
// ours may send; anything else is refused, as by the real server.
type messagesBody struct {
	Model     string `json:"model"`
	MaxTokens *int   `json:"max_tokens"`
	System    []struct {
		Type         string `json:"type"`
		Text         string `json:"text"`
		CacheControl *struct {
			Type string  `json:"type"`
			TTL  *string `json:"ttl"`
		} `json:"cache_control"`
	} `json:"system"`
	Messages     []rawMessage `json:"messages"`
	Temperature  *float64     `json:"temperature"`
	Stream       bool         `json:"stream"`
	OutputConfig *struct {
		Effort *string `json:"effort"`
		Format *struct {
			Type   string          `json:"type"`
			Schema json.RawMessage `json:"schema"`
		} `json:"format"`
	} `json:"output_config"`
	Thinking *struct {
		Type         string `json:"type"`
		BudgetTokens *int   `json:"budget_tokens"`
	} `json:"thinking"`
	Tools []struct {
		Type        *string         `json:"type"`
		Name        string          `json:"name"`
		Description *string         `json:"description"`
		InputSchema json.RawMessage `json:"input_schema"`
		Strict      *bool           `json:"strict"`
	} `json:"tools"`
	ToolChoice *struct {
		Type                   string `json:"type"`
		Name                   string `json:"name"`
		DisableParallelToolUse *bool  `json:"disable_parallel_tool_use"`
	} `json:"tool_choice"`
}

// adaptive matches the models that take neither a budget nor a temperature.
var adaptive = regexp.MustCompile(`^claude-(opus-4-[78]|[a-z]+-5)`)

func (messages) carries(h http.Header, key string) bool { return h.Get("X-Api-Key") == key }
func (messages) wrongKey() string                       { return "authentication_error" }
func (messages) invalid() string                        { return "invalid_request_error" }

func (messages) parse(_ *Server, req *Request) *problem {
	if req.Header.Get("Anthropic-Version") == "" {
		return invalid("anthropic-version", "header is required")
	}
	var b messagesBody
	if p := decode(req.Body, &b); p != nil {
		return p
	}
	if b.Model == "" {
		return invalid("model", "Field required")
	}
	if b.MaxTokens == nil || *b.MaxTokens < 1 {
		return invalid("max_tokens", "Field required, and at least 1")
	}
	req.Model, req.MaxTokens, req.Temperature, req.Stream, req.Usage = b.Model, *b.MaxTokens, b.Temperature, b.Stream, b.Stream
	return first(
		func() *problem { return b.said(req) },
		func() *problem { return b.thought() },
		func() *problem { return b.format(req) },
		func() *problem { return b.tools(req) },
	)
}

func (b *messagesBody) said(req *Request) *problem {
	for i, s := range b.System {
		if s.Type != "text" || s.Text == "" {
			return invalid(fmt.Sprintf("system.%d", i), "a text block must not be empty")
		}
		req.Messages = append(req.Messages, Message{Role: "system", Content: s.Text})
		if c := s.CacheControl; c != nil {
			param := fmt.Sprintf("system.%d.cache_control", i)
			if p := oneOf(param+".type", c.Type, "ephemeral"); p != nil {
				return p
			}
			if c.TTL != nil {
				if p := oneOf(param+".ttl", *c.TTL, "5m", "1h"); p != nil {
					return p
				}
			}
			req.Cached = true
		}
	}
	turns := Request{}
	if p := said(&turns, b.Messages); p != nil {
		return p
	}
	for i, m := range turns.Messages {
		switch {
		case m.Role != "user" && m.Role != "assistant":
			return invalid(fmt.Sprintf("messages.%d.role", i), "%q is not a role", m.Role)
		case i == 0 && m.Role != "user":
			return invalid("messages", "first message must use the \"user\" role")
		case m.Content == "":
			return invalid(fmt.Sprintf("messages.%d", i), "text content blocks must be non-empty")
		}
	}
	if last := turns.Messages[len(turns.Messages)-1]; last.Role != "user" {
		return invalid("messages", "the conversation must end with a user message")
	}
	req.Messages = append(req.Messages, turns.Messages...)
	return nil
}

// thought checks the thinking, and the temperature that goes with it.
func (b *messagesBody) thought() *problem {
	if t := b.Temperature; t != nil {
		switch {
		case *t < 0 || *t > 1:
			return invalid("temperature", "range: 0..1, not %v", *t)
		case adaptive.MatchString(b.Model):
			return invalid("temperature", "`temperature` is deprecated for this model.")
		case *t != 1 && b.thinks():
			return invalid("temperature", "`temperature` may only be set to 1 when thinking is enabled")
		}
	}
	t := b.Thinking
	if t == nil {
		return nil
	}
	if p := oneOf("thinking.type", t.Type, "enabled", "disabled", "adaptive"); p != nil {
		return p
	}
	switch {
	case t.Type != "enabled" && t.BudgetTokens != nil:
		return invalid("thinking.budget_tokens", "Extra inputs are not permitted")
	case t.Type != "enabled":
	case adaptive.MatchString(b.Model):
		return invalid("thinking.type", "\"thinking.type.enabled\" is not supported for this model. Use \"thinking.type.adaptive\" and \"output_config.effort\" to control thinking behavior.")
	case t.BudgetTokens == nil || *t.BudgetTokens < 1024:
		return invalid("thinking.budget_tokens", "Input should be greater than or equal to 1024")
	case *t.BudgetTokens >= *b.MaxTokens:
		return invalid("max_tokens", "`max_tokens` must be greater than `thinking.budget_tokens`")
	}
	return nil
}

func (b *messagesBody) thinks() bool { return b.Thinking != nil && b.Thinking.Type != "disabled" }

func (b *messagesBody) format(req *Request) *problem {
	if b.OutputConfig == nil {
		return nil
	}
	if e := b.OutputConfig.Effort; e != nil {
		if p := oneOf("output_config.effort", *e, "low", "medium", "high", "xhigh", "max"); p != nil {
			return p
		}
	}
	f := b.OutputConfig.Format
	if f == nil {
		return nil
	}
	if p := oneOf("output_config.format.type", f.Type, "json_schema"); p != nil {
		return p
	}
	req.Format, req.Schema, req.Strict = f.Type, f.Schema, true
	return strict("output_config.format.schema", f.Schema)
}

func (b *messagesBody) tools(req *Request) *problem {
	var names []string
	for i, t := range b.Tools {
		param := fmt.Sprintf("tools.%d", i)
		var root object
		switch {
		case t.Type != nil && *t.Type != "custom", !toolName.MatchString(t.Name), slices.Contains(names, t.Name):
			return invalid(param, "it must be a tool whose name is its own and matches %s", toolName)
		case json.Unmarshal(t.InputSchema, &root) != nil || root["type"] != "object":
			return invalid(param+".input_schema.type", "Field required, and object")
		}
		if t.Strict != nil && *t.Strict {
			if p := strict(param, t.InputSchema); p != nil {
				return p
			}
			req.Strict = true
		}
		names = append(names, t.Name)
		req.Format, req.Schema, req.tool = "tool", t.InputSchema, t.Name
	}
	c := b.ToolChoice
	if c == nil {
		return nil
	}
	if p := oneOf("tool_choice.type", c.Type, "auto", "any", "tool", "none"); p != nil {
		return p
	}
	switch forced := c.Type == "any" || c.Type == "tool"; {
	case len(names) == 0:
		return invalid("tool_choice", "it may only be specified while providing tools")
	case c.Type == "tool" && !slices.Contains(names, c.Name):
		return invalid("tool_choice.name", "it names no tool of the request")
	case forced && b.thinks():
		return invalid("tool_choice", "Thinking may not be enabled when tool_choice forces tool use.")
	}
	req.Choice = c.Type
	return nil
}

// blocks are an answer's.
func (messages) blocks(req *Request, p *Reply) (blocks []object, reason string) {
	reason = "end_turn"
	switch {
	case p.Refusal != "":
		blocks, reason = []object{{"type": "text", "text": p.Refusal}}, "refusal"
	case req.tool != "" && !p.Plain:
		reason = "tool_use"
		var input any = json.RawMessage(p.Text)
		if !json.Valid([]byte(p.Text)) {
			input = object{}
		}
		for i := range max(p.Calls, 1) {
			blocks = append(blocks, object{"type": "tool_use", "id": fmt.Sprintf("toolu_%d", i), "name": req.tool, "input": input})
		}
	default:
		blocks = []object{{"type": "text", "text": p.Text}}
	}
	if p.FinishReason != "" {
		reason = p.FinishReason
	}
	return blocks, reason
}

func messagesUsage(req *Request, p *Reply) object {
	in, out := counts(req, p)
	return object{
		"input_tokens": in - p.CachedTokens, "output_tokens": out,
		"cache_creation_input_tokens": 0, "cache_read_input_tokens": p.CachedTokens,
	}
}

// answer is the body of a good answer, in the published form.
func (m messages) answer(req *Request, p *Reply) []byte {
	blocks, reason := m.blocks(req, p)
	return encode(object{
		"id": "msg_1", "type": "message", "role": "assistant", "model": req.Model, "stop_reason": reason, "stop_sequence": nil,
		"content": blocks, "usage": messagesUsage(req, p),
	})
}

func (m messages) events(req *Request, p *Reply) (out []event) {
	add := func(name string, data object) {
		data["type"] = name
		out = append(out, event{name, encode(data)})
	}
	blocks, reason := m.blocks(req, p)
	usage := messagesUsage(req, p)
	tokens := usage["output_tokens"]
	usage["output_tokens"] = 1
	add("message_start", object{"message": object{
		"id": "msg_1", "type": "message", "role": "assistant", "model": req.Model, "content": []any{},
		"stop_reason": nil, "stop_sequence": nil, "usage": usage,
	}})
	add("ping", object{})
	for i, b := range blocks {
		start, kind, text := object{"type": "text", "text": ""}, "text", p.Text+p.Refusal
		if b["type"] == "tool_use" {
			start, kind, text = object{"type": "tool_use", "id": b["id"], "name": b["name"], "input": object{}}, "partial_json", string(encode(b["input"]))
		}
		add("content_block_start", object{"index": i, "content_block": start})
		for _, s := range pieces(text) {
			delta := object{"type": "text_delta", kind: s}
			if kind != "text" {
				delta["type"] = "input_json_delta"
			}
			add("content_block_delta", object{"index": i, "delta": delta})
		}
		add("content_block_stop", object{"index": i})
	}
	add("message_delta", object{"delta": object{"stop_reason": reason, "stop_sequence": nil}, "usage": object{"output_tokens": tokens}})
	add("message_stop", object{})
	return out
}

// failure is an error's body; its type is the code.
func (messages) failure(p *Reply) []byte {
	return encode(object{"type": "error", "request_id": "req_1", "error": object{"type": p.Code, "message": p.Message}})
}

func (m messages) late(p *Reply) event { return event{"error", m.failure(p)} }

func (messages) hollow() ([]byte, []event) {
	return []byte(`{"id":"msg_1","choices":[]}`), []event{{"ping", []byte(`{"type":"ping"}`)}, {"message_stop", []byte(`{"type":"message_stop"}`)}}
}
