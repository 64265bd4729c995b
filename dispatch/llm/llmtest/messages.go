package llmtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// messagesBody is the part of a Messages request's published shape that any
// client of ours may send (https://platform.claude.com/docs/en/api/messages);
// anything else is refused, as by the real server.
type messagesBody struct {
	Model     string `json:"model"`
	MaxTokens *int   `json:"max_tokens"`
	System    []struct {
		Type         string          `json:"type"`
		Text         string          `json:"text"`
		CacheControl json.RawMessage `json:"cache_control"`
	} `json:"system"`
	Messages     []rawMessage `json:"messages"`
	Temperature  *float64     `json:"temperature"`
	OutputConfig *struct {
		Format *struct {
			Type   string          `json:"type"`
			Schema json.RawMessage `json:"schema"`
		} `json:"format"`
	} `json:"output_config"`
}

// isMessages reports whether a request is of Anthropic's protocol.
func isMessages(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/v1/messages") }

// parseMessages checks a request against the published shape.
func parseMessages(r *http.Request, raw []byte) (Request, *problem) {
	req := Request{Path: r.URL.Path, Header: r.Header.Clone(), Body: raw, At: time.Now()}
	if r.Header.Get("Anthropic-Version") == "" {
		return req, invalid("anthropic-version", "header is required")
	}
	var b messagesBody
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&b); err != nil {
		return req, invalid("body", "%v", err)
	}
	if b.Model == "" {
		return req, invalid("model", "Field required")
	}
	if b.MaxTokens == nil || *b.MaxTokens < 1 {
		return req, invalid("max_tokens", "Field required, and at least 1")
	}
	if t := b.Temperature; t != nil && (*t < 0 || *t > 1) {
		return req, invalid("temperature", "range: 0..1, not %v", *t)
	}
	req.Model, req.MaxTokens, req.Temperature = b.Model, *b.MaxTokens, b.Temperature
	for i, s := range b.System {
		if s.Type != "text" || s.Text == "" {
			return req, invalid(fmt.Sprintf("system.%d", i), "a text block must not be empty")
		}
		req.Messages = append(req.Messages, Message{Role: "system", Content: s.Text})
		req.Cached = req.Cached || len(s.CacheControl) > 0
	}
	said := Request{}
	if p := messages(&said, b.Messages); p != nil {
		return req, p
	}
	for i, m := range said.Messages {
		switch {
		case m.Role != "user" && m.Role != "assistant":
			return req, invalid(fmt.Sprintf("messages.%d.role", i), "%q is not a role", m.Role)
		case i == 0 && m.Role != "user":
			return req, invalid("messages", "first message must use the \"user\" role")
		case m.Content == "":
			return req, invalid(fmt.Sprintf("messages.%d", i), "text content blocks must be non-empty")
		}
	}
	if last := said.Messages[len(said.Messages)-1]; last.Role != "user" {
		return req, invalid("messages", "the conversation must end with a user message")
	}
	req.Messages = append(req.Messages, said.Messages...)
	if b.OutputConfig == nil || b.OutputConfig.Format == nil {
		return req, nil
	}
	f := b.OutputConfig.Format
	if f.Type != "json_schema" {
		return req, invalid("output_config.format.type", "%q is not a type", f.Type)
	}
	req.Format, req.Schema, req.Strict = f.Type, f.Schema, true
	var root map[string]any
	if json.Unmarshal(f.Schema, &root) != nil || root["type"] != "object" {
		return req, invalid("output_config.format.schema", "it must be an object's")
	}
	return req, strict("", root)
}

// message is the body of a good answer of Anthropic's, in the published form.
func message(req *Request, p *Reply) []byte {
	reason := p.FinishReason
	switch {
	case reason != "":
	case p.Refusal != "":
		reason = "refusal"
	default:
		reason = "end_turn"
	}
	in, out, cached := len(req.Body)/4, len(p.Text)/4+1, 0
	if req.Cached {
		in, cached = in/2, in-in/2
	}
	body, err := json.Marshal(map[string]any{
		"id": "msg_1", "type": "message", "role": "assistant", "model": req.Model, "stop_reason": reason, "stop_sequence": nil,
		"content": []any{map[string]any{"type": "text", "text": p.Text + p.Refusal}},
		"usage": map[string]any{
			"input_tokens": in, "output_tokens": out, "cache_creation_input_tokens": 0, "cache_read_input_tokens": cached,
		},
	})
	if err != nil {
		panic(fmt.Sprintf("llmtest: encode message: %v", err)) // strings and numbers always encode
	}
	return body
}

// messagesError is an error's body in Anthropic's form; its type is the code.
func messagesError(p *Reply) []byte {
	body, err := json.Marshal(map[string]any{
		"type": "error", "request_id": "req_1",
		"error": map[string]any{"type": p.Code, "message": p.Message},
	})
	if err != nil {
		panic(fmt.Sprintf("llmtest: encode error: %v", err)) // strings always encode
	}
	return body
}
