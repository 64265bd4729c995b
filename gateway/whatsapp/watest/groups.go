//go:build watest

package watest

import (
	"slices"
	"strconv"
	"time"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// A Group is a chat of several people, addressed by LID.
type Group struct {
	s       *Server
	jid     types.JID
	subject string

	// Guarded by the server's mu.
	members []*Person
	handed  map[handed]bool
}

// handed says that a member's sender key went to a device.
type handed struct {
	member *Person
	device *Device
}

// Group makes a group. Who is to have it on linked devices must be a member.
func (s *Server) Group(subject string, members ...Party) *Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := strconv.Itoa(120_363_000_000_000_000 + len(s.groups))
	g := &Group{s: s, jid: types.NewJID(user, types.GroupServer), subject: subject, handed: map[handed]bool{}}
	for _, m := range members {
		g.members = append(g.members, m.person())
	}
	s.groups[user] = g
	return g
}

// JID is the group's address.
func (g *Group) JID() types.JID { return g.jid }

// Add lets somebody in and tells every device of the members, with both of the
// newcomer's addresses.
func (g *Group) Add(newcomer Party) {
	g.s.mu.Lock()
	defer g.s.mu.Unlock()
	p := newcomer.person()
	g.members = append(g.members, p)
	for _, m := range g.members {
		for _, d := range m.devices {
			d.push(node{
				Tag: "notification",
				Attrs: attrs{
					"from": g.jid, "type": "w:gp2", "id": g.s.newID(), "t": time.Now().Unix(),
					"participant": g.members[0].lid, "addressing_mode": string(types.AddressingModeLID),
				},
				Content: []node{{Tag: "add", Content: []node{{Tag: "participant", Attrs: attrs{"jid": p.lid, "phone_number": p.pn}}}}},
			}, nil)
		}
	}
}

// seal encrypts a member's message for one device: under the sender key, which
// goes along in an encryption for that device alone the first time. A retry
// brings message and key in such an encryption. The caller holds mu.
func (g *Group) seal(member *Person, d *Device, msg *waE2E.Message, retry int) []node {
	handOut, shared := member.sealGroup(g, msg)
	if retry > 0 {
		whole, _ := proto.Clone(msg).(*waE2E.Message)
		whole.SenderKeyDistributionMessage = handOut.SenderKeyDistributionMessage
		return []node{member.seal(d, whole)}
	}
	if g.handed[handed{member, d}] {
		return []node{shared}
	}
	g.handed[handed{member, d}] = true
	return []node{member.seal(d, handOut), shared}
}

// groupInfo answers who is in a group.
func (c *conn) groupInfo(n *node) {
	g := c.s.groups[jidOf(n, "to").User]
	if g == nil || !slices.Contains(g.members, c.dev.phone.Person) {
		c.refuseIQ(n, "404", "item-not-found")
		return
	}
	var list []node
	for _, m := range g.members {
		list = append(list, node{Tag: "participant", Attrs: attrs{"jid": m.lid, "phone_number": m.pn}})
	}
	c.result(n, node{Tag: "group", Attrs: attrs{
		"id": g.jid.User, "subject": g.subject, "addressing_mode": string(types.AddressingModeLID),
		"s_t": "1700000000", "creation": "1700000000", "creator": g.members[0].lid,
	}, Content: list})
}
