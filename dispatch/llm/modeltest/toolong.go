package modeltest

import (
	"net/http"
	"testing"

	"wagent/gateway"
)

// tooLong checks that a prompt which is too long is known for it in the words of
// each server, and that what only sounds like it is not.
func (s Suite) tooLong(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		want   gateway.Kind
		msg    string
	}{
		"OpenAI": {
			400, `{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`,
			gateway.TooLong, "acme answered 400 (context_length_exceeded: messages)",
		},
		"OpenAI, by its code alone": {
			400, `{"error":{"message":"","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}`,
			gateway.TooLong, "acme answered 400 (context_length_exceeded: input)",
		},
		"OpenAI's Responses": {
			400, `{"error":{"message":"Your input exceeds the context window of this model. Please adjust your input and try again.","type":"invalid_request_error","param":"input","code":null}}`,
			gateway.TooLong, "acme answered 400 (invalid_request_error: input)",
		},
		"Anthropic": {
			400, `{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}`,
			gateway.TooLong, "acme answered 400 (invalid_request_error)",
		},
		"Anthropic, with the answer": {
			400, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"input length and `max_tokens` exceed context limit: 198000 + 4096 > 200000\"}}",
			gateway.TooLong, "acme answered 400 (invalid_request_error)",
		},
		"Anthropic, in bytes": {
			413, `{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum size"}}`,
			gateway.TooLong, "acme answered 413 (request_too_large)",
		},
		"Google": {
			400, `[{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}]`,
			gateway.TooLong, "acme answered 400 (invalid_argument)",
		},
		"Groq": {
			400, `{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`,
			gateway.TooLong, "acme answered 400 (context_length_exceeded: messages)",
		},
		"Groq, for its minute": {
			413, `{"error":{"message":"Request too large for model llama on tokens per minute (TPM): Limit 6000, Requested 9000","type":"tokens","code":"rate_limit_exceeded"}}`,
			gateway.TooLong, "acme answered 413 (rate_limit_exceeded)",
		},
		"Mistral": {
			400, `{"object":"error","message":"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length","type":"invalid_request_error","code":3051}`,
			gateway.TooLong, "acme answered 400 (invalid_request_error)",
		},
		"xAI": {
			400, `{"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 131072 but the request contains 140000 tokens."}`,
			gateway.TooLong, "acme answered 400",
		},
		"vLLM": {
			400, `{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens","type":"BadRequestError","param":null,"code":400}`,
			gateway.TooLong, "acme answered 400",
		},
		"SGLang": {
			400, `{"object":"error","message":"The input (9000 tokens) is longer than the model's context length (8192 tokens).","type":"BadRequestError","code":400}`,
			gateway.TooLong, "acme answered 400",
		},
		"llama.cpp": {
			400, `{"error":{"code":400,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}`,
			gateway.TooLong, "acme answered 400 (exceed_context_size_error)",
		},
		"Hugging Face": {
			422, "{\"error\":\"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000\",\"error_type\":\"validation\"}",
			gateway.TooLong, "acme answered 422",
		},
		"Bedrock": {
			400, `{"message":"Input is too long for requested model."}`,
			gateway.TooLong, "acme answered 400",
		},
		"Moonshot": {
			400, `{"error":{"message":"Invalid request: Your request exceeded model token limit: 8192","type":"invalid_request_error"}}`,
			gateway.TooLong, "acme answered 400 (invalid_request_error)",
		},
		"a server that repeats the request": {
			400, `{"error":{"message":"prompt is too long: {\"temperature\":0.5,\"response_format\":{},\"tools\":[]} not supported","code":"invalid_value"}}`,
			gateway.TooLong, "acme answered 400 (invalid_value)",
		},
		"a proxy, in bytes":            {413, `<html>413 Request Entity Too Large</html>`, gateway.TooLong, "acme answered 413"},
		"too many tokens for a while":  {429, `{"message":"Too many tokens, please wait before trying again."}`, gateway.RateLimited, "acme answered 429"},
		"too many a minute":            {429, `{"error":{"message":"Request too large for model gpt-4o on tokens per min (TPM). Please reduce the length.","code":"rate_limit_exceeded"}}`, gateway.RateLimited, "acme answered 429 (rate_limit_exceeded)"},
		"an answer that is too long":   {400, `{"error":{"message":"max_tokens is too large: 99999. This model supports at most 16384 completion tokens","code":"invalid_value","param":"max_tokens"}}`, gateway.Invalid, "acme answered 400 (invalid_value: max_tokens)"},
		"a name that is too long":      {400, `{"error":{"message":"user is too long","code":"string_above_max_length","param":"user"}}`, gateway.Invalid, "acme answered 400 (string_above_max_length: user)"},
		"a server that is out of room": {500, `{"error":{"message":"maximum context length"}}`, gateway.Unavailable, "acme answered 500"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			asked := 0
			h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.body))
			})
			_, err := serve(t, h, s.New).Generate(t.Context(), Request())
			check(t, err, tt.want, tt.msg)
			if asked != 1 {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}
