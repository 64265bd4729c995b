// Package pairing links an account to a phone: by a QR code, by a code that is
// typed on the phone, and with the passkey that WhatsApp may ask for.
//
//	wanted ─► qr │ code ─► (passkey ─► confirm) ─► done
//	   └────────┴───────────┴──────────┴──► failed, expired
//
// Each step is written down before anybody is to follow it, so that every
// process can show what this one's connection asks for, and what a person
// answers comes back through SQL. The device is on record before its keys are.
// After a crash the connection is gone, and the pairing with it: it is over, and
// somebody starts another one.
package pairing

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway"
	"wagent/gateway/whatsapp/library"
)

// newsBuffer is how many events may wait. They are few.
const newsBuffer = 64

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

// An Account is whose pairing it is.
type Account interface {
	// Changed tells when Look may have something new.
	Changed() <-chan struct{}
	// Look returns the account's open pairing as it is on record, with what a
	// person answered; nil if there is none.
	Look(ctx context.Context) *gateway.Pairing
	// Save writes a step down. Conflict: the pairing is over.
	Save(ctx context.Context, p *gateway.Pairing) error
	// Name notes which device the account has from now on, and reports whether
	// that is on record. With the empty JID it has none any more.
	Name(ctx context.Context, device types.JID) bool
	// Update takes over a newer version of WhatsApp's client, if there is one.
	Update(ctx context.Context) bool
}

// A Try is what a pairing works with.
type Try struct {
	Pairing gateway.Pairing
	Client  *whatsmeow.Client // of a device that is not linked
	Life    context.Context   // what the client works under
	End     context.CancelCauseFunc
	Login   time.Duration // how long WhatsApp may take to answer
	Log     *slog.Logger
}

// A courtship is a Try on its way, owned by Run's goroutine.
type courtship struct {
	Try
	a     Account
	named atomic.Bool // the device is on record
	codes []string    // QR codes not shown yet
	until *time.Timer
}

// Run pairs until the pairing is over, the account's client lost its connection
// for good, or ctx is done. The client is of a device of its own that is not
// linked, and under life, which ends with end. It is left disconnected.
func Run(ctx context.Context, a Account, t Try) {
	c := &courtship{a: a, Try: t, until: time.NewTimer(takeOver)}
	defer c.until.Stop()
	if c.Pairing.Step != gateway.StepWanted {
		c.over(ctx, gateway.StepFailed, "the process that worked on it stopped; start again")
		return
	}
	defer func() {
		if c.Pairing.Step == gateway.StepDone || c.Life.Err() != nil {
			library.AwaitEnd(ctx, c.Client)
		}
		c.Client.Disconnect()
	}()
	// The link names the device before the library keeps it: a crash between
	// the two leaves a name without keys, not keys that nobody knows of.
	c.Client.PrePairCallback = func(jid types.JID, _, _ string) bool { return c.paired(jid) }
	news := make(chan any, newsBuffer)
	handler := c.Client.AddEventHandler(func(evt any) {
		select {
		case news <- evt:
		default:
		}
	})
	defer c.Client.RemoveEventHandler(handler)
	if err := library.Dial(c.Life, c.Client, c.Login, c.End); err != nil {
		c.failed(ctx, err)
		c.over(ctx, gateway.StepFailed, "WhatsApp was not reached")
		return
	}
	for !c.Pairing.Step.Over() {
		select {
		case <-ctx.Done():
			return
		case <-c.Life.Done():
			c.over(ctx, gateway.StepFailed, "the connection was lost")
		case <-c.until.C:
			c.expire(ctx)
		case <-a.Changed():
			c.answered(ctx, a.Look(ctx))
		case evt := <-news:
			c.react(ctx, evt)
		}
	}
}

// set writes a step down. A pairing that somebody else ended is over.
func (c *courtship) set(ctx context.Context, life time.Duration, change func(*gateway.Pairing)) {
	change(&c.Pairing)
	c.Pairing.ExpiresAt = time.Time{}
	if life > 0 {
		c.Pairing.ExpiresAt = time.Now().Add(life)
		c.until.Reset(life)
	}
	try, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	switch err := c.a.Save(try, &c.Pairing); {
	case gateway.KindOf(err) == gateway.Conflict:
		c.Pairing.Step = gateway.StepFailed // somebody started another one
	case err != nil:
		c.Log.WarnContext(ctx, "write step of pairing", "account", c.Pairing.Account, "step", c.Pairing.Step, "err", err)
	}
}

func (c *courtship) over(ctx context.Context, step gateway.PairingStep, reason string) {
	c.set(ctx, 0, func(p *gateway.Pairing) { p.Step, p.Error, p.QR, p.Code, p.Options = step, reason, "", "", nil })
	c.Log.InfoContext(ctx, "pairing", "account", c.Pairing.Account, "step", step, "reason", reason)
}

// react follows what WhatsApp says.
func (c *courtship) react(ctx context.Context, evt any) {
	switch evt := evt.(type) {
	case *events.QR:
		c.codes = evt.Codes
		if c.Pairing.Method == gateway.ByCode {
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
			c.over(ctx, gateway.StepFailed, "WhatsApp's question for a passkey can not be read")
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
		c.failed(ctx, evt.Error)
		c.over(ctx, gateway.StepFailed, "WhatsApp did not accept the passkey")
	case *events.PairError:
		c.failed(ctx, evt.Error)
		c.forget(ctx)
		c.over(ctx, gateway.StepFailed, "WhatsApp did not link the device")
	case *events.ClientOutdated:
		if c.a.Update(ctx) {
			c.over(ctx, gateway.StepFailed, "WhatsApp wanted a newer client, which is used from now on; start again")
			return
		}
		c.over(ctx, gateway.StepFailed, "WhatsApp wants a newer client: update wagent")
	case *events.PairSuccess:
		c.until.Reset(takeOver)
	case *events.ManualLoginReconnect:
		c.over(ctx, gateway.StepDone, "") // the account connects with what it has now
	case *events.Disconnected:
		if !c.Client.IsConnected() {
			c.gone(ctx)
		}
	}
}

// gone is called when the connection ended: with the device linked, if that
// was far enough, or else without.
func (c *courtship) gone(ctx context.Context) {
	switch {
	case c.named.Load():
		c.over(ctx, gateway.StepDone, "") // or its keys are missing, which the account will say
	case len(c.codes) == 0 && c.Pairing.Method == gateway.ByQR:
		c.over(ctx, gateway.StepExpired, "nobody scanned the code in time; start again")
	default:
		c.over(ctx, gateway.StepFailed, "the connection to WhatsApp was lost; start again")
	}
}

func (c *courtship) showQR(ctx context.Context, life time.Duration) {
	if len(c.codes) == 0 {
		c.over(ctx, gateway.StepExpired, "nobody scanned the code in time; start again")
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
	code, err := c.Client.PairPhone(c.Life, c.Pairing.Phone, true, whatsmeow.PairClientChrome, clientName)
	if err != nil {
		c.failed(ctx, err)
		c.over(ctx, gateway.StepFailed, codeRefusal(err))
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
	switch c.Pairing.Step {
	case gateway.StepQR:
		c.showQR(ctx, nextCode)
	case gateway.StepCode:
		c.over(ctx, gateway.StepExpired, "nobody typed the code in time; start again")
	case gateway.StepPasskey, gateway.StepConfirm:
		c.over(ctx, gateway.StepExpired, "nobody answered in time; start again")
	default:
		c.gone(ctx)
	}
}

// answered takes over what a person answered, which comes through SQL.
func (c *courtship) answered(ctx context.Context, p *gateway.Pairing) {
	switch {
	case p == nil:
	case p.ID != c.Pairing.ID:
		c.Pairing.Step = gateway.StepFailed // somebody started another one, and said so of this one
	case c.Pairing.Step == gateway.StepPasskey && len(p.Answer) > 0 && len(c.Pairing.Answer) == 0:
		c.Pairing.Answer = p.Answer
		var response types.WebAuthnResponse
		err := json.Unmarshal(p.Answer, &response)
		if err == nil {
			err = c.Client.SendPasskeyResponse(c.Life, &response)
		}
		if err != nil {
			c.failed(ctx, err)
			c.over(ctx, gateway.StepFailed, "WhatsApp did not accept the passkey's answer")
		}
	case c.Pairing.Step == gateway.StepConfirm && p.Confirmed && !c.Pairing.Confirmed:
		c.Pairing.Confirmed = true
		c.confirm(ctx)
	}
}

func (c *courtship) confirm(ctx context.Context) {
	if err := c.Client.SendPasskeyConfirmation(c.Life); err != nil {
		c.failed(ctx, err)
		c.over(ctx, gateway.StepFailed, "WhatsApp did not take the confirmation")
		return
	}
	c.until.Reset(takeOver)
}

// paired notes which device we are from now on. It is called by the library
// before it keeps the device's keys; false ends the pairing.
func (c *courtship) paired(jid types.JID) bool {
	ctx, cancel := context.WithTimeout(c.Life, 5*time.Second)
	defer cancel()
	named := c.a.Name(ctx, jid)
	c.named.Store(named)
	return named
}

// forget undoes paired.
func (c *courtship) forget(ctx context.Context) {
	c.named.Store(false)
	c.a.Name(ctx, types.EmptyJID)
}

func (c *courtship) failed(ctx context.Context, err error) {
	c.Log.WarnContext(ctx, "pairing failed", "account", c.Pairing.Account, "step", c.Pairing.Step, "err", err)
}
