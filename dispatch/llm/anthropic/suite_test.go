package anthropic

import (
	"net/http"
	"testing"
	"time"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/modeltest"
)

func newModel(stream bool) modeltest.New {
	return func(baseURL string, client *http.Client, idle time.Duration) llm.Model {
		return New(Config{
			BaseURL: baseURL, APIKey: modeltest.Key, Name: modeltest.Name, HTTPClient: client,
			Stream: stream, Idle: idle,
		})
	}
}

func TestSuite(t *testing.T) {
	const hollow = "answered 200 without a message"
	t.Run("in one piece", func(t *testing.T) { modeltest.Suite{New: newModel(false), Hollow: hollow}.Run(t) })
	t.Run("streamed", func(t *testing.T) {
		s := modeltest.Suite{
			New: newModel(true), Hollow: hollow,
			Empty:   "answered 200 with a stream that did not come to its end",
			Garbage: "answered 200 with a stream that can not be read",
		}
		s.Run(t)
		s.Streams(t)
	})
}

func TestEnvironment(t *testing.T) {
	modeltest.Environment(t, newModel(false), map[string]string{
		"ANTHROPIC_API_KEY": "sk-env", "ANTHROPIC_AUTH_TOKEN": "token-env", "ANTHROPIC_BASE_URL": "LURE", "ANTHROPIC_CUSTOM_HEADERS": "X-Env: yes",
	})
}

func FuzzMessages(f *testing.F) {
	modeltest.Fuzz(f, newModel(false),
		`{"type":"message","content":[]}`, `{"type":"message","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn"}`,
		`{"type":"message","content":[null],"usage":{"input_tokens":1e99}}`, `{"type":"error","error":{"type":"api_error"}}`, `{"content":{"a":1},"usage":[]}`,
	)
}

func FuzzMessagesStream(f *testing.F) {
	modeltest.Fuzz(f, newModel(true),
		"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"type\":\"message\",\"content\":[]}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":-1}\n\n", "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
	)
}
