package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/types"

	"wagent/gateway"
	"wagent/gateway/whatsapp/content"
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
	case strings.TrimSpace(s.Text) == "":
		return "", &gateway.Error{Kind: gateway.Invalid, Msg: "the text is empty"}
	case m.mayNotWriteFirst(s):
		return "", &gateway.Error{Kind: gateway.RateLimited, Msg: "WhatsApp lets the account write to nobody first for now", RetryAfter: time.Hour}
	}
	began := time.Now()
	id := s.ID.WireID()
	err := classify(c.send(ctx, to, id, textMessage(s, to.String())))
	outcome := "ok"
	if err != nil {
		outcome = gateway.KindOf(err).String()
	}
	f.metrics.sends.WithLabelValues(outcome).Inc()
	f.metrics.sendSeconds.Observe(time.Since(began).Seconds())
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
	if err := c.turn.take(ctx); err != nil {
		return fmt.Errorf("wait for messages that come in: %w", errNotBegun)
	}
	defer c.turn.leave()
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

// textMessage is what WhatsApp's own clients make of a text: plain, or with
// what it quotes.
func textMessage(s *gateway.Send, peer string) *waE2E.Message {
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

// The codes with which WhatsApp refuses a message (contract of the library,
// section 3, and whatsmeow's issues 922, 1074).
const (
	codeRateLimit = "429"
	codeNoFirst   = "463" // the account may write to nobody first
	codeLater     = "479" // right after a message that could not be decrypted
)

var serverCode = regexp.MustCompile(`^server returned error ([0-9]+)`) // whatsmeow.ErrServerReturnedError

// classify says what is known of a message from the library's error.
func classify(err error) error {
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

// mayNotWriteFirst reports whether WhatsApp forbids the account to write first,
// and the send would. The store does not hand out such sends; this is for what
// was claimed before that was known.
func (m *member) mayNotWriteFirst(s *gateway.Send) bool {
	return s.Answers.IsZero() && time.Now().Before(m.snapshot().NoFirstUntil)
}
