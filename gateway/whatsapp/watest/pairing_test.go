//go:build watest

package watest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"
)

func TestPairingByQRCodeLogsInAndUploadsPreKeys(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d, err := phone.Link(c.connect())
	c.must(err)
	success := expect[*events.PairSuccess](c, nil)
	got(t, "paired ID", success.ID, d.JID())
	got(t, "paired LID", success.LID, d.LID())
	expect[*events.Connected](c, nil)
	c.must(d.Ready(c.ctx))
	got(t, "logged in", c.cli.IsConnected() && c.cli.IsLoggedIn(), true)
	if n := d.PreKeys(); n < whatsmeow.MinPreKeyCount {
		t.Errorf("the server holds %d prekeys, want at least %d", n, whatsmeow.MinPreKeyCount)
	}
	c.restart(d)
	got(t, "logins", d.Logins(), 2)
}

func TestQRCodeOfNobodyLinksNothing(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	code := c.connect()
	for name, bad := range map[string]string{
		"no code":             "hello",
		"another reference":   strings.Replace(code, "2@", "3@", 1),
		"another noise key":   swapKeys(code),
		"a key that is short": strings.Join([]string{strings.Split(code, ",")[0], "AAAA", "AAAA", "AAAA"}, ","),
	} {
		if _, err := phone.Link(bad); err == nil {
			t.Errorf("%s: the phone linked it", name)
		}
	}
}

func swapKeys(code string) string {
	parts := strings.Split(code, ",")
	parts[1], parts[2] = parts[2], parts[1]
	return strings.Join(parts, ",")
}

func TestPairingByPhoneCode(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	c.connect()
	code, err := c.cli.PairPhone(c.ctx, "+49 151 0000001", true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	c.must(err)
	d, err := phone.EnterCode(code)
	c.must(err)
	got(t, "paired ID", expect[*events.PairSuccess](c, nil).ID, d.JID())
	expect[*events.Connected](c, nil)
	c.must(d.Ready(c.ctx))
}

func TestPhoneCodeRequestWithAStrangeNameIsRefused(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	c.connect()
	if _, err := c.cli.PairPhone(c.ctx, "+49 151 0000001", true, whatsmeow.PairClientChrome, "wagent"); err == nil {
		t.Error("a display name that is no browser was accepted")
	}
	if _, err := phone.EnterCode("ABCDEFGH"); err == nil {
		t.Error("the phone took a code that nobody shows")
	}
}

func TestWrongPhoneCodeLinksNothing(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	c.connect()
	code, err := c.cli.PairPhone(c.ctx, "+49 151 0000001", true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	c.must(err)
	wrong := "1111-1111"
	if code == wrong {
		wrong = "2222-2222"
	}
	d, err := phone.EnterCode(wrong)
	c.must(err)
	if err := d.Ready(c.ctx); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the pairing ended with %v, want a failure at once", err)
	}
	got(t, "pairings", count[*events.PairSuccess](c, nil), 0)
}

func TestPairingWithAPasskey(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	phone.RequirePasskey()
	c := newClient(t, s)
	d, err := phone.Link(c.connect())
	c.must(err)
	request := expect[*events.PairPasskeyRequest](c, nil)
	answer, err := phone.Authenticate(request.PublicKey)
	c.must(err)

	forged := *answer
	forged.Response.Signature = make([]byte, 64)
	if err := c.cli.SendPasskeyResponse(c.ctx, &forged); err == nil {
		t.Error("a forged assertion was accepted")
	}

	c.must(c.cli.SendPasskeyResponse(c.ctx, answer))
	confirmation := expect[*events.PairPasskeyConfirmation](c, nil)
	shown, err := phone.PasskeyCode(c.ctx, d)
	c.must(err)
	got(t, "the client's code", confirmation.Code, shown)
	got(t, "the comparison can be skipped", confirmation.SkipHandoffUX, true)
	c.must(c.cli.SendPasskeyConfirmation(c.ctx))
	got(t, "paired ID", expect[*events.PairSuccess](c, nil).ID, d.JID())
	expect[*events.Connected](c, nil)
	c.must(d.Ready(c.ctx))
}
