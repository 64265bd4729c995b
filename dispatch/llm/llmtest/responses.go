package llmtest

import (
	"encoding/json"
	"fmt"
)

// responses is OpenAI's Responses
// (https://platform.openai.com/docs/api-reference/responses/create).
type responses struct{ chat }

// responsesBody is the part of a request's published shape that any client of
// ours may send.
type responsesBody struct {
	Model             string          `json:"model"`
	Instructions      *string         `json:"instructions"`
	Input             json.RawMessage `json:"input"`
	MaxOutputTokens   *int            `json:"max_output_tokens"`
	Temperature       *float64        `json:"temperature"`
	Store             *bool           `json:"store"`
	Stream            *bool           `json:"stream"`
	ParallelToolCalls *bool           `json:"parallel_tool_calls"`
	PromptCacheKey    *string         `json:"prompt_cache_key"`
	Reasoning         *struct {
		Effort  *string `json:"effort"`
		Summary *string `json:"summary"`
	} `json:"reasoning"`
	Text *struct {
		Verbosity *string `json:"verbosity"`
		Format    *struct {
			Type        string          `json:"type"`
			Name        string          `json:"name"`
			Description *string         `json:"description"`
			Strict      *bool           `json:"strict"`
			Schema      json.RawMessage `json:"schema"`
		} `json:"format"`
	} `json:"text"`
}

// minOutput is the least that max_output_tokens may be.
const minOutput = 16

func (responses) parse(_ *Server, req *Request) *problem {
	var b responsesBody
	if p := decode(req.Body, &b); p != nil {
		return p
	}
	if b.Model == "" {
		return invalid("model", "you must provide a model")
	}
	req.Model, req.Temperature = b.Model, b.Temperature
	req.Stream = b.Stream != nil && *b.Stream
	req.Usage = req.Stream
	if b.Instructions != nil {
		req.Messages = []Message{{Role: "system", Content: *b.Instructions}}
	}
	return first(
		func() *problem { return b.said(req) },
		func() *problem { return b.numbers(req) },
		func() *problem { return b.format(req) },
		func() *problem { return cacheKey(req, b.PromptCacheKey) },
	)
}

func (b *responsesBody) said(req *Request) *problem {
	var text string
	if json.Unmarshal(b.Input, &text) == nil {
		req.Messages = append(req.Messages, Message{Role: "user", Content: text})
		return nil
	}
	var items []struct {
		Type    *string         `json:"type"`
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if json.Unmarshal(b.Input, &items) != nil || len(items) == 0 {
		return invalid("input", "neither a string nor items")
	}
	for i, m := range items {
		param := fmt.Sprintf("input[%d]", i)
		if m.Type != nil && *m.Type != "message" {
			return invalid(param+".type", "%q is not a type", *m.Type)
		}
		if p := oneOf(param+".role", m.Role, "system", "developer", "user", "assistant"); p != nil {
			return p
		}
		part := "input_text"
		if m.Role == "assistant" {
			part = "output_text"
		}
		text, p := content(param+".content", m.Content, part)
		if p != nil {
			return p
		}
		req.Messages = append(req.Messages, Message{Role: m.Role, Content: text})
	}
	return nil
}

func (b *responsesBody) numbers(req *Request) *problem {
	if t := b.Temperature; t != nil {
		if *t < 0 || *t > 2 {
			return invalid("temperature", "%v is not between 0 and 2", *t)
		}
		if thinks.MatchString(b.Model) {
			return noTemperature()
		}
	}
	if n := b.MaxOutputTokens; n != nil {
		if *n < minOutput {
			return invalid("max_output_tokens", "%d is below %d", *n, minOutput)
		}
		req.MaxTokens = *n
	}
	if r := b.Reasoning; r != nil && r.Effort != nil {
		return oneOf("reasoning.effort", *r.Effort, efforts()...)
	}
	return nil
}

func (b *responsesBody) format(req *Request) *problem {
	if b.Text == nil || b.Text.Format == nil {
		return nil
	}
	f := b.Text.Format
	req.Format = f.Type
	if p := oneOf("text.format.type", f.Type, "text", "json_object", "json_schema"); p != nil {
		return p
	}
	if f.Type != "json_schema" {
		return saysJSON(req, f.Type, "input")
	}
	s := jsonSchema{Name: f.Name, Strict: f.Strict, Schema: f.Schema}
	return s.check(req, "text.format")
}

// answer is the body of a good answer, in the published form. The reasons for
// which one ends early are Chat Completions'.
func (responses) answer(req *Request, p *Reply) []byte { return encode(response(req, p)) }

func response(req *Request, p *Reply) object {
	in, out := counts(req, p)
	status, part := "completed", object{"type": "output_text", "text": p.Text, "annotations": []any{}}
	if p.Refusal != "" {
		part = object{"type": "refusal", "refusal": p.Refusal}
	}
	var incomplete, failed any
	switch {
	case p.Fault == Late:
		status, failed = "failed", object{"code": p.Code, "message": p.Message}
	case p.FinishReason == "length":
		status, incomplete = "incomplete", object{"reason": "max_output_tokens"}
	case p.FinishReason != "":
		status, incomplete = "incomplete", object{"reason": p.FinishReason}
	}
	return object{
		"id": "resp_1", "object": "response", "created_at": 1, "model": req.Model, "status": status,
		"error": failed, "incomplete_details": incomplete,
		"output": []any{
			// As vLLM has it: the thoughts are there to read, and no answer.
			object{"type": "reasoning", "id": "rs_1", "summary": []any{}, "content": []any{object{"type": "reasoning_text", "text": "They want {} of me."}}},
			object{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": []any{part}},
		},
		"usage": object{
			"input_tokens": in, "input_tokens_details": object{"cached_tokens": p.CachedTokens},
			"output_tokens": out, "output_tokens_details": object{"reasoning_tokens": 0}, "total_tokens": in + out,
		},
	}
}

func (responses) events(req *Request, p *Reply) (out []event) {
	add := func(name string, data object) {
		data["type"], data["sequence_number"] = name, len(out)
		out = append(out, event{name, encode(data)})
	}
	whole := response(req, p)
	begun := object{"id": "resp_1", "object": "response", "created_at": 1, "model": req.Model, "status": "in_progress", "output": []any{}}
	add("response.created", object{"response": begun})
	add("response.output_item.added", object{"output_index": 1, "item": object{"type": "message", "id": "msg_1", "status": "in_progress", "role": "assistant", "content": []any{}}})
	for _, s := range pieces(p.Text) {
		add("response.output_text.delta", object{"item_id": "msg_1", "output_index": 1, "content_index": 0, "delta": s})
	}
	status, _ := whole["status"].(string)
	add("response."+status, object{"response": whole})
	return out
}

func (responses) late(p *Reply) event {
	return event{"error", encode(object{"type": "error", "code": p.Code, "message": p.Message, "param": nil, "sequence_number": 7})}
}

func (responses) hollow() ([]byte, []event) {
	return []byte(`{"id":"resp_1","object":"list","data":[]}`), []event{{"response.queued", []byte(`{"type":"response.queued","sequence_number":0}`)}}
}
