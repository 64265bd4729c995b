//go:build watest

package bench

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"wagent/gateway"
	"wagent/gateway/store"
)

// A ledger is a store that tells of links and pairings once they are written.
type ledger struct {
	*store.Store

	mu       sync.Mutex    // guards what follows
	changed  chan struct{} // closed and replaced with each change
	pairings map[gateway.AccountID]gateway.Pairing
	up       map[gateway.AccountID]bool // those that are connected
}

// SetLink is the store's.
func (l *ledger) SetLink(ctx context.Context, link *gateway.Link) error {
	err := l.Store.SetLink(ctx, link)
	if err == nil {
		l.note(func() {
			delete(l.up, link.Account)
			if link.State == gateway.LinkConnected {
				l.up[link.Account] = true
			}
		})
	}
	return err
}

// SetPairing is the store's.
func (l *ledger) SetPairing(ctx context.Context, p *gateway.Pairing) error {
	err := l.Store.SetPairing(ctx, p)
	if err == nil {
		l.note(func() { l.pairings[p.Account] = *p })
	}
	return err
}

func (l *ledger) note(what func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	what()
	close(l.changed)
	l.changed = make(chan struct{})
}

// await blocks until done, called with mu held, says true.
func (l *ledger) await(ctx context.Context, done func() bool) error {
	for {
		l.mu.Lock()
		ok, changed := done(), l.changed
		l.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *ledger) connected() map[gateway.AccountID]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.up)
}

// A listener is a log that counts. It hears what the library says, too, which
// is written as debug lines.
type listener struct {
	slog.Handler
	locked, warnings atomic.Int64
}

// Enabled satisfies slog.Handler: nothing may be missed.
func (*listener) Enabled(context.Context, slog.Level) bool { return true }

// Handle satisfies slog.Handler.
func (l *listener) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		l.warnings.Add(1)
	}
	locked := saysLocked(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		locked = locked || saysLocked(fmt.Sprint(a.Value.Any()))
		return !locked
	})
	if locked {
		l.locked.Add(1)
	}
	if locked || l.Handler.Enabled(ctx, r.Level) {
		return l.Handler.Handle(ctx, r)
	}
	return nil
}

// saysLocked knows SQLite's words for SQLITE_BUSY and SQLITE_LOCKED.
func saysLocked(s string) bool {
	return strings.Contains(s, "is locked") || strings.Contains(s, "SQLITE_BUSY") || strings.Contains(s, "SQLITE_LOCKED")
}
