//go:build watest

package devices_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"

	"wagent/gateway/whatsapp/devices"
	"wagent/gateway/whatsapp/watest"
)

// patience bounds every wait: what does not happen fails.
const patience = 30 * time.Second

// A rig is one account of a process: its devices in a Store with a gremlin in
// it, and a real client that the server of watest talks to.
type rig struct {
	t       *testing.T
	ctx     context.Context
	s       *watest.Server
	phone   *watest.Phone
	device  *watest.Device
	cfg     config
	gremlin gremlin
	devices *devices.Store
	deaf    bool // Broke does nothing

	line *line

	people int

	mu            sync.Mutex
	texts         map[string]string // by message id: what production would have on record
	undecryptable []string
}

// A line is one connection of the account.
type line struct {
	ctx       context.Context
	cancel    context.CancelFunc
	account   *devices.Account
	cli       *whatsmeow.Client
	connected chan struct{}
	ended     chan struct{} // after Connected
	qr        chan string
}

func newRig(t *testing.T, cfg config) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 8*patience)
	t.Cleanup(cancel)
	s := watest.New()
	t.Cleanup(s.Close)
	r := &rig{t: t, ctx: ctx, s: s, phone: s.Phone("491510000001"), cfg: cfg, texts: map[string]string{}}
	r.open()
	t.Cleanup(func() { r.hangUp(); r.must(r.devices.Close()) })
	l := r.dial(nil)
	var err error
	r.device, err = r.phone.Link(<-l.qr)
	r.must(err)
	r.await("Connected", l.connected)
	r.must(r.device.Ready(ctx))
	return r
}

// open opens the database, as a process does at its start.
func (r *rig) open() {
	r.t.Helper()
	var err error
	r.devices, err = devices.OpenThrough(r.ctx, r.cfg, r.gremlin.wrap)
	r.must(err)
}

// disarm reports whether an operation failed since arm.
func (g *gremlin) disarm() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = 0
	return g.failed > 0
}

// dial connects the account; a nil device is to be paired.
func (r *rig) dial(jid *types.JID) *line {
	r.t.Helper()
	l := &line{connected: make(chan struct{}), ended: make(chan struct{}), qr: make(chan string, 1)}
	l.ctx, l.cancel = context.WithCancel(r.ctx)
	broke := func(error) { l.cancel() }
	if r.deaf {
		broke = func(error) {}
	}
	l.account = r.devices.Account(devices.Fence{Account: "acc_1", Number: 1, Held: func() bool { return true }, Broke: broke})
	var device *store.Device
	if jid == nil {
		device = l.account.NewDevice()
	} else {
		var err error
		device, err = l.account.Device(l.ctx, *jid)
		r.must(err)
	}
	l.cli = whatsmeow.NewClient(device, waLog.Noop)
	l.cli.BackgroundEventCtx = l.ctx
	l.cli.EnableAutoReconnect = false
	l.cli.SynchronousAck = true
	l.cli.EnableDecryptedEventBuffer = true
	l.cli.UseRetryMessageStore = true
	l.cli.AddEventHandlerWithSuccessStatus(func(event any) bool { return r.handle(l, event) })
	watest.Attach(l.cli, r.s.Addr())
	r.must(l.cli.ConnectContext(l.ctx))
	r.line = l
	return l
}

func (r *rig) handle(l *line, event any) bool {
	switch e := event.(type) {
	case *events.QR:
		l.qr <- e.Codes[0]
	case *events.Connected:
		close(l.connected)
	case *events.Disconnected:
		close(l.ended)
	case *events.UndecryptableMessage:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.undecryptable = append(r.undecryptable, e.Info.ID)
	case *events.Message:
		text := e.Message.GetConversation() + e.Message.GetExtendedTextMessage().GetText() + e.Message.GetPollCreationMessage().GetName()
		if text == "" {
			return true
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if was, ok := r.texts[e.Info.ID]; ok && was != text {
			r.t.Errorf("message %s is %q, and then %q", e.Info.ID, was, text)
		}
		r.texts[e.Info.ID] = text
	}
	return true
}

// hangUp ends the connection, as it is after Broke. The library races with
// itself unless it has noticed that before Disconnect, and now and then it never
// notices: its reader waits to hand over a frame that nobody takes any more.
func (r *rig) hangUp() {
	if r.line == nil {
		return
	}
	l := r.line
	r.line = nil
	l.cancel()
	enough := time.NewTimer(time.Second)
	defer enough.Stop()
	select {
	case <-l.ended:
	case <-enough.C:
	}
	l.cli.Disconnect()
	r.must(l.account.Close())
}

// redial connects again, from the database alone.
func (r *rig) redial() {
	r.t.Helper()
	r.hangUp()
	jid := r.device.JID()
	l := r.dial(&jid)
	r.await("Connected", l.connected)
}

// redialDeaf connects again, and lets the connection live whatever happens.
func (r *rig) redialDeaf() {
	r.t.Helper()
	r.deaf = true
	r.redial()
}

// quiet waits until all that came before is acknowledged.
func (r *rig) quiet() {
	r.must(r.device.Settled(r.ctx))
}

func (r *rig) received() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.texts)
}

func (r *rig) lost() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.undecryptable
}

// await waits for one of two things, or for one.
func (r *rig) await(what string, c <-chan struct{}, or ...<-chan struct{}) {
	r.t.Helper()
	or = append(or, nil)
	enough := time.NewTimer(patience)
	defer enough.Stop()
	select {
	case <-c:
	case <-or[0]:
	case <-enough.C:
		r.t.Fatalf("%s never happened", what)
	}
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// delivered waits until the server knows the message to be handled, over as
// many connections as that takes. It says how many ended.
func (r *rig) delivered(m *watest.Sent) (ended int) {
	r.t.Helper()
	for {
		acked := make(chan error, 1)
		ctx, cancel := context.WithCancel(r.ctx)
		go func() { acked <- m.Acked(ctx) }()
		select {
		case err := <-acked:
			cancel()
			r.must(err)
			return ended
		case <-r.line.ctx.Done():
			cancel()
			<-acked
			ended++
			r.redial()
		}
	}
}
