package graphtest

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

type textContent struct {
	Body       *string `json:"body"`
	PreviewURL bool    `json:"preview_url"`
}

type mediaContent struct {
	ID       string `json:"id"`
	Link     string `json:"link"`
	Caption  string `json:"caption"`
	Filename string `json:"filename"`
	Voice    bool   `json:"voice"`
}

type templateContent struct {
	Name     string `json:"name"`
	Language *struct {
		Policy string `json:"policy"`
		Code   string `json:"code"`
	} `json:"language"`
	Components json.RawMessage `json:"components"`
}

type templateComponent struct {
	Type       string           `json:"type"`
	SubType    string           `json:"sub_type"`
	Index      any              `json:"index"` // a number, or one in quotes
	Parameters []map[string]any `json:"parameters"`
}

type interactive struct {
	Type string `json:"type"`
	Body *struct {
		Text string `json:"text"`
	} `json:"body"`
	Header map[string]any `json:"header"`
	Footer *struct {
		Text string `json:"text"`
	} `json:"footer"`
	Action *struct {
		Buttons []struct {
			Type  string `json:"type"`
			Reply *struct {
				ID    string `json:"id"`
				Title string `json:"title"`
			} `json:"reply"`
		} `json:"buttons"`
	} `json:"action"`
}

// content reads what a message holds of its own type, or returns the code and
// the words with which Meta refuses it. A content of another type is refused
// too: nobody would see it.
func (m *message) content() (sent Sent, code int, problem string) {
	there := map[string]bool{
		"text": m.Text != nil, "image": m.Image != nil, "video": m.Video != nil, "audio": m.Audio != nil,
		"document": m.Document != nil, "template": m.Template != nil, "interactive": m.Interactive != nil,
	}
	known, ok := there[m.Type]
	if !ok {
		return sent, 131009, "Parameter value is not valid: type"
	}
	for kind, is := range there {
		if is && kind != m.Type {
			return sent, 100, "Unexpected key \"" + kind + "\" on param of type " + m.Type
		}
	}
	if m.Type != "text" {
		sent.Type = m.Type
	}
	if !known {
		return sent, 131008, "Required parameter is missing: " + m.Type
	}
	switch m.Type {
	case "text":
		code, problem = m.Text.into(&sent)
	case "template":
		code, problem = m.Template.into(&sent)
	case "interactive":
		code, problem = m.Interactive.into(&sent)
	default:
		code, problem = map[string]*mediaContent{"image": m.Image, "video": m.Video, "audio": m.Audio, "document": m.Document}[m.Type].into(&sent)
	}
	return sent, code, problem
}

func (c *textContent) into(s *Sent) (code int, problem string) {
	switch {
	case c.Body == nil || strings.TrimSpace(*c.Body) == "":
		return 131008, "Required parameter is missing: text.body"
	case utf8.RuneCountInString(*c.Body) > 4096:
		return 100, "Param text['body'] must be at most 4096 characters long."
	}
	s.Text = *c.Body
	return 0, ""
}

func (c *mediaContent) into(s *Sent) (code int, problem string) {
	u, err := url.Parse(c.Link)
	switch {
	case (c.ID == "") == (c.Link == ""):
		return 131008, "Required parameter is missing: exactly one of id, link"
	case c.Link != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == ""):
		return 100, "Param link is not a valid URI."
	case s.Type == "audio" && c.Caption != "":
		return 100, "Unexpected key \"caption\" on param \"audio\"."
	case s.Type != "document" && c.Filename != "":
		return 100, "Unexpected key \"filename\" on param \"" + s.Type + "\"."
	case s.Type != "audio" && c.Voice:
		return 100, "Unexpected key \"voice\" on param \"" + s.Type + "\"."
	case utf8.RuneCountInString(c.Caption) > 1024:
		return 100, "Param caption must be at most 1024 characters long."
	}
	s.Link, s.Text, s.Filename = c.Link, c.Caption, c.Filename
	return 0, ""
}

var templateName = regexp.MustCompile(`^[a-z0-9_]{1,512}$`)

func (c *templateContent) into(s *Sent) (code int, problem string) {
	switch {
	case !templateName.MatchString(c.Name):
		return 132001, "Template name does not exist in the translation"
	case c.Language == nil || c.Language.Code == "":
		return 131008, "Required parameter is missing: template.language.code"
	}
	var components []templateComponent
	if len(c.Components) > 0 {
		d := json.NewDecoder(bytes.NewReader(c.Components))
		d.DisallowUnknownFields()
		if err := d.Decode(&components); err != nil {
			return 100, "Invalid parameter: components"
		}
	}
	for _, part := range components {
		switch {
		case part.Type != "header" && part.Type != "body" && part.Type != "button":
			return 131009, "Parameter value is not valid: components.type"
		case part.Type == "button" && (part.SubType == "" || part.Index == nil):
			return 131008, "Required parameter is missing: components.sub_type, components.index"
		}
		for _, p := range part.Parameters {
			if kind, ok := p["type"].(string); !ok || kind == "" {
				return 131008, "Required parameter is missing: components.parameters.type"
			}
		}
	}
	s.Template, s.Language, s.Components = c.Name, c.Language.Code, compact(c.Components)
	return 0, ""
}

func (c *interactive) into(s *Sent) (code int, problem string) {
	switch {
	case c.Type != "button":
		return 131009, "Parameter value is not valid: interactive.type"
	case c.Body == nil || strings.TrimSpace(c.Body.Text) == "":
		return 131008, "Required parameter is missing: interactive.body.text"
	case utf8.RuneCountInString(c.Body.Text) > 1024:
		return 131009, "Body text length invalid. Min length: 1, Max length: 1024"
	case c.Action == nil || len(c.Action.Buttons) == 0 || len(c.Action.Buttons) > 3:
		return 131009, "Invalid buttons count. Min allowed buttons: 1, Max allowed buttons: 3"
	}
	seen, titles := map[string]bool{}, map[string]bool{}
	for _, b := range c.Action.Buttons {
		switch {
		case b.Type != "reply" || b.Reply == nil:
			return 131009, "Parameter value is not valid: interactive.action.buttons.type"
		case b.Reply.ID == "" || utf8.RuneCountInString(b.Reply.ID) > 256 || seen[b.Reply.ID]:
			return 131009, "Button id invalid. Min length: 1, Max length: 256, unique"
		case strings.TrimSpace(b.Reply.Title) == "" || utf8.RuneCountInString(b.Reply.Title) > 20:
			return 131009, "Button title length invalid. Min length: 1, Max length: 20"
		case titles[strings.TrimSpace(b.Reply.Title)]:
			return 131009, "Duplicate button title"
		}
		seen[b.Reply.ID], titles[strings.TrimSpace(b.Reply.Title)] = true, true
		s.Buttons = append(s.Buttons, Button{ID: b.Reply.ID, Title: b.Reply.Title})
	}
	s.Text = c.Body.Text
	return 0, ""
}

// compact is JSON without spaces, or nothing where there is none.
func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if len(raw) == 0 || json.Compact(&b, raw) != nil {
		return ""
	}
	return b.String()
}
