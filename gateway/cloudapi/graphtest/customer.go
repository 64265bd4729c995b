package graphtest

import "time"

// A Customer writes messages. Without a Phone they go by a user name, and
// webhooks tell only the UserID.
type Customer struct {
	Phone  string // digits
	UserID string // business-scoped; may be empty
	Name   string // of the profile
}

// Message is a message of any type: content stands under the type's name.
func (c Customer) Message(id, kind string, content any) Event {
	o := map[string]any{"id": id, "timestamp": stamp(time.Now()), "type": kind}
	person := map[string]any{"profile": map[string]any{"name": c.Name}}
	if c.Phone != "" {
		o["from"], person["wa_id"] = c.Phone, c.Phone
	}
	if c.UserID != "" {
		o["from_user_id"], person["user_id"] = c.UserID, c.UserID
	}
	if content != nil {
		o[kind] = content
	}
	return Event{field: "messages", list: "messages", object: o, contact: person}
}

// Text is a text message.
func (c Customer) Text(id, body string) Event {
	return c.Message(id, "text", map[string]any{"body": body})
}

// Media is a message of kind image, video, audio, document or sticker. The
// caption may be empty.
func (c Customer) Media(id, kind, mediaID, mimeType, caption string) Event {
	content := map[string]any{"id": mediaID, "mime_type": mimeType, "sha256": "c2hhMjU2"}
	if caption != "" {
		content["caption"] = caption
	}
	switch kind {
	case "document":
		content["filename"] = mediaID + ".pdf"
	case "audio":
		content["voice"] = true
	case "sticker":
		content["animated"] = false
	}
	return c.Message(id, kind, content)
}

// Location is a shared place; name and address may be empty.
func (c Customer) Location(id string, latitude, longitude float64, name, address string) Event {
	content := map[string]any{"latitude": latitude, "longitude": longitude}
	if name != "" {
		content["name"] = name
	}
	if address != "" {
		content["address"] = address
	}
	return c.Message(id, "location", content)
}

// Contact is a shared contact card.
func (c Customer) Contact(id, name, phone string) Event {
	return c.Message(id, "contacts", []any{map[string]any{
		"name":   map[string]any{"formatted_name": name, "first_name": name},
		"phones": []any{map[string]any{"phone": phone, "type": "MOBILE"}},
	}})
}

// Reaction puts an emoji on a message; an empty one takes it away.
func (c Customer) Reaction(id, wamid, emoji string) Event {
	return c.Message(id, "reaction", map[string]any{"message_id": wamid, "emoji": emoji})
}

// ButtonReply is the answer to reply buttons.
func (c Customer) ButtonReply(id, replyID, title string) Event {
	return c.interactive(id, "button_reply", map[string]any{"id": replyID, "title": title})
}

// ListReply is the answer to a list.
func (c Customer) ListReply(id, rowID, title, description string) Event {
	return c.interactive(id, "list_reply", map[string]any{"id": rowID, "title": title, "description": description})
}

// FlowReply is a flow that was filled in.
func (c Customer) FlowReply(id, responseJSON string) Event {
	return c.interactive(id, "nfm_reply", map[string]any{"name": "flow", "body": "Sent", "response_json": responseJSON})
}

func (c Customer) interactive(id, kind string, content any) Event {
	return c.Message(id, "interactive", map[string]any{"type": kind, kind: content})
}

// Button is the answer to a quick-reply button of a template.
func (c Customer) Button(id, payload, text string) Event {
	return c.Message(id, "button", map[string]any{"payload": payload, "text": text})
}

// Order is an order of one product from the catalogue.
func (c Customer) Order(id, product string, quantity int, price float64, currency, text string) Event {
	return c.Message(id, "order", map[string]any{
		"catalog_id": "1", "text": text,
		"product_items": []any{map[string]any{
			"product_retailer_id": product, "quantity": quantity, "item_price": price, "currency": currency,
		}},
	})
}

// System is a notice about the customer, such as a changed number.
func (c Customer) System(id, body string) Event {
	e := c.Message(id, "system", map[string]any{"type": "user_changed_number", "body": body, "wa_id": "15550009999"})
	e.contact = nil // Meta introduces nobody here
	return e
}

// Unsupported is a message that the Cloud API can not show.
func (c Customer) Unsupported(id string) Event {
	return c.Message(id, "unsupported", map[string]any{"type": "poll"}).With("errors", []any{map[string]any{
		"code": 131051, "title": "Message type unknown",
		"error_data": map[string]any{"details": "Message type is currently not supported."},
	}})
}
