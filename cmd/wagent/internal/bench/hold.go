//go:build watest

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/whatsapp"
	"wagent/gateway/whatsapp/devices"
	"wagent/gateway/whatsapp/fetch"
	"wagent/gateway/whatsapp/rehearsal"
)

// An order is what a holding process reads first, as JSON. It stops once it can
// read no more.
type order struct {
	Dir, WhatsApp string
	N             int
	Idle          time.Duration
	Heap          string
}

// A word is what a holding process says, as JSON: a QR code to scan with the
// phone of that number; that all accounts are connected, or given up; what it
// measured, and that again once it has stopped.
type word struct {
	QR, Phone string
	All       bool
	Held      *Held
}

// How long things may take, on a machine that is busy with something else.
const (
	perPairing = 5 * time.Minute // most of which it waits for others
	perLogin   = 2 * time.Second // of each account, beside the first minute
	atOnce     = 8               // pairings
)

// Hold holds accounts as wagent serve does, for Accounts, which writes to in and
// reads from out. It returns once in has ended.
func Hold(ctx context.Context, in io.Reader, out, log io.Writer) error {
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, in)
		stop()
	}()
	h, err := newHolder(ctx, o, out, log)
	if err != nil {
		return err
	}
	defer h.close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.fleet.Run(ctx) })
	g.Go(func() error { return h.files.Run(ctx) })
	g.Go(func() error { return h.measure(ctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	return h.tell() // also of what went wrong while it stopped
}

// A holder is the part of wagent serve that linked devices need.
type holder struct {
	order
	ledger *ledger
	boxes  *devices.Store
	fleet  *whatsapp.Fleet
	files  *fetch.Fetcher
	heard  *listener
	reg    *prometheus.Registry
	held   Held // of measure, then of Hold

	mu  sync.Mutex // guards out
	out *json.Encoder
}

func newHolder(ctx context.Context, o order, out, logs io.Writer) (_ *holder, err error) {
	h := &holder{order: o, heard: &listener{Handler: slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelWarn})}, reg: prometheus.NewRegistry(), out: json.NewEncoder(out)}
	log := slog.New(h.heard)
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, store.Config{Path: filepath.Join(o.Dir, "wagent.db"), Key: [32]byte{1}}, log, h.reg)
	if err != nil {
		return nil, err
	}
	h.ledger = &ledger{Store: db, changed: make(chan struct{}), pairings: map[gateway.AccountID]gateway.Pairing{}, up: map[gateway.AccountID]bool{}}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if h.boxes, err = devices.Open(ctx, devices.Config{Path: filepath.Join(o.Dir, "devices.db")}); err != nil {
		return nil, err
	}
	if err := h.makeAccounts(ctx); err != nil {
		return nil, err
	}
	times := whatsapp.Defaults()
	rehearsal.At(&times, o.WhatsApp, 0)
	inbox := &gateway.Inbox{Store: db, Agents: db, Window: nobody{}, MaxAge: time.Hour, Log: log}
	h.fleet, err = whatsapp.New(whatsapp.Parts{
		Links: h.ledger, Pairings: h.ledger, Inbox: inbox, Records: db, Devices: h.boxes,
	}, times, log, h.reg)
	if err != nil {
		return nil, err
	}
	client := func(id gateway.AccountID) (fetch.Client, bool) {
		c, ok := h.fleet.Client(id)
		return c, ok
	}
	h.files = fetch.New(db, client, log, h.reg, fetch.Config{Holder: h.fleet.Holder(), MaxSize: 1 << 20, Retention: time.Hour, Slots: 4})
	h.fleet.Files = h.files
	return h, nil
}

// nobody opens no window: nobody writes.
type nobody struct{}

// Add satisfies gateway.Windower.
func (nobody) Add(context.Context, *gateway.Message, gateway.Window) error { return nil }

// Drop satisfies gateway.Windower.
func (nobody) Drop(context.Context, gateway.ConversationID) error { return nil }

func (h *holder) close() {
	if h.boxes != nil {
		_ = h.boxes.Close()
	}
	_ = h.ledger.Close()
}

func accountID(i int) gateway.AccountID { return gateway.AccountID(fmt.Sprintf("acc_%05d", i)) }

func (h *holder) makeAccounts(ctx context.Context) error {
	for i := range h.N {
		_, err := h.ledger.Link(ctx, accountID(i))
		if gateway.KindOf(err) == gateway.NotFound {
			err = h.ledger.PutAccount(ctx, gateway.Account{ID: accountID(i), Kind: gateway.LinkedDevice, Linked: gateway.DefaultLinked()})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *holder) say(w word) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.Encode(w)
}

// measure has all accounts connected, and tells what they cost.
func (h *holder) measure(ctx context.Context) error {
	try, cancel := context.WithTimeout(ctx, time.Minute+time.Duration(h.N)*perLogin)
	defer cancel()
	held := &h.held
	held.Failed = h.pairAll(ctx)
	if err := h.ledger.await(try, func() bool { return len(h.ledger.up)+len(held.Failed) >= h.N }); err != nil {
		if ctx.Err() != nil {
			return errStopped
		}
		held.Failed = append(held.Failed, h.missing(ctx)...)
	}
	held.Connected = len(h.ledger.connected())
	if err := h.say(word{All: true}); err != nil {
		return err
	}
	var err error
	if held.Idle, err = rest(ctx, h.Idle); err != nil {
		return err
	}
	if err := h.profile(); err != nil {
		return err
	}
	held.Lost = h.N - len(h.ledger.connected()) - len(held.Failed)
	return h.tell()
}

// tell says what was measured, and what went wrong until now.
func (h *holder) tell() (err error) {
	h.held.Locked, h.held.Warnings = int(h.heard.locked.Load()), int(h.heard.warnings.Load())
	if h.held.Broken, err = h.counter("wagent_device_store_errors_total"); err != nil {
		return err
	}
	return h.say(word{Held: &h.held})
}

var errStopped = errors.New("the accounts were given up before they were measured")

// pairAll links the accounts that are not linked, and returns why others are
// not.
func (h *holder) pairAll(ctx context.Context) (failed []string) {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i := range h.N {
		g.Go(func() error {
			if err := h.pair(ctx, i); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err.Error())
			}
			return nil
		})
	}
	_ = g.Wait()
	return failed
}

// pair links an account, unless it is linked, and waits until it is connected
// for the first time.
func (h *holder) pair(ctx context.Context, i int) error {
	id := accountID(i)
	l, err := h.ledger.Link(ctx, id)
	if err != nil || l.Device != "" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, perPairing)
	defer cancel()
	if _, err := h.ledger.StartPairing(ctx, id, gateway.ByQR, ""); err != nil {
		return err
	}
	h.fleet.Wake()
	for shown := ""; ; {
		var p gateway.Pairing
		err := h.ledger.await(ctx, func() bool {
			p = h.ledger.pairings[id]
			return p.Step.Over() || p.QR != shown && p.QR != ""
		})
		switch {
		case err != nil:
			return fmt.Errorf("pair account %s: %w", id, err)
		case p.Step == gateway.StepDone:
			if err := h.ledger.await(ctx, func() bool { return h.ledger.up[id] }); err != nil {
				return fmt.Errorf("first login of account %s: %w", id, err)
			}
			return nil
		case p.Step.Over():
			return fmt.Errorf("pair account %s: %s", id, p.Error)
		}
		shown = p.QR
		if err := h.say(word{QR: p.QR, Phone: fmt.Sprintf("4915%08d", i)}); err != nil {
			return err
		}
	}
}

// missing says of the accounts that are not connected how they stand.
func (h *holder) missing(ctx context.Context) (out []string) {
	up := h.ledger.connected()
	for i := range h.N {
		if id := accountID(i); !up[id] {
			l, err := h.ledger.Link(ctx, id)
			out = append(out, fmt.Sprintf("account %s: %s %s %v", id, l.State, l.Reason, err))
		}
	}
	return out
}

func (h *holder) counter(name string) (int, error) {
	families, err := h.reg.Gather()
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return int(f.GetMetric()[0].GetCounter().GetValue()), nil
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}

// profile writes what is in use after the collections of rest.
func (h *holder) profile() (err error) {
	if h.Heap == "" {
		return nil
	}
	f, err := os.Create(h.Heap)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return pprof.WriteHeapProfile(f)
}
