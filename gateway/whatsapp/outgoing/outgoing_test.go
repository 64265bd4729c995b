package outgoing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway"
	"wagent/gateway/whatsapp/outgoing"
)

// TestClassify: what nobody knows the end of must not look as if nothing was
// sent, or the customer reads it twice.
func TestClassify(t *testing.T) {
	tests := map[string]struct {
		err  error
		want gateway.Kind
	}{
		"no answer":                          {whatsmeow.ErrMessageTimedOut, gateway.Ambiguous},
		"the caller's time was over":         {context.DeadlineExceeded, gateway.Ambiguous},
		"the connection's end":               {fmt.Errorf("x: %w", context.Canceled), gateway.Ambiguous},
		"lost before the answer":             {&whatsmeow.DisconnectedError{Action: "message send"}, gateway.Ambiguous},
		"lost in the library's second try":   {&whatsmeow.DisconnectedError{Action: "message send (retry)"}, gateway.Ambiguous},
		"not connected for the second try":   {whatsmeow.ErrNotConnected, gateway.Ambiguous},
		"a socket that breaks while writing": {fmt.Errorf("failed to send message node: %w", io.ErrClosedPipe), gateway.Ambiguous},
		"a network error":                    {&net.OpError{Op: "write", Err: io.ErrClosedPipe}, gateway.Ambiguous},
		"the end of the stream":              {io.EOF, gateway.Ambiguous},
		"not connected at first":             {fmt.Errorf("failed to send message node: %w", whatsmeow.ErrNotConnected), gateway.Unavailable},
		"lost while it asked for devices":    {fmt.Errorf("failed to get device list: %w", whatsmeow.ErrIQDisconnected), gateway.Unavailable},
		"the database failed":                {errors.New("failed to prefetch sessions: disk full"), gateway.Unavailable},
		"too many":                           {fmt.Errorf("%w %d", whatsmeow.ErrServerReturnedError, 429), gateway.RateLimited},
		"not now":                            {fmt.Errorf("%w %d", whatsmeow.ErrServerReturnedError, 479), gateway.Unavailable},
		"not to strangers":                   {fmt.Errorf("%w %d", whatsmeow.ErrServerReturnedError, 463), gateway.Invalid},
		"refused":                            {fmt.Errorf("%w %d", whatsmeow.ErrServerReturnedError, 400), gateway.Invalid},
		"a number that is not on WhatsApp":   {errors.New("no LID found for 15550001111@s.whatsapp.net from server"), gateway.Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := outgoing.Classify(tt.err); got == nil || gateway.KindOf(got) != tt.want {
				t.Errorf("Classify(%v) = %v (%v), want %v", tt.err, got, gateway.KindOf(got), tt.want)
			}
		})
	}
	if err := outgoing.Classify(nil); err != nil {
		t.Errorf("Classify(nil) = %v", err)
	}
}

func TestText(t *testing.T) {
	s := &gateway.Send{Text: "yes"}
	if m := outgoing.Text(s, "1@lid"); m.GetConversation() != "yes" || m.ExtendedTextMessage != nil {
		t.Errorf("a plain text is %v", m)
	}
	s.ReplyTo = "ABC"
	m := outgoing.Text(s, "1@lid").GetExtendedTextMessage()
	if m.GetText() != "yes" || m.GetContextInfo().GetStanzaID() != "ABC" || m.GetContextInfo().GetParticipant() != "1@lid" {
		t.Errorf("a text that quotes is %v", m)
	}
}

func TestStatuses(t *testing.T) {
	of := func(kind types.ReceiptType, fromMe bool) []gateway.StatusUpdate {
		return outgoing.Statuses("acc_1", &events.Receipt{
			MessageSource: types.MessageSource{IsFromMe: fromMe}, MessageIDs: []string{"A", "B"}, Type: kind,
		})
	}
	for kind, want := range map[types.ReceiptType]gateway.SendStatus{
		types.ReceiptTypeDelivered: gateway.StatusDelivered, types.ReceiptTypeRead: gateway.StatusRead, types.ReceiptTypePlayed: gateway.StatusRead,
	} {
		got := of(kind, false)
		if len(got) != 2 || got[1].ExternalID != "B" || got[1].Status != want || got[1].Account != "acc_1" {
			t.Errorf("a receipt %q tells %+v, want %s of A and B", kind, got, want)
		}
	}
	if got := append(of(types.ReceiptTypeRetry, false), of(types.ReceiptTypeRead, true)...); got != nil {
		t.Errorf("what is not about our messages tells %+v", got)
	}
}
