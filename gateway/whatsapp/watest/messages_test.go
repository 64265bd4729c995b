//go:build watest

package watest_test

import (
	"strconv"
	"testing"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway/whatsapp/watest"
)

func text(s string) *waE2E.Message { return &waE2E.Message{Conversation: new(s)} }

// send sends and fails the test if the server refuses.
func (c *client) send(to types.JID, msg *waE2E.Message) whatsmeow.SendResponse {
	c.t.Helper()
	response, err := c.cli.SendMessage(c.ctx, to, msg)
	c.must(err)
	return response
}

func TestDirectMessagesGoBothWays(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s)
	d := c.link(s.Phone("491510000001"))
	ada := s.Contact("491510000002", watest.LID("77000000000002"), watest.Name("Ada"))

	hello := ada.Text("hello")
	m := c.message(hello.ID)
	got(t, "text", m.Message.GetConversation(), "hello")
	got(t, "name", m.Info.PushName, "Ada")
	got(t, "chat", m.Info.Chat, types.NewJID("77000000000002", types.HiddenUserServer))
	c.must(hello.Acked(c.ctx))

	c.send(ada.LID(), text("and to you"))
	answer, err := s.Expect(ada).Message(c.ctx)
	c.must(err)
	got(t, "answer", answer.Text(), "and to you")
	got(t, "sender", answer.From, d)
	again := ada.Text("still there?") // in the session that the answer confirmed
	got(t, "second text", c.message(again.ID).Message.GetConversation(), "still there?")
}

func TestMessageToSomebodyWhoNeverWrote(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s)
	c.link(s.Phone("491510000001"))
	ada := s.Contact("491510000002")
	response := c.send(ada.PN(), text("first")) // by number: the client asks for the LID
	got(t, "address that it went to", response.Chat, ada.LID())
	is, err := s.Expect(ada).Text(c.ctx)
	c.must(err)
	got(t, "text", is, "first")

	found, err := c.cli.IsOnWhatsApp(c.ctx, []string{"+491510000002", "+491519999999"})
	c.must(err)
	if len(found) != 2 || !found[0].IsIn || found[0].JID != ada.LID() || found[1].IsIn {
		t.Errorf("who has WhatsApp is %+v", found)
	}
	if _, err := c.cli.SendMessage(c.ctx, types.NewJID("491519999999", types.DefaultUserServer), text("x")); err == nil {
		t.Error("a message to a number without WhatsApp was accepted")
	}
}

func TestContactWhoseAddressChangesForm(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s)
	c.link(s.Phone("491510000001"))
	ada := s.Contact("491510000002")

	ada.Addressed(types.AddressingModePN, true)
	m := c.message(ada.Text("by number").ID)
	got(t, "chat", m.Info.Chat, ada.PN())
	got(t, "other address", m.Info.SenderAlt, ada.LID())
	got(t, "mode", m.Info.AddressingMode, types.AddressingModePN)

	ada.Addressed(types.AddressingModeLID, true)
	m = c.message(ada.Text("by LID").ID)
	got(t, "chat", m.Info.Chat, ada.LID())
	got(t, "other address", m.Info.SenderAlt, ada.PN())

	ada.Addressed(types.AddressingModeLID, false)
	m = c.message(ada.Text("by LID alone").ID)
	got(t, "chat", m.Info.Chat, ada.LID())
	got(t, "other address", m.Info.SenderAlt, types.EmptyJID)
}

func TestNoticesJoinNumberAndLID(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	known := func(p *watest.Person) types.JID {
		pn, err := c.cli.Store.LIDs.GetPNForLID(c.ctx, p.LID())
		c.must(err)
		return pn
	}
	notices := map[string]func(p *watest.Person){
		"the own phone tells":              func(p *watest.Person) { phone.TellLIDs(p) },
		"the person's devices changed":     func(p *watest.Person) { p.Announce() },
		"the person is let into a group":   func(p *watest.Person) { s.Group("staff", phone).Add(p) },
		"the person writes with both once": func(p *watest.Person) { p.Text("hi") },
	}
	number := 491510000010
	for name, notice := range notices {
		number++
		p := s.Contact(strconv.Itoa(number))
		got(t, name+": number before", known(p), types.EmptyJID)
		notice(p)
		c.must(d.Settled(c.ctx))
		got(t, name+": number after", known(p), p.PN())
	}
}

func TestOwnPhoneCopies(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	c.link(phone)
	ada := s.Contact("491510000002")
	for mode, chat := range map[types.AddressingMode]types.JID{types.AddressingModeLID: ada.LID(), types.AddressingModePN: ada.PN()} {
		phone.Addressed(mode, true)
		m := c.message(phone.To(ada).Text("I take over").ID)
		got(t, "from me", m.Info.IsFromMe, true)
		got(t, "chat", m.Info.Chat, chat)
		got(t, "device that wrote", m.Info.Sender.Device, 0)
		got(t, "text", m.Message.GetConversation(), "I take over")
	}

	c.send(ada.LID(), text("from the client"))
	is, err := s.Expect(phone).Copy(c.ctx)
	c.must(err)
	got(t, "copy on the phone", is.Text(), "from the client")
}

func TestOwnMessagesFromAnotherDevice(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c, desktop := newClient(t, s), newClient(t, s)
	c.link(phone)
	other := desktop.link(phone)
	ada := s.Contact("491510000002")
	sent := desktop.send(ada.LID(), text("from the desktop"))
	m := c.message(sent.ID)
	got(t, "from me", m.Info.IsFromMe, true)
	got(t, "chat", m.Info.Chat, ada.LID())
	got(t, "device that wrote", m.Info.Sender.Device, other.LID().Device)
	got(t, "text", m.Message.GetConversation(), "from the desktop")
	is, err := s.Expect(ada).Text(c.ctx)
	c.must(err)
	got(t, "text to the contact", is, "from the desktop")
}

func TestTwoAccountsWriteToEachOther(t *testing.T) {
	s := newServer(t)
	hotel, guest := s.Phone("491510000001"), s.Phone("491510000002")
	a, b := newClient(t, s), newClient(t, s)
	a.link(hotel)
	b.link(guest)
	m := b.message(a.send(guest.LID(), text("welcome")).ID)
	got(t, "sender", m.Info.Sender.User, hotel.LID().User)
	got(t, "text", m.Message.GetConversation(), "welcome")
	m = a.message(b.send(m.Info.Chat, text("thanks")).ID)
	got(t, "answer", m.Message.GetConversation(), "thanks")
}

func TestGroupOfTwoLinkedAccounts(t *testing.T) {
	s := newServer(t)
	hotel, guest := s.Phone("491510000001"), s.Phone("491510000002")
	a, b := newClient(t, s), newClient(t, s)
	a.link(hotel)
	b.link(guest)
	group := s.Group("staff", hotel, guest)
	sent := a.send(group.JID(), text("to all"))
	b.message(sent.ID) // the key
	m := b.message(sent.ID)
	got(t, "text", m.Message.GetConversation(), "to all")
	got(t, "chat", m.Info.Chat, group.JID())
	got(t, "sender", m.Info.Sender.User, hotel.LID().User)
	r := expect(a, func(r *events.Receipt) bool { return r.MessageIDs[0] == sent.ID })
	got(t, "receipt's sender", r.Sender.User, guest.LID().User)
	got(t, "receipt's chat", r.Chat, group.JID())
	is, err := s.Expect(guest).Text(b.ctx)
	b.must(err)
	got(t, "text on the other phone", is, "to all")
}

func TestGroupMessagesGoBothWays(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	ada, bob := s.Contact("491510000002"), s.Contact("491510000003")
	group := s.Group("staff", phone, ada, bob)

	first := ada.In(group).Text("good morning")
	m := c.message(first.ID)
	if m.Message.GetSenderKeyDistributionMessage() == nil || m.Message.GetConversation() != "" {
		t.Errorf("the first event of a first group message is %v, want the key alone", m.Message)
	}
	m = c.message(first.ID)
	got(t, "text in the second event", m.Message.GetConversation(), "good morning")
	got(t, "chat", m.Info.Chat, group.JID())
	got(t, "sender", m.Info.Sender, ada.LID())
	got(t, "sender's number", m.Info.SenderAlt, ada.PN())

	second := ada.In(group).Text("anybody?")
	got(t, "second text", c.message(second.ID).Message.GetConversation(), "anybody?")
	c.must(d.Settled(c.ctx))
	got(t, "events of a second group message left", count(c, withID(second.ID)), 0)

	c.send(group.JID(), text("here"))
	for _, member := range []watest.Party{ada, bob, phone} {
		is, err := s.Expect(member).Message(c.ctx)
		c.must(err)
		got(t, "text to a member", is.Text(), "here")
		got(t, "group", is.To, group.JID())
	}
}

func TestGroupMessageOfTheOwnPhone(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	c.link(phone)
	group := s.Group("staff", phone, s.Contact("491510000002"))
	sent := phone.In(group).Text("I am here myself")
	c.message(sent.ID) // the key
	m := c.message(sent.ID)
	got(t, "from me", m.Info.IsFromMe, true)
	got(t, "text", m.Message.GetConversation(), "I am here myself")
}

func TestSecondEventOfAGroupMessageComesAgainIfItWasNotStored(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	ada := s.Contact("491510000002")
	c.judge(func(m *events.Message) bool { return m.Message.GetConversation() == "" }) // the key is fine, the text is not
	sent := ada.In(s.Group("staff", phone, ada)).Text("hello")
	c.message(sent.ID)
	c.message(sent.ID)
	c.judge(nil)
	c.cli.ResetConnection()
	got(t, "text again", c.message(sent.ID).Message.GetConversation(), "hello")
	c.must(sent.Acked(c.ctx))
	got(t, "pending", len(d.Pending()), 0)
}
