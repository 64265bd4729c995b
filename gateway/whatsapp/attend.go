package whatsapp

import (
	"context"

	"go.mau.fi/whatsmeow"

	"wagent/gateway"
	"wagent/gateway/whatsapp/content"
	"wagent/gateway/whatsapp/presence"
)

// Attend shows the customer that a batch of messages is being answered: they
// are marked as read and the account types, each if its settings say so, until
// ctx is done, for which it waits. Where this process does not hold the account,
// or it is not connected, nothing is shown.
func (f *Fleet) Attend(ctx context.Context, account gateway.AccountID, peer gateway.Address, batch []gateway.Seen) {
	m := f.member(account)
	to, ok := content.JID(peer)
	if m == nil || !ok {
		return
	}
	c := m.ready()
	if c == nil {
		return
	}
	settings := f.settings(account)
	if settings.MarkRead == gateway.ReadAnswering {
		m.shrug(ctx, presence.MarkRead(ctx, c.cli, to, batch))
	}
	if settings.Typing {
		m.shrug(ctx, presence.Type(ctx, m.line, to))
	}
}

// line returns the client to write with, or nil.
func (m *member) line() *whatsmeow.Client {
	if c := m.ready(); c != nil {
		return c.cli
	}
	return nil
}

// Holds reports whether this process holds the account.
func (f *Fleet) Holds(account gateway.AccountID) bool {
	m := f.member(account)
	return m != nil && m.held()
}

// Any reports whether there are linked devices at all, here or with other
// processes.
func (f *Fleet) Any() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.accounts {
		if a.Kind == gateway.LinkedDevice {
			return true
		}
	}
	return false
}

// seen marks one message as read, in its own time.
func (m *member) seen(c *connection, in *gateway.Inbound) {
	to, ok := content.JID(in.Peer)
	if !ok {
		return
	}
	one := []gateway.Seen{{ExternalID: in.ExternalID, Sender: in.Sender}}
	go func() { m.shrug(c.ctx, presence.MarkRead(c.ctx, c.cli, to, one)) }()
}

// shrug tells of a gesture that did not arrive: it is nothing to repeat.
func (m *member) shrug(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		m.fleet.log.DebugContext(ctx, "gesture lost", "account", m.id, "err", err)
	}
}
