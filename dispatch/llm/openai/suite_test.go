package openai

import (
	"net/http"
	"testing"
	"time"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/modeltest"
)

// newModel returns how a model is made that is asked over a protocol.
func newModel(api string, stream bool) modeltest.New {
	return func(baseURL string, client *http.Client, idle time.Duration) llm.Model {
		return New(Config{
			BaseURL: baseURL + "/v1", APIKey: modeltest.Key, Name: modeltest.Name, HTTPClient: client,
			Stream: stream, Idle: idle, Traits: Traits{API: api},
		})
	}
}

const (
	noEnd   = "answered 200 with a stream that did not come to its end"
	garbage = "answered 200 with a stream that can not be read"
)

func TestSuite(t *testing.T) {
	const choices = "answered 200 without choices"
	t.Run("chat", func(t *testing.T) { modeltest.Suite{New: newModel(Chat, false), Hollow: choices}.Run(t) })
	t.Run("responses", func(t *testing.T) {
		modeltest.Suite{New: newModel(Responses, false), Hollow: "answered 200 without a response"}.Run(t)
	})
	t.Run("chat, streamed", func(t *testing.T) {
		s := modeltest.Suite{New: newModel(Chat, true), Hollow: choices, Empty: choices, Garbage: garbage}
		s.Run(t)
		s.Streams(t)
	})
	t.Run("responses, streamed", func(t *testing.T) {
		s := modeltest.Suite{New: newModel(Responses, true), Hollow: noEnd, Empty: noEnd, Garbage: garbage}
		s.Run(t)
		s.Streams(t)
	})
}

func TestEnvironment(t *testing.T) {
	for _, api := range []string{Chat, Responses} {
		modeltest.Environment(t, newModel(api, false), map[string]string{
			"OPENAI_API_KEY": "sk-env", "OPENAI_BASE_URL": "LURE", "OPENAI_ORG_ID": "org-env",
			"OPENAI_PROJECT_ID": "proj-env", "OPENAI_CUSTOM_HEADERS": "X-Env: yes",
		})
	}
}

func FuzzChat(f *testing.F) {
	modeltest.Fuzz(f, newModel(Chat, false),
		`{"choices":[]}`, `{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}`,
		`{"choices":[{"message":{"content":[{"type":"text"}]}}],"usage":{"prompt_tokens":1e99}}`, `{"choices":[null]}`,
		`{"choices":{"a":1},"usage":[]}`, `{"choices":[{"message":{"tool_calls":[{"type":"x"}]}}]}`,
	)
}

func FuzzChatStream(f *testing.F) {
	modeltest.Fuzz(f, newModel(Chat, true),
		"data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
		"data: {\"choices\":[{\"index\":-1,\"delta\":{\"tool_calls\":[{\"index\":9}]}}]}\n\n", "data: {\"choices\":[{\"index\":1e9}]}\n\n",
		"data: {\"error\":\"x\"}\n\n",
	)
}

func FuzzResponses(f *testing.F) {
	modeltest.Fuzz(f, newModel(Responses, false),
		`{"object":"response","status":"completed","output":[{"content":[{"type":"output_text","text":"x"}]}]}`,
		`{"object":"response","status":"failed","error":null}`, `{"object":"response","status":"incomplete","output":[null]}`,
	)
}

func FuzzResponsesStream(f *testing.F) {
	modeltest.Fuzz(f, newModel(Responses, true),
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"object\":\"response\",\"status\":\"completed\"}}\n\n",
		"data: {\"type\":\"response.completed\",\"response\":7}\n\n", "data: {\"type\":\"error\",\"code\":7}\n\n",
	)
}
