//go:build watest

package watest

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.mau.fi/libsignal/signalerror"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
)

// Acked blocks until every device that the message was for has acknowledged
// it. An error says that there is no such device, or that ctx ended.
func (m *Sent) Acked(ctx context.Context) error {
	s := m.chat.from.s
	s.mu.Lock()
	none := m.targets == 0
	s.mu.Unlock()
	if none {
		return errors.New("await the acknowledgement of " + m.ID + ": no device is linked")
	}
	return s.await(ctx, "the acknowledgement of "+m.ID, func() bool { return !m.waits() })
}

// waits reports whether a device has still to acknowledge it. The caller holds
// mu.
func (m *Sent) waits() bool {
	for _, d := range m.chat.devices() {
		if len(d.unkeyed) > 0 || slices.ContainsFunc(d.queue, func(e *entry) bool { return e.sent == m }) {
			return true
		}
	}
	return false
}

// Redeliver sends the message's first encryption once more to every device,
// whether it acknowledged it or not, as WhatsApp may.
func (m *Sent) Redeliver() {
	s := m.chat.from.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, n := range m.first {
		d.push(n, m)
	}
}

// part is one encryption in a client's message: for whom, and what.
type part struct {
	to  types.JID
	enc *node
}

// partsOf lists a message's encryptions. A message for one device alone, which
// retries and messages to the own phone are, has no list.
func partsOf(n *node) []part {
	var parts []part
	if list := child(n, "participants"); list.Tag != "" {
		for _, to := range children(list) {
			parts = append(parts, part{jidOf(&to, "jid"), child(&to, "enc")})
		}
		return parts
	}
	to := jidOf(n, "to")
	if to.Server == types.GroupServer {
		to = jidOf(n, "participant")
	}
	return []part{{to, child(n, "enc")}}
}

// message takes a message of the client: every person and every other device
// gets its part, and the client its acknowledgement.
func (c *conn) message(n *node) {
	ack := node{Tag: "ack", Attrs: attrs{"class": "message", "id": idOf(n), "from": jidOf(n, "to"), "t": time.Now().Unix()}}
	if len(c.dev.nacks) > 0 {
		ack.Attrs["error"] = c.dev.nacks[0]
		c.dev.nacks = c.dev.nacks[1:]
		c.send(ack)
		return
	}
	for _, p := range partsOf(n) {
		if d := c.s.devices[key(p.to)]; d != nil {
			c.relay(n, d, p.enc)
		} else if person := c.s.people[p.to.User]; person != nil && p.to.Device == 0 && p.enc.Tag != "" {
			person.take(c.dev, n, p.enc)
		}
	}
	c.send(ack)
}

// relay hands a part to another device, which is a client too.
func (c *conn) relay(n *node, d *Device, enc *node) {
	from, to := c.dev, jidOf(n, "to")
	c.s.relayed[idOf(n)] = from
	a := attrs{
		"id": idOf(n), "t": time.Now().Unix(), "type": attr(n, "type"), "notify": from.phone.name,
		"from": from.lid, "addressing_mode": string(types.AddressingModeLID),
	}
	if edit := attr(n, "edit"); edit != "" {
		a["edit"] = edit
	}
	content := []node{*enc}
	switch {
	case to.Server == types.GroupServer:
		a["from"], a["participant"], a["participant_pn"] = to, from.lid, from.jid
		content = append(content, n.GetChildrenByTag("enc")...)
	case d.phone == from.phone:
		a["recipient"] = to
		if p := c.s.people[to.User]; p != nil {
			a["recipient"], a["peer_recipient_pn"] = p.lid, p.pn
		}
	default:
		a["sender_pn"] = from.jid
	}
	d.push(node{Tag: "message", Attrs: a, Content: content}, nil)
}

// take decrypts a part for the person, or asks for a retry.
func (p *Person) take(from *Device, n, enc *node) {
	to := jidOf(n, "to")
	msg, err := p.open(from, enc)
	if handedOut := msg.GetSenderKeyDistributionMessage(); err == nil && handedOut != nil {
		for _, shared := range n.GetChildrenByTag("enc") {
			if attr(&shared, "type") == "skmsg" {
				msg, err = p.openGroup(to.String(), from, handedOut, &shared)
			}
		}
	}
	if errors.Is(err, signalerror.ErrOldCounter) {
		p.duplicates[idOf(n)]++ // the same frame again, which phones drop
		return
	}
	if err != nil {
		p.askAgain(from, n)
		return
	}
	r := &Received{ID: idOf(n), From: from, To: to, Message: msg, Edit: attr(n, "edit"), s: p.s}
	if own := msg.GetDeviceSentMessage(); own != nil {
		r.Copy, r.Message = true, own.GetMessage()
	}
	r.Peer = attr(n, "category") == "peer"
	r.Retry = p.retries[r.ID]
	p.received = append(p.received, r)
	if r.Peer {
		from.phone.answer(from, r)
	}
}

// askAgain sends a retry receipt. The first asks for the same session; the
// next brings keys for a new one, as phones do.
func (p *Person) askAgain(from *Device, n *node) {
	id := idOf(n)
	p.retries[id]++
	me, _ := p.address()
	a := attrs{"id": id, "type": "retry", "t": time.Now().Unix(), "from": me}
	if to := jidOf(n, "to"); to.Server == types.GroupServer {
		a["from"], a["participant"] = to, me
	}
	content := []node{
		{Tag: "retry", Attrs: attrs{"count": p.retries[id], "id": id, "t": time.Now().Unix(), "v": 1}},
		{Tag: "registration", Content: bigEndian(4, p.keys.registration)},
	}
	if p.retries[id] > 1 {
		content = append(content, node{Tag: "keys", Content: p.keys.offer().nodes()[1:]})
	}
	from.push(node{Tag: "receipt", Attrs: a, Content: content}, nil)
}

// A Received is a message of a client as a person's phone decrypted it.
type Received struct {
	ID      string
	From    *Device
	To      types.JID      // whom the client wrote to: a person or a group
	Message *waE2E.Message // unwrapped if it is a copy
	Copy    bool           // for the sender's own phone
	Peer    bool           // for the own phone alone
	Edit    string         // of the stanza: "1" edits, "7" revokes
	Retry   int            // how often the person had asked for it before

	s *Server
}

// Text is the message's plain text; empty where it has none.
func (r *Received) Text() string {
	if t := r.Message.GetConversation(); t != "" {
		return t
	}
	return r.Message.GetExtendedTextMessage().GetText()
}
