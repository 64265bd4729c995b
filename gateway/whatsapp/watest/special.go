//go:build watest

package watest

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCommon"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/hkdfutil"
	"google.golang.org/protobuf/proto"
)

// own is the key of a message that this chat's writer wrote.
func (c *Chat) own(id string) *waCommon.MessageKey {
	return &waCommon.MessageKey{FromMe: new(true), ID: &id, RemoteJID: new(c.jid().String())}
}

// theirs is the key of a message that a client wrote, as the person sees it.
func (c *Chat) theirs(r *Received) *waCommon.MessageKey {
	k := &waCommon.MessageKey{FromMe: new(false), ID: &r.ID, RemoteJID: new(c.jid().String())}
	if c.group != nil {
		k.Participant = new(r.From.phone.lid.String())
	}
	return k
}

func (c *Chat) jid() types.JID {
	if c.group != nil {
		return c.group.jid
	}
	return c.to.lid
}

func editOf(key *waCommon.MessageKey, text string) *waE2E.ProtocolMessage {
	return &waE2E.ProtocolMessage{
		Key: key, Type: waE2E.ProtocolMessage_MESSAGE_EDIT.Enum(), TimestampMS: new(time.Now().UnixMilli()),
		EditedMessage: &waE2E.Message{Conversation: &text},
	}
}

// Edit gives the writer's message another text.
func (c *Chat) Edit(m *Sent, text string) *Sent {
	return c.send(&waE2E.Message{EditedMessage: &waE2E.FutureProofMessage{
		Message: &waE2E.Message{ProtocolMessage: editOf(c.own(m.ID), text)},
	}}, attrs{"edit": string(types.EditAttributeMessageEdit)})
}

// EditSecretly is Edit as newer clients do it: under the secret of the message,
// which must have one, as those of Say have.
func (c *Chat) EditSecretly(m *Sent, text string) *Sent {
	key := c.own(m.ID)
	me, _ := c.from.addressNow()
	iv, sealed := sealSecret(m.secret(), whatsmeow.EncSecretMessageEdit, m.ID, me, me, &waE2E.Message{ProtocolMessage: editOf(key, text)})
	return c.send(&waE2E.Message{SecretEncryptedMessage: &waE2E.SecretEncryptedMessage{
		TargetMessageKey: key, EncIV: iv, EncPayload: sealed, SecretEncType: waE2E.SecretEncryptedMessage_MESSAGE_EDIT.Enum(),
	}}, attrs{"edit": string(types.EditAttributeMessageEdit)})
}

// Say writes a text with a secret, under which it can be edited.
func (c *Chat) Say(text string) *Sent {
	return c.Send(&waE2E.Message{Conversation: &text, MessageContextInfo: newSecret()})
}

// Revoke takes the writer's message back.
func (c *Chat) Revoke(m *Sent) *Sent {
	return c.send(&waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Key: c.own(m.ID), Type: waE2E.ProtocolMessage_REVOKE.Enum(),
	}}, attrs{"edit": string(types.EditAttributeSenderRevoke)})
}

// React puts an emoji on a client's message; the empty one takes it away.
func (c *Chat) React(r *Received, emoji string) *Sent {
	return c.Send(&waE2E.Message{ReactionMessage: &waE2E.ReactionMessage{
		Key: c.theirs(r), Text: &emoji, SenderTimestampMS: new(time.Now().UnixMilli()),
	}})
}

// Press answers a message's button.
func (c *Chat) Press(id, label string) *Sent {
	return c.Send(&waE2E.Message{ButtonsResponseMessage: &waE2E.ButtonsResponseMessage{
		SelectedButtonID: &id, Type: waE2E.ButtonsResponseMessage_DISPLAY_TEXT.Enum(),
		Response: &waE2E.ButtonsResponseMessage_SelectedDisplayText{SelectedDisplayText: label},
	}})
}

// Pick answers a list with one of its rows.
func (c *Chat) Pick(row, title string) *Sent {
	return c.Send(&waE2E.Message{ListResponseMessage: &waE2E.ListResponseMessage{
		Title: &title, ListType: waE2E.ListResponseMessage_SINGLE_SELECT.Enum(),
		SingleSelectReply: &waE2E.ListResponseMessage_SingleSelectReply{SelectedRowID: &row},
	}})
}

// Poll asks a question with options, of which one may be chosen.
func (c *Chat) Poll(question string, options ...string) *Sent {
	p := &waE2E.PollCreationMessage{Name: &question, SelectableOptionsCount: proto.Uint32(1)}
	for _, o := range options {
		p.Options = append(p.Options, &waE2E.PollCreationMessage_Option{OptionName: &o})
	}
	return c.Send(&waE2E.Message{PollCreationMessage: p, MessageContextInfo: newSecret()})
}

// Vote answers a client's poll with the named options.
func (c *Chat) Vote(poll *Received, options ...string) *Sent {
	me, _ := c.from.addressNow()
	secret := poll.Message.GetMessageContextInfo().GetMessageSecret()
	iv, sealed := sealSecret(secret, whatsmeow.EncSecretPollVote, poll.ID, poll.From.phone.lid, me,
		&waE2E.PollVoteMessage{SelectedOptions: whatsmeow.HashPollOptions(options)})
	return c.Send(&waE2E.Message{PollUpdateMessage: &waE2E.PollUpdateMessage{
		PollCreationMessageKey: c.theirs(poll), Vote: &waE2E.PollEncValue{EncIV: iv, EncPayload: sealed},
		SenderTimestampMS: new(time.Now().UnixMilli()),
	}})
}

// Choices decrypts a client's vote on this poll. An error says that it is no
// such vote.
func (m *Sent) Choices(vote *Received) ([]string, error) {
	update := vote.Message.GetPollUpdateMessage()
	if update.GetPollCreationMessageKey().GetID() != m.ID || len(update.GetVote().GetEncIV()) != 12 {
		return nil, errors.New("read vote: it is none on this poll")
	}
	me, _ := m.chat.from.addressNow()
	for _, voter := range []types.JID{vote.From.phone.lid, vote.From.phone.pn} {
		key, extra := secretKey(m.secret(), whatsmeow.EncSecretPollVote, m.ID, me, voter)
		plain, err := gcm(key).Open(nil, update.GetVote().GetEncIV(), update.GetVote().GetEncPayload(), extra)
		if err != nil {
			continue
		}
		var choice waE2E.PollVoteMessage
		if err := proto.Unmarshal(plain, &choice); err != nil {
			return nil, fmt.Errorf("read vote: %w", err)
		}
		var names []string
		for _, o := range m.msg.GetPollCreationMessage().GetOptions() {
			sum := sha256.Sum256([]byte(o.GetOptionName()))
			if slices.ContainsFunc(choice.GetSelectedOptions(), func(h []byte) bool { return bytes.Equal(h, sum[:]) }) {
				names = append(names, o.GetOptionName())
			}
		}
		return names, nil
	}
	return nil, errors.New("read vote: it does not decrypt")
}

func (p *Person) addressNow() (jid, alt types.JID) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.address()
}

func newSecret() *waE2E.MessageContextInfo {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	return &waE2E.MessageContextInfo{MessageSecret: secret}
}

func (m *Sent) secret() []byte {
	secret := m.msg.GetMessageContextInfo().GetMessageSecret()
	if secret == nil {
		panic(m.ID + " has no secret")
	}
	return secret
}

// secretKey derives the key of something that refers to an earlier message.
// Source: whatsmeow's msgsecret.go.
func secretKey(secret []byte, use whatsmeow.MsgSecretType, id string, author, actor types.JID) (key, extra []byte) {
	key = hkdfutil.SHA256(secret, nil, []byte(id+author.String()+actor.String()+string(use)), 32)
	if use == whatsmeow.EncSecretPollVote {
		extra = []byte(id + "\x00" + actor.String())
	}
	return key, extra
}

func sealSecret(secret []byte, use whatsmeow.MsgSecretType, id string, author, actor types.JID, content proto.Message) (iv, sealed []byte) {
	key, extra := secretKey(secret, use, id, author, actor)
	iv = make([]byte, 12)
	_, _ = rand.Read(iv)
	return iv, gcm(key).Seal(nil, iv, marshal(content), extra)
}
