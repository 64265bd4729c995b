//go:build watest

package watest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"wagent/gateway/whatsapp/watest"
)

// TestMain looks for leaks of the server. Two are whatsmeow's: its reader stays
// behind with a frame that came when nobody took frames any more, and its loop
// for history lives for a minute.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).frameComplete"),
		goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow.(*Client).handleHistorySyncNotificationLoop"),
	)
}

// patience bounds every wait: what does not happen fails.
const patience = 30 * time.Second

// A client is a real whatsmeow client, driven as production drives one.
type client struct {
	t   *testing.T
	ctx context.Context
	s   *watest.Server
	box *sqlstore.Container
	cli *whatsmeow.Client

	life  sync.Mutex // held while the client object connects, goes or is replaced
	again sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{}
	events  []any
	verdict func(*events.Message) bool // nil says yes
}

func newServer(t *testing.T) *watest.Server {
	t.Helper()
	s := watest.New()
	t.Cleanup(s.Close)
	return s
}

// newClient makes a client that is not paired.
func newClient(t *testing.T, s *watest.Server) *client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "client.db")
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience) // whatsmeow races with itself when its context ends in the middle of Disconnect
	t.Cleanup(cancel)
	c := &client{t: t, ctx: ctx, s: s, box: sqlstore.NewWithDB(db, "sqlite", waLog.Noop), changed: make(chan struct{})}
	t.Cleanup(func() { _ = c.box.Close() })
	if err := c.box.Upgrade(ctx); err != nil {
		t.Fatal(err)
	}
	c.use(c.box.NewDevice())
	t.Cleanup(func() {
		c.life.Lock()
		cli := c.cli
		c.cli = nil
		c.life.Unlock()
		cli.Disconnect()
		c.again.Wait()
	})
	return c
}

func (c *client) use(device *store.Device) {
	cli := whatsmeow.NewClient(device, waLog.Noop)
	c.cli = cli
	// Its own way to reconnect has no jitter and races with whoever waits for
	// an answer, so production does it itself.
	c.cli.EnableAutoReconnect = false
	c.cli.SynchronousAck = true
	c.cli.EnableDecryptedEventBuffer = true
	c.cli.UseRetryMessageStore = true
	c.cli.AddEventHandlerWithSuccessStatus(func(event any) bool {
		if _, ok := event.(*events.Disconnected); ok {
			c.again.Go(func() { c.reconnect(cli) })
		}
		return c.handle(event)
	})
	watest.Attach(c.cli, c.s.Addr())
}

// reconnect connects a client that lost its connection, unless it was replaced.
func (c *client) reconnect(cli *whatsmeow.Client) {
	for pause := time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		c.life.Lock()
		current := c.cli == cli
		err := error(nil)
		if current {
			err = cli.ConnectContext(c.ctx)
		}
		c.life.Unlock()
		if !current || err == nil || errors.Is(err, whatsmeow.ErrAlreadyConnected) {
			return
		}
		retry := time.NewTimer(pause)
		select {
		case <-retry.C:
		case <-c.ctx.Done():
			retry.Stop()
			return
		}
	}
}

func (c *client) handle(event any) bool {
	c.mu.Lock()
	c.events = append(c.events, event)
	verdict := c.verdict
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	if m, ok := event.(*events.Message); ok && verdict != nil {
		return verdict(m)
	}
	return true
}

func (c *client) judge(verdict func(*events.Message) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verdict = verdict
}

// expect blocks for the first event of that type that fits and takes it out. A
// nil fits takes any.
func expect[T any](c *client, fits func(T) bool) T {
	c.t.Helper()
	for {
		c.mu.Lock()
		for i, e := range c.events {
			if v, ok := e.(T); ok && (fits == nil || fits(v)) {
				c.events = append(c.events[:i:i], c.events[i+1:]...)
				c.mu.Unlock()
				return v
			}
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-c.ctx.Done():
			var zero T
			c.t.Fatalf("no %T came; there are %s", zero, c.seen())
		}
	}
}

// count is how many events of that type wait and fit.
func count[T any](c *client, fits func(T) bool) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, e := range c.events {
		if v, ok := e.(T); ok && (fits == nil || fits(v)) {
			n++
		}
	}
	return n
}

func (c *client) seen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, e := range c.events {
		fmt.Fprintf(&b, "%T ", e)
	}
	return b.String()
}

// message blocks for the message event of that id.
func (c *client) message(id string) *events.Message {
	c.t.Helper()
	return expect(c, withID(id))
}

func withID(id string) func(*events.Message) bool {
	return func(m *events.Message) bool { return m.Info.ID == id }
}

// connect connects a client that is not paired and returns its first QR code.
func (c *client) connect() string {
	c.t.Helper()
	c.must(c.cli.ConnectContext(c.ctx))
	return expect[*events.QR](c, nil).Codes[0]
}

// link pairs the client by QR and waits until it is logged in.
func (c *client) link(p *watest.Phone) *watest.Device {
	c.t.Helper()
	d, err := p.Link(c.connect())
	c.must(err)
	expect[*events.Connected](c, nil)
	c.must(d.Ready(c.ctx))
	return d
}

// restart drops the client object and makes another from the database, as a
// restarted process does.
func (c *client) restart(d *watest.Device) {
	c.t.Helper()
	device, err := c.box.GetDevice(c.ctx, d.JID())
	c.must(err)
	c.life.Lock()
	c.cli.Disconnect()
	c.mu.Lock()
	c.events = nil
	c.mu.Unlock()
	c.use(device)
	err = c.cli.ConnectContext(c.ctx)
	c.life.Unlock()
	c.must(err)
	expect[*events.Connected](c, nil)
}

// disconnect ends the connection from the client's side.
func (c *client) disconnect() {
	c.life.Lock()
	defer c.life.Unlock()
	c.cli.Disconnect()
}

func (c *client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// got fails the test unless the two are equal.
func got[T comparable](t *testing.T, what string, is, want T) {
	t.Helper()
	if is != want {
		t.Errorf("%s is %v, want %v", what, is, want)
	}
}
