// Package messages is the messages of a business account or a session. One that
// is sent here is a person's: agents keep out of the conversation for a while.
//
// A message is queued when it is made. What became of it is told by its status,
// and by the webhooks message.status and message.failed.
package messages

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"wagent/gateway/client/rest"
)

// Service is the messages of one account or session. It may be used
// concurrently.
type Service struct {
	rest  *rest.Client
	owner []string
}

// New returns the messages of what stands at a path, for instance
// "business_accounts", "acc_…". It is not looked up.
func New(c *rest.Client, owner ...string) *Service { return &Service{c, owner} }

// Message is a message in either direction. WhatsRB Cloud tells of a session's
// message its WhatsAppMessageID, in place of its WAMID.
type Message struct {
	ID                string    `json:"id"`
	Direction         string    `json:"direction"` // inbound or outbound
	To                string    `json:"to"`
	MessageType       string    `json:"message_type"`
	Content           string    `json:"content"`
	Status            string    `json:"status"` // queued, sent, delivered, read, failed
	WAMID             string    `json:"wamid"`
	WhatsAppMessageID string    `json:"whatsapp_message_id"`
	ErrorMessage      string    `json:"error_message"` // why it failed
	SentAt            time.Time `json:"sent_at"`       // zero: not yet, as the next two
	DeliveredAt       time.Time `json:"delivered_at"`
	ReadAt            time.Time `json:"read_at"`
	CreatedAt         time.Time `json:"created_at"`
}

// Params is a message to be sent. Those that are sent often have a method each.
type Params struct {
	To               string    `json:"to"`           // E.164, with its +
	MessageType      string    `json:"message_type"` // text, template, image, video, audio, document, interactive
	Content          string    `json:"content,omitempty"`
	TemplateName     string    `json:"template_name,omitempty"`
	TemplateLanguage string    `json:"template_language,omitempty"`
	MessageMetadata  *Metadata `json:"message_metadata,omitempty"`
	IdempotencyKey   string    `json:"-"` // makes it one message, as runs.Params says
}

// Metadata is what some types have beside their content.
type Metadata struct {
	URL        string   `json:"url,omitempty"`        // of media, whose caption the content then is
	Filename   string   `json:"filename,omitempty"`   // of a document
	Buttons    []Button `json:"buttons,omitempty"`    // at most 3
	Components any      `json:"components,omitempty"` // what fills a template, in Meta's form; nil: nothing
}

// Button is one that a customer may press.
type Button struct {
	ID    string `json:"id"`
	Title string `json:"title"` // at most 20 characters
}

func (s *Service) path(more ...string) []string {
	return append(append(append([]string(nil), s.owner...), "messages"), more...)
}

// Create sends a message: what is returned is queued.
func (s *Service) Create(ctx context.Context, p Params) (Message, error) {
	return rest.One[Message](ctx, s.rest, rest.Call{
		Method: http.MethodPost, Path: s.path(), In: map[string]Params{"message": p}, Key: p.IdempotencyKey,
	})
}

// SendText sends a text.
func (s *Service) SendText(ctx context.Context, to, text string) (Message, error) {
	return s.Create(ctx, Params{To: to, MessageType: "text", Content: text})
}

// SendMedia sends what stands at an address (a URL) as an image, video,
// audio or document; the caption may be "".
func (s *Service) SendMedia(ctx context.Context, to, messageType, address, caption string) (Message, error) {
	return s.Create(ctx, Params{To: to, MessageType: messageType, Content: caption, MessageMetadata: &Metadata{URL: address}})
}

// SendButtons sends a text with at most 3 buttons below it.
func (s *Service) SendButtons(ctx context.Context, to, text string, buttons ...Button) (Message, error) {
	return s.Create(ctx, Params{To: to, MessageType: "interactive", Content: text, MessageMetadata: &Metadata{Buttons: buttons}})
}

// SendTemplate sends a template, which is possible at any time.
func (s *Service) SendTemplate(ctx context.Context, to, name, language string) (Message, error) {
	return s.Create(ctx, Params{To: to, MessageType: "template", TemplateName: name, TemplateLanguage: language})
}

// Retrieve returns a message.
func (s *Service) Retrieve(ctx context.Context, id string) (Message, error) {
	return rest.One[Message](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: s.path(id)})
}

// fullPage is how many messages a page has at most.
const fullPage = 100

// Page limits a list. The zero value is the last 100 messages.
type Page struct {
	Before string // the id of a message, for those that came before it; "": from the newest on
	Limit  int    // 1 to 100; 0: 100
}

// List returns messages of both directions, newest first, and how many there are
// on all pages: a gateway that has 10,000 or more says 10,000. The last page is
// one that is not full.
func (s *Service) List(ctx context.Context, p Page) (rest.List[Message], error) {
	q := url.Values{}
	if p.Before != "" {
		q.Set("before", p.Before)
	}
	if p.Limit != 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	return rest.Many[Message](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: s.path(), Query: q})
}

// All ranges over all messages, newest first: it reads a page when the loop comes
// to it, so break where it is enough. Of a server that knows no pages, as
// WhatsRB Cloud, these are the last 100.
func (s *Service) All(ctx context.Context) iter.Seq2[Message, error] {
	return rest.Pages(fullPage, func(before string) (rest.List[Message], error) {
		return s.List(ctx, Page{Before: before, Limit: fullPage})
	}, func(m *Message) string { return m.ID })
}
