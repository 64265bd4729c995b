package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

// sentMessage is what these tests look at in a message of the API.
type sentMessage struct {
	ID, Direction, Status, Content string
	WAMID                          string `json:"wamid"`
	Type                           string `json:"message_type"`
	Error                          string `json:"error_message"`
	Sent                           string `json:"sent_at"`
	Delivered                      string `json:"delivered_at"`
	Read                           string `json:"read_at"`
}

// say sends a message of acc_a to Ada over the API, and returns what it is then.
func (w *world) say(fields string) sentMessage {
	w.Helper()
	var m sentMessage
	in := map[string]any{"message": jsonObject(w.T, `{"to":"+`+ada.Phone+`",`+fields+`}`)}
	if code := w.call(http.MethodPost, "/api/v1/business_accounts/acc_a/messages", in, &m); code != http.StatusCreated {
		w.Fatalf("%s: %d", fields, code)
	}
	return m
}

func (w *world) said(id string) sentMessage {
	w.Helper()
	var m sentMessage
	if code := w.call(http.MethodGet, "/api/v1/business_accounts/acc_a/messages/"+id, nil, &m); code != http.StatusOK {
		w.Fatalf("message %s: %d", id, code)
	}
	return m
}

// noAgents leaves the accounts to people.
func noAgents(c *config.Config) { c.Agents = nil }

func TestEveryTypeOfMessageGoesFromQueuedToRead(t *testing.T) {
	const file = "https://example.com/file"
	tests := map[string]struct {
		fields string
		want   graphtest.Sent
	}{
		"a text":      {`"message_type":"text","content":"hello"`, graphtest.Sent{Text: "hello"}},
		"an image":    {`"message_type":"image","content":"` + file + `"`, graphtest.Sent{Type: "image", Link: file}},
		"a video":     {`"message_type":"video","content":"look","message_metadata":{"url":"` + file + `"}`, graphtest.Sent{Type: "video", Link: file, Text: "look"}},
		"an audio":    {`"message_type":"audio","content":"` + file + `"`, graphtest.Sent{Type: "audio", Link: file}},
		"a document":  {`"message_type":"document","message_metadata":{"url":"` + file + `","filename":"a.pdf"}`, graphtest.Sent{Type: "document", Link: file, Filename: "a.pdf"}},
		"a template":  {`"message_type":"template","template_name":"welcome","template_language":"en_US"`, graphtest.Sent{Type: "template", Template: "welcome", Language: "en_US"}},
		"two buttons": {`"message_type":"interactive","content":"Sure?","message_metadata":{"buttons":[{"id":"y","title":"Yes"},{"id":"n","title":"No"}]}`, graphtest.Sent{Type: "interactive", Text: "Sure?", Buttons: []graphtest.Button{{ID: "y", Title: "Yes"}, {ID: "n", Title: "No"}}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, noAgents, echo, func(w *world) {
				w.post("acc_a", ada.Text("wamid.in", "hello"))
				w.at(time.Minute)
				m := w.say(tt.fields)
				if m.Status != "queued" || m.Direction != "outbound" || m.Sent != "" || m.WAMID != "" {
					w.Errorf("answered with %+v", m)
				}
				w.at(time.Minute) // at once
				taken := w.graph.Sent()
				tt.want.To, tt.want.PhoneNumberID, tt.want.CallbackData = ada.Phone, "1001", m.ID
				if diff := cmp.Diff([]graphtest.Sent{tt.want}, taken, cmpopts.IgnoreFields(graphtest.Sent{}, "At", "ID")); diff != "" {
					w.Fatalf("WhatsApp got (-want +got):\n%s", diff)
				}
				want := m
				stamp := func() string { return time.Now().UTC().Format(time.RFC3339) }
				want.Status, want.WAMID, want.Sent = "sent", taken[0].ID, stamp()
				look := func() {
					w.Helper()
					if diff := cmp.Diff(want, w.said(m.ID)); diff != "" {
						w.Errorf("it is (-want +got):\n%s", diff)
					}
				}
				look()
				for i, status := range []string{"delivered", "read"} {
					w.at(time.Duration(2+i) * time.Minute)
					w.post("acc_a", graphtest.Status(taken[0].ID, ada.Phone, status, m.ID))
					want.Status = status
					if status == "read" {
						want.Read = stamp()
					} else {
						want.Delivered = stamp()
					}
					look()
				}
			})
		})
	}
}

func TestOnlyATemplateGoesToWhomNeverWrote(t *testing.T) {
	inWorld(t, noAgents, echo, func(w *world) {
		text := w.say(`"message_type":"text","content":"hello"`)
		template := w.say(`"message_type":"template","template_name":"welcome","template_language":"en_US"`)
		w.at(0)
		if m := w.said(text.ID); m.Status != "failed" || !strings.Contains(m.Error, "24 hours") {
			w.Errorf("the text is %+v", m)
		}
		if m := w.said(template.ID); m.Status != "sent" || m.Error != "" {
			w.Errorf("the template is %+v", m)
		}
	})
}

func TestAMessageThatWhatsAppRefusesSaysWhy(t *testing.T) {
	inWorld(t, noAgents, echo, func(w *world) {
		w.post("acc_a", ada.Text("wamid.in", "hello"))
		w.graph.Fail(1, graphtest.Fault{Code: 131026})
		refused := w.say(`"content":"one"`)
		w.at(0)
		if m := w.said(refused.ID); m.Status != "failed" || m.Error != "Graph error 131026: message undeliverable" {
			w.Errorf("what the Graph API refused is %+v", m)
		}
		later := w.say(`"content":"two"`)
		w.at(time.Second)
		wamid := w.said(later.ID).WAMID
		w.post("acc_a", graphtest.Status(wamid, ada.Phone, "failed", later.ID).Failed(131053, "Media upload error"))
		if m := w.said(later.ID); m.Status != "failed" || !strings.Contains(m.Error, "131053") || m.WAMID != wamid {
			w.Errorf("what failed later is %+v", m)
		}
	})
}

// TestAPersonsMessageKeepsTheAgentOut for as long as the account says, from the
// last one on, and what waited for the agent is not answered.
func TestAPersonsMessageKeepsTheAgentOut(t *testing.T) {
	halfAnHour := func(c *config.Config) { c.Accounts[0].Takeover = 30 * time.Minute }
	inWorld(t, halfAnHour, echo, func(w *world) {
		w.post("acc_a", ada.Text("wamid.1", "one"))
		w.at(5 * time.Second) // the window is open
		w.say(`"content":"I am here"`)
		w.at(20 * time.Minute)
		w.post("acc_a", ada.Text("wamid.2", "two"))
		w.say(`"content":"still here"`)
		w.at(49 * time.Minute)
		w.post("acc_a", ada.Text("wamid.3", "three"))
		w.at(51 * time.Minute)
		w.post("acc_a", ada.Text("wamid.4", "four"))
		w.at(time.Hour)
		w.want("5s "+ada.Phone+" I am here", "20m0s "+ada.Phone+" still here", "51m10s "+ada.Phone+" re: four")
		var pauses []struct {
			Reason string `json:"reason"`
		}
		w.call(http.MethodGet, "/api/v1/business_accounts/acc_a/conversation_pauses?include_expired=true", nil, &pauses)
		if len(pauses) != 1 || pauses[0].Reason != string(gateway.PauseOutbound) {
			w.Errorf("pauses are %+v", pauses)
		}
		var listed []sentMessage
		w.call(http.MethodGet, "/api/v1/business_accounts/acc_a/messages", nil, &listed)
		var said []string
		for _, m := range listed {
			said = append(said, fmt.Sprint(m.Direction, " ", m.Content))
		}
		if diff := cmp.Diff([]string{
			"outbound re: four", "inbound four", "inbound three", "outbound still here", "inbound two", "outbound I am here", "inbound one",
		}, said); diff != "" {
			w.Errorf("the list (-want +got):\n%s", diff)
		}
	})
}

// TestTheSandboxTakesEveryMessage: it is a number without WhatsApp.
func TestTheSandboxTakesEveryMessage(t *testing.T) {
	try := func(c *config.Config) {
		c.Accounts = append(c.Accounts, gateway.Account{ID: "acc_try", Kind: gateway.Sandbox, Declared: true})
	}
	inWorld(t, try, echo, func(w *world) {
		for _, fields := range []string{
			`"content":"hello"`, `"message_type":"image","content":"https://example.com/a"`,
			`"message_type":"template","template_name":"welcome","template_language":"en_US"`,
			`"message_type":"interactive","content":"Sure?","message_metadata":{"buttons":[{"id":"y","title":"Yes"}]}`,
		} {
			in := map[string]any{"message": jsonObject(w.T, `{"to":"+`+ada.Phone+`",`+fields+`}`)}
			var m sentMessage
			if code := w.call(http.MethodPost, "/api/v1/business_accounts/acc_try/messages", in, &m); code != http.StatusCreated {
				w.Fatalf("%s: %d", fields, code)
			}
			w.at(0)
			w.call(http.MethodGet, "/api/v1/business_accounts/acc_try/messages/"+m.ID, nil, &m)
			if m.Status != "sent" || m.WAMID != "sandbox."+m.ID {
				w.Errorf("%s: it is %+v", fields, m)
			}
		}
	})
}

func jsonObject(t *testing.T, s string) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal([]byte(s), &o); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	return o
}
