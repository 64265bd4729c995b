package whatsapp

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow/types"

	"wagent/gateway"
	"wagent/gateway/whatsapp/devices"
	"wagent/gateway/whatsapp/library"
	"wagent/gateway/whatsapp/pace"
)

// A member is one account that this process holds, under one fence. One
// goroutine owns it: it pairs, connects, and connects again, until it is
// stopped.
type member struct {
	fleet *Fleet
	id    gateway.AccountID
	fence int64         // of this hold
	done  chan struct{} // closed when nothing of it runs any more
	kick  chan struct{} // something of link or pairing changed
	end   context.CancelCauseFunc
	wait  pace.Backoff // before the next connection; of the member's goroutine

	until     atomic.Int64 // the end of the lease by our clock, in Unix nanoseconds
	lastFrame atomic.Int64 // Unix nanoseconds; 0: none yet
	stopped   atomic.Bool
	pairs     library.Pairs // learned and not yet joined

	mu      sync.Mutex // guards what follows
	link    gateway.Link
	unsaved bool // link has what SQL has not
	pairing *gateway.Pairing
	conn    *connection // nil unless there is one
}

func newMember(f *Fleet, l gateway.Link, until time.Time) *member {
	m := &member{
		fleet: f, id: l.Account, fence: l.Fence, link: l, done: make(chan struct{}), kick: make(chan struct{}, 1),
		wait: pace.Backoff{First: f.cfg.Backoff, Most: f.cfg.MostWait},
	}
	m.until.Store(until.UnixNano())
	return m
}

// held reports whether the account is ours, as far as our clock tells.
func (m *member) held() bool {
	return !m.stopped.Load() && time.Now().UnixNano() < m.until.Load()
}

// renew moves the end of the lease and takes note of what others asked for.
func (m *member) renew(l *gateway.Link, until time.Time) {
	m.until.Store(until.UnixNano())
	m.mu.Lock()
	asked := l.LoggingOut && !m.link.LoggingOut
	m.link.LoggingOut = m.link.LoggingOut || l.LoggingOut
	stale := m.unsaved || m.frameAge() < time.Minute && time.Since(l.LastFrameAt) > time.Minute && m.link.State == gateway.LinkConnected
	m.unsaved = stale
	m.mu.Unlock()
	if asked || stale {
		m.nudge()
	}
}

// offer hands over an open pairing, or what a person answered to it.
func (m *member) offer(p gateway.Pairing) {
	m.mu.Lock()
	old := m.pairing
	m.pairing = &p
	m.mu.Unlock()
	if old == nil || old.ID != p.ID || len(old.Answer) != len(p.Answer) || old.Confirmed != p.Confirmed {
		m.nudge()
	}
}

func (m *member) nudge() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// stop ends the member; done tells when. It may be called twice.
func (m *member) stop(why error) {
	m.stopped.Store(true)
	m.end(why)
}

// start begins the member's goroutine.
func (m *member) start(ctx context.Context) {
	ctx, m.end = context.WithCancelCause(ctx)
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			m.live(ctx)
		}
		m.last(ctx)
	}()
}

// live is run until it panics or ctx is done.
func (m *member) live(ctx context.Context) {
	defer func() {
		if p := recover(); p != nil {
			m.fleet.log.ErrorContext(ctx, "account panicked; it starts again", "account", m.id, "panic", p, "stack", string(debug.Stack()))
			m.change(ctx, func(l *gateway.Link) { l.State, l.Reason = gateway.LinkDisconnected, "internal error" })
			_ = pace.Sleep(ctx, m.fleet.cfg.MostWait/4)
		}
	}()
	if err := m.run(ctx); err != nil && ctx.Err() == nil {
		m.fleet.log.WarnContext(ctx, "account starts again", "account", m.id, "err", err)
		_ = pace.Sleep(ctx, pace.Jitter(m.fleet.cfg.Backoff*5))
	}
}

// last writes down what is not written yet, where it is still ours to write.
// That nobody is connected any more is said of all accounts at once, when they
// are given back.
func (m *member) last(ctx context.Context) {
	if !errors.Is(context.Cause(ctx), errLost) {
		m.save(ctx)
	}
}

// run goes through the account's states until ctx is done.
func (m *member) run(ctx context.Context) error {
	for ctx.Err() == nil {
		device := m.device()
		var err error
		switch {
		case device == "" && m.leaving():
			m.change(ctx, func(l *gateway.Link) { l.LoggingOut = false })
		case device == "":
			err = m.awaitPairing(ctx)
		default:
			err = m.keepConnected(ctx, device)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open returns a view of the library's database. The caller must Shut it.
func (m *member) open(ctx context.Context) *library.Box {
	fence := devices.Fence{Account: string(m.id), Number: m.fence, Held: m.held}
	return library.Open(ctx, m.fleet.Devices, fence, func(err error) {
		if m.held() {
			m.fleet.metrics.StoreErrors.Inc()
			m.fleet.log.ErrorContext(ctx, "the database of devices failed; WhatsApp delivers again what was in hand", "account", m.id, "err", err)
		}
	})
}

func (m *member) connection() *connection {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.conn
}

func (m *member) snapshot() gateway.Link {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.link
}

// Single fields of the link. The goroutine that waits with a connection asks
// for no copy of all of it: with a few of those in its frames its stack is
// twice as large, once for each account.

func (m *member) state() gateway.LinkState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.link.State
}

func (m *member) device() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.link.Device
}

func (m *member) leaving() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.link.LoggingOut
}

// change changes how the link stands and writes that down. Where that fails,
// the next renewal tries again.
func (m *member) change(ctx context.Context, how func(*gateway.Link)) {
	m.mu.Lock()
	before := m.link
	how(&m.link)
	l := m.link
	m.unsaved = true
	m.mu.Unlock()
	if l.State != before.State || l.Reason != before.Reason {
		m.fleet.log.InfoContext(ctx, "link", "account", l.Account, "state", l.State, "was", before.State, "reason", l.Reason)
	}
	m.save(ctx)
}

// save writes down what is not written yet.
func (m *member) save(ctx context.Context) {
	m.mu.Lock()
	l, unsaved := m.link, m.unsaved
	m.mu.Unlock()
	if !unsaved || !m.held() && !m.stopped.Load() {
		return
	}
	l.LastFrameAt = m.heard()
	try, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	switch err := m.fleet.Links.SetLink(try, &l); {
	case err == nil:
		m.mu.Lock()
		m.unsaved = m.link.State != l.State || m.link.Reason != l.Reason || m.link.Device != l.Device
		m.mu.Unlock()
	case gateway.KindOf(err) == gateway.Conflict:
		m.stop(errLost)
	default:
		m.fleet.log.WarnContext(ctx, "write how a link stands; it is tried again", "account", l.Account, "err", err)
	}
}

// heard is when a frame of WhatsApp's came last, here or as was written down.
func (m *member) heard() time.Time {
	if n := m.lastFrame.Load(); n > 0 {
		return time.Unix(0, n)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.link.LastFrameAt
}

func (m *member) frameAge() time.Duration { return time.Since(time.Unix(0, m.lastFrame.Load())) }

// ready returns the connection if we may send: it is logged in, and the account
// ours.
func (m *member) ready() *connection {
	c := m.connection()
	if c == nil || !m.held() || !c.up.Load() || !c.cli.IsConnected() || !c.cli.IsLoggedIn() {
		return nil
	}
	return c
}

// self is who the account is on WhatsApp; false while it is not paired.
func (m *member) self() (pn, lid types.JID, ok bool) {
	l := m.snapshot()
	pn, err := types.ParseJID(l.Device)
	if err != nil || l.Device == "" {
		return types.EmptyJID, types.EmptyJID, false
	}
	if l.LID != "" {
		lid = types.NewJID(l.LID, types.HiddenUserServer)
	}
	return pn.ToNonAD(), lid, true
}
