package cloudapi

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"wagent/gateway"
)

// MaxText is how many characters a text message may have (Cloud API, "Text
// messages"). Longer texts are refused: whoever makes a send splits it.
const MaxText = 4096

// How many characters the other texts may have (Cloud API, "Image messages",
// "Interactive reply buttons messages"), and how many buttons there may be.
const (
	maxCaption  = 1024
	maxHeading  = 1024
	maxButtons  = 3
	maxTitle    = 20
	maxButtonID = 256
)

// A message is the body of POST /{phone-number-id}/messages. Of its contents
// the one is set that Type names.
type message struct {
	Product       string            `json:"messaging_product"`
	RecipientType string            `json:"recipient_type"`
	To            string            `json:"to,omitempty"`
	Recipient     string            `json:"recipient,omitempty"` // a business-scoped user id, in place of To
	Context       *quoted           `json:"context,omitempty"`
	Type          string            `json:"type"`
	Text          *textContent      `json:"text,omitempty"`
	Image         *mediaContent     `json:"image,omitempty"`
	Video         *mediaContent     `json:"video,omitempty"`
	Audio         *mediaContent     `json:"audio,omitempty"`
	Document      *mediaContent     `json:"document,omitempty"`
	Template      *templateContent  `json:"template,omitempty"`
	Interactive   *buttonsContent   `json:"interactive,omitempty"`
	Data          gateway.MessageID `json:"biz_opaque_callback_data,omitempty"`
}

type quoted struct {
	MessageID string `json:"message_id"`
}

type textContent struct {
	Body       string `json:"body"`
	PreviewURL bool   `json:"preview_url"`
}

type mediaContent struct {
	Link     string `json:"link"`
	Caption  string `json:"caption,omitempty"`
	Filename string `json:"filename,omitempty"`
}

type templateContent struct {
	Name       string           `json:"name"`
	Language   templateLanguage `json:"language"`
	Components json.RawMessage  `json:"components,omitempty"`
}

type templateLanguage struct {
	Code string `json:"code"`
}

type buttonsContent struct {
	Type   string        `json:"type"`
	Body   buttonsBody   `json:"body"`
	Action buttonsAction `json:"action"`
}

type buttonsBody struct {
	Text string `json:"text"`
}

type buttonsAction struct {
	Buttons []button `json:"buttons"`
}

type button struct {
	Type  string      `json:"type"`
	Reply buttonReply `json:"reply"`
}

type buttonReply struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

func encodeSend(s *gateway.Send) ([]byte, error) {
	m := message{Product: "whatsapp", RecipientType: "individual", Data: s.ID}
	number, plus := strings.CutPrefix(s.To.Phone, "+")
	switch {
	case s.To.Group != "":
		m.RecipientType, m.To = "group", s.To.Group
	case plus && number != "" && digits(number) == number:
		m.To = number
	case isUserID(s.To.LID):
		m.Recipient = s.To.LID
	default:
		return nil, refusal("the recipient has no address that the Cloud API takes")
	}
	if err := m.fill(s); err != nil {
		return nil, err
	}
	if s.ReplyTo != "" {
		m.Context = &quoted{MessageID: s.ReplyTo}
	}
	body, err := json.Marshal(m)
	if err != nil {
		return nil, &gateway.Error{Kind: gateway.Invalid, Msg: "the message can't be encoded", Err: err}
	}
	return body, nil
}

func refusal(format string, args ...any) error {
	return &gateway.Error{Kind: gateway.Invalid, Msg: fmt.Sprintf(format, args...)}
}

// fill sets the type of a message and its content.
func (m *message) fill(s *gateway.Send) (err error) {
	kind := s.Type
	if kind == "" {
		kind = gateway.TypeText
	}
	m.Type = string(kind)
	switch kind {
	case gateway.TypeText:
		m.Text, err = text(s.Text)
	case gateway.TypeImage:
		m.Image, err = media(s)
	case gateway.TypeVideo:
		m.Video, err = media(s)
	case gateway.TypeAudio:
		m.Audio, err = media(s)
	case gateway.TypeDocument:
		m.Document, err = media(s)
	case gateway.TypeTemplate:
		m.Template, err = template(s)
	case gateway.TypeInteractive:
		m.Interactive, err = buttons(s)
	default:
		err = refusal("the Cloud API sends no message of type %s", kind)
	}
	return err
}

func text(s string) (*textContent, error) {
	switch n := utf8.RuneCountInString(s); {
	case n > MaxText:
		return nil, refusal("the text has %d characters, and WhatsApp takes %d: it must be split before it is sent", n, MaxText)
	case strings.TrimSpace(s) == "":
		return nil, refusal("the text is empty")
	}
	return &textContent{Body: s}, nil
}

// media is a file that Meta fetches from where it is: what Meta can't reach
// fails later, with a status.
func media(s *gateway.Send) (*mediaContent, error) {
	var file gateway.LinkedFile
	if err := json.Unmarshal(s.Content, &file); err != nil {
		return nil, unread(s, err)
	}
	u, err := url.Parse(file.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, refusal("the %s has no URL that Meta could fetch", s.Type)
	case s.Type == gateway.TypeAudio && s.Text != "":
		return nil, refusal("an audio has no caption")
	case utf8.RuneCountInString(s.Text) > maxCaption:
		return nil, refusal("the caption is longer than the %d characters that WhatsApp takes", maxCaption)
	}
	m := &mediaContent{Link: file.URL, Caption: s.Text}
	if s.Type == gateway.TypeDocument {
		m.Filename = file.Name
	}
	return m, nil
}

func template(s *gateway.Send) (*templateContent, error) {
	var use gateway.TemplateUse
	if err := json.Unmarshal(s.Content, &use); err != nil {
		return nil, unread(s, err)
	}
	if use.Name == "" || use.Language == "" {
		return nil, refusal("the template has no name, or no language")
	}
	return &templateContent{Name: use.Name, Language: templateLanguage{Code: use.Language}, Components: use.Components}, nil
}

func buttons(s *gateway.Send) (*buttonsContent, error) {
	var given gateway.Buttons
	if err := json.Unmarshal(s.Content, &given); err != nil {
		return nil, unread(s, err)
	}
	switch n := utf8.RuneCountInString(s.Text); {
	case strings.TrimSpace(s.Text) == "" || n > maxHeading:
		return nil, refusal("the text above buttons must have between 1 and %d characters", maxHeading)
	case len(given.Buttons) == 0 || len(given.Buttons) > maxButtons:
		return nil, refusal("there must be between 1 and %d buttons", maxButtons)
	}
	out := &buttonsContent{Type: "button", Body: buttonsBody{Text: s.Text}}
	ids, titles := map[string]bool{}, map[string]bool{}
	for _, b := range given.Buttons {
		title, id := utf8.RuneCountInString(b.Title), utf8.RuneCountInString(b.ID)
		if title == 0 || title > maxTitle || id == 0 || id > maxButtonID {
			return nil, refusal("each button must have an id of at most %d characters and a title of at most %d", maxButtonID, maxTitle)
		}
		shown := strings.TrimSpace(b.Title)
		if ids[b.ID] || titles[shown] {
			return nil, refusal("two buttons have the same id, or the same title")
		}
		ids[b.ID], titles[shown] = true, true
		out.Action.Buttons = append(out.Action.Buttons, button{Type: "reply", Reply: buttonReply(b)})
	}
	return out, nil
}

// unread is for content that is not what its type says: only a record that
// somebody changed holds that.
func unread(s *gateway.Send, err error) error {
	return &gateway.Error{Kind: gateway.Invalid, Msg: fmt.Sprintf("the content of the %s can't be read", s.Type), Err: err}
}
