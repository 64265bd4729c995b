package webhook

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// loopback is a Config that may reach the test's own servers.
func loopback() Config {
	cfg := Defaults()
	cfg.Timeout = 5 * time.Second
	cfg.AllowAddresses = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	return cfg
}

// raw serves each connection on a real socket with f, and returns its address.
func raw(t *testing.T, f func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// says reads a request and answers it with these bytes.
func says(answer string) func(net.Conn) {
	return func(c net.Conn) {
		if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
		}
		_, _ = io.WriteString(c, answer)
	}
}

func TestAnErrorTellsItsPhase(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + l.Addr().String()
	l.Close()
	stranger := httptest.NewUnstartedServer(answers(200))
	stranger.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	tests := map[string]struct {
		url    string
		want   string
		status int
	}{
		"nobody listens": {url: refused, want: "connect: connection refused"},
		"the certificate is nobody's": {
			url:  stranger.URL,
			want: "tls: the certificate is signed by an unknown authority",
		},
		"there is no TLS": {
			url:  "https://" + raw(t, says("HTTP/1.1 400 Bad Request\r\n\r\n")),
			want: "tls: the endpoint does not speak TLS",
		},
		"the connection is closed without an answer": {
			url:  "http://" + raw(t, says("")),
			want: "first byte: the connection was closed",
		},
		"the answer echoes the query and is not HTTP": {
			url:  "http://" + raw(t, says("POST /?token=hidden-query\r\n\r\n")),
			want: "first byte: the exchange broke off, or was not HTTP",
		},
		"the answer breaks off": {
			url:    "http://" + raw(t, says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")),
			want:   "body: the connection was closed",
			status: 200,
		},
		"the URL has another scheme": {url: "ftp://hook.test/", want: "url: not an http or https URL"},
		"the URL has no host":        {url: "http:///x", want: "url: not an http or https URL"},
		"the URL is none":            {url: "http://a b/%zz\x00", want: "url: not an http or https URL"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			url := tt.url
			if strings.HasPrefix(url, "http") && strings.Count(url, ":") == 2 {
				url += "/in?token=hidden-query"
			}
			a, r := attemptOnce(t, url, loopback())
			if a.Error != tt.want || a.StatusCode != tt.status {
				t.Errorf("attempt = %d %q, want %d %q", a.StatusCode, a.Error, tt.status, tt.want)
			}
			if strings.Contains(a.Error+r.log.String(), "hidden-query") {
				t.Errorf("the query is told: %q\n%s", a.Error, r.log)
			}
		})
	}
}

func TestAnUnknownNameIsAnErrorOfItsLookup(t *testing.T) {
	a, _ := attemptOnce(t, "http://nowhere.invalid/in", loopback()) // RFC 6761: never resolves
	if !strings.HasPrefix(a.Error, "dns: ") {
		t.Errorf("error = %q, want one of dns", a.Error)
	}
}

func TestTheGuardRefusesWhatIsNotPublic(t *testing.T) {
	s := httptest.NewServer(answers(200))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const refused = "connect: the address is not a public one and not allowed by configuration"
	for name, host := range map[string]string{
		"loopback":                    "127.0.0.1",
		"loopback by its name":        "localhost",
		"loopback of IPv6":            "[::1]",
		"loopback as IPv6 maps it":    "[::ffff:127.0.0.1]",
		"no address":                  "0.0.0.0",
		"a private network":           "10.0.0.1",
		"another private network":     "192.168.1.1",
		"a cloud's metadata":          "169.254.169.254",
		"a cloud's metadata mapped":   "[::ffff:169.254.169.254]",
		"a carrier's network":         "100.64.0.1",
		"link-local IPv6":             "[fe80::1]",
		"unique local IPv6":           "[fd00::1]",
		"IPv4 behind NAT64":           "[64:ff9b::7f00:1]",
		"loopback written as one int": "2130706433",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := loopback()
			cfg.AllowAddresses = nil
			a, _ := attemptOnce(t, "http://"+net.JoinHostPort(strings.Trim(host, "[]"), port)+"/", cfg)
			if a.StatusCode != 0 || a.Error != refused && !strings.HasPrefix(a.Error, "dns: ") {
				t.Errorf("attempt = %d %q, want %q", a.StatusCode, a.Error, refused)
			}
		})
	}
}

func TestAllowedAddressesAreReached(t *testing.T) {
	s := httptest.NewServer(answers(204))
	t.Cleanup(s.Close)
	if a, _ := attemptOnce(t, s.URL, loopback()); a.StatusCode != 204 || a.Error != "" {
		t.Errorf("attempt = %d %q, want 204", a.StatusCode, a.Error)
	}
	cfg := loopback()
	cfg.AllowAddresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	if a, _ := attemptOnce(t, s.URL, cfg); a.StatusCode != 0 {
		t.Errorf("another network was allowed, but loopback answered %d", a.StatusCode)
	}
}

func TestAnAnswerThatSwitchesProtocolsEnds(t *testing.T) {
	hold := make(chan struct{})
	addr := raw(t, func(c net.Conn) {
		says("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")(c)
		<-hold
	})
	defer close(hold)
	if a, _ := attemptOnce(t, "http://"+addr, loopback()); a.StatusCode != 101 {
		t.Errorf("attempt = %d %q, want 101", a.StatusCode, a.Error)
	}
}

func TestTheFirstKiBOfAnAnswerIsKept(t *testing.T) {
	tests := map[string]struct{ give, want string }{
		"a short one is kept whole":           {"thanks", "thanks"},
		"a long one is cut":                   {strings.Repeat("x", 100_000), strings.Repeat("x", 1024)},
		"a cut leaves no half of a character": {strings.Repeat("x", 1024-1) + "é", strings.Repeat("x", 1024-1)},
		"a whole character at the end stays":  {strings.Repeat("x", 1024-2) + "é!", strings.Repeat("x", 1024-2) + "é"},
		"what is no UTF-8 is marked":          {"a\xffb", "a\uFFFDb"},
		"zero bytes go":                       {"a\x00b", "ab"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tt.give) }))
			t.Cleanup(s.Close)
			a, _ := attemptOnce(t, s.URL, loopback())
			if a.Answer != tt.want || a.Error != "" {
				t.Errorf("answer = %q (%d bytes), error %q, want %d bytes", a.Answer, len(a.Answer), a.Error, len(tt.want))
			}
		})
	}
}

func TestAnEndlessAnswerIsNotReadToItsEnd(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		block := make([]byte, 8<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	a, _ := attemptOnce(t, s.URL, loopback())
	if a.StatusCode != 200 || a.Error != "" || a.Latency >= loopback().Timeout {
		t.Errorf("attempt = %d %q after %v, want 200 at once", a.StatusCode, a.Error, a.Latency)
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	var dialled atomic.Int32
	cfg := Defaults()
	cfg.Schedule = []time.Duration{time.Millisecond, time.Millisecond}
	s := httptest.NewServer(answers(500))
	t.Cleanup(s.Close)
	cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		dialled.Add(1)
		return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
	}
	m := newMemory(testHook(), testDelivery())
	r := start(t, m, cfg)
	for deadline := time.Now().Add(10 * time.Second); len(m.all()) < 3 && time.Now().Before(deadline); {
		tick := time.NewTimer(time.Millisecond)
		<-tick.C
	}
	r.stop()
	if len(m.all()) != 3 || dialled.Load() != 1 {
		t.Errorf("%d attempts dialled %d times, want 3 and once", len(m.all()), dialled.Load())
	}
}
