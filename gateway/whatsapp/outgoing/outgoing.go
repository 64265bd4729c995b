// Package outgoing makes the messages that linked devices send, and says what is
// known of one from the library's error and from receipts. It is pure and keeps
// nothing.
package outgoing

import (
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway"
)

// Text is what WhatsApp's own clients make of a text: plain, or with
// what it quotes.
func Text(s *gateway.Send, peer string) *waE2E.Message {
	if s.ReplyTo == "" {
		return &waE2E.Message{Conversation: &s.Text}
	}
	return &waE2E.Message{ExtendedTextMessage: &waE2E.ExtendedTextMessage{
		Text: &s.Text,
		ContextInfo: &waE2E.ContextInfo{
			StanzaID: &s.ReplyTo, Participant: &peer,
			QuotedMessage: &waE2E.Message{Conversation: new("")},
		},
	}}
}

// The codes with which WhatsApp refuses a message (whatsmeow's issues 922,
// 1074).
const (
	codeRateLimit = "429"
	codeNoFirst   = "463" // the account may write to nobody first
	codeLater     = "479" // right after a message that could not be decrypted
)

var serverCode = regexp.MustCompile(`^server returned error ([0-9]+)`) // whatsmeow.ErrServerReturnedError

// Classify says what is known of a message from the library's error.
func Classify(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, whatsmeow.ErrServerReturnedError) {
		code := ""
		if found := serverCode.FindStringSubmatch(err.Error()); found != nil {
			code = found[1]
		}
		switch code {
		case codeRateLimit:
			return &gateway.Error{Kind: gateway.RateLimited, Msg: "WhatsApp error 429: too many messages", Err: err}
		case codeLater:
			return &gateway.Error{Kind: gateway.Unavailable, Msg: "WhatsApp error 479: not now", Err: err}
		case codeNoFirst:
			return &gateway.Error{Kind: gateway.Invalid, Msg: "WhatsApp error 463: the account may not write first to this person now", Err: err}
		default:
			return &gateway.Error{Kind: gateway.Invalid, Msg: "WhatsApp error " + code, Err: err}
		}
	}
	switch {
	case writing(err):
		return &gateway.Error{Kind: gateway.Ambiguous, Msg: "WhatsApp did not confirm the message", Err: err}
	case strings.HasPrefix(err.Error(), "no LID found for "): // whatsmeow.(*Client).SendMessage
		return &gateway.Error{Kind: gateway.Invalid, Msg: "the number is not on WhatsApp", Err: errors.New("no LID")}
	default:
		// It failed while it was being prepared: nothing was written.
		return &gateway.Error{Kind: gateway.Unavailable, Msg: "the message could not be prepared", Err: err}
	}
}

// writing reports whether the message may have been written: what the library
// returns once it has begun to, and every end of the context, which may come at
// any time.
func writing(err error) bool {
	if errors.Is(err, whatsmeow.ErrMessageTimedOut) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if d, ok := errors.AsType[*whatsmeow.DisconnectedError](err); ok {
		return strings.HasPrefix(d.Action, "message send")
	}
	// Bare, it is of the library's own second try (retryFrame); of the first
	// one it comes wrapped, and then nothing was written.
	if err == whatsmeow.ErrNotConnected { //nolint:errorlint // see above
		return true
	}
	const first = "failed to send message node" // whatsmeow.(*Client).sendDM, sendGroup
	if strings.HasPrefix(err.Error(), first) {
		return !errors.Is(err, whatsmeow.ErrNotConnected)
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return errors.Is(err, socket.ErrSocketClosed) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF)
}

// statusOf lists the receipts that tell how far a message of ours got.
var statusOf = map[types.ReceiptType]gateway.SendStatus{
	types.ReceiptTypeDelivered: gateway.StatusDelivered,
	types.ReceiptTypeRead:      gateway.StatusRead,
	types.ReceiptTypePlayed:    gateway.StatusRead,
}

// Statuses returns what a receipt tells of messages of the account, all of one
// status; nothing where it tells of somebody else's, or of nothing that we keep.
func Statuses(account gateway.AccountID, evt *events.Receipt) []gateway.StatusUpdate {
	status, ok := statusOf[evt.Type]
	if !ok || evt.IsFromMe {
		return nil
	}
	updates := make([]gateway.StatusUpdate, len(evt.MessageIDs))
	for i, id := range evt.MessageIDs {
		updates[i] = gateway.StatusUpdate{Account: account, ExternalID: id, Status: status, At: evt.Timestamp}
	}
	return updates
}
