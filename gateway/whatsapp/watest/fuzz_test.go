//go:build watest

package watest

import (
	"testing"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/types"
)

// FuzzStanza: whatever a client sends, in a pairing or logged in, the server
// lives on and still answers.
func FuzzStanza(f *testing.F) {
	someone := types.NewJID("491510000002", types.DefaultUserServer)
	iq := func(xmlns, kind string, content ...node) node {
		return node{Tag: "iq", Attrs: attrs{"id": "1", "xmlns": xmlns, "type": kind, "to": types.ServerJID}, Content: content}
	}
	for _, n := range []node{
		iq("encrypt", "get", node{Tag: "count"}),
		iq("encrypt", "get", node{Tag: "key", Content: []node{{Tag: "user", Attrs: attrs{"jid": someone}}}}),
		iq("encrypt", "set", node{Tag: "registration", Content: []byte{0, 0, 0, 1}}, node{Tag: "identity", Content: make([]byte, 32)}),
		iq("usync", "get", node{Tag: "usync", Content: []node{{Tag: "list", Content: []node{{Tag: "user", Attrs: attrs{"jid": someone}}}}}}),
		iq("passive", "set", node{Tag: "active"}),
		iq("w:g2", "get"),
		iq("md", "set", node{Tag: "link_code_companion_reg", Attrs: attrs{"stage": "companion_hello"}}),
		iq("md", "set", node{Tag: "link_code_companion_reg", Attrs: attrs{"stage": "companion_finish"}}),
		iq("md", "set", node{Tag: "passkey_prologue", Content: []node{{Tag: "webauthn_assertion", Content: []byte("{}")}}}),
		iq("md", "set", node{Tag: "companion_nonce", Content: make([]byte, 32)}),
		iq("md", "set", node{Tag: "encrypted_pairing_request", Content: []byte{1}}),
		iq("md", "set", node{Tag: "remove-companion-device"}),
		iq("", "result", node{Tag: "pair-device-sign"}),
		{Tag: "message", Attrs: attrs{"id": "2", "to": someone}, Content: []node{{Tag: "enc", Attrs: attrs{"type": "pkmsg"}, Content: []byte{51, 8, 1}}}},
		{Tag: "message", Attrs: attrs{"id": "2", "to": someone}, Content: []node{{Tag: "participants", Content: []node{{Tag: "to", Attrs: attrs{"jid": someone}}}}}},
		{Tag: "receipt", Attrs: attrs{"id": "2", "to": someone, "type": "retry"}, Content: []node{{Tag: "retry", Attrs: attrs{"count": "1"}}}},
		{Tag: "receipt", Attrs: attrs{"id": "2", "to": someone, "type": "server-error"}},
		{Tag: "ack", Attrs: attrs{"id": "2", "class": "message"}},
		{Tag: "chatstate", Attrs: attrs{"to": someone}, Content: []node{{Tag: "composing"}}},
		{Tag: "presence", Attrs: attrs{"type": "available"}},
	} {
		b, err := waBinary.Marshal(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, frame []byte, loggedIn bool) {
		n := parse(frame)
		if n == nil {
			return
		}
		s := New()
		defer s.Close()
		phone := s.Phone("491510000001")
		s.Contact("491510000002")
		c := &conn{s: s, wake: make(chan struct{}, 1), hangUp: func() {}, greeting: &greeting{payload: &waWa6.ClientPayload{}}}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		if d := c.becomes(phone, [32]byte{1}); loggedIn {
			c.link, c.dev = linking{}, d
			phone.devices = append(phone.devices, d)
		}
		s.mu.Unlock()
		c.receive(n)
		c.receive(&node{Tag: "iq", Attrs: attrs{"id": "after", "type": "get", "xmlns": "w:p"}})
		s.mu.Lock()
		defer s.mu.Unlock()
		if !c.dead && len(c.out) == 0 {
			t.Errorf("after %s the server answers no more", n.Tag)
		}
	})
}

// parse is whatsmeow's, which panics on some frames; net/http recovers that
// where a client causes it.
func parse(frame []byte) (n *node) {
	defer func() {
		if recover() != nil {
			n = nil
		}
	}()
	if len(frame) == 0 {
		return nil
	}
	plain, err := waBinary.Unpack(frame)
	if err != nil {
		return nil
	}
	if n, err = waBinary.Unmarshal(plain); err != nil {
		return nil
	}
	return n
}
