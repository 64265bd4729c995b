package whatsapp

import (
	"context"
	"slices"
	"time"

	"go.mau.fi/whatsmeow/types"

	"wagent/gateway"
	"wagent/gateway/whatsapp/content"
)

const (
	// retype is how often WhatsApp is told that an answer is still being
	// written: phones forget it after some 25 s.
	retype = 10 * time.Second
	// gesture is how long a mark or a notice may take. It is nothing to wait
	// for, and nothing is repeated.
	gesture = 5 * time.Second
)

// Attend shows the customer that a batch of messages is being answered: they
// are marked as read and the account types, each if its settings say so, until
// ctx is done, for which it waits. Where this process does not hold the account,
// or it is not connected, nothing is shown.
func (f *Fleet) Attend(ctx context.Context, account gateway.AccountID, peer gateway.Address, batch []gateway.Seen) {
	m := f.member(account)
	to, ok := content.JID(peer)
	if m == nil || !ok || m.ready() == nil {
		return
	}
	settings := f.settings(account)
	if settings.MarkRead == gateway.ReadAnswering {
		m.markSeen(ctx, to, batch)
	}
	if settings.Typing {
		m.typeUntil(ctx, to)
	}
}

// Holds reports whether this process holds the account.
func (f *Fleet) Holds(account gateway.AccountID) bool {
	m := f.member(account)
	return m != nil && m.held()
}

// markSeen marks messages as read, those of one sender together.
func (m *member) markSeen(ctx context.Context, chat types.JID, batch []gateway.Seen) {
	ids := map[types.JID][]types.MessageID{}
	var senders []types.JID
	for _, s := range batch {
		sender, ok := content.JID(s.Sender)
		if !ok || s.ExternalID == "" {
			continue
		}
		if !slices.Contains(senders, sender) {
			senders = append(senders, sender)
		}
		ids[sender] = append(ids[sender], s.ExternalID)
	}
	for _, sender := range senders {
		c := m.ready()
		if c == nil {
			return
		}
		try, cancel := context.WithTimeout(ctx, gesture)
		err := c.cli.MarkRead(try, ids[sender], time.Now(), chat, sender)
		cancel()
		m.shrug(ctx, "mark as read", err)
	}
}

// markRead marks one message as read, in its own time.
func (m *member) markRead(c *connection, chat, sender types.JID, id string) {
	go func() {
		try, cancel := context.WithTimeout(c.ctx, gesture)
		defer cancel()
		m.shrug(try, "mark as read", c.cli.MarkRead(try, []types.MessageID{id}, time.Now(), chat, sender.ToNonAD()))
	}()
}

// typeUntil shows that we type until ctx is done.
func (m *member) typeUntil(ctx context.Context, to types.JID) {
	show := func(state types.ChatPresence) {
		if c := m.ready(); c != nil {
			try, cancel := context.WithTimeout(context.WithoutCancel(ctx), gesture)
			defer cancel()
			m.shrug(ctx, "show typing", c.cli.SendChatPresence(try, to, state, types.ChatPresenceMediaText))
		}
	}
	tick := time.NewTicker(retype)
	defer tick.Stop()
	for ctx.Err() == nil {
		show(types.ChatPresenceComposing)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	show(types.ChatPresencePaused)
}

// shrug tells of a gesture that did not arrive.
func (m *member) shrug(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		m.fleet.log.DebugContext(ctx, "gesture lost", "gesture", what, "account", m.account(), "err", err)
	}
}
