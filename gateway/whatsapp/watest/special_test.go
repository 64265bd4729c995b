//go:build watest

package watest_test

import (
	"bytes"
	"slices"
	"testing"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
)

func TestChatPresenceGoesBothWays(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	ada, group := s.Contact("491510000002"), s.Group("staff", phone)
	group.Add(ada)

	for what, tt := range map[string]struct {
		state types.ChatPresence
		media types.ChatPresenceMedia
	}{
		"typing":    {types.ChatPresenceComposing, types.ChatPresenceMediaText},
		"recording": {types.ChatPresenceComposing, types.ChatPresenceMediaAudio},
		"paused":    {types.ChatPresencePaused, types.ChatPresenceMediaText},
	} {
		ada.To(phone).Typing(tt.state, tt.media)
		p := expect[*events.ChatPresence](c, nil)
		got(t, what+": state", p.State, tt.state)
		got(t, what+": media", p.Media, tt.media)
		got(t, what+": who", p.Sender, ada.LID())

		ada.In(group).Typing(tt.state, tt.media)
		got(t, what+": group", expect[*events.ChatPresence](c, nil).Chat, group.JID())

		for _, chat := range []types.JID{ada.LID(), group.JID()} {
			c.must(c.cli.SendChatPresence(c.ctx, chat, tt.state, tt.media))
			state, media, err := s.Expect(ada).Typing(c.ctx)
			c.must(err)
			got(t, what+": state to ada", state, tt.state)
			got(t, what+": media to ada", media, tt.media)
		}
	}

	c.cli.Store.PushName = "The hotel"
	c.must(c.cli.SendPresence(c.ctx, types.PresenceAvailable))
	c.must(c.cli.SendChatPresence(c.ctx, ada.LID(), types.ChatPresencePaused, "")) // what follows the presence in order
	_, _, err := s.Expect(ada).Typing(c.ctx)
	c.must(err)
	got(t, "available", d.Available(), true)
}

func TestEditsRevokesAndReactionsOfAContact(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	c.link(phone)
	ada := s.Contact("491510000002")
	chat := ada.To(phone)

	first := chat.Say("room 204")
	c.message(first.ID)
	m := c.message(chat.Edit(first, "room 205").ID)
	got(t, "edit", m.IsEdit, true)
	got(t, "edited message", m.Message.GetProtocolMessage().GetKey().GetID(), first.ID)
	got(t, "edited text", m.Message.GetProtocolMessage().GetEditedMessage().GetConversation(), "room 205")
	got(t, "stanza's edit", m.Info.Edit, types.EditAttributeMessageEdit)

	m = c.message(chat.EditSecretly(first, "room 206").ID)
	opened, err := c.cli.DecryptSecretEncryptedMessage(c.ctx, m)
	c.must(err)
	got(t, "secretly edited text", opened.GetProtocolMessage().GetEditedMessage().GetConversation(), "room 206")

	m = c.message(chat.Revoke(first).ID)
	got(t, "revoke", m.Message.GetProtocolMessage().GetType(), waE2E.ProtocolMessage_REVOKE)
	got(t, "revoked message", m.Message.GetProtocolMessage().GetKey().GetID(), first.ID)
	got(t, "stanza's revoke", m.Info.Edit, types.EditAttributeSenderRevoke)

	sent := c.send(ada.LID(), text("done"))
	r, err := s.Expect(ada).Message(c.ctx)
	c.must(err)
	m = c.message(chat.React(r, "👍").ID)
	got(t, "reaction", m.Message.GetReactionMessage().GetText(), "👍")
	got(t, "message reacted to", m.Message.GetReactionMessage().GetKey().GetID(), sent.ID)
	got(t, "reaction taken away", c.message(chat.React(r, "").ID).Message.GetReactionMessage().GetText(), "")
}

func TestEditsRevokesAndReactionsOfTheClient(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s)
	c.link(s.Phone("491510000001"))
	ada := s.Contact("491510000002")
	hello := ada.Text("hello")
	c.message(hello.ID)
	sent := c.send(ada.LID(), text("at 8"))
	inbox := s.Expect(ada)
	_, err := inbox.Message(c.ctx)
	c.must(err)

	c.send(ada.LID(), c.cli.BuildEdit(ada.LID(), sent.ID, text("at 9")))
	r, err := inbox.Message(c.ctx)
	c.must(err)
	got(t, "stanza's edit", r.Edit, "1")
	got(t, "edited text", r.Message.GetEditedMessage().GetMessage().GetProtocolMessage().GetEditedMessage().GetConversation(), "at 9")

	c.send(ada.LID(), c.cli.BuildRevoke(ada.LID(), types.EmptyJID, sent.ID))
	r, err = inbox.Message(c.ctx)
	c.must(err)
	got(t, "stanza's revoke", r.Edit, "7")
	got(t, "revoked message", r.Message.GetProtocolMessage().GetKey().GetID(), sent.ID)

	c.send(ada.LID(), c.cli.BuildReaction(ada.LID(), ada.LID(), hello.ID, "❤️"))
	r, err = inbox.Message(c.ctx)
	c.must(err)
	got(t, "message reacted to", r.Message.GetReactionMessage().GetKey().GetID(), hello.ID)
}

func TestPollsGoBothWays(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	c.link(phone)
	ada := s.Contact("491510000002")
	group := s.Group("staff", phone, ada)
	ada.In(group).Text("hello")
	for name, to := range map[string]types.JID{"a direct chat": ada.LID(), "a group": group.JID()} {
		chat := ada.To(phone)
		if to == group.JID() {
			chat = ada.In(group)
		}
		poll := chat.Poll("Breakfast?", "early", "late")
		m := c.message(poll.ID)
		got(t, name+": question", m.Message.GetPollCreationMessage().GetName(), "Breakfast?")
		vote, err := c.cli.BuildPollVote(c.ctx, &m.Info, []string{"late"})
		c.must(err)
		c.send(to, vote)
		r, err := s.Expect(ada).Message(c.ctx)
		c.must(err)
		choices, err := poll.Choices(r)
		c.must(err)
		if !slices.Equal(choices, []string{"late"}) {
			t.Errorf("%s: the client chose %v, want late", name, choices)
		}

		c.send(to, c.cli.BuildPollCreation("Towels?", []string{"yes", "no"}, 1))
		theirs, err := s.Expect(ada).Message(c.ctx)
		c.must(err)
		m = c.message(chat.Vote(theirs, "yes").ID)
		opened, err := c.cli.DecryptPollVote(c.ctx, m)
		c.must(err)
		want := whatsmeow.HashPollOptions([]string{"yes"})[0]
		if is := opened.GetSelectedOptions(); len(is) != 1 || !bytes.Equal(is[0], want) {
			t.Errorf("%s: the contact's vote is %x, want %x", name, is, want)
		}
	}
}

func TestButtonsAndLists(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	c.link(phone)
	chat := s.Contact("491510000002").To(phone)
	button := c.message(chat.Press("book", "Book it").ID).Message.GetButtonsResponseMessage()
	got(t, "button", button.GetSelectedButtonID(), "book")
	got(t, "label", button.GetSelectedDisplayText(), "Book it")
	row := c.message(chat.Pick("row-2", "Late check-out").ID).Message.GetListResponseMessage()
	got(t, "row", row.GetSingleSelectReply().GetSelectedRowID(), "row-2")
	got(t, "title", row.GetTitle(), "Late check-out")
}
