package openai

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"github.com/openai/openai-go/v3/shared"

	"wagent/context/transcript"
	"wagent/dispatch/llm"
	"wagent/dispatch/llm/remote"
)

// complete asks for one chat completion.
func (m *Model) complete(ctx context.Context, r *llm.Request, f form) (llm.Response, error) {
	if !m.stream {
		completion, err := m.completions.New(ctx, params(r, f), m.options(r, f)...)
		if err != nil {
			return llm.Response{}, err
		}
		return m.response(completion)
	}
	var all openai.ChatCompletionAccumulator
	s := m.completions.NewStreaming(ctx, params(r, f), m.options(r, f)...)
	ended := false
	for s.Next() {
		chunk := s.Current()
		if chunk.ID == "" { // Azure's filter adds chunks without one
			chunk.ID = all.ID
		}
		if !all.AddChunk(chunk) {
			return llm.Response{}, m.who.Unusable("with a stream whose parts do not fit")
		}
		ended = ended || len(chunk.Choices) > 0 && chunk.Choices[0].FinishReason != ""
	}
	if err := s.Err(); err != nil {
		return llm.Response{}, m.streamError(err)
	}
	// Some servers leave out [DONE]; none leaves out why it ended.
	if len(all.Choices) > 0 && !ended {
		return llm.Response{}, m.who.Unusable("with a stream that did not come to its end")
	}
	return m.response(&all.ChatCompletion)
}

// streamError returns what ended a stream, without what the server said.
func (m *Model) streamError(err error) error {
	if e, ok := errors.AsType[*ssestream.StreamError](err); ok {
		return remote.NewLateRefusal(e.Event.Data)
	}
	return m.who.StreamError(err)
}

// toolName is the tool that carries an answer.
const toolName = "answer"

// options are what a request has beside its parameters.
func (m *Model) options(r *llm.Request, f form) []option.RequestOption {
	out := m.traits.settings(r)
	if m.stream && !f.noUsage {
		out = append(out, option.WithJSONSet("stream_options.include_usage", true))
	}
	if r.Schema != nil && f.format == formatTool {
		// The library's type would lose the order of the schema's members, in which
		// models write them.
		out = append(out, option.WithJSONSet("tools.0.function.parameters", r.Schema))
	}
	return out
}

// params is the body of the request.
func params(r *llm.Request, f form) openai.ChatCompletionNewParams {
	p := openai.ChatCompletionNewParams{Model: r.Model}
	if system := f.system(r); system != "" {
		p.Messages = append(p.Messages, openai.SystemMessage(system))
	}
	for _, t := range r.Turns {
		if t.Role == transcript.Assistant {
			p.Messages = append(p.Messages, openai.AssistantMessage(t.Text))
		} else {
			p.Messages = append(p.Messages, openai.UserMessage(t.Text))
		}
	}
	if r.CacheKey != "" && !f.noCacheKey {
		p.PromptCacheKey = openai.String(r.CacheKey)
	}
	if !f.noTemperature {
		p.Temperature = openai.Float(r.Temperature)
	}
	switch {
	case r.MaxTokens <= 0:
	case f.completionTokens:
		p.MaxCompletionTokens = openai.Int(int64(r.MaxTokens))
	default:
		p.MaxTokens = openai.Int(int64(r.MaxTokens))
	}
	if r.Schema == nil {
		return p
	}
	switch f.format {
	case formatSchema:
		p.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
			JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
				Name: "answer", Schema: r.Schema, Strict: openai.Bool(r.Strict),
			},
		}
	case formatTool:
		fn := shared.FunctionDefinitionParam{Name: toolName, Description: openai.String("Gives the answer. Call it once."), Parameters: shared.FunctionParameters{}}
		if r.Strict && !f.looseTools {
			fn.Strict = openai.Bool(true)
		}
		p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(fn)}
		// A choice by name is passed over by some servers (llama.cpp); there is but
		// one tool.
		p.ToolChoice.OfAuto = openai.String("required")
		if parallel := r.Settings.ParallelToolCalls; parallel != nil {
			p.ParallelToolCalls = openai.Bool(*parallel)
		}
	case formatObject:
		p.ResponseFormat.OfJSONObject = &shared.ResponseFormatJSONObjectParam{}
	case formatPlain:
	}
	return p
}

// system is the prompt that stands before the conversation.
func (f form) system(r *llm.Request) string {
	if r.Schema == nil || f.format == formatSchema || f.format == formatTool {
		return r.System
	}
	// The server does not carry the schema, so the prompt must; OpenAI
	// also wants the word JSON in a prompt that asks for json_object.
	return strings.TrimSpace(r.System + "\n\nAnswer with one JSON object and nothing else. It must satisfy this JSON Schema:\n" + string(r.Schema))
}

// response reads the first choice; we never ask for more.
func (m *Model) response(c *openai.ChatCompletion) (llm.Response, error) {
	if c == nil || len(c.Choices) == 0 {
		return llm.Response{}, m.hollow(c)
	}
	choice := &c.Choices[0]
	text := choice.Message.Content
	// Where a tool had to be called, its first call is the answer; some models
	// write one nevertheless.
	if calls := choice.Message.ToolCalls; len(calls) > 0 && calls[0].Function.Arguments != "" {
		text = calls[0].Function.Arguments
	}
	resp := llm.Response{
		Text:         strings.ToValidUTF8(text, "\uFFFD"),
		Truncated:    choice.FinishReason == "length",
		Refused:      choice.FinishReason == "content_filter" || choice.Message.Refusal != "",
		Model:        strings.ToValidUTF8(c.Model, "\uFFFD"),
		InputTokens:  remote.Tokens(c.Usage.PromptTokens),
		CachedTokens: remote.Tokens(c.Usage.PromptTokensDetails.CachedTokens),
		OutputTokens: remote.Tokens(c.Usage.CompletionTokens),
	}
	if choice.Message.Refusal != "" {
		resp.Text = strings.ToValidUTF8(choice.Message.Refusal, "\uFFFD")
	}
	return resp, nil
}

// hollow is the error of an answer without choices. Some routers answer 200
// and put the error of the server behind them into the body, its status as
// the code.
func (m *Model) hollow(c *openai.ChatCompletion) error {
	if c != nil {
		a := remote.NewRefusal(http.StatusOK, nil, []byte(c.RawJSON()))
		if a.Inner >= 400 && a.Inner < 600 {
			a.Status = a.Inner
			return a
		}
	}
	return m.who.Unusable("without choices")
}
