package openai

import (
	"context"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"

	"wagent/context/transcript"
	"wagent/dispatch/llm"
	"wagent/dispatch/llm/remote"
)

// minOutput is the least that max_output_tokens may be
// (https://platform.openai.com/docs/api-reference/responses/create).
const minOutput = 16

// respond asks for one response.
func (m *Model) respond(ctx context.Context, r *llm.Request, f form) (llm.Response, error) {
	var opts []option.RequestOption
	if r.Schema != nil && f.format == formatSchema {
		// The library's type would lose the order of the schema's members, in which
		// models write them.
		opts = append(opts, option.WithJSONSet("text.format.schema", r.Schema))
	}
	if !m.stream {
		resp, err := m.responses.New(ctx, responseParams(r, f), opts...)
		if err != nil {
			return llm.Response{}, err
		}
		return m.readResponse(resp)
	}
	s := m.responses.NewStreaming(ctx, responseParams(r, f), opts...)
	for s.Next() {
		switch e := s.Current(); e.Type {
		case "response.completed", "response.incomplete", "response.failed":
			// It repeats all that the events before it had.
			return m.readResponse(&e.Response)
		case "error":
			return llm.Response{}, remote.NewLateRefusal([]byte(e.RawJSON()))
		}
	}
	if err := s.Err(); err != nil {
		return llm.Response{}, m.streamError(err)
	}
	return llm.Response{}, m.who.Unusable("with a stream that did not come to its end")
}

// responseParams is the body of the request. Nothing is stored.
func responseParams(r *llm.Request, f form) responses.ResponseNewParams {
	p := responses.ResponseNewParams{Model: r.Model, Store: openai.Bool(false)}
	if system := f.system(r); system != "" {
		p.Instructions = openai.String(system)
	}
	for _, t := range r.Turns {
		role := responses.EasyInputMessageRoleUser
		if t.Role == transcript.Assistant {
			role = responses.EasyInputMessageRoleAssistant
		}
		p.Input.OfInputItemList = append(p.Input.OfInputItemList, responses.ResponseInputItemParamOfMessage(t.Text, role))
	}
	if !f.noTemperature {
		p.Temperature = openai.Float(r.Temperature)
	}
	if r.MaxTokens > 0 {
		p.MaxOutputTokens = openai.Int(int64(max(r.MaxTokens, minOutput)))
	}
	if r.CacheKey != "" && !f.noCacheKey {
		p.PromptCacheKey = openai.String(r.CacheKey)
	}
	p.Reasoning.Effort = shared.ReasoningEffort(r.Settings.ReasoningEffort)
	if r.Schema == nil {
		return p
	}
	switch f.format {
	case formatSchema:
		p.Text.Format.OfJSONSchema = &responses.ResponseFormatTextJSONSchemaConfigParam{
			Name: toolName, Schema: map[string]any{}, Strict: openai.Bool(r.Strict),
		}
	case formatObject:
		p.Text.Format.OfJSONObject = &shared.ResponseFormatJSONObjectParam{}
		// Here the word must stand in the input; instructions are none.
		p.Input.OfInputItemList = append(p.Input.OfInputItemList, responses.ResponseInputItemParamOfMessage("Answer in JSON.", responses.EasyInputMessageRoleDeveloper))
	case formatTool, formatPlain:
	}
	return p
}

// readResponse reads what the model said; its thoughts are passed over.
func (m *Model) readResponse(r *responses.Response) (llm.Response, error) {
	if r == nil || r.Object != "response" {
		return llm.Response{}, m.who.Unusable("without a response")
	}
	resp := llm.Response{
		Model:        strings.ToValidUTF8(r.Model, "\uFFFD"),
		InputTokens:  remote.Tokens(r.Usage.InputTokens),
		CachedTokens: remote.Tokens(r.Usage.InputTokensDetails.CachedTokens),
		OutputTokens: remote.Tokens(r.Usage.OutputTokens),
	}
	switch r.Status {
	case responses.ResponseStatusCompleted:
	case responses.ResponseStatusIncomplete:
		resp.Refused = r.IncompleteDetails.Reason == "content_filter"
		resp.Truncated = !resp.Refused
	case responses.ResponseStatusFailed:
		return llm.Response{}, remote.NewLateRefusal([]byte(r.Error.RawJSON()))
	default:
		return llm.Response{}, m.who.Unusable("with a response that is not complete")
	}
	var text, refusal strings.Builder
	for i := range r.Output {
		if r.Output[i].Type != "message" {
			continue
		}
		for j := range r.Output[i].Content {
			switch part := &r.Output[i].Content[j]; part.Type {
			case "output_text":
				text.WriteString(part.Text)
			case "refusal":
				refusal.WriteString(part.Refusal)
			}
		}
	}
	resp.Text = text.String()
	if refusal.Len() > 0 {
		resp.Text, resp.Refused = refusal.String(), true
	}
	resp.Text = strings.ToValidUTF8(resp.Text, "\uFFFD")
	return resp, nil
}
