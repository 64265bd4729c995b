package graphtest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Sign returns the X-Hub-Signature-256 of a body under an app secret.
func Sign(secret string, body []byte) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(body)
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

// Request returns the signed POST with which Meta would deliver body to url.
func Request(ctx context.Context, url, secret string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make webhook request: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "facebookexternalua")
	r.Header.Set("X-Hub-Signature-256", Sign(secret, body))
	return r, nil
}

// A Number is a business phone number that events happen to.
type Number struct {
	PhoneNumberID string
	Phone         string // digits, as display_phone_number
	WABA          string // id of the business account
}

// An Entry is one entry of a webhook body.
type Entry map[string]any

// An Event is a message, an echo or a status, as a webhook tells it. Its
// methods return a changed copy.
type Event struct {
	field, list string
	object      map[string]any
	contact     map[string]any // who wrote it; nil for echoes and statuses
}

// Body returns the webhook body with these entries.
func Body(entries ...Entry) []byte {
	body, err := json.Marshal(map[string]any{"object": "whatsapp_business_account", "entry": entries})
	if err != nil {
		panic(err) // content that can't be JSON: the caller's error
	}
	return body
}

// Entry returns an entry in which the events happened to n, in one change for
// each run of events of the same field.
func (n Number) Entry(events ...Event) Entry {
	var changes []any
	var value map[string]any
	field := ""
	for _, e := range events {
		if value == nil || e.field != field {
			field = e.field
			value = map[string]any{
				"messaging_product": "whatsapp",
				"metadata":          map[string]any{"display_phone_number": n.Phone, "phone_number_id": n.PhoneNumberID},
			}
			changes = append(changes, map[string]any{"field": field, "value": value})
		}
		list, _ := value[e.list].([]any)
		value[e.list] = append(list, e.object)
		if e.contact != nil {
			people, _ := value["contacts"].([]any)
			value["contacts"] = append(people, e.contact)
		}
	}
	return Entry{"id": n.WABA, "changes": changes}
}

// Echo is a message that a person of ours wrote to a customer in the WhatsApp
// Business app.
func (n Number) Echo(to, id, text string) Event {
	return Event{field: "smb_message_echoes", list: "message_echoes", object: map[string]any{
		"from": n.Phone, "to": to, "id": id, "timestamp": stamp(time.Now()),
		"type": "text", "text": map[string]any{"body": text},
	}}
}

// Status is what became of a message of ours: sent, delivered, read, failed or
// anything else. callbackData is the biz_opaque_callback_data that it was sent
// with; empty: none.
func Status(wamid, recipient, status, callbackData string) Event {
	o := map[string]any{
		"id": wamid, "recipient_id": recipient, "status": status, "timestamp": stamp(time.Now()),
	}
	if callbackData != "" {
		o["biz_opaque_callback_data"] = callbackData
	}
	return Event{field: "messages", list: "statuses", object: o}
}

// With returns the event with one field of its object set.
func (e Event) With(key string, value any) Event {
	e.object = maps.Clone(e.object)
	e.object[key] = value
	return e
}

// At returns the event as of another time.
func (e Event) At(t time.Time) Event { return e.With("timestamp", stamp(t)) }

// ReplyingTo returns the event as an answer to the message with that wamid.
func (e Event) ReplyingTo(wamid string) Event {
	return e.With("context", map[string]any{"id": wamid})
}

// In returns the event as one in a group.
func (e Event) In(group string) Event { return e.With("group_id", group) }

// Failed returns a status with the error that it failed for.
func (e Event) Failed(code int, title string) Event {
	return e.With("errors", []any{map[string]any{"code": code, "title": title, "message": title}})
}

func stamp(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
