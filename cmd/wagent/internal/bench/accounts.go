//go:build watest

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"wagent/gateway/whatsapp/watest"
)

// Accounts links accounts, has them log in again, and watches them while
// nothing happens.
type Accounts struct {
	N       int           // how many; at least 1
	Idle    time.Duration // how long they are watched
	Heap    string        // the file for a heap profile of the process that holds them; empty: none
	Program []string      // the command line of a program that calls Hold
	Log     io.Writer     // what goes on, and what the holding processes log
}

// Run measures, which takes minutes where accounts are many. Accounts that did
// not connect are in the report, and no error.
func (b Accounts) Run(ctx context.Context) (r Report, err error) {
	dir, err := os.MkdirTemp("", "wagent-bench-")
	if err != nil {
		return r, fmt.Errorf("make a directory for the bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	wa := watest.New() //nolint:contextcheck // it ends with Close
	defer wa.Close()
	b.Log = &turns{w: b.Log}
	s := stage{Accounts: b, wa: wa, phones: map[string]*watest.Phone{}}
	home := filepath.Join(dir, "accounts")
	r.Accounts = b.N
	if r.Base, err = s.hold(ctx, order{Dir: filepath.Join(dir, "nobody"), Idle: min(b.Idle, 2*time.Second)}); err != nil {
		return r, fmt.Errorf("hold no account: %w", err)
	}
	if r.First, err = s.hold(ctx, order{Dir: home, N: b.N}); err != nil {
		return r, fmt.Errorf("link %d accounts: %w", b.N, err)
	}
	if r.Again, err = s.hold(ctx, order{Dir: home, N: b.N, Idle: b.Idle, Heap: b.Heap}); err != nil {
		return r, fmt.Errorf("hold %d accounts again: %w", b.N, err)
	}
	return r, nil
}

// turns lets one write at a time: processes and we have one log.
type turns struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

// Write satisfies io.Writer.
func (t *turns) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.w.Write(p)
}

// A stage is WhatsApp, and those who hold accounts one after another.
type stage struct {
	Accounts
	wa     *watest.Server
	phones map[string]*watest.Phone
}

// hold runs a process that holds accounts until it has measured, and stops it.
func (s *stage) hold(ctx context.Context, o order) (h Held, err error) {
	o.WhatsApp = s.wa.Addr()
	cmd := exec.CommandContext(ctx, s.Program[0], s.Program[1:]...) //nolint:gosec // it is this program
	cmd.Stderr = s.Log
	cmd.WaitDelay = time.Minute
	in, err := cmd.StdinPipe()
	if err != nil {
		return h, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return h, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return h, err
	}
	defer func() {
		_ = in.Close() // at which it stops
		err = errors.Join(err, cmd.Wait())
	}()
	if err := json.NewEncoder(in).Encode(o); err != nil {
		return h, fmt.Errorf("order accounts: %w", err)
	}
	took, measured := time.Duration(0), false
	for words := json.NewDecoder(out); ; {
		var w word
		switch err := words.Decode(&w); {
		case errors.Is(err, io.EOF) && measured:
			h.Took = took
			return h, nil
		case err != nil:
			return h, fmt.Errorf("listen to the process that holds accounts: %w", err)
		case w.QR != "":
			if err := s.scan(w); err != nil {
				fmt.Fprintf(s.Log, "%s: %v\n", w.Phone, err) // and its pairing expires
			}
		case w.All:
			took = time.Since(began)
			if o.N > 0 {
				fmt.Fprintf(s.Log, "%d accounts were dealt with after %.1f s\n", o.N, took.Seconds())
			}
		case w.Held != nil: // twice: it goes on counting until it has stopped
			h, measured = *w.Held, true
			_ = in.Close()
		}
	}
}

// scan links what shows a QR code, as a person with a phone does.
func (s *stage) scan(w word) error {
	phone := s.phones[w.Phone]
	if phone == nil {
		phone = s.wa.Phone(w.Phone)
		s.phones[w.Phone] = phone
	}
	_, err := phone.Link(w.QR)
	return err
}
