//go:build watest

package whatsapp_test

import (
	"encoding/json"
	"testing"

	"go.mau.fi/whatsmeow/types"

	"wagent/gateway"
	"wagent/gateway/whatsapp/watest"
)

func TestPairingByQRCode(t *testing.T) {
	r, _ := paired(t)
	l := r.state(gateway.LinkConnected)
	if l.Device != r.device.JID().String() || l.Phone != "+491510000001" || l.LID != r.device.LID().User {
		t.Errorf("the link says %q %q %q, the phone linked %s (%s)", l.Device, l.Phone, l.LID, r.device.JID(), r.device.LID())
	}
	if p := r.step(gateway.StepDone); p.QR != "" {
		t.Error("the code is kept after it was used")
	}
}

func TestPairingByPhoneCode(t *testing.T) {
	r := newRig(t)
	p := r.start()
	_, err := r.db.StartPairing(r.ctx, account, gateway.ByCode, "+491510000001")
	r.must(err)
	p.Wake()
	code := r.step(gateway.StepCode).Code
	device, err := r.phone.EnterCode(code)
	r.must(err)
	r.state(gateway.LinkConnected)
	r.must(device.Ready(r.ctx))
}

func TestPairingWithAPasskey(t *testing.T) {
	r := newRig(t)
	r.phone.RequirePasskey()
	p := r.start()
	_, err := r.db.StartPairing(r.ctx, account, gateway.ByQR, "")
	r.must(err)
	p.Wake()
	_, err = r.phone.Link(r.step(gateway.StepQR).QR)
	r.must(err)
	var options types.WebAuthnPublicKey
	r.must(json.Unmarshal(r.step(gateway.StepPasskey).Options, &options))
	response, err := r.phone.Authenticate(&options)
	r.must(err)
	answer, err := json.Marshal(response)
	r.must(err)
	r.must(r.db.AnswerPairing(r.ctx, account, answer))
	p.Wake()
	r.step(gateway.StepDone)
	r.state(gateway.LinkConnected)
}

func TestPairingWithAForgedPasskeyFails(t *testing.T) {
	r := newRig(t)
	r.phone.RequirePasskey()
	p := r.start()
	_, err := r.db.StartPairing(r.ctx, account, gateway.ByQR, "")
	r.must(err)
	p.Wake()
	_, err = r.phone.Link(r.step(gateway.StepQR).QR)
	r.must(err)
	r.step(gateway.StepPasskey)
	r.must(r.db.AnswerPairing(r.ctx, account, []byte(`{"id":"x","rawId":"eA","type":"public-key","response":{}}`)))
	p.Wake()
	if got := r.step(gateway.StepFailed); got.Error == "" {
		t.Error("a failed pairing says nothing")
	}
}

func TestASecondPairingEndsTheFirst(t *testing.T) {
	r := newRig(t)
	p := r.start()
	first, err := r.db.StartPairing(r.ctx, account, gateway.ByQR, "")
	r.must(err)
	p.Wake()
	old := r.step(gateway.StepQR).QR
	second, err := r.db.StartPairing(r.ctx, account, gateway.ByQR, "")
	r.must(err)
	p.Wake()
	now := r.step(gateway.StepQR)
	r.until("a new code", func() bool { now, _ = r.db.Pairing(r.ctx, account); return now.QR != "" && now.QR != old })
	if first.ID == second.ID || now.ID != second.ID {
		t.Errorf("pairings %d, %d, and shown is %d", first.ID, second.ID, now.ID)
	}
	if _, err := r.phone.Link(now.QR); err != nil {
		t.Fatal(err)
	}
	r.state(gateway.LinkConnected)
}

// A process that dies in a pairing leaves a step that nobody can go on with.
func TestPairingOfAProcessThatStoppedIsOver(t *testing.T) {
	r := newRig(t)
	p := r.start()
	_, err := r.db.StartPairing(r.ctx, account, gateway.ByQR, "")
	r.must(err)
	p.Wake()
	r.step(gateway.StepQR)
	p.stop()
	r.start()
	r.step(gateway.StepFailed)
}

func TestPairingRefusedAsOutdatedSaysSo(t *testing.T) {
	r := newRig(t)
	p := r.start()
	r.wa.Refuse(nil, 405, 0)
	_, err := r.db.StartPairing(r.ctx, account, gateway.ByQR, "")
	r.must(err)
	p.Wake()
	if got := r.step(gateway.StepFailed); got.Error == "" {
		t.Error("a failed pairing says nothing")
	}
}

func TestUnlinkingByAPerson(t *testing.T) {
	r, p := paired(t)
	r.must(r.db.AskLogout(r.ctx, account))
	p.Wake()
	if l := r.state(gateway.LinkUnpaired); l.Device != "" || l.Reason != "" || l.LoggingOut {
		t.Errorf("after unlinking the link is %+v", l)
	}
	// The phone does not know the device any more, and can link another.
	r.pair(p)
}

func TestUnlinkedOnThePhone(t *testing.T) {
	r, p := paired(t)
	ada := r.wa.Contact("491510000002", watest.Name("Ada"))
	r.must(ada.Text("hello").Acked(r.ctx))
	r.phone.Unlink(r.device)
	if l := r.state(gateway.LinkLoggedOut); l.Device != "" || l.Reason == "" {
		t.Errorf("after unlinking the link is %+v", l)
	}
	if got := r.texts(); len(got) != 1 {
		t.Errorf("the account's data is %v", got)
	}
	if _, err := r.send(p, address(ada), "anybody there?"); gateway.KindOf(err) != gateway.Unavailable {
		t.Errorf("sending without a device: %v", err)
	}
	r.pair(p)
	r.must(ada.Text("again").Acked(r.ctx))
	if got := r.texts(); len(got) != 2 {
		t.Errorf("after another pairing there are %v", got)
	}
}
