//go:build watest

package whatsapp_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
	"wagent/gateway/whatsapp"
	"wagent/gateway/whatsapp/devices"
	"wagent/gateway/whatsapp/rehearsal"
	"wagent/gateway/whatsapp/watest"
)

// TestMain looks for leaks. Four are whatsmeow's: its reader stays behind with a
// frame that came when nobody took frames any more, its loop for history lives
// for a minute, and so does its wait for the answer to a privacy token. What waits
// for an answer of ours goes on for 5 s after the end.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"),
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow.(*Client).handleHistorySyncNotificationLoop"),
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow.(*Client).issuePrivacyTokenAndSave"),
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow.(*Client).WaitForConnection"),
	)
}

// patience bounds every wait: what does not happen fails.
const patience = 40 * time.Second

const account = gateway.AccountID("acc_phone")

// A rig is a WhatsApp, a store, and processes that hold accounts on them.
type rig struct {
	*testing.T
	ctx    context.Context
	wa     *watest.Server
	phone  *watest.Phone
	device *watest.Device
	db     *store.Store
	boxes  *devices.Store
	inbox  *gateway.Inbox
	change func(*whatsapp.Config) // of each process; may be nil

	mu    sync.Mutex
	armed []string                    // texts whose windows were opened, in order
	fail  func(context.Context) error // asked before messages are stored; may be nil
}

func newRig(t *testing.T, change ...func(*gateway.Account)) *rig {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*patience)
	t.Cleanup(cancel)
	r := &rig{T: t, ctx: ctx, wa: watest.New(), db: storetest.Open(t)}
	t.Cleanup(r.wa.Close)
	r.phone = r.wa.Phone("491510000001")
	var err error
	if r.boxes, err = devices.Open(ctx, devices.Config{Path: filepath.Join(dir, "devices.db")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.boxes.Close() })
	a := gateway.Account{ID: account, Kind: gateway.LinkedDevice, Linked: gateway.DefaultLinked(), Takeover: time.Minute}
	a.Linked.SendGap = 0
	for _, c := range change {
		c(&a)
	}
	agent := gateway.DefaultAgent()
	agent.ID, agent.Name, agent.SystemPrompt, agent.Account, agent.AutoRun = gateway.NewAgentID(), "A", "B", account, true
	r.must(r.db.PutAccount(ctx, a))
	r.must(r.db.CreateAgent(ctx, &agent))
	r.inbox = &gateway.Inbox{Store: r, Agents: r.db, Window: r, MaxAge: time.Hour, Log: quiet()}
	return r
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// AddMessages is the store's, unless it is to fail.
func (r *rig) AddMessages(ctx context.Context, ms []gateway.Arrival) ([]gateway.Arrived, error) {
	r.mu.Lock()
	fail := r.fail
	r.mu.Unlock()
	if fail != nil {
		if err := fail(ctx); err != nil {
			return nil, err
		}
	}
	return r.db.AddMessages(ctx, ms)
}

// Waiting is the store's.
func (r *rig) Waiting(ctx context.Context, id gateway.AccountID, after int64, limit int) ([]gateway.Message, error) {
	return r.db.Waiting(ctx, id, after, limit)
}

// JoinAddresses is the store's.
func (r *rig) JoinAddresses(ctx context.Context, id gateway.AccountID, forms ...gateway.Address) ([]gateway.Message, error) {
	return r.db.JoinAddresses(ctx, id, forms...)
}

// Add satisfies gateway.Windower.
func (r *rig) Add(_ context.Context, m *gateway.Message, _ gateway.Window) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed = append(r.armed, m.Text)
	return nil
}

// Drop satisfies gateway.Windower.
func (r *rig) Drop(context.Context, gateway.ConversationID) error { return nil }

func (r *rig) failWith(fail func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = fail
}

// A process holds accounts until it is stopped.
type process struct {
	*whatsapp.Fleet
	stop func()
}

// start runs a fleet as a process of its own would. It is stopped with the
// test.
func (r *rig) start() *process {
	r.Helper()
	cfg := whatsapp.Defaults()
	cfg.Lease, cfg.Tick, cfg.Stagger, cfg.Backoff, cfg.MostWait = 3*time.Second, 200*time.Millisecond, 0, 20*time.Millisecond, 500*time.Millisecond
	rehearsal.At(&cfg, r.wa.Addr(), 0)
	if r.change != nil {
		r.change(&cfg)
	}
	f, err := whatsapp.New(whatsapp.Parts{Links: r.db, Pairings: r.db, Inbox: r.inbox, Records: r.db, Devices: r.boxes}, cfg, quiet(), nil)
	r.must(err)
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = f.Run(ctx) }()
	p := &process{Fleet: f, stop: sync.OnceFunc(func() { cancel(); <-done })}
	r.Cleanup(p.stop)
	return p
}

// until waits for something to become true; it looks every 10 ms.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit.C:
			l, _ := r.db.Link(r.ctx, account)
			p, _ := r.db.Pairing(r.ctx, account)
			r.Fatalf("waiting for %s; the link is %s (%s), the pairing %s (%s)", what, l.State, l.Reason, p.Step, p.Error)
		case <-tick.C:
		}
	}
}

func (r *rig) state(want gateway.LinkState) gateway.Link {
	r.Helper()
	var l gateway.Link
	r.until("the state "+string(want), func() bool {
		var err error
		l, err = r.db.Link(r.ctx, account)
		return err == nil && l.State == want
	})
	return l
}

func (r *rig) step(want gateway.PairingStep) gateway.Pairing {
	r.Helper()
	var p gateway.Pairing
	r.until("the step "+string(want), func() bool {
		var err error
		p, err = r.db.Pairing(r.ctx, account)
		return err == nil && p.Step == want
	})
	return p
}

// pair links the account by a QR code and waits until it is connected.
func (r *rig) pair(p *process) {
	r.Helper()
	_, err := r.db.StartPairing(r.ctx, account, gateway.ByQR, "")
	r.must(err)
	p.Wake()
	qr := r.step(gateway.StepQR).QR
	r.device, err = r.phone.Link(qr)
	r.must(err)
	r.step(gateway.StepDone)
	r.state(gateway.LinkConnected)
	r.must(r.device.Ready(r.ctx))
}

// paired returns a rig whose account is connected by one process.
func paired(t *testing.T, change ...func(*gateway.Account)) (*rig, *process) {
	t.Helper()
	r := newRig(t, change...)
	p := r.start()
	r.pair(p)
	return r, p
}

// texts returns what customers wrote, as it is on record, in its order.
func (r *rig) texts() []string {
	r.Helper()
	ms, err := r.db.Messages(r.ctx, account, "", 1000)
	r.must(err)
	var out []string
	for _, m := range slices.Backward(ms) {
		if m.Direction == gateway.In {
			out = append(out, m.Text)
		}
	}
	return out
}

// send claims nothing: it hands a reply to the channel, as the outbox does.
func (r *rig) send(p *process, to gateway.Address, text string) (string, error) {
	s := &gateway.Send{ID: gateway.NewMessageID(), Account: account, To: to, Text: text, Deadline: time.Now().Add(gateway.SendDeadline), Answers: time.Now()}
	ctx, cancel := context.WithDeadline(r.ctx, s.Deadline)
	defer cancel()
	return p.Transmit(ctx, &gateway.Account{ID: account, Kind: gateway.LinkedDevice}, s)
}

func address(p *watest.Person) gateway.Address {
	return gateway.Address{Phone: "+" + p.PN().User, LID: p.LID().User}
}

func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("message %03d", i)
	}
	return out
}
