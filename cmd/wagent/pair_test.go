package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
)

// realCode is as long as WhatsApp's are.
var realCode = "2@" + strings.Repeat("Ab3+/", 32) + ",9aZ0uP5yD1kq+vX=,bB1uP5yD1kq+vXbB1uP5yD1kq+vX=,cC1uP5yD1kq+vX="

// A pretence is a pairing whose steps a test sets.
type pretence struct {
	mu        sync.Mutex
	p         gateway.Pairing
	l         gateway.Link
	refusal   error  // of Start
	trouble   error  // of Watch
	late      error  // of Answer and Confirm
	answer    string // of the passkey
	confirmed int
}

func (f *pretence) Start(_ context.Context, method gateway.PairingMethod, phone string) (gateway.Pairing, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.p.Step == "" {
		f.p.Step = gateway.StepWanted
	}
	f.p.ID, f.p.Method, f.p.Phone = 7, method, phone
	return f.p, f.refusal
}

func (f *pretence) Watch(context.Context) (gateway.Pairing, gateway.Link, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.p, f.l, f.trouble
}

func (f *pretence) Answer(_ context.Context, answer []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = string(answer)
	return f.late
}

func (f *pretence) Confirm(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.confirmed++
	return f.late
}

// now changes how things stand.
func (f *pretence) now(change func(p *gateway.Pairing, l *gateway.Link)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.p, &f.l)
}

func (f *pretence) step(s gateway.PairingStep) {
	f.now(func(p *gateway.Pairing, _ *gateway.Link) { p.Step = s })
}

func (f *pretence) connect() {
	f.now(func(p *gateway.Pairing, l *gateway.Link) {
		p.Step, l.State, l.Phone = gateway.StepDone, gateway.LinkConnected, "+491510000001"
	})
}

// A sitting is somebody who pairs at a console.
type sitting struct {
	*console
	*pretence
	talk *talk
	quit context.CancelFunc
	end  chan error
}

func sit(t *testing.T, method gateway.PairingMethod) *sitting {
	t.Helper()
	c := newConsole(t)
	ctx, quit := context.WithCancel(t.Context())
	s := &sitting{console: c, pretence: &pretence{}, talk: newTalk(c.process()), quit: quit, end: make(chan error, 1)}
	s.talk.pairer, s.talk.account, s.talk.method, s.talk.every = s.pretence, "acc_phone", method, time.Millisecond
	go func() {
		err := s.talk.run(ctx)
		s.talk.screen.close()
		s.end <- err
	}()
	t.Cleanup(quit)
	return s
}

// ends waits for the end, and for all of it to be on the screen.
func (s *sitting) ends() error {
	s.Helper()
	err := <-s.end
	s.talk.screen.say("THE END\n")
	s.shows("THE END")
	if _, cursor := terminalRows(s, s.screen()); !cursor {
		s.Error("the cursor stays hidden")
	}
	return err
}

func (s *sitting) scans(want string) {
	s.Helper()
	s.until("QR code that a phone reads as "+want, func() bool { return screenQR(s, s.screen()) == want })
}

func TestPairByQR(t *testing.T) {
	s := sit(t, gateway.ByQR)
	s.shows("Waiting for WhatsApp")
	expires := time.Date(2031, 1, 2, 19, 16, 42, 0, time.Local)
	s.now(func(p *gateway.Pairing, _ *gateway.Link) {
		p.Step, p.QR, p.ExpiresAt = gateway.StepQR, realCode, expires
	})
	s.scans(realCode)
	s.shows("On the phone: WhatsApp > Linked devices > Link a device, and scan this code.\nIt is good until 19:16:42.\n")
	if _, cursor := terminalRows(t, s.screen()); cursor {
		t.Error("the cursor blinks beside the code")
	}
	lines := strings.Count(s.text(), "\n")
	s.now(func(p *gateway.Pairing, _ *gateway.Link) {
		p.QR, p.Error = "2@second"+realCode[8:], "the phone's WhatsApp is too old"
	})
	s.scans("2@second" + realCode[8:])
	s.shows("! the phone's WhatsApp is too old\n")
	if got := strings.Count(s.text(), "\n"); got != lines+1 {
		t.Errorf("the second code makes the screen %d lines high, the first %d: it does not take its place\n%s", got, lines, s.text())
	}
	s.now(func(p *gateway.Pairing, _ *gateway.Link) { p.QR = "" })
	s.shows("Waiting for the next code")
	s.now(func(p *gateway.Pairing, l *gateway.Link) { p.Step, l.State = gateway.StepDone, gateway.LinkConnecting })
	s.shows("The phone let us in. Connecting")
	s.connect()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff("acc_phone is linked to +491510000001 and connected.\nTHE END\n\n", s.text()); diff != "" {
		t.Errorf("what stays on the screen (-want +got):\n%s", diff)
	}
}

func TestPairByCode(t *testing.T) {
	s := sit(t, gateway.ByCode)
	s.now(func(p *gateway.Pairing, _ *gateway.Link) { p.Step, p.Code = gateway.StepCode, "ABCD-1234" })
	s.shows("\"Link with phone number instead\", and type this code:\n\n    ABCD-1234\n")
	s.connect()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
	if strings.Contains(s.text(), "ABCD") {
		t.Errorf("the code stays on the screen:\n%s", s.text())
	}
}

const (
	passkeyOptions = `{"challenge":"-_8AAQ","timeout":0,"rpId":"web.whatsapp.com","userVerification":"","extensions":null,` +
		`"allowCredentials":[{"id":"AQID_-","type":"public-key","transports":null}]}`
	passkeySaid = "{\n \"id\": \"AQID_w\",\n \"rawId\": \"AQID_w\",\n \"type\": \"public-key\",\n \"response\": {\n" +
		"  \"clientDataJSON\": \"e30\",\n  \"authenticatorData\": \"-vv8\",\n  \"signature\": \"AAEC\",\n  \"userHandle\": null\n }\n}\n"
)

func TestPairWithPasskey(t *testing.T) {
	s := sit(t, gateway.ByQR)
	s.now(func(p *gateway.Pairing, _ *gateway.Link) { p.Step, p.QR = gateway.StepQR, realCode })
	s.scans(realCode)
	s.types("\n")
	s.now(func(p *gateway.Pairing, _ *gateway.Link) {
		p.Step, p.QR, p.Options = gateway.StepPasskey, "", json.RawMessage(passkeyOptions)
	})
	s.shows("3. Paste the JSON that they print here, and end with an empty line.")
	if got := screenQR(t, s.screen()); got != "" {
		t.Errorf("the code of before is still there")
	}
	want := `const publicKey = {"allowCredentials":[{"id":"AQID_-","type":"public-key"}],"challenge":"-_8AAQ","rpId":"web.whatsapp.com"};`
	if !strings.Contains(s.text(), want) {
		t.Errorf("the lines for the browser do not hold %s:\n%s", want, s.text())
	}
	s.types("{\"id\": \"x\"}\n\n")
	s.shows("That is not what the lines print: its rawId is missing or broken. Paste it again")
	s.types(passkeySaid + "\n\n\n")
	s.shows("Waiting for WhatsApp")
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(passkeySaid)); err != nil {
		t.Fatal(err)
	}
	s.now(func(p *gateway.Pairing, _ *gateway.Link) {
		if s.answer != compact.String() {
			t.Errorf("the answer is %s", s.answer)
		}
		p.Step, p.Code, p.Options = gateway.StepConfirm, "WXYZ-7890", nil
	})
	s.shows("The phone shows a code. Is it WXYZ-7890? [y/N]")
	s.types("y\n")
	s.until("confirmation", func() (done bool) {
		s.now(func(*gateway.Pairing, *gateway.Link) { done = s.confirmed == 1 })
		return done
	})
	s.connect()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(s.text(), "Is it WXYZ"); n != 1 {
		t.Errorf("it was asked %d times whether the codes are the same", n)
	}
}

func TestPairIsNotConfirmedUnasked(t *testing.T) {
	for _, line := range []string{"\n", "n\n", "yep\n", "\x04"} {
		t.Run(fmt.Sprintf("%q", line), func(t *testing.T) {
			s := sit(t, gateway.ByQR)
			s.now(func(p *gateway.Pairing, _ *gateway.Link) { p.Step, p.Code = gateway.StepConfirm, "WXYZ-7890" })
			s.shows("Is it WXYZ-7890?")
			s.types(line)
			want := "acc_phone was not linked: the codes were not said to be the same"
			if err := s.ends(); err == nil || err.Error() != want || s.confirmed != 0 {
				t.Errorf("run = %v, confirmed %d times", err, s.confirmed)
			}
		})
	}
}

func TestPairInterrupted(t *testing.T) {
	for step, want := range map[gateway.PairingStep]string{
		gateway.StepQR:      "interrupted: acc_phone is not linked",
		gateway.StepPasskey: "interrupted: acc_phone is not linked",
		gateway.StepDone:    "interrupted: acc_phone is linked, and was not connected yet",
	} {
		t.Run(string(step), func(t *testing.T) {
			s := sit(t, gateway.ByQR)
			s.now(func(p *gateway.Pairing, _ *gateway.Link) {
				p.Step, p.QR, p.Options = step, realCode, json.RawMessage(passkeyOptions)
			})
			s.shows(map[gateway.PairingStep]string{
				gateway.StepQR: "scan this code", gateway.StepPasskey: "Paste the JSON", gateway.StepDone: "Connecting",
			}[step])
			s.quit()
			if err := s.ends(); !errors.Is(err, errInterrupted) || err.Error() != want {
				t.Errorf("run = %v", err)
			}
		})
	}
}

func TestPairLogsStandAboveTheCode(t *testing.T) {
	s := sit(t, gateway.ByQR)
	s.now(func(p *gateway.Pairing, _ *gateway.Link) { p.Step, p.QR = gateway.StepQR, realCode })
	s.scans(realCode)
	s.talk.log.Info("nobody needs this")
	s.talk.log.Warn("the sky is falling")
	s.until("log above the code", func() bool {
		return strings.Contains(strings.SplitN(s.text(), "\n", 2)[0], "the sky is falling") && screenQR(s, s.screen()) == realCode
	})
	s.connect()
	if err := s.ends(); err != nil {
		t.Error(err)
	}
}

// unattended runs a talk in virtual time, with nobody at a terminal.
func unattended(t *testing.T, f *pretence, hint string) (out string, took time.Duration, err error) {
	t.Helper()
	var b bytes.Buffer
	talk := newTalk(process{stdout: &b, stderr: &b})
	talk.pairer, talk.account, talk.hint = f, "acc_phone", hint
	start := time.Now()
	err = talk.run(t.Context())
	talk.screen.close()
	return b.String(), time.Since(start), err
}

func TestPairSaysWhyNot(t *testing.T) {
	linkedBut := func(state gateway.LinkState, reason string) *pretence {
		return &pretence{p: gateway.Pairing{Step: gateway.StepDone}, l: gateway.Link{State: state, Reason: reason, Phone: "+491510000001"}}
	}
	conflict := &gateway.Error{Kind: gateway.Conflict, Msg: "the account is linked to a phone already: unlink it first"}
	missing := &gateway.Error{Kind: gateway.NotFound, Msg: "There is no account"}
	tests := map[string]struct {
		f    *pretence
		took time.Duration
		want string
	}{
		"failed":                {&pretence{p: gateway.Pairing{Step: gateway.StepFailed, Error: "WhatsApp was not reached"}}, 0, "acc_phone was not linked: WhatsApp was not reached"},
		"expired":               {&pretence{p: gateway.Pairing{Step: gateway.StepExpired}}, 0, "acc_phone was not linked: nobody answered in time"},
		"linked already":        {&pretence{refusal: fmt.Errorf("start: %w", conflict)}, 0, "acc_phone can not be paired: the account is linked to a phone already: unlink it first"},
		"unknown":               {&pretence{refusal: missing}, 0, "there is no linked device acc_phone: wagent serve makes those of the configuration when it starts"},
		"a broken disk":         {&pretence{refusal: errors.New("read: broken")}, 0, "read: broken"},
		"nobody takes it":       {&pretence{}, 70200 * time.Millisecond, "acc_phone was not linked: no process took the pairing up"},
		"the database goes":     {&pretence{trouble: errors.New("away")}, 10200 * time.Millisecond, "watch the pairing of acc_phone: away"},
		"banned":                {linkedBut(gateway.LinkBanned, "banned until noon"), 0, "acc_phone is linked to +491510000001, but not connected: banned until noon"},
		"refused":               {linkedBut(gateway.LinkRefused, ""), 0, "acc_phone is linked to +491510000001, but not connected: it is refused"},
		"it does not connect":   {linkedBut(gateway.LinkDisconnected, "WhatsApp was not reached"), 60300 * time.Millisecond, "acc_phone is linked to +491510000001, but not connected after 1m0s: WhatsApp was not reached"},
		"a question of nothing": {&pretence{p: gateway.Pairing{Step: gateway.StepPasskey, Options: json.RawMessage("{}")}}, 0, "acc_phone was not linked: WhatsApp's question for a passkey can not be read: it has no challenge"},
		"nobody types":          {&pretence{p: gateway.Pairing{Step: gateway.StepPasskey, Options: json.RawMessage(passkeyOptions)}}, 0, "acc_phone was not linked: standard input ended before the passkey's answer"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				out, took, err := unattended(t, tt.f, "")
				if err == nil || err.Error() != tt.want || took != tt.took {
					t.Errorf("run = %v after %s, want %s after %s\n%s", err, took, tt.want, tt.took, out)
				}
			})
		})
	}
}

func TestPairSaysThatAServerIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &pretence{}
		time.AfterFunc(9*time.Second, func() { f.now(func(p *gateway.Pairing, _ *gateway.Link) { p.Error = "?" }) })
		out, _, err := unattended(t, f, "Start one.")
		if want := "Waiting for WhatsApp …\nStart one.\n"; err == nil || out != want {
			t.Errorf("run = %v and says %q, want %q", err, out, want)
		}
	})
}

func TestPairEndsWhenAnotherPairingWasStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &pretence{p: gateway.Pairing{Step: gateway.StepQR, QR: realCode}}
		time.AfterFunc(time.Second, func() { f.now(func(p *gateway.Pairing, _ *gateway.Link) { p.ID++ }) })
		if _, _, err := unattended(t, f, ""); err == nil || err.Error() != "acc_phone: another pairing was started" {
			t.Errorf("run = %v", err)
		}
	})
}

func TestPairWithoutATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &pretence{p: gateway.Pairing{Step: gateway.StepQR, QR: "2@first"}}
		time.AfterFunc(time.Second, func() { f.now(func(p *gateway.Pairing, _ *gateway.Link) { p.QR = realCode }) })
		time.AfterFunc(2*time.Second, f.connect)
		out, _, err := unattended(t, f, "")
		if err != nil || strings.Contains(out, "\x1b") || strings.Count(out, "scan this code") != 2 {
			t.Errorf("run = %v:\n%q", err, out)
		}
		if got := screenQR(t, []byte(out)); got != realCode {
			t.Errorf("a phone reads %q:\n%s", got, out)
		}
	})
}

func TestPairAnswersThatComeTooLate(t *testing.T) {
	s := sit(t, gateway.ByQR)
	s.late = &gateway.Error{Kind: gateway.Conflict, Msg: "no pairing of the account waits for a comparison of codes"}
	s.now(func(p *gateway.Pairing, _ *gateway.Link) { p.Step, p.Code = gateway.StepConfirm, "WXYZ-7890" })
	s.shows("Is it WXYZ-7890?")
	s.types("y\n")
	s.shows("no pairing of the account waits for a comparison of codes")
	s.step(gateway.StepExpired)
	if err := s.ends(); err == nil {
		t.Error("run = nil")
	}
}

// TestPairLetsTheProgramEnd: what was linked is on disk once the program that
// linked it has ended.
func TestPairLetsTheProgramEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		talk := newTalk(process{stdout: &b, stderr: &b})
		f := &pretence{}
		f.connect()
		talk.pairer, talk.account = f, "acc_phone"
		ended := false
		err := talk.beside(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(3 * time.Second) // it drains
			ended = true
			return nil
		})
		if err != nil || !ended || !strings.HasSuffix(b.String(), "Start wagent serve: until then nobody answers there.\n") {
			t.Errorf("beside = %v, ended %t: %s", err, ended, b.String())
		}
	})
}

func TestPairSaysWhyTheProgramEnded(t *testing.T) {
	talk := newTalk(process{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}})
	talk.pairer = &pretence{}
	broken := errors.New("the disk is full")
	if err := talk.beside(t.Context(), func(context.Context) error { return broken }); !errors.Is(err, broken) || errors.Is(err, errInterrupted) {
		t.Errorf("beside = %v", err)
	}
}

// One code in a hundred is hard to find for a camera that sees the terminal's
// dark ground around it.
func TestQRCodesAreReadWhateverTheyHold(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 0))
	for i := range 200 {
		key := make([]byte, 96)
		for i := range key {
			key[i] = byte(r.Uint32())
		}
		want := fmt.Sprintf("https://wa.me/settings/linked_devices#2@%X,%s,7", r.Uint64(), base64.StdEncoding.EncodeToString(key))
		drawn, err := qrText(want, i%2 == 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := screenQR(t, []byte(drawn)); got != want {
			t.Errorf("a phone reads %q of %q", got, want)
		}
	}
}
