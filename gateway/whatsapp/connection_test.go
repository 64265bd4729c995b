//go:build watest

package whatsapp_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"go.mau.fi/whatsmeow/store"

	"wagent/gateway"
	"wagent/gateway/whatsapp"
)

// TestRefusals: what WhatsApp says at the login, and what becomes of the
// account.
func TestRefusals(t *testing.T) {
	tests := map[int]struct {
		expiry time.Duration
		want   gateway.LinkState
		paired bool
		comes  time.Duration // when it connects again by itself, at the earliest; 0: it does not, or soon
	}{
		401: {want: gateway.LinkLoggedOut},
		402: {expiry: 2 * time.Hour, want: gateway.LinkBanned, paired: true, comes: 119 * time.Minute},
		403: {want: gateway.LinkLoggedOut},
		406: {want: gateway.LinkLoggedOut},
		409: {want: gateway.LinkRefused, paired: true, comes: 14 * time.Minute},
		418: {want: gateway.LinkRefused, paired: true, comes: 14 * time.Minute},
		500: {want: gateway.LinkDisconnected, paired: true},
		503: {want: gateway.LinkDisconnected, paired: true},
	}
	for reason, tt := range tests {
		t.Run(strconv.Itoa(reason), func(t *testing.T) {
			r, p := paired(t)
			r.wa.Refuse(r.device, reason, tt.expiry)
			l := r.state(tt.want)
			if l.Reason == "" {
				t.Error("there is no reason for people")
			}
			if (l.Device != "") != tt.paired {
				t.Errorf("the device is %q, want one: %v", l.Device, tt.paired)
			}
			if in := time.Until(l.RetryAt); tt.comes > 0 && in < tt.comes {
				t.Errorf("it tries again in %v, want %v at least", in, tt.comes)
			}
			if _, err := r.send(p, gateway.Address{Phone: "+491510000002"}, "x"); gateway.KindOf(err) != gateway.Unavailable {
				t.Errorf("sending: %v, want Unavailable", err)
			}
		})
	}
}

func TestTroubleOfWhatsAppPasses(t *testing.T) {
	tests := map[string]func(*rig){
		"the connection is cut":            func(r *rig) { r.wa.Cut(r.device) },
		"WhatsApp restarts":                func(r *rig) { r.wa.StreamError(r.device, 503) },
		"WhatsApp wants another login":     func(r *rig) { r.wa.StreamError(r.device, 515) },
		"an unknown stream error":          func(r *rig) { r.wa.StreamError(r.device, 599) },
		"cut when the login is completed":  func(r *rig) { r.wa.CutBefore(r.device, "active"); r.wa.Cut(r.device) },
		"cut in the middle of a handshake": func(r *rig) { r.wa.CutBefore(nil, "handshake"); r.wa.Cut(r.device) },
	}
	for name, trouble := range tests {
		t.Run(name, func(t *testing.T) {
			r, p := paired(t)
			logins := r.device.Logins()
			trouble(r)
			r.until("another login", func() bool { return r.device.Logins() > logins })
			r.must(r.device.Ready(r.ctx))
			r.state(gateway.LinkConnected)
			ada := r.wa.Contact("491510000002")
			r.must(ada.Text("hello").Acked(r.ctx))
			_, err := r.send(p, address(ada), "here we are")
			r.must(err)
		})
	}
}

func TestABanEnds(t *testing.T) {
	r := newRig(t)
	p := r.start()
	r.pair(p)
	r.wa.Refuse(r.device, 402, time.Hour)
	r.state(gateway.LinkBanned)
	r.wa.Admit(r.device)
	// Another process finds the hour half over… and so does this one, restarted:
	// the end of the ban is on record, and nothing connects before it.
	p.stop()
	logins := r.device.Logins()
	r.start()
	l := r.state(gateway.LinkBanned)
	if time.Until(l.RetryAt) < 50*time.Minute || r.device.Logins() != logins {
		t.Errorf("after a restart it tries again at %v, and logged in %d times", l.RetryAt, r.device.Logins()-logins)
	}
}

func TestAnOutdatedClientTakesTheNewestVersion(t *testing.T) {
	before := store.GetWAVersion()
	t.Cleanup(func() { store.SetWAVersion(before) })
	newer := before
	newer[2]++
	r := newRig(t)
	r.change = func(c *whatsapp.Config) {
		c.Newest = func(context.Context) (*store.WAVersionContainer, error) { return &newer, nil }
	}
	p := r.start()
	r.pair(p)
	r.wa.Refuse(r.device, 405, 0)
	r.state(gateway.LinkOutdated)
	r.wa.Admit(r.device)
	p.stop() // it tries again in an hour where there is no newer version
	if got := store.GetWAVersion(); got != newer {
		t.Errorf("the version is %v, want %v", got, newer)
	}
}

func TestAnotherProcessTookTheConnection(t *testing.T) {
	r, _ := paired(t)
	logins := r.device.Logins()
	r.wa.Replace(r.device)
	l := r.state(gateway.LinkReplaced)
	if time.Until(l.RetryAt) < 9*time.Minute {
		t.Errorf("it fights back at %v", l.RetryAt)
	}
	if n := r.device.Logins(); n != logins {
		t.Errorf("it logged in %d times more", n-logins)
	}
}

func TestReachOutTimelockIsShown(t *testing.T) {
	r, p := paired(t)
	until := time.Now().Add(48 * time.Hour).Truncate(time.Second)
	r.wa.Timelock(r.device, until)
	r.until("the timelock", func() bool {
		l, err := r.db.Link(r.ctx, account)
		return err == nil && l.NoFirstUntil.Equal(until)
	})
	// To somebody who wrote it answers all the same.
	ada := r.wa.Contact("491510000002")
	_, err := r.send(p, address(ada), "an answer")
	r.must(err)
}

func TestSilenceEndsAConnection(t *testing.T) {
	r := newRig(t)
	r.change = func(c *whatsapp.Config) { c.Deaf = time.Second }
	p := r.start()
	r.pair(p)
	logins, before := r.device.Logins(), r.state(gateway.LinkConnected).ConnectedAt
	// The next login is to be complete: to end one half-way is a race within
	// the library.
	r.until("another login", func() bool {
		return r.device.Logins() > logins && r.state(gateway.LinkConnected).ConnectedAt.After(before)
	})
}
