// Package presence shows a customer that somebody is there: read marks and
// typing. Nothing of it is waited for, repeated or kept.
package presence

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"

	"wagent/gateway"
	"wagent/gateway/whatsapp/content"
)

const (
	// retype is how often WhatsApp is told that an answer is still being
	// written: phones forget it after some 25 s.
	retype = 10 * time.Second
	// gesture is how long a mark or a notice may take.
	gesture = 5 * time.Second
)

// MarkRead marks messages of a chat as read, those of one sender together. One
// that fails does not keep the others from it.
func MarkRead(ctx context.Context, cli *whatsmeow.Client, chat types.JID, batch []gateway.Seen) error {
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
	var errs []error
	for _, sender := range senders {
		try, cancel := context.WithTimeout(ctx, gesture)
		errs = append(errs, cli.MarkRead(try, ids[sender], time.Now(), chat, sender))
		cancel()
	}
	return errors.Join(errs...)
}

// Type shows that the account types until ctx is done. client is asked each
// time, and may return nil. Its error is of the last time.
func Type(ctx context.Context, client func() *whatsmeow.Client, to types.JID) (err error) {
	show := func(state types.ChatPresence) {
		if cli := client(); cli != nil {
			try, cancel := context.WithTimeout(context.WithoutCancel(ctx), gesture)
			defer cancel()
			err = cli.SendChatPresence(try, to, state, types.ChatPresenceMediaText)
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
	return err
}
