package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway"
	"wagent/gateway/whatsapp/library"
)

// A connection is a paired client between connecting and the loss of it. The
// client, which several have one after another, keeps what was sent.
type connection struct {
	cli    *whatsmeow.Client
	book   store.LIDStore  // who has which number
	ctx    context.Context // what the library works under; its end is the connection's
	cancel context.CancelCauseFunc
	ruin   context.CancelCauseFunc // ends the client's life too
	turn   library.Turn            // who may use the sessions with people

	login   atomic.Bool // WhatsApp took our login
	up      atomic.Bool // we may send, as far as we know
	ending  atomic.Bool // WhatsApp is closing it
	refused atomic.Bool // something could not be stored: nothing more is taken
	backlog atomic.Bool // WhatsApp still delivers what came while we were away
}

// newsBuffer is how many events that change the state may wait. They are rare.
const newsBuffer = 64

// keepConnected connects a paired device, again and again, until ctx is done,
// the device is gone or to be logged out, or its client has to be made anew.
func (m *member) keepConnected(ctx context.Context, jid string) error {
	b := m.open(ctx)
	defer b.Shut()
	parsed, err := types.ParseJID(jid)
	if err != nil {
		return m.unpair(ctx, gateway.LinkLoggedOut, "the record of the linked device can not be read")
	}
	device, err := b.Device(b.Life, parsed)
	if err != nil {
		return fmt.Errorf("read device of account %s: %w", m.id, err)
	}
	if device == nil {
		return m.unpair(ctx, gateway.LinkLoggedOut, "the keys of the linked device are gone; link the phone again")
	}
	sessions := library.Paired(device, m.learn)
	cli := m.client(device)
	news := make(chan any, newsBuffer)
	handler := cli.AddEventHandlerWithSuccessStatus(func(evt any) bool { return m.handle(ctx, evt, news) })
	defer cli.RemoveEventHandler(handler)
	m.sitOut(ctx)
	for b.Life.Err() == nil {
		if m.leaving() {
			return m.logOut(ctx, b, cli)
		}
		again, pause := m.connectOnce(ctx, b, cli, sessions, news)
		if !again {
			break
		}
		m.pauseUntil(ctx, time.Now().Add(pause))
	}
	if b.Life.Err() != nil || m.device() != "" {
		return nil
	}
	// Logged out: the library deletes its keys, unless it was interrupted.
	if left, err := b.Device(b.Life, parsed); err == nil && left != nil {
		return left.Delete(b.Life)
	}
	return nil
}

// client makes a client as both pairing and connecting use it.
func (m *member) client(device *store.Device) *whatsmeow.Client {
	cli := library.Client(device, library.Log(m.fleet.log, m.onFrame), m.fleet.web)
	if m.fleet.cfg.Dress != nil {
		m.fleet.cfg.Dress(cli)
	}
	return cli
}

// update takes over the newest version of WhatsApp's client, and reports
// whether it is newer than ours.
func (m *member) update(ctx context.Context) bool {
	version, err := library.Update(ctx, m.fleet.cfg.Newest)
	if err != nil {
		m.fleet.log.ErrorContext(ctx, "WhatsApp wants a newer client: update wagent", "account", m.id, "err", err)
		return false
	}
	m.fleet.log.WarnContext(ctx, "WhatsApp wants a newer client: its version is used from now on; update wagent soon", "version", version)
	return true
}

// onFrame is told of each stanza that comes.
func (m *member) onFrame(tag string) {
	m.lastFrame.Store(time.Now().UnixNano())
	if tag == "success" {
		if c := m.connection(); c != nil {
			c.login.Store(true)
		}
	}
}

// connectOnce connects, and returns once the connection is lost: whether to
// try again, and after what time.
func (m *member) connectOnce(ctx context.Context, b *library.Box, cli *whatsmeow.Client, sessions library.Turn, news chan any) (again bool, pause time.Duration) {
	if err := m.fleet.pace.Wait(ctx); err != nil {
		return false, 0
	}
	for len(news) > 0 {
		<-news // of the connection before
	}
	c := &connection{cli: cli, book: cli.Store.LIDs, ruin: b.End, turn: sessions}
	c.ctx, c.cancel = context.WithCancelCause(b.Life)
	c.backlog.Store(true)
	m.mu.Lock()
	m.conn = c
	m.mu.Unlock()
	defer m.hangUp(ctx, c)
	if m.state() != gateway.LinkDisconnected {
		m.change(ctx, func(l *gateway.Link) { l.State, l.Reason, l.RetryAt = gateway.LinkConnecting, "", time.Time{} })
	}
	switch err := library.Dial(c.ctx, cli, m.fleet.cfg.Login, c.cancel); {
	case errors.Is(err, store.ErrDeviceDeleted):
		_ = m.unpair(ctx, gateway.LinkLoggedOut, "the keys of the linked device are gone; link the phone again")
		return false, 0
	case err != nil:
		m.disconnected(ctx, "WhatsApp was not reached", err)
		return true, m.wait.Step()
	}
	return m.watch(ctx, c, news)
}

// hangUp ends a connection of which nothing is expected any more.
func (m *member) hangUp(ctx context.Context, c *connection) {
	c.up.Store(false)
	if c.ctx.Err() != nil || c.ending.Load() {
		library.AwaitEnd(ctx, c.cli)
	}
	c.cli.Disconnect()
	c.cancel(errStopped)
	m.mu.Lock()
	if m.conn == c {
		m.conn = nil
	}
	m.mu.Unlock()
	// What came as backlog is not to wait for a connection that may not come.
	if c.backlog.Load() && m.held() {
		m.release(ctx)
	}
}

// refuse takes nothing more on this connection and ends it: WhatsApp delivers
// again, in order, from the first message that we did not acknowledge. It may
// be called from any goroutine, and more than once.
func (c *connection) refuse(err error) {
	c.refused.Store(true)
	c.up.Store(false)
	c.ruin(err)
}

// watch follows a connection that stands until it is lost.
func (m *member) watch(ctx context.Context, c *connection, news chan any) (again bool, pause time.Duration) {
	began := time.Now()
	check := time.NewTicker(min(m.fleet.cfg.Login, m.fleet.cfg.Deaf) / 5)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, 0
		case <-c.ctx.Done():
			m.disconnected(ctx, "something could not be stored, or not be sent in time", context.Cause(c.ctx))
			return true, m.wait.Step()
		case <-m.kick:
			m.save(ctx)
			m.joinLearned(ctx)
			if m.leaving() {
				return true, 0
			}
		case <-check.C:
			switch {
			case !c.up.Load() && time.Since(began) > m.fleet.cfg.Login:
				m.disconnected(ctx, "WhatsApp did not complete the login", nil)
				return true, m.wait.Step()
			case c.up.Load() && m.frameAge() > m.fleet.cfg.Deaf:
				m.disconnected(ctx, "nothing was heard of WhatsApp", nil)
				return true, m.wait.Step()
			case c.up.Load() && c.backlog.Load() && time.Since(began) > m.fleet.cfg.Login:
				m.backlogEnds(ctx, c) // WhatsApp never said so
			}
		case evt := <-news:
			if end, again, pause := m.react(ctx, c, evt); end {
				return again, pause
			}
		}
	}
}

// The waits where connecting again at once would be wrong.
const (
	refusedWait  = 15 * time.Minute // WhatsApp refuses for a reason that we do not know
	replacedWait = 10 * time.Minute // somebody else uses the device's keys
	outdatedWait = time.Hour        // no newer version is known
	soonestBan   = time.Minute      // a ban that says it is over already
)

// react follows one event. end says that the connection is over.
func (m *member) react(ctx context.Context, c *connection, evt any) (end, again bool, pause time.Duration) {
	retry := func(s gateway.LinkState, reason string, d time.Duration) (bool, bool, time.Duration) {
		c.ending.Store(true)
		m.change(ctx, func(l *gateway.Link) { l.State, l.Reason, l.RetryAt = s, reason, time.Now().Add(d) })
		return true, true, d
	}
	switch evt := evt.(type) {
	case *events.Connected:
		if c.login.Load() && c.ctx.Err() == nil { // or else it is of the connection before this one
			m.wait.Reset()
			m.connected(ctx, c)
		}
	case *events.Disconnected:
		if c.cli.IsConnected() {
			return false, false, 0 // of the connection before this one
		}
		m.disconnected(ctx, "the connection was lost", nil)
		return true, true, m.wait.Step()
	case *events.LoggedOut:
		c.ending.Store(true)
		_ = m.unpair(ctx, gateway.LinkLoggedOut, library.WhyLoggedOut(evt))
		return true, false, 0
	case *events.TemporaryBan:
		return retry(gateway.LinkBanned, "WhatsApp banned the number for a while: "+evt.Code.String(), max(evt.Expire, soonestBan))
	case *events.ClientOutdated:
		if m.update(ctx) {
			return retry(gateway.LinkOutdated, "WhatsApp wants a newer client; its newest version is tried", m.wait.Step())
		}
		return retry(gateway.LinkOutdated, "WhatsApp wants a newer client: update wagent", outdatedWait)
	case *events.StreamReplaced:
		return retry(gateway.LinkReplaced, "another process took the connection with the same keys; only one may run", replacedWait)
	case *events.ConnectFailure:
		return retry(gateway.LinkRefused, fmt.Sprintf("WhatsApp refuses the connection (%d)", int(evt.Reason)), refusedWait)
	case *events.StreamError, *events.ManualLoginReconnect:
		c.ending.Store(true)
		m.disconnected(ctx, "WhatsApp ended the connection", nil)
		return true, true, m.wait.Step()
	case *events.OfflineSyncCompleted:
		m.backlogEnds(ctx, c)
	case *events.NotifyAccountReachoutTimelock:
		until := time.Time{}
		if evt.IsActive {
			until = evt.TimeEnforcementEnds.Time
		}
		m.change(ctx, func(l *gateway.Link) { l.NoFirstUntil = until })
	}
	return false, false, 0
}

// connected is called once WhatsApp lets us in.
func (m *member) connected(ctx context.Context, c *connection) {
	lid := c.cli.Store.GetLID()
	m.lastFrame.Store(time.Now().UnixNano())
	c.up.Store(true)
	m.change(ctx, func(l *gateway.Link) {
		l.State, l.Reason, l.RetryAt, l.ConnectedAt = gateway.LinkConnected, "", time.Time{}, time.Now()
		if l.LID == "" {
			l.LID = lid.User
		}
	})
	// Available would silence the phone's own notifications.
	if err := c.cli.SendPresence(c.ctx, types.PresenceUnavailable); err != nil && !errors.Is(err, whatsmeow.ErrNoPushName) {
		m.fleet.log.DebugContext(ctx, "say that we are not looking", "account", m.id, "err", err)
	}
	if m.fleet.Ready != nil {
		m.fleet.Ready()
	}
	if m.fleet.Files != nil {
		m.fleet.Files.Wake()
	}
}

func (m *member) disconnected(ctx context.Context, reason string, cause error) {
	if ctx.Err() != nil {
		return
	}
	m.fleet.metrics.Disconnects.Inc()
	if cause != nil {
		m.fleet.log.WarnContext(ctx, "connection lost", "account", m.id, "reason", reason, "err", cause)
	}
	m.change(ctx, func(l *gateway.Link) { l.State, l.Reason = gateway.LinkDisconnected, reason })
}

// backlogEnds opens the windows of what came while we were away.
func (m *member) backlogEnds(ctx context.Context, c *connection) {
	if c.backlog.CompareAndSwap(true, false) {
		m.release(ctx)
	}
}

func (m *member) release(ctx context.Context) {
	try, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := m.fleet.Inbox.Release(try, m.id); err != nil {
		m.fleet.log.WarnContext(ctx, "open the windows of the backlog; they are left to the sweeper", "account", m.id, "err", err)
	}
}

// unpair notes that there is no device any more; the account keeps its data.
func (m *member) unpair(ctx context.Context, s gateway.LinkState, reason string) error {
	m.change(ctx, func(l *gateway.Link) {
		l.Device, l.State, l.Reason, l.RetryAt, l.LoggingOut = "", s, reason, time.Time{}, false
	})
	return nil
}

// logOutPatience is how long WhatsApp may take to unlink us.
const logOutPatience = 20 * time.Second

// logOut unlinks the device. Where WhatsApp is not reached, the phone shows it
// until somebody removes it there; here it is gone all the same.
func (m *member) logOut(ctx context.Context, b *library.Box, cli *whatsmeow.Client) error {
	try, cancel := context.WithTimeout(b.Life, logOutPatience)
	defer cancel()
	reason := ""
	err := library.Unlink(try, cli, m.fleet.cfg.Login)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		m.fleet.log.WarnContext(ctx, "unlink device", "account", m.id, "err", err)
		reason = "WhatsApp was not reached: remove the device on the phone, too"
		if err := cli.Store.Delete(b.Life); err != nil {
			return fmt.Errorf("delete device of account %s: %w", m.id, err)
		}
	}
	return m.unpair(ctx, gateway.LinkUnpaired, reason)
}

// sitOut waits for the end of a ban that whoever held the account learned of.
func (m *member) sitOut(ctx context.Context) {
	if l := m.snapshot(); l.State == gateway.LinkBanned {
		m.pauseUntil(ctx, l.RetryAt)
	}
}

// pauseUntil waits; a person who wants the device unlinked is not kept
// waiting.
func (m *member) pauseUntil(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-m.kick:
			m.save(ctx)
			m.joinLearned(ctx)
			if m.leaving() {
				return
			}
		}
	}
}
