//go:build watest

package watest

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waHistorySync"
	"go.mau.fi/whatsmeow/types"
)

// A Person has WhatsApp on a phone that the server plays. What a Person writes
// is encrypted on that phone, and what reaches it is decrypted there.
type Person struct {
	s       *Server
	pn, lid types.JID
	name    string

	// Guarded by the server's mu.
	keys       *keyring
	mode       types.AddressingMode
	lonely     bool // writes without the other address
	garbles    int
	retries    map[string]int // of the client's messages that the person could not read
	duplicates map[string]int
	received   []*Received
	receipts   []receipt
	typing     []typing
	devices    []*Device // none unless it is a Phone's person
}

// A Phone is the primary device of an account to which clients link.
type Phone struct {
	*Person

	// Guarded by the server's mu.
	lastDevice    uint16
	needsPasskey  bool
	authenticator ed25519.PrivateKey
	history       []*waHistorySync.Conversation
}

// A Party is a Person or a Phone.
type Party interface{ person() *Person }

func (p *Person) person() *Person { return p }

// An Option says more about a person than their number.
type Option func(*Person)

// LID gives a person this hidden address, its user part only; without it the
// server chooses one.
func LID(user string) Option {
	return func(p *Person) { p.lid.User = user }
}

// Name is what the person calls themselves; without it, their number's end.
func Name(name string) Option { return func(p *Person) { p.name = name } }

// Contact makes a person with WhatsApp under that number, digits only. It
// panics if the number or the LID is taken.
func (s *Server) Contact(number string, options ...Option) *Person {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.join(number, options)
}

// Phone makes an account to which clients can link, under the rules of Contact.
func (s *Server) Phone(number string, options ...Option) *Phone {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Phone{Person: s.join(number, options)}
	s.phones = append(s.phones, p)
	return p
}

func (s *Server) join(number string, options []Option) *Person {
	p := &Person{
		s: s, pn: types.NewJID(number, types.DefaultUserServer),
		lid:  types.NewJID(strconv.Itoa(100_000_000_000_000+len(s.people)), types.HiddenUserServer),
		name: "Someone with " + number[max(0, len(number)-2):],
		keys: newKeyring(), mode: types.AddressingModeLID, retries: map[string]int{}, duplicates: map[string]int{},
	}
	for _, o := range options {
		o(p)
	}
	if s.people[number] != nil || s.people[p.lid.User] != nil {
		panic(fmt.Errorf("%s or %s is taken", p.pn, p.lid))
	}
	s.people[number], s.people[p.lid.User] = p, p
	return p
}

// PN is the person's address by phone number.
func (p *Person) PN() types.JID { return p.pn }

// LID is the person's hidden address.
func (p *Person) LID() types.JID { return p.lid }

// Addressed changes the form in which the person's stanzas name them from now
// on. alt says whether they name the other form too, as WhatsApp mostly does.
func (p *Person) Addressed(mode types.AddressingMode, alt bool) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.mode, p.lonely = mode, !alt
}

// address is how the person's stanzas name them. The caller holds mu.
func (p *Person) address() (jid, alt types.JID) {
	if p.mode == types.AddressingModePN {
		return p.pn, p.lid
	}
	return p.lid, p.pn
}

// A Chat is one direction of a conversation: who writes, and to whom.
type Chat struct {
	from  *Person
	to    *Person // nil for a group
	group *Group
}

// To is where the person writes to somebody. A Phone that writes gives its own
// devices a copy; a person who is written to and has linked devices gets the
// message on each.
func (p *Person) To(to Party) *Chat { return &Chat{from: p, to: to.person()} }

// In is where the person writes to a group.
func (p *Person) In(g *Group) *Chat { return &Chat{from: p, group: g} }

// Text writes to the server's only phone. It panics if there are several: say
// To which.
func (p *Person) Text(text string) *Sent { return p.To(p.s.onlyPhone()).Text(text) }

func (s *Server) onlyPhone() *Phone {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.phones) != 1 {
		panic(fmt.Errorf("there are %d phones: say To which", len(s.phones)))
	}
	return s.phones[0]
}

// Garble damages the next n messages of the person on their way, so that the
// client cannot decrypt them. Asked for a retry, the person sends them whole.
func (p *Person) Garble(n int) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.garbles = n
}

// Forget loses the person's sessions with every device, as a restored backup
// does: what clients send cannot be read until a retry with new keys.
func (p *Person) Forget() {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	clear(p.keys.sessions)
}

// Text writes a text.
func (c *Chat) Text(text string) *Sent {
	return c.Send(&waE2E.Message{Conversation: new(text)})
}

// Send writes any message. It neither blocks nor fails: a device that has not
// uploaded its keys gets the message once it has, one that is offline once it
// is back. The message must not be changed afterwards.
func (c *Chat) Send(msg *waE2E.Message) *Sent { return c.send(msg, nil) }

func (c *Chat) send(msg *waE2E.Message, extra attrs) *Sent {
	s := c.from.s
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &Sent{ID: s.newID(), At: time.Now(), chat: c, msg: msg, extra: extra, first: map[*Device]node{}}
	s.sent[m.ID] = m
	for _, d := range c.devices() {
		m.targets++
		deliver := func() { m.deliver(d, 0) }
		if d.keyed {
			deliver()
		} else {
			d.unkeyed = append(d.unkeyed, deliver)
		}
	}
	return m
}

// devices is whom the server has to deliver to. The caller holds mu.
func (c *Chat) devices() []*Device {
	if c.group == nil {
		return slices.Concat(c.to.devices, c.from.devices)
	}
	var all []*Device
	for _, member := range c.group.members {
		all = append(all, member.devices...)
	}
	return all
}

// A Sent is a message that a person wrote.
type Sent struct {
	ID string
	At time.Time

	chat    *Chat
	msg     *waE2E.Message
	extra   attrs // of the stanza, as edits have them
	targets int
	first   map[*Device]node // its first encryption
}

// deliver encrypts the message for one device and queues it. retry is which
// one it answers, 0 for none. The caller holds mu.
func (m *Sent) deliver(d *Device, retry int) {
	n, c := node{Tag: "message", Attrs: m.stanza(d)}, m.chat
	maps.Copy(n.Attrs, m.extra)
	var list []node
	switch {
	case c.group != nil:
		list = c.group.seal(c.from, d, m.msg, retry)
	case c.from != c.to && slices.Contains(c.from.devices, d): // a copy of what the phone wrote
		list = []node{c.from.seal(d, &waE2E.Message{
			DeviceSentMessage:  &waE2E.DeviceSentMessage{DestinationJID: new(c.to.lid.String()), Message: m.msg},
			MessageContextInfo: m.msg.GetMessageContextInfo(),
		})}
	default:
		list = []node{c.from.seal(d, m.msg)}
	}
	for i := range list {
		if retry > 0 {
			list[i].Attrs["count"] = retry
		}
		if kind := mediaKind(m.msg); kind != "" {
			list[i].Attrs["mediatype"] = kind
		}
		if c.from.garbles > 0 {
			b := bytesOf(&list[i])
			b[len(b)-1] ^= 1
		}
	}
	if c.from.garbles > 0 {
		c.from.garbles--
	}
	n.Content = list
	if retry == 0 {
		m.first[d] = n
	}
	d.push(n, m)
}

// stanza is the envelope for one device: who writes, in the form of the day.
func (m *Sent) stanza(d *Device) attrs {
	c := m.chat
	from, alt := c.from.address()
	a := attrs{"id": m.ID, "t": m.At.Unix(), "type": stanzaType(m.msg), "notify": c.from.name, "addressing_mode": string(c.from.mode)}
	set := func(lidForm, pnForm string) {
		switch {
		case c.from.lonely:
		case alt.Server == types.DefaultUserServer:
			a[pnForm] = alt
		default:
			a[lidForm] = alt
		}
	}
	switch {
	case c.group != nil:
		a["from"], a["participant"] = c.group.jid, from
		set("participant_lid", "participant_pn")
	case slices.Contains(c.from.devices, d):
		a["from"] = from
		a["recipient"], alt = c.to.lid, c.to.pn
		if c.from.mode == types.AddressingModePN {
			a["recipient"], alt = c.to.pn, c.to.lid
		}
		set("peer_recipient_lid", "peer_recipient_pn")
	default:
		a["from"] = from
		set("sender_lid", "sender_pn")
	}
	return a
}

func stanzaType(msg *waE2E.Message) string {
	switch {
	case msg.ReactionMessage != nil:
		return "reaction"
	case msg.PollCreationMessage != nil, msg.PollUpdateMessage != nil:
		return "poll"
	case mediaKind(msg) != "":
		return "media"
	default:
		return "text"
	}
}
