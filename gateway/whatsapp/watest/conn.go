//go:build watest

package watest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/coder/websocket"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/types"
)

// farewell is how long a client has to read why it is sent away.
const farewell = 5 * time.Second

// A conn is one WebSocket. Its reader is the goroutine that accepted it; what
// it sends passes through a queue, so that nobody who holds the server's mu
// waits for a client.
type conn struct {
	s      *Server
	ws     *websocket.Conn
	hangUp func()
	wake   chan struct{}
	*greeting
	rest   []byte // read and not yet taken as frames
	rn, wn uint32

	// Guarded by the server's mu.
	dev    *Device // nil while pairing
	active bool    // the client asked for its messages
	dead   bool
	mute   bool // what is sent is lost
	fence  string
	out    []frame
	link   linking
}

// A frame waits to be written. half: only half of it is, and then the
// connection is cut.
type frame struct {
	data []byte
	half bool
}

func (c *conn) serve(ctx context.Context) error {
	_, first, err := c.ws.Read(ctx)
	if err != nil {
		return err
	}
	rest, ok := bytes.CutPrefix(first, socket.WAConnHeader)
	if !ok {
		return errors.New("not a WhatsApp client")
	}
	c.rest = rest
	if c.s.cutsHandshake(during) {
		return nil
	}
	read := func() ([]byte, error) { return c.frame(ctx) }
	write := func(b []byte) error { return c.write(ctx, b) }
	if c.greeting, err = c.s.handshake(read, write); err != nil {
		return err
	}
	if c.s.cutsHandshake(after) {
		return nil
	}
	c.s.served.Go(func() { c.drain(ctx) })
	c.s.mu.Lock()
	c.enter()
	c.s.touch()
	c.s.mu.Unlock()
	for {
		sealed, err := c.frame(ctx)
		if err != nil {
			return err
		}
		node, err := c.decode(sealed)
		if err != nil {
			return err
		}
		c.receive(node)
	}
}

func (c *conn) decode(sealed []byte) (*waBinary.Node, error) {
	plain, err := c.read.Open(nil, nonce(c.rn), sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("open frame %d: %w", c.rn, err)
	}
	c.rn++
	if len(plain) == 0 {
		return nil, errors.New("the stanza is empty")
	}
	if plain, err = waBinary.Unpack(plain); err != nil {
		return nil, fmt.Errorf("unpack stanza: %w", err)
	}
	return waBinary.Unmarshal(plain)
}

// frame returns the next frame. A WebSocket message may hold a part of one, or
// several.
func (c *conn) frame(ctx context.Context) ([]byte, error) {
	for {
		if len(c.rest) >= socket.FrameLengthSize {
			n := int(c.rest[0])<<16 | int(c.rest[1])<<8 | int(c.rest[2])
			if end := socket.FrameLengthSize + n; len(c.rest) >= end {
				f := c.rest[socket.FrameLengthSize:end]
				c.rest = c.rest[end:]
				return f, nil
			}
		}
		_, more, err := c.ws.Read(ctx)
		if err != nil {
			return nil, err
		}
		c.rest = append(slices.Clip(c.rest), more...)
	}
}

func (c *conn) write(ctx context.Context, data []byte) error {
	n := len(data)
	return c.ws.Write(ctx, websocket.MessageBinary, append([]byte{byte(n >> 16), byte(n >> 8), byte(n)}, data...))
}

// drain writes what was queued, in its order.
func (c *conn) drain(ctx context.Context) {
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return
		}
		c.s.mu.Lock()
		queued := c.out
		c.out = nil
		c.s.mu.Unlock()
		for _, f := range queued {
			sealed := c.greeting.write.Seal(nil, nonce(c.wn), f.data, nil)
			c.wn++
			if f.half {
				n := len(sealed)
				head := append([]byte{byte(n >> 16), byte(n >> 8), byte(n)}, sealed[:n/2]...)
				_ = c.ws.Write(ctx, websocket.MessageBinary, head)
				c.hangUp()
				return
			}
			if c.write(ctx, sealed) != nil {
				c.hangUp()
				return
			}
		}
	}
}

// send queues a stanza. The caller holds mu.
func (c *conn) send(n waBinary.Node) {
	if c.dead || c.mute {
		return
	}
	data, err := waBinary.Marshal(n)
	if err != nil {
		panic(fmt.Errorf("marshal %s: %w", n.Tag, err)) // of our own making
	}
	half := c.s.cutsNow(c.dev, &n, during)
	c.out = append(c.out, frame{data: data, half: half})
	if half {
		c.mute = true
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// drop cuts the connection without a word. The caller holds mu.
func (c *conn) drop() {
	if c.dead {
		return
	}
	c.dead = true
	c.hangUp()
	c.failPairing()
	delete(c.s.conns, c)
	for ref, pairing := range c.s.pairing {
		if pairing == c {
			delete(c.s.pairing, ref)
		}
	}
	c.s.touch()
}

// dismiss sends the client's last stanza and hangs up once the client has
// handled it. WhatsApp hangs up by itself; a client that is slow would then
// lose the stanza, and a test its subject. So an empty notification follows,
// which clients acknowledge in order and otherwise ignore. The caller holds mu.
func (c *conn) dismiss(last waBinary.Node) {
	c.send(last)
	c.fence = c.s.newID()
	c.send(waBinary.Node{Tag: "notification", Attrs: waBinary.Attrs{
		"from": types.ServerJID, "id": c.fence, "type": "watest", "t": time.Now().Unix(),
	}})
	delete(c.s.conns, c)
	time.AfterFunc(farewell, c.hangUp)
}

// receive handles one stanza of the client.
func (c *conn) receive(n *waBinary.Node) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	defer c.s.touch()
	if c.fence != "" && c.dev != nil && n.Tag == "message" {
		c.dev.late++
	}
	switch {
	case c.dead:
	case c.fence != "":
		if n.Tag == "ack" && idOf(n) == c.fence {
			c.drop()
		}
	case c.s.cutsNow(c.dev, n, before):
		c.drop()
	case c.dev != nil && c.dev.ignored[n.Tag]:
	case c.dev != nil && c.dev.held != "" && c.dev.held == firstTag(n):
		c.dev.kept = append(c.dev.kept, func() { c.handle(n) })
	case c.s.cutsNow(c.dev, n, after):
		c.mute = true
		c.handle(n)
		c.drop()
	default:
		c.handle(n)
	}
}

// handle dispatches a stanza. The caller holds mu.
func (c *conn) handle(n *waBinary.Node) {
	if n.Tag == "iq" {
		c.iq(n)
		return
	}
	if c.dev == nil {
		return // who is nobody yet may only ask
	}
	switch n.Tag {
	case "message":
		c.message(n)
	case "receipt":
		c.receipt(n)
	case "ack":
		c.dev.settle(attr(n, "class"), idOf(n))
	case "chatstate":
		c.chatState(n)
	case "presence":
		c.presence(n)
	}
}
