//go:build watest

package whatsapp_test

import (
	"testing"

	"wagent/gateway"
)

func TestStoppingHandsTheAccountOver(t *testing.T) {
	r, p := paired(t)
	p.stop()
	r.state(gateway.LinkDisconnected)
	second := r.start()
	r.state(gateway.LinkConnected)
	l := r.state(gateway.LinkConnected)
	if l.Holder != second.Holder() {
		t.Errorf("held by %s, want %s", l.Holder, second.Holder())
	}
}

func TestTwoProcessesNeverHoldOneAccount(t *testing.T) {
	r, p := paired(t)
	second := r.start()
	ada := r.wa.Contact("491510000002")
	logins := r.device.Logins()
	for _, text := range numbered(20) {
		r.must(ada.Text(text).Acked(r.ctx))
	}
	if n := r.device.Logins(); n != logins {
		t.Errorf("%d logins more: the second process connected", n-logins)
	}
	if _, err := r.send(second, address(ada), "from the wrong process"); gateway.KindOf(err) != gateway.Unavailable {
		t.Errorf("the second process sends: %v", err)
	}
	if _, err := r.send(p, address(ada), "from the right one"); err != nil {
		t.Error(err)
	}
}
