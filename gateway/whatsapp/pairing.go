package whatsapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway"
)

// How long what a pairing shows is good for. WhatsApp hands out six codes, and
// closes the connection when they are used up (whatsmeow's qrchan.go).
const (
	firstCode   = time.Minute
	nextCode    = 20 * time.Second
	typedCode   = 160 * time.Second
	passkeyTime = 5 * time.Minute
	// takeOver is how long WhatsApp may take to let in what was just linked.
	takeOver = time.Minute
)

// awaitPairing waits until somebody wants the account paired, and pairs it.
func (m *member) awaitPairing(ctx context.Context) error {
	if s := m.snapshot().State; s != gateway.LinkLoggedOut && s != gateway.LinkUnpaired {
		m.change(ctx, func(l *gateway.Link) { l.State, l.Reason, l.RetryAt = gateway.LinkUnpaired, "", time.Time{} })
	}
	for {
		if p := m.wanted(); p != nil {
			return m.pair(ctx, p)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.kick:
			m.save(ctx)
			if m.snapshot().LoggingOut {
				return nil
			}
		}
	}
}

// wanted returns the pairing that nobody works on yet. One that another process
// had begun can not be gone on with: its connection is gone.
func (m *member) wanted() *gateway.Pairing {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pairing == nil || m.pairing.Step.Over() {
		return nil
	}
	p := *m.pairing
	return &p
}

// A courtship is one pairing on its way, owned by the member's goroutine.
type courtship struct {
	m     *member
	cli   *whatsmeow.Client
	ctx   context.Context
	p     gateway.Pairing
	codes []string // QR codes not shown yet
	until *time.Timer
}

// pair links the account with a client of its own, which goes once WhatsApp
// has linked it.
func (m *member) pair(ctx context.Context, p *gateway.Pairing) error {
	c := &courtship{m: m, p: *p, until: time.NewTimer(takeOver)}
	defer c.until.Stop()
	if p.Step != gateway.StepWanted {
		return c.over(ctx, gateway.StepFailed, "the process that worked on it stopped; start again")
	}
	if err := m.fleet.pace.wait(ctx); err != nil {
		return nil
	}
	b := m.open(ctx)
	defer b.close()
	c.ctx = b.life
	c.cli = m.client(b.NewDevice())
	defer func() {
		if c.p.Step == gateway.StepDone || b.life.Err() != nil {
			awaitEnd(ctx, c.cli)
		}
		c.cli.Disconnect()
	}()
	// The link names the device before the library keeps it: a crash between
	// the two leaves a name without keys, not keys that nobody knows of.
	c.cli.PrePairCallback = func(jid types.JID, _, _ string) bool { return c.paired(jid) }
	news := make(chan any, newsBuffer)
	handler := c.cli.AddEventHandler(func(evt any) {
		select {
		case news <- evt:
		default:
		}
	})
	defer c.cli.RemoveEventHandler(handler)
	if err := m.dial(c.cli, c.ctx, b.end); err != nil {
		m.fleet.log.WarnContext(ctx, "connect for pairing", "account", m.account(), "err", err)
		return c.over(ctx, gateway.StepFailed, "WhatsApp was not reached")
	}
	for !c.p.Step.Over() {
		select {
		case <-ctx.Done():
			return nil
		case <-c.ctx.Done():
			return c.over(ctx, gateway.StepFailed, "the connection was lost")
		case <-c.until.C:
			c.expire(ctx)
		case <-m.kick:
			m.save(ctx)
			c.answered(ctx)
		case evt := <-news:
			c.react(ctx, evt)
		}
	}
	return nil
}

// set writes a step down. A pairing that somebody else ended is over.
func (c *courtship) set(ctx context.Context, life time.Duration, change func(*gateway.Pairing)) {
	change(&c.p)
	c.p.ExpiresAt = time.Time{}
	if life > 0 {
		c.p.ExpiresAt = time.Now().Add(life)
		c.until.Reset(life)
	}
	try, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := c.m.fleet.Pairings.SetPairing(try, &c.p)
	ended := c.p.Step.Over()
	switch {
	case gateway.KindOf(err) == gateway.Conflict:
		c.p.Step, ended = gateway.StepFailed, false // somebody started another one
	case err != nil:
		c.m.fleet.log.WarnContext(ctx, "write step of pairing", "account", c.p.Account, "step", c.p.Step, "err", err)
	}
	if c.p.Step.Over() {
		c.m.mu.Lock()
		if c.m.pairing != nil && c.m.pairing.ID == c.p.ID {
			c.m.pairing = nil
		}
		c.m.mu.Unlock()
	}
	if ended {
		c.m.fleet.metrics.pairings.WithLabelValues(string(c.p.Step)).Inc()
	}
}

func (c *courtship) over(ctx context.Context, step gateway.PairingStep, reason string) error {
	c.set(ctx, 0, func(p *gateway.Pairing) { p.Step, p.Error, p.QR, p.Code, p.Options = step, reason, "", "", nil })
	c.m.fleet.log.InfoContext(ctx, "pairing", "account", c.p.Account, "step", step, "reason", reason)
	return nil
}

// react follows what WhatsApp says.
func (c *courtship) react(ctx context.Context, evt any) {
	switch evt := evt.(type) {
	case *events.QR:
		c.codes = evt.Codes
		if c.p.Method == gateway.ByCode {
			c.askForCode(ctx)
			return
		}
		c.showQR(ctx, firstCode)
	case *events.QRScannedWithoutMultidevice:
		c.set(ctx, nextCode, func(p *gateway.Pairing) {
			p.Error = "the phone's WhatsApp is too old for linked devices: update it, then scan again"
		})
	case *events.PairPasskeyRequest:
		options, err := json.Marshal(evt.PublicKey)
		if err != nil {
			_ = c.over(ctx, gateway.StepFailed, "WhatsApp's question for a passkey can not be read")
			return
		}
		c.set(ctx, passkeyTime, func(p *gateway.Pairing) {
			p.Step, p.Options, p.QR, p.Code, p.Error = gateway.StepPasskey, options, "", "", ""
		})
	case *events.PairPasskeyConfirmation:
		if evt.SkipHandoffUX {
			c.confirm(ctx)
			return
		}
		c.set(ctx, passkeyTime, func(p *gateway.Pairing) { p.Step, p.Code, p.Options = gateway.StepConfirm, evt.Code, nil })
	case *events.PairPasskeyError:
		c.log(ctx, evt.Error)
		_ = c.over(ctx, gateway.StepFailed, "WhatsApp did not accept the passkey")
	case *events.PairError:
		c.log(ctx, evt.Error)
		c.forget(ctx)
		_ = c.over(ctx, gateway.StepFailed, "WhatsApp did not link the device")
	case *events.ClientOutdated:
		if c.m.update(ctx) {
			_ = c.over(ctx, gateway.StepFailed, "WhatsApp wanted a newer client, which is used from now on; start again")
			return
		}
		_ = c.over(ctx, gateway.StepFailed, "WhatsApp wants a newer client: update wagent")
	case *events.PairSuccess:
		c.until.Reset(takeOver)
	case *events.ManualLoginReconnect:
		_ = c.over(ctx, gateway.StepDone, "") // the account connects with what it has now
	case *events.Disconnected:
		if !c.cli.IsConnected() {
			c.gone(ctx)
		}
	}
}

// gone is called when the connection ended: with the device linked, if that
// was far enough, or else without.
func (c *courtship) gone(ctx context.Context) {
	switch {
	case c.m.snapshot().Device != "":
		_ = c.over(ctx, gateway.StepDone, "") // or its keys are missing, which the account will say
	case len(c.codes) == 0 && c.p.Method == gateway.ByQR:
		_ = c.over(ctx, gateway.StepExpired, "nobody scanned the code in time; start again")
	default:
		_ = c.over(ctx, gateway.StepFailed, "the connection to WhatsApp was lost; start again")
	}
}

func (c *courtship) showQR(ctx context.Context, life time.Duration) {
	if len(c.codes) == 0 {
		_ = c.over(ctx, gateway.StepExpired, "nobody scanned the code in time; start again")
		return
	}
	code := c.codes[0]
	c.codes = c.codes[1:]
	c.set(ctx, life, func(p *gateway.Pairing) { p.Step, p.QR, p.Error = gateway.StepQR, code, "" })
}

// clientName must be a browser's and a system's, or WhatsApp refuses the code
// (whatsmeow.(*Client).PairPhone).
const clientName = "Chrome (Linux)"

func (c *courtship) askForCode(ctx context.Context) {
	code, err := c.cli.PairPhone(c.ctx, c.p.Phone, true, whatsmeow.PairClientChrome, clientName)
	if err != nil {
		c.log(ctx, err)
		_ = c.over(ctx, gateway.StepFailed, codeRefusal(err))
		return
	}
	c.set(ctx, typedCode, func(p *gateway.Pairing) { p.Step, p.Code, p.Error = gateway.StepCode, code, "" })
}

func codeRefusal(err error) string {
	switch {
	case errors.Is(err, whatsmeow.ErrPhoneNumberTooShort), errors.Is(err, whatsmeow.ErrPhoneNumberIsNotInternational):
		return "the phone number must be international, such as +15550001111"
	case errors.Is(err, whatsmeow.ErrIQRateOverLimit):
		return "WhatsApp hands out no more codes for now; try again later, or scan a QR code"
	default:
		return "WhatsApp gave no code for this number"
	}
}

// expire is called when the time of a step is over.
func (c *courtship) expire(ctx context.Context) {
	switch c.p.Step {
	case gateway.StepQR:
		c.showQR(ctx, nextCode)
	case gateway.StepCode:
		_ = c.over(ctx, gateway.StepExpired, "nobody typed the code in time; start again")
	case gateway.StepPasskey, gateway.StepConfirm:
		_ = c.over(ctx, gateway.StepExpired, "nobody answered in time; start again")
	default:
		c.gone(ctx)
	}
}

// answered takes over what a person answered, which comes through SQL.
func (c *courtship) answered(ctx context.Context) {
	c.m.mu.Lock()
	p := c.m.pairing
	c.m.mu.Unlock()
	switch {
	case p == nil:
	case p.ID != c.p.ID:
		c.p.Step = gateway.StepFailed // somebody started another one, and said so of this one
	case c.p.Step == gateway.StepPasskey && len(p.Answer) > 0 && len(c.p.Answer) == 0:
		c.p.Answer = p.Answer
		var response types.WebAuthnResponse
		err := json.Unmarshal(p.Answer, &response)
		if err == nil {
			err = c.cli.SendPasskeyResponse(c.ctx, &response)
		}
		if err != nil {
			c.log(ctx, err)
			_ = c.over(ctx, gateway.StepFailed, "WhatsApp did not accept the passkey's answer")
		}
	case c.p.Step == gateway.StepConfirm && p.Confirmed && !c.p.Confirmed:
		c.p.Confirmed = true
		c.confirm(ctx)
	}
}

func (c *courtship) confirm(ctx context.Context) {
	if err := c.cli.SendPasskeyConfirmation(c.ctx); err != nil {
		c.log(ctx, err)
		_ = c.over(ctx, gateway.StepFailed, "WhatsApp did not take the confirmation")
		return
	}
	c.until.Reset(takeOver)
}

// paired notes which device we are from now on. It is called by the library
// before it keeps the device's keys; false ends the pairing.
func (c *courtship) paired(jid types.JID) bool {
	ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
	defer cancel()
	c.m.change(ctx, func(l *gateway.Link) {
		l.Device, l.Phone, l.LID = jid.String(), "+"+jid.User, ""
		l.State, l.Reason, l.RetryAt, l.NoFirstUntil = gateway.LinkConnecting, "", time.Time{}, time.Time{}
	})
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return !c.m.unsaved
}

// forget undoes paired.
func (c *courtship) forget(ctx context.Context) {
	c.m.change(ctx, func(l *gateway.Link) { l.Device, l.Phone, l.State = "", "", gateway.LinkUnpaired })
}

func (c *courtship) log(ctx context.Context, err error) {
	c.m.fleet.log.WarnContext(ctx, "pairing failed", "account", c.p.Account, "err", fmt.Errorf("step %s: %w", c.p.Step, err))
}
