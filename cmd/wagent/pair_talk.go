package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"wagent/gateway"
)

// A pairer is the pairing of one account, wherever the process is that works
// on it.
type pairer interface {
	Start(ctx context.Context, method gateway.PairingMethod, phone string) (gateway.Pairing, error)
	// Watch returns how things stand.
	Watch(ctx context.Context) (gateway.Pairing, gateway.Link, error)
	// Answer hands in what a passkey answered, as JSON.
	Answer(ctx context.Context, answer []byte) error
	// Confirm says that the codes are the same.
	Confirm(ctx context.Context) error
}

// A talk leads a person through a pairing. It is used once.
type talk struct {
	pairer  pairer
	account gateway.AccountID
	method  gateway.PairingMethod
	phone   string // for gateway.ByCode
	hint    string // what to do if nobody works on the pairing; may be empty
	screen  *screen
	stdin   io.Reader
	log     *slog.Logger

	every      time.Duration // how often it looks
	unanswered time.Duration // after this the hint is given
	limit      time.Duration // on what no person is waited for

	id     int64               // of the pairing; 0: not known
	began  time.Time           // when it was asked for
	seen   time.Time           // when it could last be looked at
	linked time.Time           // when the phone let us in; zero before
	asked  gateway.PairingStep // what the person was asked about; empty: nothing
	open   bool                // and did not answer yet
	heard  <-chan string       // the person's lines; nil before they are needed
	lines  []string            // of the answer, so far
}

var errInterrupted = errors.New("interrupted")

// run pairs the account and returns nil once it is connected.
func (t *talk) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	started, err := t.pairer.Start(ctx, t.method, t.phone)
	if err != nil {
		return t.refused(err)
	}
	t.id, t.began, t.seen = started.ID, time.Now(), time.Now()
	look := time.NewTicker(t.every)
	defer look.Stop()
	for {
		if over, err := t.look(ctx); over || err != nil {
			return err
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return t.interrupted()
			case <-look.C:
				waiting = false
			case line, ok := <-t.heard:
				if err := t.hear(ctx, line, !ok); err != nil {
					return err
				}
			}
		}
	}
}

func (t *talk) interrupted() error {
	if t.linked.IsZero() {
		return fmt.Errorf("%w: %s is not linked", errInterrupted, t.account)
	}
	return fmt.Errorf("%w: %s is linked, and was not connected yet", errInterrupted, t.account)
}

// refused says why no pairing could be started.
func (t *talk) refused(err error) error {
	e, ok := errors.AsType[*gateway.Error](err)
	switch {
	case !ok:
		return err
	case e.Kind == gateway.NotFound:
		return fmt.Errorf("there is no linked device %s: wagent serve makes those of the configuration when it starts", t.account)
	default:
		return fmt.Errorf("%s can not be paired: %s", t.account, e.Msg)
	}
}

// look shows how things stand. over is true once the account is connected.
func (t *talk) look(ctx context.Context) (over bool, err error) {
	p, l, err := t.pairer.Watch(ctx)
	switch {
	case ctx.Err() != nil:
		return false, nil //nolint:nilerr // run sees that it is over
	case err == nil:
		t.seen = time.Now()
	case time.Since(t.seen) < t.unanswered: // a hiccup
		return false, nil
	default:
		return false, fmt.Errorf("watch the pairing of %s: %w", t.account, err)
	}
	if p.ID != t.id {
		return false, fmt.Errorf("%s: another pairing was started", t.account)
	}
	switch p.Step {
	case gateway.StepWanted, "":
		return false, t.wait()
	case gateway.StepQR:
		return false, t.showQR(&p)
	case gateway.StepCode:
		t.showCode(&p)
	case gateway.StepPasskey:
		return false, t.askPasskey(ctx, &p)
	case gateway.StepConfirm:
		t.askSame(ctx, &p)
	case gateway.StepDone:
		return t.connected(&l)
	case gateway.StepFailed, gateway.StepExpired:
		return false, fmt.Errorf("%s was not linked: %s", t.account, cmp.Or(p.Error, "nobody answered in time"))
	}
	return false, nil
}

// wait is for a process to take the pairing up.
func (t *talk) wait() error {
	waited := time.Since(t.began)
	switch {
	case waited > t.unanswered+t.limit:
		return fmt.Errorf("%s was not linked: no process took the pairing up", t.account)
	case waited > t.unanswered && t.hint != "":
		t.screen.draw(t.hint + "\n")
	default:
		t.screen.draw("Waiting for WhatsApp …\n")
	}
	return nil
}

func (t *talk) showQR(p *gateway.Pairing) error {
	if p.QR == "" {
		t.screen.draw("Waiting for the next code …\n")
		return nil
	}
	picture, err := qrText(p.QR, t.screen.terminal)
	if err != nil {
		return fmt.Errorf("draw the QR code: %w", err)
	}
	t.screen.draw(picture + "On the phone: WhatsApp > Linked devices > Link a device, and scan this code.\n" + goodUntil(p) + note(p))
	return nil
}

func (t *talk) showCode(p *gateway.Pairing) {
	t.screen.draw("On the phone: WhatsApp > Linked devices > Link a device >\n\"Link with phone number instead\", and type this code:\n\n    " +
		p.Code + "\n\n" + goodUntil(p) + note(p))
}

func goodUntil(p *gateway.Pairing) string {
	if p.ExpiresAt.IsZero() {
		return ""
	}
	return "It is good until " + p.ExpiresAt.Local().Format(time.TimeOnly) + ".\n"
}

// note is what went wrong and can be mended.
func note(p *gateway.Pairing) string {
	if p.Error == "" {
		return ""
	}
	return "! " + p.Error + "\n"
}

// askPasskey asks for what the passkey of the phone's owner says.
func (t *talk) askPasskey(ctx context.Context, p *gateway.Pairing) error {
	if t.asked == p.Step {
		return nil
	}
	snippet, err := passkeySnippet(p.Options)
	if err != nil {
		return fmt.Errorf("%s was not linked: WhatsApp's question for a passkey can not be read: %w", t.account, err)
	}
	t.ask(ctx, p.Step)
	t.screen.say(`WhatsApp wants a passkey of the phone's owner, on a computer that has it:

1. Open https://web.whatsapp.com in a browser there, and its console (F12).
2. Paste these lines into the console. The browser may first want you to type
   "allow pasting". Then click anywhere on the page, and use the passkey.

` + snippet + `
3. Paste the JSON that they print here, and end with an empty line.
` + strings.Replace(goodUntil(p), "It is", "The question is", 1))
	return nil
}

// askSame asks whether the phone shows the same code.
func (t *talk) askSame(ctx context.Context, p *gateway.Pairing) {
	if t.asked == p.Step {
		return
	}
	t.ask(ctx, p.Step)
	t.screen.say("The phone shows a code. Is it " + p.Code + "? [y/N]\n")
}

func (t *talk) ask(ctx context.Context, step gateway.PairingStep) {
	t.asked, t.open, t.lines = step, true, nil
	if t.heard == nil {
		t.heard = readLines(ctx, t.stdin)
	}
}

// hear takes a line of the person's. ended: there will be no more.
func (t *talk) hear(ctx context.Context, line string, ended bool) error {
	line = strings.TrimSpace(line)
	switch {
	case t.open && t.asked == gateway.StepPasskey:
		return t.hearPasskey(ctx, line, ended)
	case t.open && t.asked == gateway.StepConfirm:
		if !strings.EqualFold(line, "y") && !strings.EqualFold(line, "yes") {
			return fmt.Errorf("%s was not linked: the codes were not said to be the same", t.account)
		}
		return t.told(t.pairer.Confirm(ctx))
	case ended:
		t.heard = nil
	}
	return nil
}

// hearPasskey gathers the answer of a passkey, which ends with an empty line.
func (t *talk) hearPasskey(ctx context.Context, line string, ended bool) error {
	if line != "" {
		t.lines = append(t.lines, line)
		return nil
	}
	if len(t.lines) == 0 && !ended {
		return nil
	}
	answer, err := passkeyAnswer(strings.Join(t.lines, ""))
	switch t.lines = nil; {
	case err == nil:
		return t.told(t.pairer.Answer(ctx, answer))
	case ended:
		return fmt.Errorf("%s was not linked: standard input ended before the passkey's answer", t.account)
	default:
		t.screen.say(fmt.Sprintf("That is not what the lines print: %v. Paste it again, and end with an empty line.\n", err))
		return nil
	}
}

// told notes that the person answered, if that came in time.
func (t *talk) told(err error) error {
	if e, ok := errors.AsType[*gateway.Error](err); ok && e.Kind == gateway.Conflict {
		t.screen.say(e.Msg + "\n")
		err = nil
	}
	if err != nil {
		return fmt.Errorf("answer WhatsApp: %w", err)
	}
	t.open = false
	t.screen.draw("Waiting for WhatsApp …\n")
	return nil
}

// connected waits until the account that is linked is connected too.
func (t *talk) connected(l *gateway.Link) (over bool, err error) {
	if t.linked.IsZero() {
		t.linked = time.Now()
	}
	why := cmp.Or(l.Reason, "it is "+string(l.State))
	switch l.State {
	case gateway.LinkConnected:
		t.screen.say(fmt.Sprintf("%s is linked to %s and connected.\n", t.account, l.Phone))
		return true, nil
	case gateway.LinkLoggedOut, gateway.LinkBanned, gateway.LinkOutdated, gateway.LinkReplaced, gateway.LinkRefused:
		return false, fmt.Errorf("%s is linked to %s, but not connected: %s", t.account, l.Phone, why)
	case gateway.LinkUnpaired, gateway.LinkConnecting, gateway.LinkDisconnected:
	}
	if time.Since(t.linked) > t.limit {
		return false, fmt.Errorf("%s is linked to %s, but not connected after %s: %s", t.account, l.Phone, t.limit, why)
	}
	t.screen.draw("The phone let us in. Connecting …\n")
	return false, nil
}

// readLines reads r line by line, until its end or that of ctx. What is being
// read when ctx ends is read to its end: nobody can stop that.
func readLines(ctx context.Context, r io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}
