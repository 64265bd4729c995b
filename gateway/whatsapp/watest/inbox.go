//go:build watest

package watest

import (
	"context"
	"slices"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// An Inbox waits for what clients send to one person. What it returns is taken
// out, so that the same thing is never found twice.
type Inbox struct{ p *Person }

type receipt struct {
	kind types.ReceiptType
	ids  []string
}

type typing struct {
	state types.ChatPresence
	media types.ChatPresenceMedia
}

// Expect is where to wait for what reaches that person.
func (s *Server) Expect(who Party) *Inbox { return &Inbox{p: who.person()} }

// Message blocks for the next message that is no copy and not for the own
// phone alone.
func (i *Inbox) Message(ctx context.Context) (*Received, error) {
	return i.next(ctx, "a message", func(r *Received) bool { return !r.Copy && !r.Peer })
}

// Text blocks for the next message and returns its text.
func (i *Inbox) Text(ctx context.Context) (string, error) {
	r, err := i.Message(ctx)
	if err != nil {
		return "", err
	}
	return r.Text(), nil
}

// Copy blocks for the next copy of what a device of the same account wrote.
func (i *Inbox) Copy(ctx context.Context) (*Received, error) {
	return i.next(ctx, "a copy", func(r *Received) bool { return r.Copy })
}

// Peer blocks for the next message that a device sent to its own phone alone,
// as it does to ask for history.
func (i *Inbox) Peer(ctx context.Context) (*waE2E.Message, error) {
	r, err := i.next(ctx, "a message to the own phone", func(r *Received) bool { return r.Peer })
	if err != nil {
		return nil, err
	}
	return r.Message, nil
}

// Receipt blocks for the next receipt of that type and returns the messages
// that it is for. The empty type says delivered.
func (i *Inbox) Receipt(ctx context.Context, kind types.ReceiptType) ([]string, error) {
	var ids []string
	err := i.p.s.await(ctx, "a receipt of type "+string(kind)+" to "+i.p.pn.String(), func() bool {
		at := slices.IndexFunc(i.p.receipts, func(r receipt) bool { return r.kind == kind })
		if at < 0 {
			return false
		}
		ids = i.p.receipts[at].ids
		i.p.receipts = slices.Delete(i.p.receipts, at, at+1)
		return true
	})
	return ids, err
}

// Typing blocks for the next sign that a client types, records or pauses.
func (i *Inbox) Typing(ctx context.Context) (types.ChatPresence, types.ChatPresenceMedia, error) {
	var t typing
	err := i.p.s.await(ctx, "typing to "+i.p.pn.String(), func() bool {
		if len(i.p.typing) == 0 {
			return false
		}
		t, i.p.typing = i.p.typing[0], i.p.typing[1:]
		return true
	})
	return t.state, t.media, err
}

// Duplicates is how often the very same encryption of that message came again.
// A message that a client encrypted anew under the same id is one to Message.
func (i *Inbox) Duplicates(id string) int {
	i.p.s.mu.Lock()
	defer i.p.s.mu.Unlock()
	return i.p.duplicates[id]
}

// Unread is how many messages, copies included, nobody has taken out.
func (i *Inbox) Unread() int {
	i.p.s.mu.Lock()
	defer i.p.s.mu.Unlock()
	return len(i.p.received)
}

func (i *Inbox) next(ctx context.Context, what string, is func(*Received) bool) (*Received, error) {
	var r *Received
	err := i.p.s.await(ctx, what+" to "+i.p.pn.String(), func() bool {
		at := slices.IndexFunc(i.p.received, is)
		if at < 0 {
			return false
		}
		r = i.p.received[at]
		i.p.received = slices.Delete(i.p.received, at, at+1)
		return true
	})
	return r, err
}
