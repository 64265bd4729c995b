package cloudapi

import (
	"encoding/json"
	"fmt"
	"strings"

	"wagent/gateway"
)

// A form is how messages of one type of Meta's are read. text returns what a
// reader would read; it reports false where the content is not of its type.
type form struct {
	kind gateway.MessageType
	text func(content json.RawMessage) (string, bool)
}

// forms knows the types of the messages webhook (Cloud API, webhooks
// reference, "messages"). What is not in it becomes unsupported.
var forms = map[string]form{
	"text":        {kind: gateway.TypeText, text: textOf},
	"image":       {kind: gateway.TypeImage, text: fieldOf("caption")},
	"video":       {kind: gateway.TypeVideo, text: fieldOf("caption")},
	"audio":       {kind: gateway.TypeAudio, text: fieldOf("caption")},
	"voice":       {kind: gateway.TypeAudio, text: fieldOf("caption")},
	"document":    {kind: gateway.TypeDocument, text: fieldOf("caption", "filename")},
	"sticker":     {kind: gateway.TypeSticker, text: fieldOf("caption")},
	"location":    {kind: gateway.TypeLocation, text: locationOf},
	"contacts":    {kind: gateway.TypeContact, text: contactsOf},
	"reaction":    {kind: gateway.TypeReaction, text: fieldOf("emoji")},
	"interactive": {kind: gateway.TypeInteractive, text: interactiveOf},
	"button":      {kind: gateway.TypeButton, text: fieldOf("text", "payload")},
	"order":       {kind: gateway.TypeOrder, text: orderOf},
	"system":      {kind: gateway.TypeSystem, text: fieldOf("body")},
}

// content fills in the message's type, its text and its detail.
func (rd *reader) content(in *gateway.Inbound, m object) {
	name := m.text("type")
	f, known := forms[name]
	if known && len(m.list("errors")) == 0 {
		if text, ok := f.text(m[name]); ok {
			in.Type, in.Text = f.kind, text
			if f.kind != gateway.TypeText {
				in.Detail = canonical(m[name])
			}
			if f.kind == gateway.TypeReaction && in.ReplyTo == "" {
				in.ReplyTo = objectOf(m[name]).text("message_id")
			}
			return
		}
	}
	in.Type = gateway.TypeUnsupported
	rest := map[string]json.RawMessage{"type": encode(name)}
	for _, key := range []string{"errors", name} {
		if raw := m[key]; raw != nil && key != "type" {
			rest[key] = raw
		}
	}
	in.Detail = canonical(encode(rest))
}

// textOf reads the content of a text message, which is nothing without one.
func textOf(content json.RawMessage) (string, bool) {
	o := objectOf(content)
	_, ok := o["body"]
	body := o.text("body")
	return body, ok && (body != "" || string(o["body"]) == `""`)
}

// fieldOf reads the first of keys that is set.
func fieldOf(keys ...string) func(json.RawMessage) (string, bool) {
	return func(content json.RawMessage) (string, bool) {
		o := objectOf(content)
		for _, k := range keys {
			if s := o.text(k); s != "" {
				return s, true
			}
		}
		return "", o != nil
	}
}

func locationOf(content json.RawMessage) (string, bool) {
	o := objectOf(content)
	lat, long := o.text("latitude"), o.text("longitude")
	if lat == "" || long == "" {
		return "", false
	}
	place := join(", ", o.text("name"), o.text("address"))
	if place == "" {
		return lat + ", " + long, true
	}
	return fmt.Sprintf("%s (%s, %s)", place, lat, long), true
}

// contactsOf lists shared contact cards, one to a line: name: phone, phone.
func contactsOf(content json.RawMessage) (string, bool) {
	cards := listOf(content)
	lines := make([]string, 0, len(cards))
	for _, raw := range cards {
		card := objectOf(raw)
		name := card.object("name").text("formatted_name")
		if name == "" {
			name = join(" ", card.object("name").text("first_name"), card.object("name").text("last_name"))
		}
		var phones []string
		for _, rawPhone := range card.list("phones") {
			p := objectOf(rawPhone)
			if s := p.text("phone"); s != "" {
				phones = append(phones, s)
			} else if s := p.text("wa_id"); s != "" {
				phones = append(phones, "+"+s)
			}
		}
		lines = append(lines, join(": ", name, strings.Join(phones, ", ")))
	}
	return join("\n", lines...), len(cards) > 0
}

// interactiveOf reads the answer to buttons, to a list or to a flow. An answer
// of a kind that came later has no text, only its detail.
func interactiveOf(content json.RawMessage) (string, bool) {
	o := objectOf(content)
	if flow := o.object("nfm_reply"); flow != nil {
		return join("\n", flow.text("body"), flow.text("response_json")), true
	}
	for _, key := range []string{"button_reply", "list_reply"} {
		if title := o.object(key).text("title"); title != "" {
			return title, true
		}
	}
	return "", o != nil
}

// orderOf lists what was ordered, after what the customer wrote with it:
// 2 × SKU-1 (9.99 USD).
func orderOf(content json.RawMessage) (string, bool) {
	o := objectOf(content)
	lines := []string{o.text("text")}
	for _, raw := range o.list("product_items") {
		item := objectOf(raw)
		quantity, price := item.text("quantity"), join(" ", item.text("item_price"), item.text("currency"))
		line := item.text("product_retailer_id")
		if quantity != "" {
			line = quantity + " × " + line
		}
		if price != "" {
			line += " (" + price + ")"
		}
		lines = append(lines, line)
	}
	return join("\n", lines...), o != nil
}

// join joins those of parts that are not empty.
func join(sep string, parts ...string) string {
	out := make([]string, 0, len(parts))
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, sep)
}
