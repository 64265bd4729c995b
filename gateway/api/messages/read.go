package messages

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// What a message may have, in characters (Cloud API, "Messages").
const (
	maxText     = 4096
	maxCaption  = 1024
	maxHeading  = 1024 // of the text above buttons
	maxURL      = 2048
	maxFilename = 240
	maxButtons  = 3
	maxTitle    = 20
	maxButtonID = 256
)

type messageInput struct {
	To       wire.Nullable[string]        `json:"to" description:"In E.164 form"`
	Type     wire.Nullable[string]        `json:"message_type" enum:"text,template,image,video,audio,document,interactive" description:"Left out: text"`
	Content  wire.Nullable[string]        `json:"content" maxLength:"4096" description:"The text; of a file the caption, or the URL where message_metadata has none; of a template what the customer will have read"`
	Template wire.Nullable[string]        `json:"template_name"`
	Language wire.Nullable[string]        `json:"template_language" description:"A code such as en or en_US"`
	Metadata wire.Nullable[metadataInput] `json:"message_metadata"`
}

type metadataInput struct {
	URL        string          `json:"url" description:"Of a file"`
	Filename   string          `json:"filename" description:"Of a document"`
	Type       string          `json:"type" description:"Of an interactive message: button, or left out"`
	Buttons    []buttonInput   `json:"buttons" description:"Of an interactive message: at most 3, with titles of at most 20 characters"`
	Components json.RawMessage `json:"components" description:"What goes into a template's places: a list of objects, as the Graph API takes them"`
}

type buttonInput struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// readMessage reads what is to be sent from an account.
func readMessage(c echo.Context, a *gateway.Account) (gateway.Send, error) {
	var in messageInput
	if err := wire.ReadMember(c, "message", &in); err != nil {
		return gateway.Send{}, err
	}
	p := wire.Problems{}
	x := gateway.Send{Account: a.ID, Type: gateway.MessageType(in.Type.Value), Text: in.Content.Value}
	if x.Type == "" {
		x.Type = gateway.TypeText
	}
	phone, ok := wire.PhoneNumber(in.To.Value)
	switch {
	case in.To.Value == "":
		p.Add("to", "can't be blank")
	case !ok:
		p.Add("to", "must be a number in E.164 form")
	}
	x.To = gateway.Address{Phone: phone}
	var content any
	switch {
	case a.Kind == gateway.LinkedDevice && x.Type != gateway.TypeText:
		p.Add("message_type", "must be text: a linked device sends nothing else")
	case x.Type == gateway.TypeText:
		in.text(p)
	case isFile(x.Type):
		content = in.file(p, &x)
	case x.Type == gateway.TypeTemplate:
		content = in.template(p)
	case x.Type == gateway.TypeInteractive:
		content = in.buttons(p)
	default:
		p.Add("message_type", "must be one of text, template, image, video, audio, document, interactive")
	}
	if err := p.Err(); err != nil || content == nil {
		return x, err
	}
	var err error
	if x.Content, err = json.Marshal(content); err != nil {
		return x, fmt.Errorf("encode content: %w", err)
	}
	return x, nil
}

// words checks a text that may not be empty.
func words(p wire.Problems, field, s string, most int) {
	switch n := utf8.RuneCountInString(s); {
	case strings.TrimSpace(s) == "":
		p.Add(field, "can't be blank")
	case n > most:
		p.Add(field, fmt.Sprintf("must have at most %d characters", most))
	}
}

func (in *messageInput) text(p wire.Problems) { words(p, "content", in.Content.Value, maxText) }

// file reads a file that is somewhere on the web, and leaves in x only its caption.
func (in *messageInput) file(p wire.Problems, x *gateway.Send) gateway.LinkedFile {
	link, field := in.Metadata.Value.URL, "message_metadata"
	if link == "" {
		link, field, x.Text = in.Content.Value, "content", ""
	}
	u, err := url.Parse(link)
	switch {
	case strings.TrimSpace(link) == "":
		p.Add(field, "can't be blank: it is the file's URL, unless message_metadata.url is")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(link) > maxURL:
		p.Add(field, "must hold the file's http or https URL, of at most "+fmt.Sprint(maxURL)+" characters")
	}
	if x.Type == gateway.TypeAudio && x.Text != "" {
		p.Add("content", "must be empty: an audio has no caption")
	} else if utf8.RuneCountInString(x.Text) > maxCaption {
		p.Add("content", fmt.Sprintf("must have at most %d characters: it is a caption", maxCaption))
	}
	if utf8.RuneCountInString(in.Metadata.Value.Filename) > maxFilename {
		p.Add("message_metadata", fmt.Sprintf("filename must have at most %d characters", maxFilename))
	}
	return gateway.LinkedFile{URL: link, Name: in.Metadata.Value.Filename}
}

var (
	// Meta's names and codes of languages (Graph API, "Message templates").
	templateName     = regexp.MustCompile(`^[a-z0-9_]{1,512}$`)
	templateLanguage = regexp.MustCompile(`^[a-z]{2,3}(_[A-Za-z]{2,4})?$`)
)

func (in *messageInput) template(p wire.Problems) gateway.TemplateUse {
	use := gateway.TemplateUse{Name: in.Template.Value, Language: in.Language.Value}
	switch {
	case use.Name == "":
		p.Add("template_name", "can't be blank")
	case !templateName.MatchString(use.Name):
		p.Add("template_name", "must have 1 to 512 lower-case letters, digits and underscores")
	}
	switch {
	case use.Language == "":
		p.Add("template_language", "can't be blank")
	case !templateLanguage.MatchString(use.Language):
		p.Add("template_language", "must be a code such as en or en_US")
	}
	if utf8.RuneCountInString(in.Content.Value) > maxText {
		p.Add("content", fmt.Sprintf("must have at most %d characters", maxText))
	}
	raw := bytes.TrimSpace(in.Metadata.Value.Components)
	switch components := []map[string]json.RawMessage(nil); {
	case len(raw) == 0 || string(raw) == "null":
	case json.Unmarshal(raw, &components) != nil:
		p.Add("message_metadata", "components must be a list of objects")
	default:
		use.Components = raw
	}
	return use
}

func (in *messageInput) buttons(p wire.Problems) gateway.Buttons {
	words(p, "content", in.Content.Value, maxHeading)
	problem := func(format string, args ...any) { p.Add("message_metadata", fmt.Sprintf(format, args...)) }
	if t := in.Metadata.Value.Type; t != "" && t != "button" {
		problem("type must be button")
	}
	given := in.Metadata.Value.Buttons
	if len(given) == 0 || len(given) > maxButtons {
		problem("buttons must have between 1 and %d entries", maxButtons)
	}
	var out gateway.Buttons
	seen, titles := map[string]bool{}, map[string]bool{}
	for i, b := range given[:min(len(given), maxButtons)] { // the rest would make an answer of any length
		if n := utf8.RuneCountInString(b.ID); n == 0 || n > maxButtonID {
			problem("the id of button %d must have between 1 and %d characters", i+1, maxButtonID)
		} else if seen[b.ID] {
			problem("two buttons have the id %.40q", b.ID)
		}
		title := strings.TrimSpace(b.Title)
		if n := utf8.RuneCountInString(b.Title); title == "" || n > maxTitle {
			problem("the title of button %d must have between 1 and %d characters", i+1, maxTitle)
		} else if titles[title] { // whoever reads them can't tell them apart
			problem("two buttons have the title %q", title)
		}
		seen[b.ID], titles[title] = true, true
		out.Buttons = append(out.Buttons, gateway.ReplyButton(b))
	}
	return out
}
