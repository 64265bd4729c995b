package route

import (
	"encoding/json"
	"time"

	"wagent/gateway"
)

// The bodies of the events of messages. The contract names the members of
// message.received, and no more; what metadata holds is ours.
type (
	received struct {
		ID        gateway.MessageID   `json:"id"`
		WAMID     *string             `json:"wamid"`
		From      *string             `json:"from"` // digits, no plus sign, as of a run
		Type      gateway.MessageType `json:"type"`
		Content   string              `json:"content"` // what a reader would read: of a file, its caption
		Metadata  messageMetadata     `json:"metadata"`
		Channel   string              `json:"channel"`
		Timestamp *string             `json:"timestamp"` // when it was written
	}

	updated struct {
		ID        gateway.MessageID   `json:"id"`
		WAMID     *string             `json:"wamid"`
		To        *string             `json:"to"` // E.164, as of a message of ours
		Type      gateway.MessageType `json:"type"`
		Status    gateway.SendStatus  `json:"status"`
		Error     *string             `json:"error_message"`
		Metadata  messageMetadata     `json:"metadata"`
		Channel   string              `json:"channel"`
		Timestamp *string             `json:"timestamp"`
	}

	messageMetadata struct {
		AccountID      gateway.AccountID      `json:"account_id"`
		ConversationID gateway.ConversationID `json:"conversation_id"`
		GroupID        *string                `json:"group_id"`
		Name           *string                `json:"name"`
		ReplyTo        *string                `json:"reply_to"` // the wamid of what it quotes
		RunID          *string                `json:"run_id"`   // that wrote it
		Detail         json.RawMessage        `json:"detail"`   // what the type has beyond the content
	}
)

// Message tells that a customer wrote, or how far a message of ours got. It has
// no number yet that tells it from others: whoever stores the deliveries gives
// them one.
func (Teller) Message(hooks []gateway.Webhook, e *gateway.MessageEvent, now time.Time) []gateway.Delivery {
	m := &e.Message
	meta := messageMetadata{
		AccountID: m.Account, ConversationID: m.Conversation, GroupID: orNull(e.Group), Name: orNull(e.Name),
		ReplyTo: orNull(m.ReplyTo), RunID: orNull(string(m.Run)),
	}
	if json.Valid(m.Detail) {
		meta.Detail = m.Detail
	}
	var data any = updated{
		ID: m.ID, WAMID: orNull(m.ExternalID), To: orNull(e.Peer.Phone), Type: m.Type, Status: m.Status, Error: orNull(e.Reason),
		Metadata: meta, Channel: channel(e.Kind), Timestamp: stamp(e.At),
	}
	if m.Direction == gateway.In {
		data = received{
			ID: m.ID, WAMID: orNull(m.ExternalID), From: digits(e.Peer), Type: typeName(m.Type), Content: m.Text,
			Metadata: meta, Channel: channel(e.Kind), Timestamp: stamp(e.At),
		}
	}
	return deliveries(hooks, e.Event(), &gateway.Run{Conversation: m.Conversation, Account: m.Account}, now, data)
}

// typeName is a type of the contract's: it has none for the answer to a
// template's quick reply. What WhatsApp does not let us read stays unsupported.
func typeName(t gateway.MessageType) gateway.MessageType {
	if t == gateway.TypeButton {
		return gateway.TypeInteractive
	}
	return t
}

// channel says which of the API's resources the account is.
func channel(kind gateway.AccountKind) string {
	if kind == gateway.LinkedDevice {
		return "session"
	}
	return "business"
}

// session is a linked device, as of the sessions of the API.
type session struct {
	ID           gateway.AccountID `json:"id"`
	Name         *string           `json:"name"`
	Status       string            `json:"status"`
	StatusReason *string           `json:"status_reason"`
	PhoneNumber  *string           `json:"phone_number"` // E.164
	Connected    bool              `json:"connected"`
	Timestamp    *string           `json:"timestamp"`
}

// Session tells that the connection of a linked device came, went or is
// refused. It has no number yet that tells it from others, as that of [Teller.Message].
func (Teller) Session(hooks []gateway.Webhook, e *gateway.LinkEvent, now time.Time) []gateway.Delivery {
	connected := e.Link.State == gateway.LinkConnected
	data := session{
		ID: e.Link.Account, Name: orNull(e.Name), Status: "disconnected", StatusReason: orNull(e.Link.Reason),
		PhoneNumber: orNull(e.Link.Phone), Connected: connected, Timestamp: stamp(now),
	}
	if connected {
		data.Status = "connected"
	}
	return deliveries(hooks, e.Event(), &gateway.Run{Account: e.Link.Account}, now, data)
}
