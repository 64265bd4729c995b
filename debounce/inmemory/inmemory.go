// Package inmemory is a Redis in this process: for a program that needs none of
// its own, and for tests in virtual time.
package inmemory

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A Server is a Redis in this process. It keeps nothing on disk and listens
// nowhere. Its methods are safe for concurrent use.
type Server struct {
	redis *miniredis.Miniredis

	mu    sync.Mutex
	set   bool // its clock is not time.Now
	ahead time.Duration
}

// Start starts a Redis whose clock is time.Now: called in a bubble of
// testing/synctest, all of it stays inside.
func Start() *Server {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true) // times to live end by that clock, too
	return &Server{redis: m}
}

// Options returns those of a client. Clients are to be closed before Close.
func (s *Server) Options() *redis.Options {
	return &redis.Options{
		Addr:                     "127.0.0.1:0", // an IP, lest somebody resolve it
		Dialer:                   s.dial,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Close ends the server, and with it its data.
func (s *Server) Close() { s.redis.Close() }

// SetClock sets the clock forward by d, or back if d is negative.
func (s *Server) SetClock(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set, s.ahead = true, s.ahead+d
}

// tick has Redis look at the clock.
func (s *Server) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set {
		s.redis.SetTime(time.Now().Add(s.ahead))
	}
}

func (s *Server) dial(context.Context, string, string) (net.Conn, error) {
	c, err := s.redis.Dial()
	if err != nil {
		return nil, fmt.Errorf("dial the Redis in this process: %w", err)
	}
	return newConn(c, s.tick), nil
}

// A conn is a net.Pipe with buffers, as those of the kernel have. Without one, a
// client that writes a pipeline before it reads would wait for a server that
// waits for somebody to read its answers. And a server that publishes to a client
// which does not read yet would hold a mutex meanwhile, which stops virtual time.
type conn struct {
	net.Conn // what the client reads
	near     net.Conn
	server   net.Conn
	out, in  *flow
}

func newConn(server net.Conn, before func()) *conn {
	client, near := net.Pipe()
	c := &conn{Conn: client, near: near, server: server, out: newFlow(), in: newFlow()}
	go c.out.pass(func(b []byte) (int, error) {
		before()
		return server.Write(b) //nolint:wrapcheck // of a pipe
	})
	go func() {
		c.in.pass(near.Write)
		_ = near.Close() // the client has read all that there was
	}()
	go c.fill()
	return c
}

// Write implements net.Conn. It never blocks.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.out.put(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// fill reads what the server writes, until the connection ends.
func (c *conn) fill() {
	b := make([]byte, 4096)
	for {
		n, err := c.server.Read(b)
		if err == nil {
			err = c.in.put(b[:n])
		}
		if err != nil {
			c.in.end(err)
			return
		}
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.out.end(net.ErrClosed)
	c.in.end(net.ErrClosed)
	_, _ = c.server.Close(), c.near.Close() // pipes never fail to
	return c.Conn.Close()                   //nolint:wrapcheck // of a pipe
}

// SetDeadline implements net.Conn. A write does not block, so only reads have one.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// A flow is bytes on their way in one direction. Its methods are safe for
// concurrent use.
type flow struct {
	mu   sync.Mutex
	some *sync.Cond
	buf  []byte
	err  error // why nothing more is put
}

func newFlow() *flow {
	f := &flow{}
	f.some = sync.NewCond(&f.mu)
	return f
}

// put adds bytes. It never waits for whoever takes them.
func (f *flow) put(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.buf = append(f.buf, b...)
		f.some.Signal()
	}
	return f.err
}

// end lets nothing more be put.
func (f *flow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
	f.some.Signal()
}

// pass writes what is put, until a write fails or the flow has ended and is empty.
func (f *flow) pass(write func([]byte) (int, error)) {
	for b := f.take(); len(b) > 0; b = f.take() {
		if _, err := write(b); err != nil {
			f.end(err)
			return
		}
	}
}

// take waits for bytes; it returns none where there will be none.
func (f *flow) take() []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.buf) == 0 && f.err == nil {
		f.some.Wait()
	}
	b := f.buf
	f.buf = nil
	return b
}
