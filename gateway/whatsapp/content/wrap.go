package content

import (
	"context"
	"fmt"
	"strings"

	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"google.golang.org/protobuf/reflect/protoreflect"

	"wagent/gateway"
)

// maxWraps bounds how deep a stranger may wrap a message. WhatsApp's apps need
// three.
const maxWraps = 8

// unwrap takes off every wrapper: the library knows ten, WhatsApp thirty, and all
// of them are fields of one type.
func (rd *reading) unwrap(m *waE2E.Message) {
	for range maxWraps {
		name, inner := wrapped(m)
		if inner == nil {
			break
		}
		switch name {
		case "viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension":
			rd.viewOnce = true
		}
		m = inner
	}
	rd.m = m
}

// wrapped returns what is in m's wrapper; nil if it has none.
func wrapped(m *waE2E.Message) (protoreflect.Name, *waE2E.Message) {
	if inner := m.GetDeviceSentMessage().GetMessage(); inner != nil {
		return "deviceSentMessage", inner
	}
	var name protoreflect.Name
	var inner *waE2E.Message
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() == nil || f.IsList() {
			return true
		}
		w, ok := v.Message().Interface().(*waE2E.FutureProofMessage)
		if !ok || w.GetMessage() == nil {
			return true
		}
		name, inner = f.Name(), w.GetMessage()
		return false
	})
	return name, inner
}

// unseal opens what is sealed under an earlier message's secret, and looks up
// what a vote is about. What does not open is left as it is, and noted.
func (r *Reader) unseal(ctx context.Context, rd *reading) error {
	m := rd.m
	switch first(m) {
	case "pollUpdateMessage":
		return r.unsealVote(ctx, rd, m.GetPollUpdateMessage())
	case "encReactionMessage":
		e := m.GetEncReactionMessage()
		reaction, err := open(ctx, r, rd, e, e.GetTargetMessageKey(), Secrets.DecryptReaction)
		if reaction != nil {
			reaction.Key = e.GetTargetMessageKey()
			rd.m = &waE2E.Message{ReactionMessage: reaction}
		}
		return err
	case "encCommentMessage":
		e := m.GetEncCommentMessage()
		comment, err := open(ctx, r, rd, e, e.GetTargetMessageKey(), Secrets.DecryptComment)
		if comment != nil {
			rd.comments(comment, e.GetTargetMessageKey())
		}
		return err
	case "commentMessage":
		rd.comments(m.GetCommentMessage().GetMessage(), m.GetCommentMessage().GetTargetMessageKey())
	case "secretEncryptedMessage":
		e := m.GetSecretEncryptedMessage()
		changed, err := open(ctx, r, rd, e, e.GetTargetMessageKey(), Secrets.DecryptSecretEncryptedMessage)
		if changed != nil {
			rd.unsealed(e, changed)
		}
		return err
	}
	return nil
}

// comments reads a message below another one, as which it may be wrapped again.
func (rd *reading) comments(m *waE2E.Message, target *waCommon.MessageKey) {
	rd.unwrap(m)
	if inner := rd.m.GetCommentMessage(); inner != nil {
		rd.unwrap(inner.GetMessage())
	}
	rd.in.ReplyTo = cut(target.GetID(), maxName)
}

// unsealed reads a change that was sealed. Some apps put an edit into it, some
// only the new content.
func (rd *reading) unsealed(e *waE2E.SecretEncryptedMessage, m *waE2E.Message) {
	rd.unwrap(m)
	switch e.GetSecretEncType() {
	case waE2E.SecretEncryptedMessage_MESSAGE_EDIT, waE2E.SecretEncryptedMessage_EVENT_EDIT, waE2E.SecretEncryptedMessage_POLL_EDIT:
		if edited := rd.m.GetProtocolMessage().GetEditedMessage(); edited != nil {
			rd.unwrap(edited)
		}
		rd.in.Change, rd.in.Target = gateway.Edit, cut(e.GetTargetMessageKey().GetID(), maxName)
	default:
		rd.in.ReplyTo = cut(e.GetTargetMessageKey().GetID(), maxName)
	}
}

func (r *Reader) unsealVote(ctx context.Context, rd *reading, u *waE2E.PollUpdateMessage) error {
	vote, err := open(ctx, r, rd, u.GetVote(), u.GetPollCreationMessageKey(), Secrets.DecryptPollVote)
	if vote == nil {
		return err
	}
	rd.vote = vote
	if r.Polls == nil || len(vote.GetSelectedOptions()) == 0 {
		return nil
	}
	rd.options, err = r.Polls.PollOptions(ctx, r.Self.Account, u.GetPollCreationMessageKey().GetID())
	if err != nil {
		return fmt.Errorf("look up the options of a poll: %w", err)
	}
	return nil
}

// nonceSize is AES-GCM's. The library panics on any other.
const nonceSize = 12

// open decrypts what is sealed in rd.m. It returns nil without an error where
// nobody ever can, and then says so in rd.
func open[T any](
	ctx context.Context, r *Reader, rd *reading, e interface{ GetEncIV() []byte }, target *waCommon.MessageKey,
	decrypt func(Secrets, context.Context, *events.Message) (*T, error),
) (*T, error) {
	rd.in.ReplyTo = cut(target.GetID(), maxName)
	var opened *T
	if r.Secrets != nil && len(e.GetEncIV()) == nonceSize {
		var err error
		opened, err = decrypt(r.Secrets, ctx, &events.Message{Info: *rd.info, Message: rd.m})
		if err != nil && mayPass(ctx, err) {
			return nil, fmt.Errorf("open a sealed message: %w", err)
		}
		if err != nil {
			opened = nil
		}
	}
	if opened == nil {
		rd.sealed = string(first(rd.m))
		return nil, nil
	}
	rd.in.ReplyTo = ""
	return opened, nil
}

// mayPass tells a database that was away from a seal that never opens. The
// library has no error of its own for it, only words; a test holds it to them.
// Everything else is for good: a stranger who can make an event fail for ever
// could stop an account.
func mayPass(ctx context.Context, err error) bool {
	return ctx.Err() != nil || strings.Contains(err.Error(), "failed to get original message secret key")
}

// apply reads what the message does to an earlier one. It reports false if there
// is nothing to read: an order to our device, a setting, an edit of nothing.
func (r *Reader) apply(rd *reading) bool {
	p := rd.m.GetProtocolMessage()
	if p == nil {
		return rd.in.Change == "" || rd.in.Target != ""
	}
	rd.in.Target = cut(p.GetKey().GetID(), maxName)
	if rd.in.Target == "" || p.Type == nil {
		return false
	}
	switch p.GetType() {
	case waE2E.ProtocolMessage_MESSAGE_EDIT:
		rd.in.Change = gateway.Edit
		rd.unwrap(p.GetEditedMessage())
		return rd.m.GetProtocolMessage() == nil
	case waE2E.ProtocolMessage_REVOKE:
		rd.in.Change = gateway.Revoke
		return r.revoked(rd, p.GetKey())
	default:
		return false
	}
}

// revoked reads whose message is deleted. A group's admin deletes those of
// others: WhatsApp marks that, having looked whether they may. What they delete of
// ours stays on record.
func (r *Reader) revoked(rd *reading, key *waCommon.MessageKey) bool {
	if rd.info.Edit != types.EditAttributeAdminRevoke || key.GetParticipant() == "" {
		return true
	}
	author, err := types.ParseJID(key.GetParticipant())
	if err != nil || r.Self.is(author) {
		return false
	}
	rd.author, rd.in.SenderName = author, ""
	rd.in.Origin, rd.in.FromUs = gateway.OriginLive, false
	return true
}
