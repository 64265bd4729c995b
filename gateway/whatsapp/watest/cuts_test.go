//go:build watest

package watest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway/whatsapp/watest"
)

func TestCutsOfAReceivingClient(t *testing.T) {
	for name, cut := range map[string]func(s *watest.Server, d *watest.Device){
		"halfway through the message": func(s *watest.Server, d *watest.Device) { s.CutDuring(d, "message") },
		"before the receipt arrives":  func(s *watest.Server, d *watest.Device) { s.CutBefore(d, "receipt") },
		"after the receipt arrived":   func(s *watest.Server, d *watest.Device) { s.CutAfter(d, "receipt") },
		"at once, and before the next handshake": func(s *watest.Server, d *watest.Device) {
			s.CutBefore(nil, "handshake")
			s.Cut(d)
		},
		"before the client, back, asks for its messages": func(s *watest.Server, d *watest.Device) {
			s.CutBefore(d, "receipt")
			s.CutBefore(d, "active")
		},
		"halfway through the preview of what waits": func(s *watest.Server, d *watest.Device) {
			s.CutBefore(d, "receipt")
			s.CutDuring(d, "offline_preview")
		},
		"before the receipt, again and again": func(s *watest.Server, d *watest.Device) {
			for range 3 {
				s.CutBefore(d, "receipt")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			c := newClient(t, s)
			d := c.link(s.Phone("491510000001"))
			ada := s.Contact("491510000002")
			c.message(ada.Text("warm up").ID)
			c.must(d.Settled(c.ctx))
			cut(s, d)
			sent := ada.Text("through it all")
			got(t, "text", c.message(sent.ID).Message.GetConversation(), "through it all")
			c.must(sent.Acked(c.ctx))
			expect[*events.Connected](c, nil) // it was cut, and came back
		})
	}
}

func TestSendWhoseAcknowledgementIsCutOff(t *testing.T) {
	for name, tt := range map[string]struct {
		cut        func(s *watest.Server, d *watest.Device)
		duplicates int
	}{
		"the server has it, and gets the same frame again": {func(s *watest.Server, d *watest.Device) { s.CutAfter(d, "message") }, 1},
		"the server has it not":                            {func(s *watest.Server, d *watest.Device) { s.CutBefore(d, "message") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			c := newClient(t, s)
			d := c.link(s.Phone("491510000001"))
			ada := s.Contact("491510000002")
			c.message(ada.Text("hi").ID)
			c.send(ada.LID(), text("in a session"))
			_, err := s.Expect(ada).Text(c.ctx)
			c.must(err)
			tt.cut(s, d)
			sent := c.send(ada.LID(), text("once"))
			r, err := s.Expect(ada).Message(c.ctx)
			c.must(err)
			got(t, "id", r.ID, sent.ID)
			got(t, "duplicates", s.Expect(ada).Duplicates(sent.ID), tt.duplicates)
		})
	}
}

func TestSendThatNobodyAnswers(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s)
	d := c.link(s.Phone("491510000001"))
	ada := s.Contact("491510000002")
	s.Ignore(d, "message")
	_, err := c.cli.SendMessage(c.ctx, ada.LID(), text("x"), whatsmeow.SendRequestExtra{ID: "KEPT", Timeout: 50 * time.Millisecond})
	if !errors.Is(err, whatsmeow.ErrMessageTimedOut) {
		t.Errorf("the send ended with %v, want a timeout", err)
	}
	s.Heed(d)
	_, err = c.cli.SendMessage(c.ctx, ada.LID(), text("x"), whatsmeow.SendRequestExtra{ID: "KEPT"})
	c.must(err)
	r, err := s.Expect(ada).Message(c.ctx)
	c.must(err)
	got(t, "id", r.ID, "KEPT")
	got(t, "copies left", s.Expect(ada).Unread(), 0)
}

func TestCutDuringASlowHandlerDeliversTwice(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s)
	d := c.link(s.Phone("491510000001"))
	ada := s.Contact("491510000002")
	c.message(ada.Text("warm up").ID) // the first clears old events, and a second at once would race with it
	c.must(d.Settled(c.ctx))
	release := make(chan struct{})
	c.judge(func(*events.Message) bool { <-release; return true })
	sent := ada.Text("slow")
	c.message(sent.ID)
	s.Cut(d)
	c.message(sent.ID) // while the first still runs
	close(release)
	c.must(sent.Acked(c.ctx))
}

func TestCutWhilePairing(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	s.CutBefore(nil, "handshake")
	if err := c.cli.ConnectContext(c.ctx); err == nil {
		t.Fatal("the client connected through a cut")
	}
	code := c.connect()
	s.CutBefore(nil, "pair-device-sign") // the client believes that it is linked
	d, err := phone.Link(code)
	c.must(err)
	expect[*events.PairSuccess](c, nil)
	if err := d.Ready(c.ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the pairing ended with %v, want a failure at once", err)
	}
	newClient(t, s).link(phone)
}
