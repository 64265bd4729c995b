package gateway

import (
	"encoding/json"
	"time"
)

// What Send.Content and the Detail of its message hold, by Type. A text has none
// of it.

// A LinkedFile is the content of a TypeImage, TypeVideo, TypeAudio or
// TypeDocument that WhatsApp fetches itself.
type LinkedFile struct {
	URL  string `json:"url"`                // http or https
	Name string `json:"filename,omitempty"` // of a document, as the customer sees it; may be empty
}

// A TemplateUse is the content of a TypeTemplate: which message template, and
// what goes into its places.
type TemplateUse struct {
	Name       string          `json:"name"`
	Language   string          `json:"language"`             // as Meta writes it: en_US
	Components json.RawMessage `json:"components,omitempty"` // a list, as the Graph API takes it; nil: the template has no places
}

// Buttons are the content of a TypeInteractive of ours: what the customer may
// answer with.
type Buttons struct {
	Buttons []ReplyButton `json:"buttons"`
}

// A ReplyButton is one of a message's buttons.
type ReplyButton struct {
	ID    string `json:"id"` // comes back with the answer; unique in its message
	Title string `json:"title"`
}

// A PeerMessage is a Message with whom the conversation is with.
type PeerMessage struct {
	Message
	Peer Address
}

// Progress is how far a message of ours got, and when.
type Progress struct {
	AcceptedAt  time.Time // WhatsApp took it; zero: it did not yet
	DeliveredAt time.Time // at the latest; zero: it was not yet
	ReadAt      time.Time // zero: it was not yet, or they do not tell
	Failure     string    // why it failed, for people to read; empty: it did not
}
