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

// A conn is a net.Pipe with a buffer, as those of the kernel have. Without one, a
// client that writes a pipeline before it reads would wait for a server that
// waits for somebody to read its answers.
type conn struct {
	net.Conn
	before func() // called before each write

	mu   sync.Mutex
	some *sync.Cond
	buf  []byte
	err  error // of a write, or net.ErrClosed
}

func newConn(pipe net.Conn, before func()) *conn {
	c := &conn{Conn: pipe, before: before}
	c.some = sync.NewCond(&c.mu)
	go c.flush()
	return c
}

// Write implements net.Conn. It never blocks.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	c.buf = append(c.buf, b...)
	c.some.Signal()
	return len(b), nil
}

// flush writes what is in the buffer, until the connection ends.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil {
		if len(c.buf) == 0 {
			c.some.Wait()
			continue
		}
		b := c.buf
		c.buf = nil
		c.mu.Unlock()
		c.before()
		_, err := c.Conn.Write(b)
		c.mu.Lock()
		if c.err == nil {
			c.err = err
		}
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.mu.Lock()
	c.err = net.ErrClosed
	c.some.Signal()
	c.mu.Unlock()
	return c.Conn.Close() //nolint:wrapcheck // of a pipe
}

// SetDeadline implements net.Conn. A write does not block, so only reads have one.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
