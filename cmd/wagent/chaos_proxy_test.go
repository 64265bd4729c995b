package main

import (
	"net"
	"sync"
	"testing"
	"time"
)

// A proxy passes connections on to a server until they are cut.
type proxy struct {
	listener net.Listener
	network  string
	target   string
	copying  sync.WaitGroup

	mu      sync.Mutex
	open    map[net.Conn]bool // both ends of each
	resumes time.Time         // nothing passes before that
	closed  bool
}

// newProxy returns a proxy on the loopback interface, which ends with the test.
func newProxy(t *testing.T, network, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, network: network, target: target, open: map[net.Conn]bool{}}
	p.copying.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed, p.resumes = true, time.Time{}
		p.mu.Unlock()
		_ = l.Close()
		p.cut()
		p.copying.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.copying.Go(func() {
			far, err := net.Dial(p.network, p.target)
			if err != nil { // the server is away
				_ = near.Close()
				return
			}
			if p.keep(near, far) {
				p.copying.Go(func() { p.pass(near, far) })
				p.pass(far, near)
			}
		})
	}
}

// keep makes a connection one of those that can be cut.
func (p *proxy) keep(ends ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range ends {
		if p.closed {
			_ = c.Close()
			continue
		}
		p.open[c] = true
	}
	return !p.closed
}

// pass copies what one end says to the other, and closes both when it ends.
func (p *proxy) pass(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.wait()
		if n > 0 && err == nil {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range []net.Conn{from, to} {
		delete(p.open, c)
		_ = c.Close()
	}
}

// wait returns when a stall is over.
func (p *proxy) wait() {
	for {
		p.mu.Lock()
		left := time.Until(p.resumes)
		p.mu.Unlock()
		if left <= 0 {
			return
		}
		<-time.NewTimer(min(left, 100*time.Millisecond)).C // the test may end meanwhile
	}
}

// stall lets nothing pass for a while: nobody hears that anything is wrong.
func (p *proxy) stall(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resumes = time.Now().Add(d)
}

// cut ends all connections, in the middle of whatever they say.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, not a goodbye
		}
		_ = c.Close()
	}
	clear(p.open)
}

// pending is how long a stall still lasts.
func (p *proxy) pending() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, time.Until(p.resumes))
}
