package whatsrb

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/gateway"
)

// TestSettingsCanBeSentBack: what is read and sent back changes nothing.
func TestSettingsCanBeSentBack(t *testing.T) {
	for name, body := range map[string]string{
		"at the defaults": `{"agent":{"name":"x","system_prompt":"y"}}`,
		"with everything": `{"agent":{"name":"x","system_prompt":"y",` + ours + `,"max_wait_seconds":90,"max_batch_messages":7,
			"on_new_message":"supersede","max_supersedes":5,"fallback_reply":"Sorry!",
			"inbound_config":{"trigger_on":"text_only","min_message_length":2,"max_messages_per_hour":9,"ignore_patterns":["^ok$"],
				"ignore_emoji_only":true,"ignore_greetings":true}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			e := newEcho(m)
			call := func(method, path, body string) []byte {
				t.Helper()
				r := httptest.NewRequestWithContext(t.Context(), method, "/api/v1"+path, strings.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				e.ServeHTTP(w, r)
				if w.Code >= 300 {
					t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
				}
				return w.Body.Bytes()
			}
			call(http.MethodPost, "/agents", body)
			before := m.agents[0]
			path := "/agents/" + before.ID.String()
			var got struct {
				Data json.RawMessage `json:"data"`
			}
			if err := json.Unmarshal(call(http.MethodGet, path+"/settings", ""), &got); err != nil {
				t.Fatal(err)
			}
			call(http.MethodPatch, path, `{"agent":`+string(got.Data)+`}`)
			if diff := cmp.Diff(before, m.agents[0], cmpopts.EquateEmpty(), cmpopts.IgnoreFields(gateway.Agent{}, "UpdatedAt")); diff != "" {
				t.Errorf("-before +after:\n%s", diff)
			}
		})
	}
}
