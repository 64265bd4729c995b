// Package content reads what a linked device is told of a message, and makes a
// [gateway.Inbound] of it:
//
//	events.Message ─▶ whose conversation? ─▶ wrappers off ─▶ seals opened
//	   ─▶ edit or revoke? ─▶ what kind? ─▶ text, detail, attachment ─▶ both forms of the addresses
//
// It keeps nothing, reaches nobody but through the three interfaces below, and
// never panics on what a stranger sent. What is nothing for a conversation (keys,
// settings, statuses, channels) is told apart from what is not understood, which
// becomes a message of type unsupported that says its name: no words of a customer
// are lost because WhatsApp has a new kind for them.
package content

import (
	"context"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway"
)

// A Reader reads the messages of one account. It is safe for concurrent use as
// long as its fields stay as they are.
type Reader struct {
	Self    Self
	Book    Book    // nil: nothing is known of an address but what the event says
	Secrets Secrets // nil: what is sealed a second time is unsupported
	Polls   Polls   // nil: a vote does not say what for
}

// Self is who we are.
type Self struct {
	Account gateway.AccountID
	PN, LID types.JID // with or without device; LID may be empty
}

// A Book joins the two forms of an address. The library's store.LIDStore is one.
// Both return the empty JID where they know nothing; an error must be one that
// may pass.
type Book interface {
	GetLIDForPN(ctx context.Context, pn types.JID) (types.JID, error)
	GetPNForLID(ctx context.Context, lid types.JID) (types.JID, error)
}

// Secrets opens what is sealed under the secret of an earlier message.
// *whatsmeow.Client does.
type Secrets interface {
	DecryptPollVote(ctx context.Context, vote *events.Message) (*waE2E.PollVoteMessage, error)
	DecryptReaction(ctx context.Context, reaction *events.Message) (*waE2E.ReactionMessage, error)
	DecryptComment(ctx context.Context, comment *events.Message) (*waE2E.Message, error)
	DecryptSecretEncryptedMessage(ctx context.Context, evt *events.Message) (*waE2E.Message, error)
}

// Polls knows earlier polls. A vote holds only the hashes of what was chosen, so
// the wrong poll's options do no harm.
type Polls interface {
	// PollOptions returns what could be chosen in a poll, by the WhatsApp id of
	// its message; nothing if it is not known. See the function PollOptions. An
	// error must be one that may pass.
	PollOptions(ctx context.Context, account gateway.AccountID, id string) ([]string, error)
}

// Read makes a message of an event. It reports false for what has no place in a
// conversation: then nothing must be recorded, not even the id, because the
// first message of a sender in a group comes as two events with one id, of which
// the first only holds a key.
//
// Origin is live, or echo for what we wrote ourselves; who knows better sets
// backlog or history. An error is one that may pass (a database is away): the
// caller refuses the event, and WhatsApp delivers it again.
func (r *Reader) Read(ctx context.Context, evt *events.Message) (in gateway.Inbound, ok bool, err error) {
	if evt == nil || evt.Info.ID == "" || !r.converses(&evt.Info) {
		return gateway.Inbound{}, false, nil
	}
	rd := &reading{info: &evt.Info, viewOnce: evt.IsViewOnce, detail: detail{}}
	rd.in = gateway.Inbound{
		Account: r.Self.Account, ExternalID: evt.Info.ID, SenderName: senderName(&evt.Info),
		SentAt: evt.Info.Timestamp, Origin: gateway.OriginLive, FromUs: evt.Info.IsFromMe,
	}
	if evt.Info.IsFromMe {
		rd.in.Origin = gateway.OriginEcho
	}
	rd.unwrap(evt.Message)
	if err := r.unseal(ctx, rd); err != nil {
		return gateway.Inbound{}, false, err
	}
	if !r.apply(rd) || !rd.understand() {
		return gateway.Inbound{}, false, nil
	}
	r.context(rd)
	if err := r.address(ctx, rd); err != nil {
		return gateway.Inbound{}, false, err
	}
	if rd.in.Sender == (gateway.Address{}) {
		return gateway.Inbound{}, false, nil // somebody of another network, whom nobody could answer
	}
	rd.finish()
	return rd.in, true, nil
}

// converses reports whether the message stands in a chat that agents and people
// could answer in: not in a status, a broadcast list or a channel, not with a bot,
// and not with ourselves.
func (r *Reader) converses(info *types.MessageInfo) bool {
	if info.Sender.IsBot() || info.Chat.IsBot() {
		return false
	}
	peer := Address(info.Chat)
	return peer != gateway.Address{} && !r.Self.is(info.Chat) && info.Chat.User != types.PSAJID.User
}

// is reports whether we are j.
func (s Self) is(j types.JID) bool {
	j = plain(j)
	return j.User != "" && (j == plain(s.PN) || j == plain(s.LID))
}

func senderName(info *types.MessageInfo) string {
	name := info.PushName
	if name == "" && info.VerifiedName != nil {
		name = info.VerifiedName.Details.GetVerifiedName()
	}
	return cut(name, maxName)
}

// A reading is a message that is being read.
type reading struct {
	info     *types.MessageInfo
	m        *waE2E.Message // without its wrappers and seals; may be nil
	in       gateway.Inbound
	detail   detail
	viewOnce bool

	sealed  string                 // what could not be opened: the name of its kind
	vote    *waE2E.PollVoteMessage // what a poll's vote says
	options []string               // of the poll that it votes in
	author  types.JID              // of the message that is changed, where it is not the sender
}

// context reads what the content says of other messages and people.
func (r *Reader) context(rd *reading) {
	c := contextOf(rd.m)
	if id := c.GetStanzaID(); id != "" && rd.in.ReplyTo == "" {
		rd.in.ReplyTo = cut(id, maxName)
	}
	if rd.info.Chat.Server == types.GroupServer && !rd.info.IsFromMe {
		rd.in.Mentioned = r.mentioned(c)
	}
	rd.detail.set("forwarded", c.GetIsForwarded())
	if ad := c.GetExternalAdReply(); ad.GetSourceID() != "" || ad.GetSourceURL() != "" {
		referral := detail{}
		referral.set("source_id", ad.GetSourceID())
		referral.set("source_type", ad.GetSourceType())
		referral.set("source_url", ad.GetSourceURL())
		referral.set("title", ad.GetTitle())
		referral.set("body", ad.GetBody())
		rd.detail["referral"] = referral
	}
}

// mentioned reports whether a message of a group names us or quotes us.
func (r *Reader) mentioned(c *waE2E.ContextInfo) bool {
	who := c.GetMentionedJID()
	if c.GetStanzaID() != "" {
		who = append([]string{c.GetParticipant()}, who...)
	}
	for _, s := range who {
		if j, err := types.ParseJID(s); err == nil && r.Self.is(j) {
			return true
		}
	}
	return false
}

// finish puts the message within its bounds.
func (rd *reading) finish() {
	rd.in.Text = cut(rd.in.Text, maxText)
	if rd.viewOnce {
		rd.detail["view_once"] = true
	}
	rd.in.Detail = rd.detail.encode()
}
