//go:build watest

package watest

import (
	"slices"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/types"
)

// Receipt tells the client that the person got, read or played its messages.
// The empty kind says delivered.
func (c *Chat) Receipt(kind types.ReceiptType, ids ...string) {
	if len(ids) == 0 {
		panic("a receipt is for at least one message")
	}
	s := c.from.s
	s.mu.Lock()
	defer s.mu.Unlock()
	from, _ := c.from.address()
	a := attrs{"id": ids[0], "from": from, "t": time.Now().Unix()}
	if c.group != nil {
		a["from"], a["participant"] = c.group.jid, from
	}
	if kind != types.ReceiptTypeDelivered {
		a["type"] = string(kind)
	}
	n := node{Tag: "receipt", Attrs: a}
	if len(ids) > 1 {
		var items []node
		for _, id := range ids[1:] {
			items = append(items, node{Tag: "item", Attrs: attrs{"id": id}})
		}
		n.Content = []node{{Tag: "list", Content: items}}
	}
	for _, d := range c.devices() {
		d.push(n, nil)
	}
}

// receipt takes a receipt of the client. Those that say that a message was
// handled settle it; a retry or a lost medium is answered by whom it concerns.
func (c *conn) receipt(n *node) {
	id, kind, to := idOf(n), types.ReceiptType(attr(n, "type")), jidOf(n, "to")
	ack := attrs{"class": "receipt", "id": id, "from": to}
	if kind != "" {
		ack["type"] = string(kind)
	}
	switch kind {
	case types.ReceiptTypeRetry:
		c.retry(n)
	case types.ReceiptTypeServerError:
		c.s.reupload(c.dev, n)
	case types.ReceiptTypePeerMsg, types.ReceiptTypeHistorySync:
		// The phone hears it. The receipt of type sender settles the message.
	default:
		if kind == types.ReceiptTypeDelivered || kind == types.ReceiptTypeInactive || kind == types.ReceiptTypeSender {
			c.dev.settle("message", id)
		}
		c.tell(n, kind, to)
	}
	c.send(node{Tag: "ack", Attrs: ack})
}

// tell passes a receipt on to whom it is for.
func (c *conn) tell(n *node, kind types.ReceiptType, to types.JID) {
	ids := []string{idOf(n)}
	for _, item := range children(child(n, "list")) {
		ids = append(ids, idOf(&item))
	}
	if d := c.s.relayed[ids[0]]; d != nil && d.phone != c.dev.phone {
		a := attrs{"id": ids[0], "from": c.dev.lid, "t": time.Now().Unix()}
		if kind != types.ReceiptTypeDelivered {
			a["type"] = string(kind)
		}
		if to.Server == types.GroupServer {
			a["from"], a["participant"] = to, c.dev.lid
		}
		d.push(node{Tag: "receipt", Attrs: a, Content: n.Content}, nil)
		return
	}
	if to.Server == types.GroupServer {
		to = jidOf(n, "participant")
	}
	if p := c.s.people[to.User]; p != nil {
		p.receipts = append(p.receipts, receipt{kind: kind, ids: ids})
	}
}

// retry answers a client that could not decrypt: the same message, encrypted
// anew, in a new session if the client sent keys for one.
func (c *conn) retry(n *node) {
	count, _ := strconv.Atoi(attr(child(n, "retry"), "count"))
	if m := c.s.sent[idOf(n)]; m != nil && slices.Contains(m.chat.devices(), c.dev) {
		if keys := child(n, "keys"); keys.Tag != "" {
			if b := readBundle(n, keys); b != nil {
				m.chat.from.openSession(c.dev, b)
			}
		}
		m.deliver(c.dev, max(1, count))
		return
	}
	if from := c.s.relayed[idOf(n)]; from != nil {
		a := attrs{"id": idOf(n), "from": c.dev.lid, "type": "retry", "t": time.Now().Unix()}
		if to := jidOf(n, "to"); to.Server == types.GroupServer {
			a["from"], a["participant"] = to, c.dev.lid
		}
		from.push(node{Tag: "receipt", Attrs: a, Content: n.Content}, nil)
	}
}

// Typing tells the client that the person types, records (Composing with
// media audio) or paused. It is lost on clients that are away, as WhatsApp's is.
func (c *Chat) Typing(state types.ChatPresence, media types.ChatPresenceMedia) {
	s := c.from.s
	s.mu.Lock()
	defer s.mu.Unlock()
	from, _ := c.from.address()
	n := node{Tag: "chatstate", Attrs: attrs{"from": from}, Content: []node{{Tag: string(state)}}}
	if c.group != nil {
		n.Attrs["from"], n.Attrs["participant"] = c.group.jid, from
	}
	if media != types.ChatPresenceMediaText {
		n.Content = []node{{Tag: string(state), Attrs: attrs{"media": string(media)}}}
	}
	for _, d := range c.devices() {
		if at := d.conn(); at != nil && at.active {
			at.send(n)
		}
	}
}

// chatState takes the client's typing.
func (c *conn) chatState(n *node) {
	kids := children(n)
	if len(kids) == 0 {
		return
	}
	t := typing{state: types.ChatPresence(kids[0].Tag), media: types.ChatPresenceMedia(attr(&kids[0], "media"))}
	to := jidOf(n, "to")
	if g := c.s.groups[to.User]; g != nil && to.Server == types.GroupServer {
		for _, m := range g.members {
			m.typing = append(m.typing, t)
		}
		return
	}
	if p := c.s.people[to.User]; p != nil {
		p.typing = append(p.typing, t)
	}
}

func (c *conn) presence(n *node) {
	switch attr(n, "type") {
	case string(types.PresenceAvailable):
		c.dev.available = true
	case string(types.PresenceUnavailable):
		c.dev.available = false
	}
}

// Available reports whether the device said last that it is in use.
func (d *Device) Available() bool {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.available
}
