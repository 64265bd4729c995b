package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"wagent/gateway/api"
)

// socketPath is where a process that has the data directory serves its own
// machine: whoever may read that directory needs no API key there.
func socketPath(dataDir string) string { return filepath.Join(dataDir, "wagent.sock") }

// longestSocket is what the systems that we run on take, in bytes (sys/un.h).
const longestSocket = 104

// listenLocal listens on the socket of the data directory, in place of what a
// process that died left there. Closing it removes the socket.
func (h *home) listenLocal(ctx context.Context) (net.Listener, error) {
	path := socketPath(h.dir)
	// It is made where nobody else may look, so that it is never open to them.
	dir, err := os.MkdirTemp(h.dir, ".s")
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	made := filepath.Join(dir, "s")
	if len(made) > longestSocket || len(path) > longestSocket {
		return nil, fmt.Errorf("listen on %s: the path is longer than the system takes; set a shorter data_dir", path)
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", made)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false) // it would look where the socket was made
	if err := errors.Join(os.Chmod(made, 0o600), os.Rename(made, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), ln.Close())
	}
	return &localListener{ln, path}, nil
}

// listenLocal returns where the program serves its own machine, if there is
// such a place. It can do without: whoever asks there can ask over HTTP too.
func (a *app) listenLocal(ctx context.Context, h host, log *slog.Logger) net.Listener {
	if a.home == nil || h.noSocket {
		return nil
	}
	ln, err := a.home.listenLocal(ctx)
	if err != nil {
		log.WarnContext(ctx, "no socket for commands on this machine", "err", err)
		return nil
	}
	a.closers = append(a.closers, func() { _ = ln.Close() })
	return ln
}

// trusting serves requests that need no API key.
func trusting(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(api.Trusted(r.Context())))
	})
}

// A localListener removes its socket when it is closed.
type localListener struct {
	net.Listener
	path string
}

// Close stops listening. The second call does nothing but say so.
func (l *localListener) Close() error {
	err := l.Listener.Close()
	if err == nil {
		err = os.Remove(l.path)
	}
	return err
}

// dialLocal returns a client of the process that has the data directory, or
// false if none listens there. Its requests may name any host.
func dialLocal(ctx context.Context, dataDir string) (*http.Client, bool) {
	dial := func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", socketPath(dataDir))
	}
	c, err := dial(ctx)
	if err != nil {
		return nil, false
	}
	_ = c.Close()
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	return &http.Client{Transport: t, Timeout: 10 * time.Second}, true
}
