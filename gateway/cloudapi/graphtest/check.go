package graphtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// message is the body of a message, with every field that the Cloud API
// documents for the types that we send and no other. Of a content it is known
// whether it was there at all.
type message struct {
	Product       string `json:"messaging_product"`
	RecipientType string `json:"recipient_type"`
	To            string `json:"to"`
	Recipient     string `json:"recipient"`
	Type          string `json:"type"`
	Data          string `json:"biz_opaque_callback_data"`
	Context       *struct {
		MessageID string `json:"message_id"`
	} `json:"context"`
	Text        *textContent     `json:"text"`
	Image       *mediaContent    `json:"image"`
	Video       *mediaContent    `json:"video"`
	Audio       *mediaContent    `json:"audio"`
	Document    *mediaContent    `json:"document"`
	Template    *templateContent `json:"template"`
	Interactive *interactive     `json:"interactive"`
}

// check looks at a request as Meta does. It returns the message, or the HTTP
// status and the error to refuse it with.
func (s *Server) check(r *http.Request, number string, body []byte) (Sent, int, *graphError) {
	if status, e := s.authorize(r, number); e != nil {
		return Sent{}, status, e
	}
	refused := func(code int, format string, args ...any) (Sent, int, *graphError) {
		return Sent{}, http.StatusBadRequest, &graphError{
			Code: code, Message: fmt.Sprintf("(#%d) ", code) + fmt.Sprintf(format, args...),
		}
	}
	if t := r.Header.Get("Content-Type"); !strings.HasPrefix(t, "application/json") {
		return refused(100, "Content-Type must be application/json")
	}
	var m message
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return refused(100, "Invalid parameter: %v", err)
	}
	switch {
	case m.Product != "whatsapp":
		return refused(100, "The parameter messaging_product is required.")
	case m.RecipientType != "" && m.RecipientType != "individual" && m.RecipientType != "group":
		return refused(100, "Param recipient_type must be one of {INDIVIDUAL, GROUP}")
	case m.To == "" && m.Recipient == "":
		return refused(131008, "Required parameter is missing: to")
	case m.RecipientType != "group" && m.To != "" && !isNumber(m.To):
		return refused(131009, "Parameter value is not valid: to")
	case m.Context != nil && m.Context.MessageID == "":
		return refused(131009, "Parameter value is not valid: context.message_id")
	case len(m.Data) > 512:
		return refused(100, "Param biz_opaque_callback_data must be at most 512 characters long.")
	}
	sent, code, problem := m.content()
	if code != 0 {
		return refused(code, "%s", problem)
	}
	sent.PhoneNumberID, sent.To, sent.Group, sent.CallbackData = number, m.To, m.RecipientType == "group", m.Data
	if m.To == "" {
		sent.Recipient = m.Recipient // Meta heeds it only without a number
	}
	if m.Context != nil {
		sent.ReplyTo = m.Context.MessageID
	}
	return sent, 0, nil
}

func (s *Server) authorize(r *http.Request, number string) (int, *graphError) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return http.StatusUnauthorized, &graphError{Code: 190, Message: "Invalid OAuth access token."}
	}
	s.mu.Lock()
	want, known := s.tokens[number]
	open := len(s.tokens) == 0
	s.mu.Unlock()
	switch {
	case open:
		return 0, nil
	case !known:
		return http.StatusBadRequest, &graphError{
			Code: 100, Subcode: 33, Message: "Unsupported post request. Object does not exist.",
		}
	case token != want:
		return http.StatusUnauthorized, &graphError{Code: 190, Message: "Invalid OAuth access token."}
	}
	return 0, nil
}

func isNumber(s string) bool {
	return len(s) >= 5 && len(s) <= 20 && strings.Trim(s, "0123456789") == ""
}
