package anthropic

import (
	"net/http"
	"testing"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/modeltest"
)

func newModel(baseURL string, client *http.Client) llm.Model {
	return New(Config{BaseURL: baseURL, APIKey: modeltest.Key, Name: modeltest.Name, HTTPClient: client})
}

func TestTooLong(t *testing.T) { modeltest.TooLong(t, newModel) }

func TestFailures(t *testing.T) {
	modeltest.Failures(t, newModel, "answered 200 without a message")
}

func TestBodies(t *testing.T)  { modeltest.Bodies(t, newModel) }
func TestAbsence(t *testing.T) { modeltest.Absence(t, newModel) }

func TestEnvironment(t *testing.T) {
	modeltest.Environment(t, newModel, map[string]string{
		"ANTHROPIC_API_KEY": "sk-env", "ANTHROPIC_AUTH_TOKEN": "token-env", "ANTHROPIC_BASE_URL": "LURE", "ANTHROPIC_CUSTOM_HEADERS": "X-Env: yes",
	})
}

func FuzzAnswer(f *testing.F) {
	modeltest.Fuzz(f, newModel,
		`{"type":"message","content":[]}`, `{"type":"message","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn"}`,
		`{"type":"message","content":[null],"usage":{"input_tokens":1e99}}`, `{"type":"error","error":{"type":"api_error"}}`, `{"content":{"a":1},"usage":[]}`,
	)
}
