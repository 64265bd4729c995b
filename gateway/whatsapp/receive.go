package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway"
	"wagent/gateway/whatsapp/content"
	"wagent/gateway/whatsapp/outgoing"
)

// receivePatience is how long storing one message may take. WhatsApp's other
// messages for the account wait meanwhile.
const receivePatience = 20 * time.Second

// handle is the library's way to tell us. It returns false where WhatsApp is
// to deliver again; a panic would count as success.
func (m *member) handle(ctx context.Context, evt any, news chan<- any) (ok bool) {
	c := m.connection()
	defer func() {
		if p := recover(); p != nil {
			m.fleet.metrics.Panics.Inc()
			m.fleet.log.ErrorContext(ctx, "handler panicked; WhatsApp delivers again", "account", m.id, "panic", p, "stack", string(debug.Stack()))
			ok = false
			if c != nil {
				c.refuse(fmt.Errorf("panic: %v", p))
			}
		}
	}()
	if m.fleet.cfg.Before != nil {
		m.fleet.cfg.Before(evt)
	}
	switch evt := evt.(type) {
	case *events.Message:
		return m.take(ctx, c, evt)
	case *events.Receipt:
		return m.receipt(ctx, evt)
	case *events.UndecryptableMessage:
		// The library asks the sender's and our own phone for it again.
		m.fleet.metrics.Undecryptable.Inc()
		m.fleet.log.WarnContext(ctx, "message could not be decrypted; it is asked for again", "account", m.id, "unavailable", evt.IsUnavailable)
	case *events.MediaRetry:
		m.fileAnswered(ctx, evt)
	case *events.Connected, *events.Disconnected, *events.LoggedOut, *events.TemporaryBan, *events.ClientOutdated,
		*events.StreamReplaced, *events.ConnectFailure, *events.StreamError, *events.ManualLoginReconnect,
		*events.OfflineSyncCompleted, *events.NotifyAccountReachoutTimelock:
		select {
		case news <- evt:
		default: // so much happened that nobody follows
			if c != nil {
				c.refuse(errors.New("too many events at once"))
			}
		}
	}
	return true
}

// take stores one message. Where that fails, nothing more is taken on this
// connection: what came after it would overtake it.
func (m *member) take(ctx context.Context, c *connection, evt *events.Message) bool {
	if c == nil || c.refused.Load() || !m.held() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, receivePatience)
	defer cancel()
	outcome, err := m.store(ctx, c, evt)
	if err != nil {
		m.fleet.log.WarnContext(ctx, "message not stored; WhatsApp delivers it again", "account", m.id, "kind", gateway.KindOf(err).String(), "err", err)
		c.refuse(err)
		return false
	}
	m.fleet.metrics.Received.WithLabelValues(string(m.id), string(gateway.LinkedDevice), outcome).Inc()
	return true
}

// outcomeSkipped counts events that carry nothing for a conversation.
const outcomeSkipped = "skipped"

func (m *member) store(ctx context.Context, c *connection, evt *events.Message) (outcome string, err error) {
	pn, lid, ok := m.self()
	if !ok {
		return "", errors.New("the account has no device")
	}
	reader := content.Reader{
		Self: content.Self{Account: m.id, PN: pn, LID: lid},
		Book: c.book, Secrets: c.cli, Polls: m.fleet.Records,
	}
	in, ok, err := reader.Read(ctx, evt)
	if err != nil {
		return "", fmt.Errorf("read message: %w", err)
	}
	if !ok {
		return outcomeSkipped, nil
	}
	if in.Origin == gateway.OriginLive && c.backlog.Load() {
		in.Origin, in.Deferred = gateway.OriginBacklog, true
	}
	outcomes, err := m.fleet.Inbox.Receive(ctx, in)
	if err != nil {
		return "", err
	}
	if in.Attachment != nil && m.fleet.Files != nil {
		m.fleet.Files.Wake()
	}
	if in.Origin != gateway.OriginEcho && m.fleet.settings(in.Account).MarkRead == gateway.ReadReceived {
		m.seen(c, &in)
	}
	return string(outcomes[0]), nil
}

// fileAnswered passes on what a phone says of a file. What is lost of that is
// asked for again.
func (m *member) fileAnswered(ctx context.Context, evt *events.MediaRetry) {
	if m.fleet.Files == nil || !m.held() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, receivePatience)
	defer cancel()
	if err := m.fleet.Files.Answered(ctx, m.id, evt); err != nil {
		m.fleet.log.WarnContext(ctx, "a phone's answer for a file is lost; it is asked again", "account", m.id, "err", err)
	}
}

// receipt records what became of messages of ours. A receipt that is not
// acknowledged comes again.
func (m *member) receipt(ctx context.Context, evt *events.Receipt) bool {
	updates := outgoing.Statuses(m.id, evt)
	if len(updates) == 0 || !m.held() {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, receivePatience)
	defer cancel()
	if err := m.fleet.Records.ApplyStatuses(ctx, updates); err != nil {
		m.fleet.log.WarnContext(ctx, "receipts not stored; they come again", "account", m.id, "err", err)
		return false
	}
	m.fleet.metrics.Statuses.WithLabelValues(string(updates[0].Status)).Add(float64(len(updates)))
	return true
}

// learn keeps pairs for the member's own goroutine: the library is in the
// middle of something.
func (m *member) learn(pairs ...store.LIDMapping) {
	m.pairs.Add(pairs...)
	m.nudge()
}

// joinAtOnce is how many pairs one transaction joins.
const joinAtOnce = 100

// joinLearned makes one contact of those who turned out to be one person.
func (m *member) joinLearned(ctx context.Context) {
	for ctx.Err() == nil {
		some := m.pairs.Take(joinAtOnce)
		if len(some) == 0 {
			return
		}
		if err := m.fleet.Inbox.Join(ctx, m.id, some...); err != nil {
			m.fleet.log.WarnContext(ctx, "join addresses; it is done with their next message", "account", m.id, "err", err)
			return
		}
	}
}
