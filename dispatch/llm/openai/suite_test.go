package openai

import (
	"net/http"
	"testing"

	"wagent/dispatch/llm"
	"wagent/dispatch/llm/modeltest"
)

func newModel(baseURL string, client *http.Client) llm.Model {
	return New(Config{BaseURL: baseURL + "/v1", APIKey: modeltest.Key, Name: modeltest.Name, HTTPClient: client})
}

func TestTooLong(t *testing.T) { modeltest.TooLong(t, newModel) }

func TestFailures(t *testing.T) {
	modeltest.Failures(t, newModel, "answered 200 without choices")
}

func TestBodies(t *testing.T)  { modeltest.Bodies(t, newModel) }
func TestAbsence(t *testing.T) { modeltest.Absence(t, newModel) }

func TestEnvironment(t *testing.T) {
	modeltest.Environment(t, newModel, map[string]string{
		"OPENAI_API_KEY": "sk-env", "OPENAI_BASE_URL": "LURE", "OPENAI_ORG_ID": "org-env",
		"OPENAI_PROJECT_ID": "proj-env", "OPENAI_CUSTOM_HEADERS": "X-Env: yes",
	})
}

func FuzzAnswer(f *testing.F) {
	modeltest.Fuzz(f, newModel,
		`{"choices":[]}`, `{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}`,
		`{"choices":[{"message":{"content":[{"type":"text"}]}}],"usage":{"prompt_tokens":1e99}}`, `{"choices":[null]}`,
		`{"choices":{"a":1},"usage":[]}`, `{"choices":[{"message":{"tool_calls":[{"type":"x"}]}}]}`,
	)
}
