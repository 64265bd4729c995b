//go:build watest

package main

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"wagent/gateway/client"
	"wagent/gateway/client/sessions"
)

// TestLinkedClientSession is the SDK from the name of a session to somebody who
// reads what was written through it.
func TestLinkedClientSession(t *testing.T) {
	r := newPhoneRig(t, true, echo, 0)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := client.New(r.proc.url, "key-of-the-crash-test", client.WithHTTPClient(&http.Client{Transport: transport}))
	r.must(err)
	s, err := c.Sessions.Create(r.ctx, "Reception")
	r.must(err)
	if s.Name != "Reception" || s.Connected || s.Status != sessions.Connecting && s.Status != sessions.QRPending || s.CreatedAt.IsZero() {
		t.Errorf("created %+v", s)
	}
	become := func(what string, ok func() bool) {
		t.Helper()
		r.until(what, time.Minute, func() bool {
			s, err = c.Sessions.Retrieve(r.ctx, s.ID)
			r.must(err)
			return ok()
		})
	}
	become("a QR code", func() bool { return s.QRCode != "" })
	if s.Status != sessions.QRPending {
		t.Errorf("with its code it is %s", s.Status)
	}
	r.scan(s.QRCode)
	become("the session to be connected", func() bool { return s.Connected })
	if s.Status != sessions.Connected || s.QRCode != "" || s.PhoneNumber == "" {
		t.Errorf("connected it is %+v", s)
	}

	who, ms := r.people(1)[0], c.SessionMessages(s.ID)
	m, err := ms.SendText(r.ctx, "+"+who.PN().User, "Your room is ready.")
	r.must(err)
	got, err := r.wa.Expect(who).Message(r.ctx)
	r.must(err)
	r.until("the message to be sent", time.Minute, func() bool {
		m, err = ms.Retrieve(r.ctx, m.ID)
		r.must(err)
		return m.Status != "queued"
	})
	if got.Text() != "Your room is ready." || m.WAMID != got.ID || m.SentAt.IsZero() || m.ErrorMessage != "" {
		t.Errorf("they got %q as %s, and it is %+v", got.Text(), got.ID, m)
	}
	if err := c.Sessions.Delete(r.ctx, s.ID); err != nil {
		t.Error(err)
	}
	if _, err := c.Sessions.Retrieve(r.ctx, s.ID); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("a deleted session = %v", err)
	}
}
