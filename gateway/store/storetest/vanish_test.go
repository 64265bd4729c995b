package storetest_test

import (
	"context"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// through returns the URL of a database behind a relay, and what makes the
// relay swallow all that comes from then on, as a host that lost its power does.
func through(t *testing.T, raw string) (relayed string, vanish func()) {
	t.Helper()
	u := got(url.Parse(raw))(t)
	q := u.Query()
	server := filepath.Join(q.Get("host"), ".s.PGSQL.5432")
	var lc net.ListenConfig
	ln := got(lc.Listen(t.Context(), "tcp", "127.0.0.1:0"))(t)
	var mu sync.Mutex
	var conns []net.Conn
	gone := make(chan struct{})
	relay := func(dst, src net.Conn) {
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-gone:
				continue
			default:
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := (&net.Dialer{}).DialContext(context.Background(), "unix", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			mu.Lock()
			conns = append(conns, in, out)
			mu.Unlock()
			running.Go(func() { relay(out, in) })
			running.Go(func() { relay(in, out) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	host, port, err := net.SplitHostPort(ln.Addr().String())
	must(t, err)
	q.Set("host", host)
	q.Set("port", port)
	u.RawQuery = q.Encode()
	return u.String(), func() { close(gone) }
}

func TestAServerThatVanishesIsNotWaitedForForever(t *testing.T) {
	for what, do := range map[string]func(s *store.Store) error{
		"a transaction": func(s *store.Store) error {
			_, err := s.ClaimRun(context.Background(), "cnv", time.Minute)
			return err
		},
		"a query": func(s *store.Store) error { _, err := s.Agents(context.Background()); return err },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			relayed, vanish := through(t, storetest.Postgres(t))
			s := storetest.At(t, store.Config{URL: relayed, Key: storetest.Key})
			seed(t, s)
			claim(t, s, true) // a connection is there
			vanish()
			done := make(chan error, 1)
			go func() { done <- do(s) }()
			timer := time.NewTimer(30 * time.Second)
			defer timer.Stop()
			select {
			case err := <-done:
				wantKind(t, err, gateway.Unavailable)
			case <-timer.C:
				t.Fatal("it is waited for after 30 s")
			}
		})
	}
}
