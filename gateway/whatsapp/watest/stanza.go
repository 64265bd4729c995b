//go:build watest

package watest

import (
	"encoding/binary"
	"time"

	"go.mau.fi/libsignal/ecc"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

type (
	node  = waBinary.Node
	attrs = waBinary.Attrs
)

func attr(n *node, name string) string {
	s, _ := n.Attrs[name].(string)
	return s
}

func idOf(n *node) string { return attr(n, "id") }

func jidOf(n *node, name string) types.JID {
	j, _ := n.Attrs[name].(types.JID)
	return j
}

// child returns the first child of that tag. whatsmeow's GetChildByTag returns
// the node itself where there is none.
func child(n *node, tag string) *node {
	c, ok := n.GetOptionalChildByTag(tag)
	if !ok {
		return &node{}
	}
	return &c
}

func bytesOf(n *node) []byte {
	switch content := n.Content.(type) {
	case []byte:
		return content
	case string:
		return []byte(content)
	default:
		return nil
	}
}

func children(n *node) []node { return n.GetChildren() }

func bigEndian(n int, v uint32) []byte {
	return binary.BigEndian.AppendUint32(nil, v)[4-n:]
}

// keyNode is a prekey as bundles carry it: with a signature it is the signed one.
func keyNode(k *keys.PreKey) node {
	n := node{Tag: "key", Content: []node{{Tag: "id", Content: bigEndian(3, k.KeyID)}, {Tag: "value", Content: k.Pub[:]}}}
	if k.Signature != nil {
		n.Tag, n.Content = "skey", append(n.GetChildren(), node{Tag: "signature", Content: k.Signature[:]})
	}
	return n
}

// readKey is keyNode's inverse; nil for what is no key.
func readKey(n *node) *keys.PreKey {
	id, value := bytesOf(child(n, "id")), bytesOf(child(n, "value"))
	if len(id) != 3 || len(value) != 32 {
		return nil
	}
	k := &keys.PreKey{KeyID: binary.BigEndian.Uint32(append([]byte{0}, id...))}
	k.Pub = (*[32]byte)(value)
	if sig := bytesOf(child(n, "signature")); len(sig) == 64 {
		k.Signature = (*[64]byte)(sig)
	}
	return k
}

// bundle is what a sender needs to open a session with the owner of the keys.
type bundle struct {
	registration uint32
	identity     [32]byte
	signed       *keys.PreKey
	once         *keys.PreKey // nil where none is left
}

func (b *bundle) nodes() []node {
	list := []node{
		{Tag: "registration", Content: bigEndian(4, b.registration)},
		{Tag: "type", Content: []byte{ecc.DjbType}},
		{Tag: "identity", Content: b.identity[:]},
		keyNode(b.signed),
	}
	if b.once != nil {
		list = append(list, keyNode(b.once))
	}
	return list
}

// readBundle reads the keys of n, whose registration id stands in parent; nil
// where they are not whole or the signed key is signed by another.
func readBundle(parent, n *node) *bundle {
	registration, identity := bytesOf(child(parent, "registration")), bytesOf(child(n, "identity"))
	signed := readKey(child(n, "skey"))
	if len(registration) != 4 || len(identity) != 32 || signed == nil || signed.Signature == nil {
		return nil
	}
	if !ecc.VerifySignature(ecc.NewDjbECPublicKey([32]byte(identity)), append([]byte{ecc.DjbType}, signed.Pub[:]...), *signed.Signature) {
		return nil
	}
	return &bundle{
		registration: binary.BigEndian.Uint32(registration), identity: [32]byte(identity),
		signed: signed, once: readKey(child(n, "key")),
	}
}

// iq answers the client's questions. What it does not know it answers with an
// empty result, so that a client that asks something new still goes on.
func (c *conn) iq(n *node) {
	kids := children(n)
	first := &node{}
	if len(kids) > 0 {
		first = &kids[0]
	}
	kind := attr(n, "type")
	if kind == "result" || kind == "error" {
		switch {
		case first.Tag == "pair-device-sign":
			c.signed(first)
		case kind == "error" && c.dev == nil:
			c.failPairing() // the client does not believe the phone
		}
		return
	}
	xmlns := attr(n, "xmlns")
	switch {
	case xmlns == "md":
		c.pairingQuery(n, first)
	case c.dev == nil:
		c.result(n)
	case xmlns == "encrypt" && kind == "set":
		c.uploadKeys(n)
	case xmlns == "encrypt" && first.Tag == "count":
		c.result(n, node{Tag: "count", Attrs: attrs{"value": len(c.dev.prekeys)}})
	case xmlns == "encrypt" && first.Tag == "key":
		c.bundles(n, first)
	case xmlns == "passive":
		c.result(n)
		if first.Tag == "active" {
			c.activate()
		}
	case xmlns == "usync":
		c.usync(n)
	case xmlns == "w:g2" && kind == "get":
		c.groupInfo(n)
	case xmlns == "w:m":
		c.result(n, mediaHosts())
	case xmlns == "privacy" && first.Tag == "privacy" && kind == "get":
		c.result(n, node{Tag: "privacy", Content: []node{{Tag: "category", Attrs: attrs{"name": "readreceipts", "value": "all"}}}})
	default:
		c.result(n)
	}
}

func (c *conn) result(n *node, content ...node) {
	r := node{Tag: "iq", Attrs: attrs{"from": types.ServerJID, "type": "result", "id": idOf(n)}}
	if len(content) > 0 {
		r.Content = content
	}
	c.send(r)
}

// refusePairing says no to a step of a pairing, for good.
func (c *conn) refusePairing(n *node) {
	c.failPairing()
	c.refuseIQ(n, "400", "bad-request") // unverified: what WhatsApp says
}

func (c *conn) refuseIQ(n *node, code, text string) {
	c.send(node{
		Tag: "iq", Attrs: attrs{"from": types.ServerJID, "type": "error", "id": idOf(n)},
		Content: []node{{Tag: "error", Attrs: attrs{"code": code, "text": text}}},
	})
}

// notify sends a notification of the server that nothing keeps.
func (c *conn) notify(kind string, content ...node) {
	c.send(node{
		Tag:     "notification",
		Attrs:   attrs{"from": types.ServerJID, "type": kind, "id": c.s.newID(), "t": time.Now().Unix()},
		Content: content,
	})
}
