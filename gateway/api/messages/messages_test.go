package messages

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/api/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is every part of the API, over slices. It follows the rules that the
// interfaces state, and sends nothing by itself.
type memory struct {
	mu       sync.Mutex
	messages []gateway.PeerMessage // oldest first
	queued   []gateway.Send
	unlinked bool // no device is linked to acc_phone
}

func (m *memory) api() *API { return &API{Accounts: m, Messages: m, Sender: m} }

func (m *memory) Accounts(context.Context) ([]gateway.Account, error) {
	return []gateway.Account{
		{ID: "acc_main", Kind: gateway.CloudAPI, PhoneNumber: "+15550001111"},
		{ID: "acc_try", Kind: gateway.Sandbox},
		{ID: "acc_phone", Kind: gateway.LinkedDevice},
	}, nil
}

func missing() error { return &gateway.Error{Kind: gateway.NotFound, Msg: "no such message"} }

func (m *memory) PeerMessages(_ context.Context, account gateway.AccountID, before gateway.MessageID, limit int) ([]gateway.PeerMessage, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all, out []gateway.PeerMessage
	seen := before == ""
	for _, x := range slices.Backward(m.messages) {
		if x.Account != account {
			continue
		}
		all = append(all, x)
		if seen && len(out) < limit {
			out = append(out, x)
		}
		seen = seen || x.ID == before
	}
	if !seen {
		return nil, 0, missing()
	}
	return out, len(all), nil
}

func (m *memory) PeerMessage(_ context.Context, account gateway.AccountID, id gateway.MessageID) (gateway.PeerMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.messages {
		if x.Account == account && x.ID == id {
			return x, nil
		}
	}
	return gateway.PeerMessage{}, missing()
}

func (m *memory) QueueMessage(_ context.Context, x *gateway.Send) (gateway.PeerMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x.Account == "acc_phone" && m.unlinked {
		return gateway.PeerMessage{}, &gateway.Error{Kind: gateway.Conflict, Msg: "The session is not connected: no device is linked"}
	}
	now := time.Now()
	p := gateway.PeerMessage{Peer: x.To, Message: gateway.Message{
		ID: gateway.NewMessageID(), Account: x.Account, Direction: gateway.Out, Type: x.Type, Text: x.Text, Detail: x.Content,
		SentAt: now, ReceivedAt: now, Status: gateway.StatusQueued,
	}}
	m.messages, m.queued = append(m.messages, p), append(m.queued, *x)
	return p, nil
}

// do is what a story can have the double do.
func (m *memory) do(command string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	last := func() *gateway.PeerMessage { return &m.messages[len(m.messages)-1] }
	switch command {
	case "the phone is unlinked":
		m.unlinked = true
	case "WhatsApp takes the last message":
		last().Status, last().ExternalID, last().Progress.AcceptedAt = gateway.StatusSent, "wamid.1", now
	case "the customer reads it":
		last().Status, last().Progress.DeliveredAt, last().Progress.ReadAt = gateway.StatusRead, now, now
	case "WhatsApp refuses the last message":
		last().Status, last().Progress.Failure = gateway.StatusFailed, "Graph error 131026: message undeliverable"
	case "a customer sends a picture to acc_main":
		m.messages = append(m.messages, gateway.PeerMessage{Peer: gateway.Address{Phone: "+33612345678"}, Message: gateway.Message{
			ID: gateway.NewMessageID(), Account: "acc_main", Direction: gateway.In, Type: gateway.TypeImage, Text: "our room",
			ExternalID: "wamid.in", SentAt: now, ReceivedAt: now, State: gateway.StateWaiting,
		}})
	case "the owner sends a picture to somebody without a number":
		m.messages = append(m.messages, gateway.PeerMessage{Peer: gateway.Address{LID: "98765"}, Message: gateway.Message{
			ID: gateway.NewMessageID(), Account: "acc_phone", Direction: gateway.Out, Type: gateway.TypeImage,
			ExternalID: "3EB0", SentAt: now, ReceivedAt: now, Status: gateway.StatusSent,
		}})
	default:
		return false
	}
	return true
}

func TestContract(t *testing.T) {
	wiretest.Play(t, func() (func(*echo.Group), func(string) bool) {
		m := &memory{}
		return m.api().Mount, m.do
	})
}

func TestValidateNamesTheMissingPart(t *testing.T) {
	wiretest.Parts(t, (&memory{}).api)
}

// request makes a call, and returns the status and the body.
func request(t *testing.T, m *memory, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, "/api/v1"+path, strings.NewReader(body))
	wiretest.Echo(m.api().Mount).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestWhatIsAskedForIsWhatIsSent(t *testing.T) {
	to := gateway.Address{Phone: "+33612345678"}
	for name, tt := range map[string]struct {
		message string
		want    gateway.Send
	}{
		"a text": {
			`"message_type":"text","content":" hello "`,
			gateway.Send{Type: gateway.TypeText, Text: " hello "},
		},
		"a message of no type is a text": {
			`"content":"hello","message_metadata":null`,
			gateway.Send{Type: gateway.TypeText, Text: "hello"},
		},
		"a file by its content": {
			`"message_type":"image","content":"https://example.com/a.jpg"`,
			gateway.Send{Type: gateway.TypeImage, Content: []byte(`{"url":"https://example.com/a.jpg"}`)},
		},
		"a file by its metadata, with a caption": {
			`"message_type":"video","content":"look","message_metadata":{"url":"https://example.com/a.mp4","other":1}`,
			gateway.Send{Type: gateway.TypeVideo, Text: "look", Content: []byte(`{"url":"https://example.com/a.mp4"}`)},
		},
		"a document with its name": {
			`"message_type":"document","message_metadata":{"url":"http://example.com/1","filename":"menu.pdf"}`,
			gateway.Send{Type: gateway.TypeDocument, Content: []byte(`{"url":"http://example.com/1","filename":"menu.pdf"}`)},
		},
		"a template": {
			`"message_type":"template","template_name":"welcome","template_language":"en_US"`,
			gateway.Send{Type: gateway.TypeTemplate, Content: []byte(`{"name":"welcome","language":"en_US"}`)},
		},
		"a template with what goes into its places": {
			`"message_type":"template","template_name":"welcome","template_language":"de","content":"Hi Ada","message_metadata":{"components":[{"type":"body"}]}`,
			gateway.Send{Type: gateway.TypeTemplate, Text: "Hi Ada", Content: []byte(`{"name":"welcome","language":"de","components":[{"type":"body"}]}`)},
		},
		"buttons": {
			`"message_type":"interactive","content":"Sure?","message_metadata":{"buttons":[{"id":"y","title":"Yes"},{"id":"n","title":"No"}]}`,
			gateway.Send{Type: gateway.TypeInteractive, Text: "Sure?", Content: []byte(`{"buttons":[{"id":"y","title":"Yes"},{"id":"n","title":"No"}]}`)},
		},
		"buttons that say so": {
			`"message_type":"interactive","content":"Sure?","message_metadata":{"type":"button","buttons":[{"id":"y","title":"Yes"}]}`,
			gateway.Send{Type: gateway.TypeInteractive, Text: "Sure?", Content: []byte(`{"buttons":[{"id":"y","title":"Yes"}]}`)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := &memory{}
			status, body := request(t, m, http.MethodPost, "/business_accounts/acc_main/messages", `{"message":{"to":"33612345678",`+tt.message+`}}`)
			if status != http.StatusCreated {
				t.Fatalf("%d %s", status, body)
			}
			tt.want.Account, tt.want.To = "acc_main", to
			if diff := cmp.Diff([]gateway.Send{tt.want}, m.queued); diff != "" {
				t.Errorf("queued (-want +got):\n%s", diff)
			}
		})
	}
}

// A body of 1 MiB is answered in short.
func TestButtonsThatAreTooManyAreCounted(t *testing.T) {
	given := strings.Repeat(`{"id":"y","title":""},`, 40_000) + `{}`
	status, body := request(t, &memory{}, http.MethodPost, "/business_accounts/acc_main/messages",
		`{"message":{"to":"33612345678","message_type":"interactive","content":"Sure?","message_metadata":{"buttons":[`+given+`]}}}`)
	if status != http.StatusUnprocessableEntity || !strings.Contains(body, "between 1 and 3 entries") || len(body) > 1000 {
		t.Errorf("%d, in %d bytes: %.500s", status, len(body), body)
	}
}

func TestAListIsTheLastHundred(t *testing.T) {
	m := &memory{}
	for i := range mostListed + 1 {
		m.messages = append(m.messages, gateway.PeerMessage{Message: gateway.Message{ID: gateway.MessageID(fmt.Sprint("msg_", i)), Account: "acc_try", Direction: gateway.In}})
	}
	for path, want := range map[string][2]any{
		"":                       {mostListed, `{"data":[{"id":"msg_100"`},
		"?limit=2":               {2, `{"data":[{"id":"msg_100"`},
		"?limit=2&before=msg_50": {2, `{"data":[{"id":"msg_49"`},
	} {
		status, body := request(t, m, http.MethodGet, "/business_accounts/acc_try/messages"+path, "")
		if n := strings.Count(body, `"id":`); status != http.StatusOK || n != want[0] || !strings.HasPrefix(body, want[1].(string)) || !strings.HasSuffix(body, `"meta":{"total":101}}`) {
			t.Errorf("%s: %d, %d messages: %.60s… %s", path, status, n, body, body[len(body)-30:])
		}
	}
}

// away fails as the database does.
type away struct{ *memory }

var errAway = &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}

func (away) Accounts(context.Context) ([]gateway.Account, error) { return nil, errAway }

func (away) QueueMessage(context.Context, *gateway.Send) (gateway.PeerMessage, error) {
	return gateway.PeerMessage{}, errAway
}

func TestADatabaseThatIsAwayIsNotNoAccount(t *testing.T) {
	for name, breakIt := range map[string]func(*API){
		"accounts": func(h *API) { h.Accounts = away{} },
		"sender":   func(h *API) { h.Sender = away{} },
	} {
		t.Run(name, func(t *testing.T) {
			h := (&memory{}).api()
			breakIt(h)
			w := httptest.NewRecorder()
			wiretest.Echo(h.Mount).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost,
				"/api/v1/business_accounts/acc_try/messages", strings.NewReader(`{"message":{"to":"33612345678","content":"x"}}`)))
			if diff := cmp.Diff(`503 {"error":"The database is away"}`, fmt.Sprint(w.Code, " ", w.Body)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
