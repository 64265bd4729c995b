package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"

	"wagent/gateway"
	"wagent/gateway/whatsapp/content"
	"wagent/gateway/whatsapp/outgoing"
)

// Transmit sends s as a text, under an id that is the same for every attempt
// (gateway.MessageID.WireID), and returns that id.
//
// The error is a gateway.Error without the message and the number in it.
// Ambiguous: the message was handed to the connection and WhatsApp did not say
// that it has it. Unavailable and RateLimited: it was not sent. Invalid:
// WhatsApp, or a rule, refuses it.
func (f *Fleet) Transmit(ctx context.Context, a *gateway.Account, s *gateway.Send) (string, error) {
	m := f.member(a.ID)
	if m == nil {
		return "", &gateway.Error{Kind: gateway.Unavailable, Msg: "another process holds the account"}
	}
	c := m.ready()
	if c == nil {
		return "", &gateway.Error{Kind: gateway.Unavailable, Msg: "the account is not connected"}
	}
	to, ok := content.JID(s.To)
	switch {
	case !ok:
		return "", &gateway.Error{Kind: gateway.Invalid, Msg: "the recipient has no address that a linked device can write to"}
	case s.Type != "" && s.Type != gateway.TypeText:
		return "", &gateway.Error{Kind: gateway.Invalid, Msg: "a linked device sends text only, no " + string(s.Type)}
	case strings.TrimSpace(s.Text) == "":
		return "", &gateway.Error{Kind: gateway.Invalid, Msg: "the text is empty"}
	case m.mayNotWriteFirst(s):
		return "", &gateway.Error{Kind: gateway.RateLimited, Msg: "WhatsApp lets the account write to nobody first for now", RetryAfter: time.Hour}
	}
	began := time.Now()
	id := s.ID.WireID()
	err := outgoing.Classify(c.send(ctx, to, id, outgoing.Text(s, to.String())))
	outcome := "ok"
	if err != nil {
		outcome = gateway.KindOf(err).String()
	}
	f.metrics.Sends.WithLabelValues(outcome).Inc()
	f.metrics.SendSeconds.Observe(time.Since(began).Seconds())
	if err != nil {
		return "", err
	}
	return id, nil
}

// answerMargin is how long before ctx's end WhatsApp's answer is given up: its
// being late is no reason to end the connection.
const answerMargin = 500 * time.Millisecond

// send sends one message before ctx ends. Where ctx ends in the middle of
// preparing it, what the library remembers may be ahead of what it wrote: the
// connection ends, and the client is made anew.
func (c *connection) send(ctx context.Context, to types.JID, id string, message *waE2E.Message) error {
	if err := c.turn.Take(ctx); err != nil {
		return fmt.Errorf("wait for messages that come in: %w", errNotBegun)
	}
	defer c.turn.Leave()
	ours, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	defer stop()
	extra := whatsmeow.SendRequestExtra{ID: id}
	if deadline, ok := ctx.Deadline(); ok {
		extra.Timeout = max(time.Until(deadline)-answerMargin, time.Millisecond)
	}
	_, err := c.cli.SendMessage(ours, to, message, extra)
	if err != nil && ctx.Err() != nil && c.ctx.Err() == nil {
		c.refuse(fmt.Errorf("send: %w", context.Cause(ctx)))
	}
	return err
}

// errNotBegun says that nothing was written.
var errNotBegun = errors.New("the send was not begun in time")

// mayNotWriteFirst reports whether WhatsApp forbids the account to write first,
// and the send would. The store does not hand out such sends; this is for what
// was claimed before that was known.
func (m *member) mayNotWriteFirst(s *gateway.Send) bool {
	return s.Answers.IsZero() && time.Now().Before(m.snapshot().NoFirstUntil)
}
