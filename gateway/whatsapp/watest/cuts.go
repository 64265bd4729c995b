//go:build watest

package watest

import (
	"context"
	"slices"
)

// A moment is when, in the life of a stanza, a connection is cut.
type moment int

const (
	before moment = iota
	after
	during
)

// A cut waits for its moment. A nil dev is whoever comes first.
type cut struct {
	dev *Device
	tag string
	at  moment
}

// Cut ends d's connection at once and without a word. It comes back whenever it
// likes.
func (s *Server) Cut(d *Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := d.conn(); c != nil {
		c.drop()
	}
}

// CutBefore cuts, once, when a stanza of that tag arrives from d, as if it had
// never arrived. The tag is the stanza's or its first child's: "receipt",
// "active", "pair-device-sign". The tag "handshake", here and below, is Noise's,
// for which d must be nil: nobody is known yet. A nil d is whoever sends one
// first.
func (s *Server) CutBefore(d *Device, tag string) { s.cutOnce(d, tag, before) }

// CutAfter cuts, once, when a stanza of that tag from d was handled: the server
// knows, and its answer is lost.
func (s *Server) CutAfter(d *Device, tag string) { s.cutOnce(d, tag, after) }

// CutDuring cuts, once, halfway through a stanza of that tag on its way to d.
// whatsmeow waits 20 s for the rest of a handshake, whatever becomes of the
// connection. One that is cut after its handshake, before the client has sent
// anything, it may take for alive for ever: it has not yet set what would tell.
func (s *Server) CutDuring(d *Device, tag string) { s.cutOnce(d, tag, during) }

func (s *Server) cutOnce(d *Device, tag string, at moment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts = append(s.cuts, cut{dev: d, tag: tag, at: at})
}

// cutsNow reports whether a cut's moment has come, and forgets the cut. The
// caller holds mu.
func (s *Server) cutsNow(d *Device, n *node, at moment) bool {
	i := slices.IndexFunc(s.cuts, func(c cut) bool {
		kids := children(n)
		return c.at == at && (c.dev == nil || c.dev == d) && (c.tag == n.Tag || len(kids) > 0 && c.tag == kids[0].Tag)
	})
	if i < 0 {
		return false
	}
	s.cuts = slices.Delete(s.cuts, i, i+1)
	s.touch()
	return true
}

func (s *Server) cutsHandshake(at moment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cutsNow(nil, &node{Tag: "handshake"}, at)
}

// Ignore leaves every stanza of that tag from d without effect and answer, until
// Heed: the connection stands, and nobody is there. It is "iq" for pings and
// "message" for sends.
func (s *Server) Ignore(d *Device, tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.ignored[tag] = true
}

// Heed ends every Ignore of d.
func (s *Server) Heed(d *Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(d.ignored)
}

// Hold keeps every stanza from d whose first child has that tag, until Resume:
// the client waits for its answer. It is "usync" for the question for somebody's
// devices, the last before the first message to a person who wrote before.
func (s *Server) Hold(d *Device, tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.held = tag
}

// Held blocks until a stanza is kept.
func (s *Server) Held(ctx context.Context, d *Device) error {
	return s.await(ctx, "a stanza of "+d.jid.String()+" to keep", func() bool { return len(d.kept) > 0 })
}

// Resume handles what Hold kept.
func (s *Server) Resume(d *Device) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.touch()
	kept := d.kept
	d.held, d.kept = "", nil
	for _, handle := range kept {
		handle()
	}
}

func firstTag(n *node) string {
	if kids := children(n); len(kids) > 0 {
		return kids[0].Tag
	}
	return ""
}
