package messages

import (
	"encoding/json"
	"time"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// messageBody is a message as clients see it.
type messageBody struct {
	ID           string  `json:"id"`
	Direction    string  `json:"direction" enum:"inbound,outbound"`
	To           *string `json:"to"`
	MessageType  string  `json:"message_type"`
	Content      *string `json:"content"`
	Status       string  `json:"status" enum:"queued,sent,delivered,read,failed"`
	WAMID        *string `json:"wamid"`
	ErrorMessage *string `json:"error_message"`
	SentAt       *string `json:"sent_at"`
	DeliveredAt  *string `json:"delivered_at"`
	ReadAt       *string `json:"read_at"`
	CreatedAt    *string `json:"created_at"`
}

func newMessageBody(a *gateway.Account, m *gateway.PeerMessage) messageBody {
	b := messageBody{
		ID: string(m.ID), MessageType: string(m.Type), Content: wire.OrNull(content(m)), WAMID: wire.OrNull(m.ExternalID),
		CreatedAt: wire.Stamp(m.ReceivedAt),
	}
	if m.Direction == gateway.In {
		b.Direction, b.To, b.Status = "inbound", wire.OrNull(a.PhoneNumber), string(gateway.StatusDelivered)
		b.SentAt, b.DeliveredAt = wire.Stamp(m.SentAt), wire.Stamp(m.ReceivedAt)
		return b
	}
	b.Direction, b.To, b.Status = "outbound", wire.OrNull(m.Peer.Phone), string(m.Status)
	b.SentAt, b.DeliveredAt, b.ReadAt = wire.Stamp(sentAt(m)), wire.Stamp(m.Progress.DeliveredAt), wire.Stamp(m.Progress.ReadAt)
	if m.Status == gateway.StatusFailed {
		b.ErrorMessage = wire.OrNull(m.Progress.Failure)
	}
	return b
}

// sentAt is when WhatsApp took a message of ours. What a person wrote by other
// means we know only once it was.
func sentAt(m *gateway.PeerMessage) time.Time {
	unsent := m.Status == gateway.StatusQueued || m.Status == gateway.StatusFailed
	if m.Progress.AcceptedAt.IsZero() && !unsent {
		return m.SentAt
	}
	return m.Progress.AcceptedAt
}

// content is what a message says: of a file of ours without a caption, where it
// is.
func content(m *gateway.PeerMessage) string {
	if m.Text != "" || m.Direction == gateway.In || !isFile(m.Type) {
		return m.Text
	}
	var file gateway.LinkedFile
	if json.Unmarshal(m.Detail, &file) != nil {
		return "" // it was sent by other means, and is nowhere
	}
	return file.URL
}

func isFile(t gateway.MessageType) bool {
	switch t {
	case gateway.TypeImage, gateway.TypeVideo, gateway.TypeAudio, gateway.TypeDocument:
		return true
	default:
		return false
	}
}
