package known

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"wagent/context/transcript"
	"wagent/dispatch/llm"
	"wagent/dispatch/llm/llmtest"
	"wagent/gateway"
)

// TestRequestsOverResponses: what the providers that speak it are sent for a
// model that needs it.
func TestRequestsOverResponses(t *testing.T) {
	if err := os.MkdirAll(filepath.Join("testdata", "responses"), 0o700); *update && err != nil {
		t.Fatal(err)
	}
	for p := range All() {
		if p.Traits.API == "" {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			s := &llmtest.Server{OpenAI: true, Answer: llmtest.Queue(llmtest.Reply{Text: `{"a":"b"}`})}
			srv := httptest.NewServer(s)
			defer srv.Close()
			defer srv.Client().CloseIdleConnections()
			resp, err := model(&p, srv.URL+"/v1", srv.Client()).Generate(t.Context(), llm.Request{
				Model: "gpt-5.4", System: "Be kind.", Schema: schema, Strict: true, Temperature: 0.5, MaxTokens: 64, CacheKey: "agent-1",
				Settings: gateway.ModelSettings{ReasoningEffort: "low"},
				Turns:    []transcript.Turn{{Role: transcript.User, Text: "Hello"}},
			})
			if err != nil || resp.Text != `{"a":"b"}` || len(s.Problems()) > 0 {
				t.Fatalf("%+v, %v, %q", resp, err, s.Problems())
			}
			var b bytes.Buffer
			b.WriteString("POST " + s.Requests()[0].Path + "\n\n")
			if err := json.Indent(&b, s.Requests()[0].Body, "", "  "); err != nil {
				t.Fatal(err)
			}
			b.WriteString("\n")
			golden(t, filepath.Join("responses", p.Name), b.Bytes())
		})
	}
}
