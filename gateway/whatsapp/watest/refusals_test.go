//go:build watest

package watest_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway/whatsapp/watest"
)

func TestRefusedLogins(t *testing.T) {
	for name, tt := range map[string]struct {
		reason  int
		expiry  time.Duration
		meets   func(c *client)
		deleted bool
	}{
		"401 logs out and deletes the session": {reason: 401, deleted: true, meets: loggedOut(401)},
		"402 is a ban that ends": {reason: 402, expiry: time.Hour, meets: func(c *client) {
			ban := expect[*events.TemporaryBan](c, nil)
			got(c.t, "expiry", ban.Expire, time.Hour)
			got(c.t, "code", ban.Code, events.TempBanSentToTooManyPeople)
		}},
		"403 logs out and deletes the session": {reason: 403, deleted: true, meets: loggedOut(403)},
		"405 asks for a newer client":          {reason: 405, meets: func(c *client) { expect[*events.ClientOutdated](c, nil) }},
		"406 logs out and deletes the session": {reason: 406, deleted: true, meets: loggedOut(406)},
		"409 is a failure of its own": {reason: 409, meets: func(c *client) {
			got(c.t, "reason", expect[*events.ConnectFailure](c, nil).Reason, 409)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			c := newClient(t, s)
			d := c.link(s.Phone("491510000001"))
			s.Refuse(d, tt.reason, tt.expiry)
			tt.meets(c)
			got(t, "logins", d.Logins(), 2)
			device, err := c.box.GetDevice(c.ctx, d.JID())
			c.must(err)
			if !tt.deleted {
				got(t, "session is in the database", device != nil, true)
				s.Admit(d)
				c.restart(d)
			}
		})
	}
}

func loggedOut(reason events.ConnectFailureReason) func(c *client) {
	return func(c *client) {
		out := expect[*events.LoggedOut](c, nil)
		got(c.t, "reason", out.Reason, reason)
		got(c.t, "on connect", out.OnConnect, true)
	}
}

func TestServerTroubleAtLoginPasses(t *testing.T) {
	for _, reason := range []int{500, 503} {
		t.Run(strconv.Itoa(reason), func(t *testing.T) {
			s := newServer(t)
			c := newClient(t, s)
			d := c.link(s.Phone("491510000001"))
			s.Refuse(d, reason, 0)
			expect[*events.Disconnected](c, nil) // of the connection that it had
			expect[*events.Disconnected](c, nil) // of the one that was refused
			s.Admit(d)
			expect[*events.Connected](c, nil)
			c.must(d.Ready(c.ctx))
		})
	}
}

func TestPairingRefusedAsOutdated(t *testing.T) {
	s := newServer(t)
	s.Phone("491510000001")
	c := newClient(t, s)
	s.Refuse(nil, 405, 0)
	c.must(c.cli.ConnectContext(c.ctx))
	expect[*events.ClientOutdated](c, nil)
	s.Admit(nil)
	c.disconnect()
	c.connect()
}

func TestStreamErrorsThatPass(t *testing.T) {
	for _, code := range []int{500, 503, 515} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			s := newServer(t)
			c := newClient(t, s)
			d := c.link(s.Phone("491510000001"))
			s.StreamError(d, code)
			expect[*events.Connected](c, nil)
			c.must(d.Ready(c.ctx))
			// At 515 the library connects again by itself, and once more where it
			// notices the end of the old connection before that
			// (whatsmeow.(*Client).handleStreamError, onDisconnect).
			if n := d.Logins(); n != 2 && (code != 515 || n != 3) {
				t.Errorf("there were %d logins, want another one", n)
			}
			got(t, "unknown stream errors", count[*events.StreamError](c, nil), map[int]int{500: 1}[code])
		})
	}
}

func TestStreamReplaced(t *testing.T) {
	for name, replace := range map[string]func(c *client, d *watest.Device){
		"by the server": func(c *client, d *watest.Device) { c.s.Replace(d) },
		"by a second login under the same session": func(c *client, d *watest.Device) {
			device, err := c.box.GetDevice(c.ctx, d.JID())
			c.must(err)
			second := whatsmeow.NewClient(device, nil)
			watest.Attach(second, c.s.Addr())
			c.must(second.ConnectContext(c.ctx))
			c.t.Cleanup(second.Disconnect)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			c := newClient(t, s)
			d := c.link(s.Phone("491510000001"))
			replace(c, d)
			expect[*events.StreamReplaced](c, nil)
		})
	}
}

func TestDeviceRemovedOnThePhone(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	phone.Unlink(d)
	got(t, "on connect", expect[*events.LoggedOut](c, nil).OnConnect, false)
	again := newClient(t, s)
	other := again.link(phone) // the account can be linked anew
	if other.JID() == d.JID() {
		t.Errorf("the new device has the old one's address %s", d.JID())
	}
}

func TestLogoutOfTheClient(t *testing.T) {
	s := newServer(t)
	phone := s.Phone("491510000001")
	c := newClient(t, s)
	d := c.link(phone)
	device, err := c.box.GetDevice(c.ctx, d.JID())
	c.must(err)
	c.must(c.cli.Logout(c.ctx))
	c.must(d.Offline(c.ctx))
	c.use(device)
	c.must(c.cli.ConnectContext(c.ctx))
	expect[*events.LoggedOut](c, nil)
}

func TestRefusedSends(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s)
	d := c.link(s.Phone("491510000001"))
	ada := s.Contact("491510000002")
	s.Nack(d, 463, 479)
	for _, code := range []string{"463", "479"} {
		_, err := c.cli.SendMessage(c.ctx, ada.LID(), text("x"))
		if !errors.Is(err, whatsmeow.ErrServerReturnedError) || !strings.Contains(err.Error(), code) {
			t.Errorf("the send ended with %v, want %s", err, code)
		}
	}
	c.send(ada.LID(), text("y"))
	is, err := s.Expect(ada).Text(c.ctx)
	c.must(err)
	got(t, "first text that arrived", is, "y")
}

func TestReachOutTimelock(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s)
	d := c.link(s.Phone("491510000001"))
	until := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	s.Timelock(d, until)
	lock := expect[*events.NotifyAccountReachoutTimelock](c, nil)
	got(t, "active", lock.IsActive, true)
	got(t, "end", lock.TimeEnforcementEnds.Unix(), until.Unix())
	c.must(d.Settled(c.ctx))
}
