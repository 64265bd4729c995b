//go:build watest

package watest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// A Device is a companion of a phone: the client under test.
type Device struct {
	s        *Server
	phone    *Phone
	jid, lid types.JID
	noise    [32]byte // which a login must prove

	// Guarded by the server's mu.
	keyed      bool
	bundle     bundle
	prekeys    []*keys.PreKey
	queue      []*entry
	unkeyed    []func() // what waits for keys
	ignored    map[string]bool
	held       string   // what Hold named
	kept       []func() // the stanzas that it keeps
	nacks      []int
	refusal    *refusal
	removed    bool
	available  bool
	remembered bool // the phone sent its history
	logins     int
	late       int
}

// An entry is a stanza that the device has not acknowledged.
type entry struct {
	node node
	sent *Sent // nil for what is no message
}

// JID is the device's address by phone number; whatsmeow stores it as its ID.
func (d *Device) JID() types.JID { return d.jid }

// LID is the device's hidden address.
func (d *Device) LID() types.JID { return d.lid }

// Pending returns the ids of the messages that the device has not
// acknowledged, in the order of their delivery.
func (d *Device) Pending() []string {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	var ids []string
	for _, e := range d.queue {
		if e.node.Tag == "message" {
			ids = append(ids, idOf(&e.node))
		}
	}
	return ids
}

// Settled blocks until the device has acknowledged everything.
func (d *Device) Settled(ctx context.Context) error {
	return d.s.await(ctx, "an empty queue of "+d.jid.String(), func() bool { return len(d.queue)+len(d.unkeyed) == 0 })
}

// Ready blocks until the device is logged in and takes messages. It fails at
// once if the pairing did, and if the device was removed.
func (d *Device) Ready(ctx context.Context) error {
	removed := false
	err := d.s.await(ctx, "the login of "+d.jid.String(), func() bool {
		c := d.conn()
		removed = d.removed
		return removed || c != nil && c.active
	})
	if err == nil && removed {
		err = errors.New("await the login of " + d.jid.String() + ": it is not linked")
	}
	return err
}

// Offline blocks until the device has no connection.
func (d *Device) Offline(ctx context.Context) error {
	return d.s.await(ctx, "the end of the connection of "+d.jid.String(), func() bool { return d.conn() == nil })
}

// Logins counts the attempts to log in, refused ones included.
func (d *Device) Logins() int {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.logins
}

// Late counts the messages that came on connections of the device's after the
// server had ended them, be it for another login. It takes none of those.
func (d *Device) Late() int {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return d.late
}

// PreKeys counts the one-time keys that the server holds for the device.
func (d *Device) PreKeys() int {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	return len(d.prekeys)
}

// conn is the device's connection, or nil. The caller holds mu.
func (d *Device) conn() *conn {
	for c := range d.s.conns {
		if c.dev == d {
			return c
		}
	}
	return nil
}

// enter decides, after the handshake, who the client is. The caller holds mu.
func (c *conn) enter() {
	s := c.s
	s.conns[c] = struct{}{}
	if s.refusal != nil {
		c.dismiss(s.refusal.node())
		return
	}
	if c.payload.DevicePairingData != nil {
		c.offerPairing()
		return
	}
	d := s.devices[strconv.FormatUint(c.payload.GetUsername(), 10)+":"+strconv.Itoa(int(c.payload.GetDevice()))]
	if d != nil {
		d.logins++
	}
	switch {
	case d == nil || d.removed || d.noise != c.static:
		c.dismiss((&refusal{reason: 401}).node())
	case d.refusal != nil:
		c.dismiss(d.refusal.node())
	default:
		if old := d.conn(); old != nil {
			old.dismiss(conflict("replaced"))
		}
		c.dev = d
		c.send(node{Tag: "success", Attrs: attrs{
			"t": time.Now().Unix(), "lid": d.lid, "status": "active", "creation": strconv.FormatInt(time.Now().Unix(), 10),
		}})
	}
}

// activate hands over what waited, in its order, between its preview and its
// completion. The caller holds mu, so what is written meanwhile comes behind.
func (c *conn) activate() {
	d := c.dev
	if c.active {
		return
	}
	count := func(tag string) int {
		n := 0
		for _, e := range d.queue {
			if e.node.Tag == tag {
				n++
			}
		}
		return n
	}
	c.active = true
	c.send(node{Tag: "ib", Attrs: attrs{"from": types.ServerJID}, Content: []node{{Tag: "offline_preview", Attrs: attrs{
		"count": len(d.queue), "message": count("message"), "receipt": count("receipt"), "notification": count("notification"), "appdata": 0,
	}}}})
	for _, e := range d.queue {
		n := e.node
		n.Attrs = cloneAttrs(n.Attrs)
		n.Attrs["offline"] = "1"
		c.send(n)
	}
	c.send(node{Tag: "ib", Attrs: attrs{"from": types.ServerJID}, Content: []node{{Tag: "offline", Attrs: attrs{"count": len(d.queue)}}}})
	if !d.remembered {
		d.remembered = true
		d.phone.bootstrap(d)
	}
}

func cloneAttrs(a attrs) attrs {
	out := make(attrs, len(a)+1)
	maps.Copy(out, a)
	return out
}

// push keeps a stanza until the device acknowledges it and sends it if the
// device is there. The caller holds mu.
func (d *Device) push(n node, sent *Sent) {
	if d.removed {
		return
	}
	d.queue = append(d.queue, &entry{node: n, sent: sent})
	if c := d.conn(); c != nil && c.active {
		c.send(n)
	}
	d.s.touch()
}

// settle takes one stanza off the queue: the oldest of that id, because a
// second copy is not acknowledged by the answer to the first. The caller holds
// mu.
func (d *Device) settle(tag, id string) {
	i := slices.IndexFunc(d.queue, func(e *entry) bool { return e.node.Tag == tag && idOf(&e.node) == id })
	if i >= 0 {
		d.queue = slices.Delete(d.queue, i, i+1)
	}
}

// uploadKeys stores a device's identity and one-time keys, and hands over what
// waited for them.
func (c *conn) uploadKeys(n *node) {
	d, b := c.dev, readBundle(n, n)
	if b == nil {
		c.refuseIQ(n, "400", "bad-request")
		return
	}
	d.bundle = *b
	for _, k := range children(child(n, "list")) {
		if k := readKey(&k); k != nil {
			d.prekeys = append(d.prekeys, k)
		}
	}
	c.result(n)
	d.keyed = true
	waiting := d.unkeyed
	d.unkeyed = nil
	for _, f := range waiting {
		f()
	}
}

// take returns the device's keys for a new session. The caller holds mu.
func (d *Device) take() *bundle {
	b := d.bundle
	if len(d.prekeys) > 0 {
		b.once, d.prekeys = d.prekeys[0], d.prekeys[1:]
	}
	return &b
}

// bundles hands out keys of the devices that the client names.
func (c *conn) bundles(n, query *node) {
	var out []node
	for _, u := range children(query) {
		jid := jidOf(&u, "jid")
		answer := node{Tag: "user", Attrs: attrs{"jid": jid}}
		switch p, d := c.s.people[jid.User], c.s.devices[key(jid)]; {
		case jid.Device == 0 && p != nil:
			answer.Content = p.keys.offer().nodes()
		case d != nil && d.keyed && !d.removed:
			answer.Content = d.take().nodes()
		default:
			answer.Content = []node{{Tag: "error", Attrs: attrs{"code": "404", "text": "item-not-found"}}}
		}
		out = append(out, answer)
	}
	c.result(n, node{Tag: "list", Content: out})
}

// usync tells who has WhatsApp, their other address and their devices.
func (c *conn) usync(n *node) {
	query := child(n, "usync")
	asksContact := child(child(query, "query"), "contact").Tag != ""
	var out []node
	for _, u := range children(child(query, "list")) {
		jid, number := jidOf(&u, "jid"), ""
		if contact := child(&u, "contact"); contact.Tag != "" {
			number = string(bytesOf(contact))
			user, _, _ := strings.Cut(strings.TrimPrefix(number, "+"), "@")
			jid = types.NewJID(user, types.DefaultUserServer)
		}
		p := c.s.people[jid.User]
		if p == nil {
			if asksContact {
				out = append(out, node{Tag: "user", Attrs: attrs{"jid": jid}, Content: []node{{Tag: "contact", Attrs: attrs{"type": "out"}, Content: []byte(number)}}})
			}
			continue
		}
		list := []node{{Tag: "device", Attrs: attrs{"id": 0}}}
		for _, d := range p.devices {
			list = append(list, node{Tag: "device", Attrs: attrs{"id": int(d.jid.Device), "key-index": int(d.jid.Device)}})
		}
		answer := node{Tag: "user", Attrs: attrs{"jid": jid}}
		if asksContact {
			answer.Attrs = attrs{"jid": p.lid, "pn_jid": p.pn}
			answer.Content = []node{{Tag: "contact", Attrs: attrs{"type": "in"}, Content: []byte(number)}}
		} else {
			answer.Content = []node{
				{Tag: "lid", Attrs: attrs{"val": p.lid}},
				{Tag: "devices", Content: []node{{Tag: "device-list", Content: list}}},
			}
		}
		out = append(out, answer)
	}
	c.result(n, node{Tag: "usync", Content: []node{{Tag: "list", Content: out}}})
}
