package gateway

import (
	"encoding/json"
	"time"
)

// A MessageType says what a message is made of. The names are those of the
// agents API.
type MessageType string

// The types of message.
const (
	TypeText        MessageType = "text"
	TypeImage       MessageType = "image"
	TypeVideo       MessageType = "video"
	TypeAudio       MessageType = "audio"
	TypeDocument    MessageType = "document"
	TypeSticker     MessageType = "sticker"
	TypeLocation    MessageType = "location"
	TypeContact     MessageType = "contact"
	TypeReaction    MessageType = "reaction"
	TypeInteractive MessageType = "interactive" // an answer to buttons, a list or a flow; of ours: buttons
	TypeTemplate    MessageType = "template"    // of ours only: a text that Meta approved, which needs no service window
	TypeButton      MessageType = "button"      // an answer to a template's quick reply
	TypeOrder       MessageType = "order"
	TypeSystem      MessageType = "system"
	TypeUnsupported MessageType = "unsupported"
)

// A Direction says who wrote a message.
type Direction string

// The directions.
const (
	In  Direction = "in"  // the customer
	Out Direction = "out" // an agent or a person of ours
)

// A MessageState says what became of an inbound message.
type MessageState string

// The states. A message starts in any of them but StateBatched.
const (
	StateWaiting MessageState = "waiting" // a run has yet to take it
	StateBatched MessageState = "batched" // a run took it
	StateIgnored MessageState = "ignored" // no agent wants it
	StateHeld    MessageState = "held"    // left for a person
)

// An Origin says how a message came in.
type Origin string

// The origins.
const (
	OriginLive    Origin = "live"    // as it was written
	OriginBacklog Origin = "backlog" // after we had been away
	OriginHistory Origin = "history" // from a history sync: never fires an agent
	OriginEcho    Origin = "echo"    // our own, sent by other means: never fires an agent
)

// An Inbound is a message as an edge understood it, before it is a record.
type Inbound struct {
	Account    AccountID
	Peer       Address // whom the conversation is with
	Sender     Address // who wrote it: the same as Peer outside groups, and us where it is ours
	SenderName string
	ExternalID string // WhatsApp's id: unique per account, conversation, sender and part
	Part       int    // which of the messages that one WhatsApp id carried, from 0
	Type       MessageType
	Text       string          // what a reader would read; may be empty for media
	Detail     json.RawMessage // what the type has beyond the text (media id, coordinates, …); may be nil
	ReplyTo    string          // the WhatsApp id that this one quotes; may be empty
	SentAt     time.Time       // WhatsApp's clock
	Origin     Origin
	Deferred   bool        // more of it is coming: its window waits for Inbox.Release
	FromUs     bool        // it is ours, of an OriginHistory; an OriginEcho always is
	Mentioned  bool        // in a group: it names us, or quotes a message of ours
	Change     Change      // what it does to an earlier message of the same sender; empty: it is one of its own
	Target     string      // the WhatsApp id of that message
	Attachment *Attachment // nil: no file, or none that has to be fetched
}

// A Change is what a message does to an earlier one.
type Change string

// The changes. Text and Type of an edit are what the earlier message says now.
const (
	Edit   Change = "edit"
	Revoke Change = "revoke" // it is deleted for everybody
)

// A Message is a message on record.
type Message struct {
	ID           MessageID
	Seq          int64 // order of arrival within the store
	Account      AccountID
	Conversation ConversationID
	Contact      ContactID // who wrote it; empty for Out
	Direction    Direction
	ExternalID   string
	Part         int
	Type         MessageType
	Text         string
	Detail       json.RawMessage
	ReplyTo      string
	SentAt       time.Time
	ReceivedAt   time.Time    // our clock
	State        MessageState // for In
	StateReason  string       // why it is ignored or held; empty otherwise
	Status       SendStatus   // for Out
	Progress     Progress     // for Out
	Run          RunID        // the run that took it, or that wrote it; may be empty
	Change       Change       // what it does to the message Target; empty: it is one of its own
	Target       string       // the WhatsApp id of that message
	RevokedAt    time.Time    // when it was deleted for everybody; zero while it stands
}

// A SendStatus is how far a message of ours got. The names are those of the
// agents API.
type SendStatus string

// The statuses, in the order in which a message reaches them; StatusFailed is
// final and may come after StatusSent.
const (
	StatusQueued    SendStatus = "queued"
	StatusSent      SendStatus = "sent"
	StatusDelivered SendStatus = "delivered"
	StatusRead      SendStatus = "read"
	StatusFailed    SendStatus = "failed"
)

// A StatusUpdate is what WhatsApp tells about a message of ours.
type StatusUpdate struct {
	Account    AccountID
	ExternalID string    // WhatsApp's id of it
	Message    MessageID // ours, if it came back with the update; may be empty
	Status     SendStatus
	Reason     string // for StatusFailed: code and title, as WhatsApp says them
	At         time.Time
}

// A Seen is a message that a run has taken, as WhatsApp knows it.
type Seen struct {
	ExternalID string
	Sender     Address
}
