package llmtest

import "fmt"

// answer is the body of a good answer, in the published form.
func (chat) answer(req *Request, p *Reply) []byte {
	message := object{"role": "assistant", "content": p.Text, "refusal": nil}
	reason := p.FinishReason
	if req.tool != "" && !p.Plain && p.Refusal == "" {
		message["content"], message["tool_calls"] = nil, calls(req, p, false)
		if reason == "" {
			reason = "tool_calls"
		}
	}
	if p.Refusal != "" {
		message["refusal"] = p.Refusal
	}
	if reason == "" {
		reason = "stop"
	}
	return encode(object{
		"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": req.Model,
		"choices": []any{object{"index": 0, "finish_reason": reason, "logprobs": nil, "message": message}},
		"usage":   chatUsage(req, p),
	})
}

func chatUsage(req *Request, p *Reply) object {
	in, out := counts(req, p)
	return object{
		"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out,
		"prompt_tokens_details": object{"cached_tokens": p.CachedTokens},
	}
}

// calls are calls of the tool; of a stream, without their arguments.
func calls(req *Request, p *Reply, streamed bool) (out []any) {
	for i := range max(p.Calls, 1) {
		call := object{"id": fmt.Sprintf("call_%d", i), "type": "function", "function": object{"name": req.tool, "arguments": p.Text}}
		if streamed {
			call["index"], call["function"] = i, object{"name": req.tool, "arguments": ""}
		}
		out = append(out, call)
	}
	return out
}

func (chat) events(req *Request, p *Reply) (out []event) {
	reason := p.FinishReason
	chunk := func(delta object, reason any) {
		out = append(out, event{data: encode(object{
			"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": req.Model,
			"choices": []any{object{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": reason}},
		})})
	}
	chunk(object{"role": "assistant", "content": "", "refusal": nil}, nil)
	switch {
	case p.Refusal != "":
		for _, s := range pieces(p.Refusal) {
			chunk(object{"refusal": s}, nil)
		}
	case req.tool != "" && !p.Plain:
		if reason == "" {
			reason = "tool_calls"
		}
		for i, call := range calls(req, p, true) {
			chunk(object{"tool_calls": []any{call}}, nil)
			for _, s := range pieces(p.Text) {
				chunk(object{"tool_calls": []any{object{"index": i, "function": object{"arguments": s}}}}, nil)
			}
		}
	default:
		for _, s := range pieces(p.Text) {
			chunk(object{"content": s}, nil)
		}
	}
	if reason == "" {
		reason = "stop"
	}
	chunk(object{}, reason)
	if req.Usage {
		out = append(out, event{data: encode(object{
			"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": req.Model,
			"choices": []any{}, "usage": chatUsage(req, p),
		})})
	}
	return append(out, event{data: []byte("[DONE]")})
}

// malformed is Groq's code for an answer that is not the JSON which was asked for,
// and which then stands in the error
// (https://console.groq.com/docs/structured-outputs).
const malformed = "json_validate_failed"

func (chat) failure(p *Reply) []byte {
	var param any
	if p.Param != "" {
		param = p.Param
	}
	e := object{"message": p.Message, "type": "invalid_request_error", "param": param, "code": p.Code}
	if p.Code == malformed {
		e["failed_generation"] = p.Text
	}
	return encode(object{"error": e})
}

func (c chat) late(p *Reply) event { return event{data: c.failure(p)} }

func (chat) hollow() ([]byte, []event) {
	return []byte(`{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[]}`),
		[]event{{data: []byte(`{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}`)}, {data: []byte("[DONE]")}}
}
