// Package redistest gives tests a Redis of their own: a real server that can be
// killed and restarted, or one in memory that follows the virtual time of a
// testing/synctest bubble.
//
// A server keeps its data in a directory of its own; both are gone when the
// test ends. Only tests may import this package.
package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"wagent/debounce/inmemory"
)

// strict is the environment variable under which a missing server fails the
// test that asks for it.
const strict = "WAGENT_TEST_STRICT"

// A Server is a redis-server that one test owns. Its methods fail the test
// where they can't do their work, and must be called from its goroutine.
type Server struct {
	tb     testing.TB
	binary string
	dir    string
	addr   string
	args   []string      // more of them, for redis-server
	proc   *exec.Cmd     // nil while stopped
	exited chan struct{} // closed when proc is gone
}

// Start starts the redis-server found in PATH on a free port of the loopback
// interface, with its append-only file on. It is killed when the test ends.
// Without a redis-server the test is skipped, or fails if WAGENT_TEST_STRICT is
// set.
func Start(tb testing.TB) *Server {
	tb.Helper()
	return start(tb)
}

func start(tb testing.TB, args ...string) *Server {
	tb.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv(strict) != "" { //nolint:forbidigo // a test's environment says how strict it is
			tb.Fatalf("This test needs redis-server in PATH, and %s is set: %v", strict, err)
		}
		tb.Skip("This test needs redis-server in PATH.")
	}
	s := &Server{tb: tb, binary: binary, dir: tb.TempDir(), args: args}
	tb.Cleanup(s.kill)
	for range 5 { // the port may be taken between here and there
		s.addr = freeAddr(tb)
		if err = s.start(); err == nil {
			return s
		}
	}
	tb.Fatalf("start redis-server: %v", err)
	return nil
}

// Addr returns the server's address, host:port. It stays the same over Restart.
func (s *Server) Addr() string { return s.addr }

// Options returns new client options for the server, for the caller to change.
func (s *Server) Options() *redis.Options {
	return &redis.Options{
		Addr:                     s.addr,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Client returns a new client, which is closed when the test ends.
func (s *Server) Client() *redis.Client {
	rdb := redis.NewClient(s.Options())
	s.tb.Cleanup(func() { rdb.Close() })
	return rdb
}

// Stop kills the server as a crash would (SIGKILL) and waits until it is gone.
// A stopped server may be stopped again.
func (s *Server) Stop() {
	s.tb.Helper()
	s.kill()
}

// Restart starts a stopped server on its old address with its old data, and
// returns when that is loaded. A running one is killed first.
func (s *Server) Restart() {
	s.tb.Helper()
	s.kill()
	if err := s.start(); err != nil {
		s.tb.Fatalf("restart redis-server: %v", err)
	}
}

// Lose deletes the data of a stopped server: it comes back empty.
func (s *Server) Lose() {
	s.tb.Helper()
	if s.proc != nil {
		s.tb.Fatal("lose the data of a redis-server that runs")
	}
	if err := os.RemoveAll(s.dir); err != nil {
		s.tb.Fatalf("lose the data of redis-server: %v", err)
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		s.tb.Fatalf("lose the data of redis-server: %v", err)
	}
}

func (s *Server) kill() {
	if s.proc == nil {
		return
	}
	_ = s.proc.Process.Kill() // it may have ended by itself
	<-s.exited
	s.proc = nil
}

// start returns when the server accepts connections.
func (s *Server) start() error {
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	args := append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", s.dir,
		"--enable-debug-command", "local", "--appendonly", "yes", "--save", "", "--daemonize", "no", "--logfile", "",
	}, s.args...)
	//nolint:noctx // it lives until kill, not until a context ends
	proc := exec.Command(s.binary, args...)
	out, err := proc.StdoutPipe()
	if err != nil {
		return err
	}
	if err := proc.Start(); err != nil {
		return err
	}
	ready, exited := make(chan struct{}), make(chan struct{})
	var said strings.Builder
	go func() {
		defer close(exited)
		lines := bufio.NewScanner(out)
		for waiting := true; waiting && lines.Scan(); {
			fmt.Fprintln(&said, lines.Text())
			if strings.Contains(lines.Text(), "Ready to accept connections") {
				waiting = false
				close(ready)
			}
		}
		_, _ = io.Copy(io.Discard, out)
		_ = proc.Wait() // killed, most likely
	}()
	select {
	case <-ready:
		s.proc, s.exited = proc, exited
		return nil
	case <-exited:
		return fmt.Errorf("it ended at once and said:\n%s", said.String())
	}
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nobody ever connected
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// InMemory returns a client of a Redis in this process, whose clock is
// time.Now: called in a bubble, all of it stays inside. Both are closed when
// the test ends. It has no persistence, and nothing but this client reaches it.
func InMemory(tb testing.TB) *redis.Client {
	tb.Helper()
	rdb, _ := InMemoryServer(tb)
	return rdb
}

// InMemoryServer is InMemory with the server, whose clock can be set.
func InMemoryServer(tb testing.TB) (*redis.Client, *inmemory.Server) {
	tb.Helper()
	s := inmemory.Start()
	rdb := redis.NewClient(s.Options())
	tb.Cleanup(func() {
		rdb.Close()
		s.Close()
	})
	return rdb, s
}
