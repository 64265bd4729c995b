package webhook

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wagent/gateway"
)

// A failing receiver is one of many ways in which a delivery does not arrive.
type failing struct {
	url    func(t *testing.T) string // an endpoint on a real socket; nil: hang is in virtual time
	hang   func(ctx context.Context) (net.Conn, error)
	scheme string // of what hangs

	status   int
	error    string                // how it begins
	state    gateway.DeliveryState // empty: pending
	exactly  time.Duration         // until the next attempt, as the receiver asks; 0: as scheduled
	disabled bool
	timedOut bool
}

// answering serves each request so.
func answering(h http.HandlerFunc) func(t *testing.T) string {
	return func(t *testing.T) string {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		s.Start()
		t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
		return s.URL
	}
}

func saying(scheme, text string) func(t *testing.T) string {
	return func(t *testing.T) string { return scheme + "://" + raw(t, says(text)) }
}

func answered(status int, header ...string) func(t *testing.T) string {
	return answering(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
	})
}

// silentPipe is a connection on which nobody ever says or reads anything.
func silentPipe(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	go func() { // it is read, where it is HTTP, and never answered
		_, _ = io.Copy(io.Discard, far)
		_ = far.Close()
	}()
	return near, nil
}

// half answers with half of something, and goes on saying nothing.
func half(text string) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			b := make([]byte, 64<<10)
			_, _ = far.Read(b) // the request
			_, _ = io.WriteString(far, text)
			_, _ = io.Copy(io.Discard, far)
			_ = far.Close()
		}()
		return near, nil
	}
}

func waysToFail() map[string]failing {
	return map[string]failing{
		"it refuses": {url: func(t *testing.T) string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			return "http://" + l.Addr().String()
		}, error: "connect: connection refused"},
		"it resets the connection": {url: func(t *testing.T) string {
			return "http://" + raw(t, func(c net.Conn) {
				_, _ = c.Read(make([]byte, 1))
				_ = c.(*net.TCPConn).SetLinger(0)
			})
		}, error: "first byte: "},
		"it closes without an answer": {url: saying("http", ""), error: "first byte: the connection was closed"},
		"it resets in the middle of an answer": {url: func(t *testing.T) string {
			return "http://" + raw(t, func(c net.Conn) {
				says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")(c)
				_ = c.(*net.TCPConn).SetLinger(0)
			})
		}, status: 200, error: "body: "},
		"its answer breaks off": {url: saying("http", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), status: 200, error: "body: the connection was closed"},
		"it is not HTTP":        {url: saying("http", "220 mail.example.com ESMTP\r\n"), error: "first byte: the exchange broke off, or was not HTTP"},
		"it has no TLS":         {url: saying("https", "HTTP/1.1 400 Bad Request\r\n\r\n"), error: "tls: the endpoint does not speak TLS"},
		"its certificate is nobody's": {url: func(t *testing.T) string {
			s := httptest.NewUnstartedServer(answers(200))
			s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
			s.StartTLS()
			t.Cleanup(s.Close)
			return s.URL
		}, error: "tls: the certificate is signed by an unknown authority"},
		"it has 100 kB of headers":      {url: saying("http", "HTTP/1.1 200 OK\r\nX-Long: "+strings.Repeat("x", 100_000)+"\r\n\r\n"), error: "first byte: the answer's headers are too large"},
		"it has headers without an end": {url: saying("http", "HTTP/1.1 200 OK\r\n"+strings.Repeat("X-More: y\r\n", 20_000)), error: "first byte: the answer's headers are too large"},
		"it redirects to itself": {url: answering(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		}), status: 307},
		"it moved for good":                 {url: answered(301, "Location", "http://169.254.169.254/"), status: 301},
		"it switches protocols":             {url: saying("http", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), status: 101},
		"it says that the request is bad":   {url: answered(400), status: 400},
		"it wants another key":              {url: answered(401), status: 401},
		"it forbids":                        {url: answered(403), status: 403},
		"it is not there":                   {url: answered(404), status: 404},
		"it is gone":                        {url: answered(410), status: 410, state: gateway.DeliveryDead, disabled: true},
		"it is asked too often, in seconds": {url: answered(429, "Retry-After", "90"), status: 429, exactly: 90 * time.Second},
		"it is asked too often, by a date": {
			url: answering(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
				w.WriteHeader(http.StatusServiceUnavailable)
			}), status: 503, exactly: time.Hour,
		},
		"it asks to come back in a year": {url: answered(429, "Retry-After", "31536000"), status: 429, exactly: 24 * time.Hour},
		"it fails":                       {url: answered(500), status: 500},
		"it is away behind a proxy":      {url: answered(502), status: 502},
		"its body has no end": {url: answering(func(w http.ResponseWriter, _ *http.Request) {
			for block := make([]byte, 8<<10); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}), status: 200, state: gateway.DeliverySucceeded}, // it took it, and that is all that is wanted

		"the connection does not come about": {scheme: "http", hang: func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, error: "connect: timed out", timedOut: true},
		"TLS does not come about":      {scheme: "https", hang: silentPipe, error: "tls: timed out", timedOut: true},
		"there is no answer":           {scheme: "http", hang: silentPipe, error: "first byte: timed out", timedOut: true},
		"the answer's head has no end": {scheme: "http", hang: half("HTTP/1.1 200 OK\r\nX-A: "), error: "first byte: timed out", timedOut: true},
		"the answer's body has no end": {scheme: "http", hang: half("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), status: 200, error: "body: timed out", timedOut: true},
	}
}

// TestEveryWayToFail: however a receiver fails, what is to be delivered is kept as it
// should be, and another one gets what is its own at once.
func TestEveryWayToFail(t *testing.T) {
	for name, tt := range waysToFail() {
		t.Run(name, func(t *testing.T) {
			if tt.url == nil {
				synctest.Test(t, func(t *testing.T) { tt.inVirtualTime(t) })
			} else {
				tt.onARealSocket(t)
			}
		})
	}
}

// pair is a store with a failing webhook, 1, and one that works, 2.
func pair(bad, good string) *memory {
	hook, other := testHook(), testHook()
	hook.URL, other.ID, other.URL = bad, 2, good
	second := testDelivery()
	second.ID, second.Webhook = "del_2", 2
	m := newMemory(hook, testDelivery(), second)
	m.hooks[2] = other
	return m
}

func (f *failing) onARealSocket(t *testing.T) {
	t.Helper()
	m := pair(f.url(t)+"/in", answered(204)(t))
	began := time.Now()
	r := start(t, m, loopback())
	for deadline := began.Add(20 * time.Second); len(m.all()) < 2 && time.Now().Before(deadline); {
		tick := time.NewTimer(time.Millisecond)
		<-tick.C
	}
	if len(m.all()) < 2 {
		t.Fatalf("attempts are %+v", m.all())
	}
	f.check(t, m)
	r.stop()
}

func (f *failing) inVirtualTime(t *testing.T) {
	t.Helper()
	m := pair(f.scheme+"://bad.test/in", "http://good.test/in")
	good := serving(t, answers(204))
	cfg := Defaults()
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if strings.HasPrefix(addr, "bad.test:") {
			return f.hang(ctx)
		}
		return good(ctx, network, addr)
	}
	start(t, m, cfg)
	synctest.Wait()
	if d := m.delivery("del_2"); d.State != gateway.DeliverySucceeded {
		t.Errorf("the other's delivery waits: it is %s", d.State)
	}
	time.Sleep(cfg.Timeout)
	synctest.Wait()
	f.check(t, m)
}

func (f *failing) check(t *testing.T, m *memory) {
	t.Helper()
	var a gateway.Attempt
	for _, x := range m.all() {
		if x.Delivery == "del_1" {
			a = x
		}
	}
	if a.StatusCode != f.status || !strings.HasPrefix(a.Error, f.error) || (a.Error == "") != (f.error == "") {
		t.Errorf("the attempt is %d %q, want %d %q", a.StatusCode, a.Error, f.status, f.error)
	}
	if f.timedOut && a.Latency != Defaults().Timeout {
		t.Errorf("it took %v, want %v", a.Latency, Defaults().Timeout)
	}
	want := f.state
	if want == "" {
		want = gateway.DeliveryPending
	}
	d := m.delivery("del_1")
	if d.State != want || m.hook(1).Disabled != "" != f.disabled {
		t.Errorf("it is %s, its webhook disabled for %q", d.State, m.hook(1).Disabled)
	}
	if wait := d.NextAt.Sub(a.At.Add(a.Latency)); d.State == gateway.DeliveryPending {
		low, high := 800*time.Millisecond, 1200*time.Millisecond
		if f.exactly > 0 {
			low, high = f.exactly-2*time.Second, f.exactly+time.Second // a date has whole seconds
		}
		if wait < low-50*time.Millisecond || wait > high+time.Second/2 {
			t.Errorf("the next attempt comes in %v, want %v to %v", wait, low, high)
		}
	}
	if other := m.delivery("del_2"); other.State != gateway.DeliverySucceeded || m.hook(2).Disabled != "" {
		t.Errorf("the other's is %s: %s", other.State, m.hook(2).Disabled)
	}
	if f.error != "" && a.StatusCode == 0 && len(a.Headers) != 0 {
		t.Errorf("headers of no answer: %v", a.Headers)
	}
}

// TestALookupThatHangsTimesOut is the way that no dialler of a test's can go.
func TestALookupThatHangsTimesOut(t *testing.T) {
	usual := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("dial: %w", ctx.Err())
	}}
	defer func() { net.DefaultResolver = usual }()
	cfg := loopback()
	cfg.Timeout = 300 * time.Millisecond
	a, _ := attemptOnce(t, "http://endpoint.example/in", cfg)
	if a.Error != "dns: timed out" || a.Latency < cfg.Timeout || a.Phases.DNS < cfg.Timeout/2 {
		t.Errorf("the attempt is %q after %v, of which %v was the lookup", a.Error, a.Latency, a.Phases.DNS)
	}
}
