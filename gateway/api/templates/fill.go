package templates

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/wire"
)

// messageBody is a message as clients see it when it was just queued.
type messageBody struct {
	ID           gateway.MessageID  `json:"id"`
	Direction    string             `json:"direction" enum:"outbound"`
	To           string             `json:"to"`
	MessageType  string             `json:"message_type" enum:"template"`
	Content      *string            `json:"content"`
	Status       gateway.SendStatus `json:"status" enum:"queued,sent,delivered,read,failed"`
	WAMID        *string            `json:"wamid"`
	ErrorMessage *string            `json:"error_message"`
	SentAt       *string            `json:"sent_at"`
	DeliveredAt  *string            `json:"delivered_at"`
	ReadAt       *string            `json:"read_at"`
	CreatedAt    *string            `json:"created_at"`
}

type sendTestInput struct {
	To        wire.Nullable[string] `json:"to" description:"A number in E.164 form"`
	Variables []string              `json:"variables" description:"Of the header and then of the body. None: the template's examples"`
}

func (h *API) sendTest(c echo.Context) error {
	a, err := h.atMeta(c)
	if err != nil {
		return err
	}
	t, err := h.template(c, &a)
	if err != nil {
		return err
	}
	body, err := wire.ReadObject(c)
	if err != nil {
		return err
	}
	var in sendTestInput
	if err := body.Into(&in); err != nil {
		return err
	}
	p := wire.Problems{}
	to, ok := wire.PhoneNumber(in.To.Value)
	switch {
	case in.To.Value == "":
		p.Add("to", "can't be blank")
	case !ok:
		p.Add("to", "must be a number in E.164 form")
	}
	if t.Status != gateway.TemplateApproved {
		return &gateway.Error{Kind: gateway.Conflict, Msg: fmt.Sprintf("Template %s is %s: only an approved one can be sent", t.Name, t.Status)}
	}
	use, text, err := fill(&t, in.Variables, p)
	if err != nil {
		return err
	}
	content, err := json.Marshal(use)
	if err != nil {
		return fmt.Errorf("encode the use of template %s: %w", t.ID, err)
	}
	x := gateway.Send{Account: a.ID, To: gateway.Address{Phone: to}, Type: gateway.TypeTemplate, Text: text, Content: content}
	if try := idempotency.ID(c); try != "" {
		x.ID = gateway.MessageIDOf(try)
	}
	m, err := h.Sender.QueueMessage(c.Request().Context(), &x)
	if err != nil {
		return fmt.Errorf("send template %s from account %s: %w", t.ID, a.ID, err)
	}
	return wire.Data(c, http.StatusCreated, messageBody{
		ID: m.ID, Direction: "outbound", To: to, MessageType: string(gateway.TypeTemplate), Content: wire.OrNull(text),
		Status: m.Status, CreatedAt: wire.Stamp(m.ReceivedAt),
	})
}

// A parameter is what goes into one place of a message (Cloud API, "Template
// messages").
type parameter struct {
	Type   string     `json:"type"`
	Name   string     `json:"parameter_name,omitempty"`
	Text   string     `json:"text,omitempty"`
	Coupon string     `json:"coupon_code,omitempty"`
	Image  *mediaLink `json:"image,omitempty"`
	Video  *mediaLink `json:"video,omitempty"`
	File   *mediaLink `json:"document,omitempty"`
}

type mediaLink struct {
	Link string `json:"link"`
}

// A filling is the parameters of one component of a message.
type filling struct {
	Type       string      `json:"type"`
	SubType    string      `json:"sub_type,omitempty"`
	Index      string      `json:"index,omitempty"`
	Parameters []parameter `json:"parameters"`
}

// fill puts variables into the places of the header and then of the body, or the
// template's examples where none are given, which also fill what takes no
// variable: files and buttons. text is what the customer reads in the body.
func fill(t *gateway.Template, given []string, p wire.Problems) (use gateway.TemplateUse, text string, err error) {
	use = gateway.TemplateUse{Name: t.Name, Language: t.Language}
	cs := componentsOf(t)
	if cs == nil {
		return use, "", unknownComponents(t)
	}
	for _, kind := range []string{carousel, offer} {
		if find(cs, kind) != nil {
			return use, "", untestable(t, strings.ToLower(kind))
		}
	}
	values, err := valuesOf(t, cs, given, p)
	if err != nil {
		return use, "", err
	}
	var fs []filling
	if c := find(cs, header); c != nil {
		ps, err := headerParameters(t, c, values[header])
		if err != nil {
			return use, "", err
		}
		fs = appendFilling(fs, filling{Type: "header", Parameters: ps})
	}
	if c := find(cs, bodyText); c != nil {
		vs := placesOf(t, c)
		fs = appendFilling(fs, filling{Type: "body", Parameters: textParameters(vs, values[bodyText])})
		text = read(c.text("text"), vs, values[bodyText])
	}
	bs, err := buttonFillings(t, find(cs, buttons), values[bodyText])
	if err != nil {
		return use, "", err
	}
	if fs = append(fs, bs...); len(fs) > 0 {
		use.Components, err = json.Marshal(fs)
	}
	return use, text, err
}

func appendFilling(fs []filling, f filling) []filling {
	if len(f.Parameters) == 0 {
		return fs
	}
	return append(fs, f)
}

// placesOf returns the variables of a header or body. Meta writes the body of
// an authentication template itself: it has the code's place.
func placesOf(t *gateway.Template, c component) []string {
	vs := variables(c.text("text"))
	if len(vs) == 0 && c.kind() == bodyText && t.Category == gateway.TemplateAuthentication {
		return []string{"1"}
	}
	return vs
}

// valuesOf shares the values out between header and body.
func valuesOf(t *gateway.Template, cs []component, given []string, p wire.Problems) (map[string][]string, error) {
	out := map[string][]string{}
	var places []string
	for _, kind := range []string{header, bodyText} {
		c := find(cs, kind)
		if c == nil {
			continue
		}
		vs := placesOf(t, c)
		places = append(places, vs...)
		switch {
		case len(vs) == 0:
		case len(given) == 0:
			out[kind] = c.examples()
		case len(given) >= len(places):
			out[kind] = given[len(places)-len(vs) : len(places)]
		}
		if len(given) == 0 && len(out[kind]) < len(vs) {
			p.Add("variables", fmt.Sprintf("must be given: the template has no examples for its %s", strings.ToLower(kind)))
		}
	}
	if len(given) > 0 && len(given) != len(places) {
		p.Add("variables", fmt.Sprintf("must be %d: %s", len(places), strings.Join(places, ", ")))
	}
	for i, v := range given[:min(len(given), len(places))] { // what is wrong with more would make an answer of any length
		if strings.TrimSpace(v) == "" {
			p.Add("variables", fmt.Sprintf("number %d is blank", i+1))
		}
	}
	return out, p.Err()
}

func textParameters(places, values []string) []parameter {
	out := make([]parameter, len(places))
	for i, v := range places {
		out[i] = parameter{Type: "text", Text: values[i]}
		if !isNumber(v) {
			out[i].Name = v
		}
	}
	return out
}

// read is a text with its places filled.
func read(text string, places, values []string) string {
	return place.ReplaceAllStringFunc(text, func(found string) string {
		name := place.FindStringSubmatch(found)[1]
		for i := range places {
			if places[i] == name {
				return values[i]
			}
		}
		return found
	})
}

// untestable is what no example fills.
func untestable(t *gateway.Template, what string) error {
	return &gateway.Error{Kind: gateway.Conflict, Msg: fmt.Sprintf("A test can't fill the %s of template %s: send it as a message", what, t.Name)}
}

func headerParameters(t *gateway.Template, c component, values []string) ([]parameter, error) {
	format := strings.ToUpper(c.text("format"))
	if !isMedia(format) {
		if format == "LOCATION" {
			return nil, untestable(t, "location")
		}
		return textParameters(variables(c.text("text")), values), nil
	}
	examples := c.examples()
	if len(examples) == 0 || !isLink(examples[0]) {
		// Meta knows an uploaded file's address, and we know it after a sync.
		return nil, untestable(t, strings.ToLower(format))
	}
	link := &mediaLink{examples[0]}
	switch format {
	case "IMAGE":
		return []parameter{{Type: "image", Image: link}}, nil
	case "VIDEO":
		return []parameter{{Type: "video", Video: link}}, nil
	default:
		return []parameter{{Type: "document", File: link}}, nil
	}
}

func isLink(s string) bool {
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
}

// A button is as Meta has it in a template. Its example is a string or a list of
// one.
type button struct {
	Type    string          `json:"type"`
	URL     string          `json:"url"`
	Example json.RawMessage `json:"example"`
}

func (b *button) example() string {
	var s string
	var l []string
	if json.Unmarshal(b.Example, &s) != nil && json.Unmarshal(b.Example, &l) == nil && len(l) > 0 {
		s = l[0]
	}
	return s
}

// buttonFillings fills what buttons have to be told: the end of an address, a
// coupon's code, or the code of an authentication.
func buttonFillings(t *gateway.Template, c component, code []string) ([]filling, error) {
	var bs []button
	if c != nil && json.Unmarshal(c["buttons"], &bs) != nil {
		return nil, untestable(t, "buttons")
	}
	var out []filling
	for i := range bs {
		b, f := &bs[i], filling{Type: "button", Index: strconv.Itoa(i)}
		switch kind := strings.ToUpper(b.Type); {
		case t.Category == gateway.TemplateAuthentication && len(code) > 0:
			f.SubType, f.Parameters = "url", []parameter{{Type: "text", Text: code[0]}}
		case kind == "URL" && place.MatchString(b.URL):
			start := place.FindStringIndex(b.URL)[0]
			// The example is the whole address, and the message takes its end.
			end, ok := strings.CutPrefix(b.example(), b.URL[:start])
			if !ok || end == "" {
				return nil, untestable(t, "address of a button")
			}
			f.SubType, f.Parameters = "url", []parameter{{Type: "text", Text: end}}
		case kind == "COPY_CODE":
			if b.example() == "" {
				return nil, untestable(t, "code of a button")
			}
			f.SubType, f.Parameters = "copy_code", []parameter{{Type: "coupon_code", Coupon: b.example()}}
		default:
			continue
		}
		out = append(out, f)
	}
	return out, nil
}
