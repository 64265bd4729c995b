//go:build watest

package watest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// A Server is a WhatsApp for tests. Its methods, and those of everything that
// it hands out, may be called from any goroutine. New starts one and Close
// ends it.
type Server struct {
	listener    net.Listener
	http        *http.Server
	static      *keys.KeyPair
	certificate []byte
	served      sync.WaitGroup
	stop        func() // ends every connection

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something below changes
	closed  bool
	ids     int
	conns   map[*conn]struct{}
	people  map[string]*Person // by the user part of both addresses
	phones  []*Phone
	devices map[string]*Device // by the user part and the number of both addresses
	groups  map[string]*Group
	pairing map[string]*conn // by QR reference and by code reference
	sent    map[string]*Sent // what people wrote, by id
	relayed map[string]*Device
	files   map[string][]byte
	cuts    []cut
	refusal *refusal // of everybody
}

// New starts a server on a free port of 127.0.0.1 and makes this process trust
// it. It panics where it cannot listen, as httptest.NewServer does.
func New() *Server {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Errorf("listen for WhatsApp clients: %w", err))
	}
	trust()
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		listener: listener, static: keys.NewKeyPair(), stop: stop, changed: make(chan struct{}),
		conns: map[*conn]struct{}{}, people: map[string]*Person{}, devices: map[string]*Device{},
		groups: map[string]*Group{}, pairing: map[string]*conn{}, sent: map[string]*Sent{},
		relayed: map[string]*Device{}, files: map[string][]byte{},
	}
	s.certificate = certify(s.static)
	mux := http.NewServeMux()
	mux.HandleFunc("/ws/chat", func(w http.ResponseWriter, r *http.Request) { s.accept(ctx, w, r) })
	mux.HandleFunc("/", s.media)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	s.served.Go(func() { _ = s.http.Serve(listener) }) // it ends with Close
	return s
}

// Close ends every connection and waits until nothing of the server runs. It
// may be called twice.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	_ = s.http.Close()
	s.served.Wait()
}

// Addr is the host and port where the server listens, for Attach in another
// process.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Attach makes cli speak with the server at addr instead of WhatsApp, chat and
// media alike, and makes this process trust it. It must be called before cli
// connects.
func Attach(cli *whatsmeow.Client, addr string) {
	trust()
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	// DialTLSContext hands out a plain connection: wss and https need no TLS.
	h := &http.Client{Transport: &http.Transport{DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true}}
	cli.SetWebsocketHTTPClient(h)
	cli.SetPreLoginHTTPClient(h)
	cli.SetMediaHTTPClient(h)
}

// accept serves one client until it goes.
func (s *Server) accept(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.served.Add(1)
	s.mu.Unlock()
	defer s.served.Done()
	if s.cutsHandshake(before) {
		panic(http.ErrAbortHandler) // which closes the connection, and says nothing
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(socket.FrameMaxSize)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &conn{s: s, ws: ws, hangUp: cancel, wake: make(chan struct{}, 1)}
	_ = c.serve(ctx) // how a connection ends is the client's to judge
	s.mu.Lock()
	c.drop()
	s.mu.Unlock()
}

// touch wakes whoever waits. The caller holds mu.
func (s *Server) touch() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// await blocks until done, called with mu held, says true.
func (s *Server) await(ctx context.Context, what string, done func() bool) error {
	for {
		s.mu.Lock()
		ok, changed := done(), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("await %s: %w", what, context.Cause(ctx))
		}
	}
}

// newID makes an id that no other stanza of the server has. The caller holds mu.
func (s *Server) newID() string {
	s.ids++
	return "WATEST" + strconv.Itoa(s.ids)
}

// key is how a device is found by either of its addresses.
func key(jid types.JID) string { return jid.User + ":" + strconv.Itoa(int(jid.Device)) }
