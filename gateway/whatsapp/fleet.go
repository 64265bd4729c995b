// Package whatsapp connects accounts to WhatsApp as devices linked to a phone,
// as WhatsApp Web is, over the library whatsmeow.
//
// A [Fleet] holds some of the accounts, each under a lease that is one row in
// SQL: no two processes are ever connected with the same one. For each account
// that it holds it pairs, connects, takes messages in and sends them.
//
//	          ┌────────── a person asks ───────────┐
//	          ▼                                    │
//	unpaired ─► pairing: qr │ code │ passkey ─► connecting ─► connected
//	   ▲                                           ▲    │        │
//	   │            backoff, or its end            └────┤        │
//	   │   disconnected, banned, outdated, replaced ◄───┴────────┤
//	   └── logged_out ◄──────────────────────────────────────────┘
//
// It guarantees that WhatsApp is told that we have a message only after it is
// committed: where it can not be stored, nothing more is taken on that
// connection, which is closed, and WhatsApp delivers again from there, in its
// order. What was sent before the lease was lost is all that is sent: a process
// that was stopped and goes on neither sends nor writes.
//
// State lives in SQL (links, pairings, messages) and in the library's own
// database (package devices). After a crash another process has the account
// once the lease is over, and goes on from what WhatsApp still keeps for it.
package whatsapp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types/events"

	"wagent/gateway"
	"wagent/gateway/whatsapp/devices"
	"wagent/gateway/whatsapp/library"
	"wagent/gateway/whatsapp/meter"
	"wagent/gateway/whatsapp/pace"
)

// Config sets a Fleet's times. Defaults has what production uses.
type Config struct {
	Lease    time.Duration // how long an account is ours without a renewal; what a crash costs at most, with Tick
	Tick     time.Duration // how often leases are renewed and free accounts looked for
	Stagger  time.Duration // mean time between two connections that this process opens
	Backoff  time.Duration // before the first reconnection; doubled with each failure
	MostWait time.Duration // the longest wait between two reconnections
	Login    time.Duration // how long a connection may take until it is logged in
	Deaf     time.Duration // a connection on which nothing was heard for so long is given up
	// Dress is called with each client before it connects; tests lead it to
	// their own WhatsApp. May be nil.
	Dress func(*whatsmeow.Client)
	// Before is called with each event before it is handled; tests make it
	// panic. May be nil.
	Before func(evt any)
	// Newest asks WhatsApp for the newest version of its web client; nil asks
	// WhatsApp itself.
	Newest func(context.Context) (*store.WAVersionContainer, error)
}

// Defaults returns the configuration that production uses.
func Defaults() Config {
	return Config{
		Lease: 10 * time.Second, Tick: 2 * time.Second,
		Stagger: 40 * time.Millisecond, Backoff: time.Second, MostWait: 2 * time.Minute,
		Login: 45 * time.Second, Deaf: 75 * time.Second,
	}
}

// Validate says what is out of range.
func (c *Config) Validate() error {
	switch {
	case c.Tick <= 0 || c.Lease < 3*c.Tick:
		return fmt.Errorf("whatsapp: a lease of %v must be at least three times the tick of %v", c.Lease, c.Tick)
	case c.Backoff <= 0 || c.MostWait < c.Backoff:
		return fmt.Errorf("whatsapp: backoff %v must be positive and at most %v", c.Backoff, c.MostWait)
	case c.Login <= 0 || c.Deaf <= 0:
		return errors.New("whatsapp: the times of login and silence must be positive")
	}
	return nil
}

// Links keeps what is known of each account's link, and who holds it.
type Links interface {
	// ClaimLinks renews what holder holds, claims at most limit links that
	// nobody holds, and returns all that it holds now.
	ClaimLinks(ctx context.Context, holder string, lease time.Duration, limit int) ([]gateway.Link, error)
	// ReleaseLinks gives links up; without accounts all that holder holds.
	ReleaseLinks(ctx context.Context, holder string, accounts ...gateway.AccountID) error
	// SetLink writes how a link stands. Conflict: it is another's now.
	SetLink(ctx context.Context, l *gateway.Link) error
}

// Pairings keeps the steps of pairings.
type Pairings interface {
	// OpenPairings returns the unfinished ones of the accounts that holder holds.
	OpenPairings(ctx context.Context, holder string) ([]gateway.Pairing, error)
	// SetPairing writes a step. Conflict: the pairing is over.
	SetPairing(ctx context.Context, p *gateway.Pairing) error
}

// Inbox takes messages in; gateway.Inbox is one.
type Inbox interface {
	Receive(ctx context.Context, ms ...gateway.Inbound) ([]gateway.Outcome, error)
	// Release opens the windows of what was received as deferred.
	Release(ctx context.Context, account gateway.AccountID) error
	// Join says that forms of addresses mean one person.
	Join(ctx context.Context, account gateway.AccountID, forms ...gateway.Address) error
}

// Records is what a Fleet reads and notes of messages.
type Records interface {
	Accounts(ctx context.Context) ([]gateway.Account, error)
	ApplyStatuses(ctx context.Context, updates []gateway.StatusUpdate) error
	// PollOptions returns what could be chosen in a poll, in its order.
	PollOptions(ctx context.Context, account gateway.AccountID, externalID string) ([]string, error)
}

// Files fetches what came with messages; fetch.Fetcher does.
type Files interface {
	// Wake says that there is something to fetch, or somebody to fetch it with.
	Wake()
	// Answered takes a phone's answer for a file that WhatsApp had lost.
	Answered(ctx context.Context, account gateway.AccountID, evt *events.MediaRetry) error
}

// Parts are what a Fleet works with. Ready and Files may be nil; Files may be
// set until Run is called.
type Parts struct {
	Links    Links
	Pairings Pairings
	Inbox    Inbox
	Records  Records
	Devices  *devices.Store
	Ready    func() // told that an account can send now
	Files    Files
}

// A Fleet is the accounts that this process holds. It is a gateway.Channel,
// and safe for concurrent use.
type Fleet struct {
	Parts
	cfg     Config
	holder  string
	log     *slog.Logger
	metrics *meter.Meter
	wake    chan struct{}
	pace    pace.Line
	web     *http.Client // of all accounts: one of each would keep connections of its own

	mu       sync.Mutex // guards what follows
	members  map[gateway.AccountID]*member
	accounts map[gateway.AccountID]gateway.Account
	read     time.Time // when accounts was read
}

// New returns a Fleet that holds nothing yet. A nil reg registers no metrics.
func New(p Parts, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Fleet, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	library.Introduce()
	if cfg.Newest == nil {
		cfg.Newest = func(ctx context.Context) (*store.WAVersionContainer, error) {
			return whatsmeow.GetLatestVersion(ctx, nil)
		}
	}
	f := &Fleet{
		Parts: p, cfg: cfg, holder: "holder_" + rand.Text(), log: log,
		wake: make(chan struct{}, 1), pace: pace.Line{Mean: cfg.Stagger},
		web:     &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()},
		members: map[gateway.AccountID]*member{}, accounts: map[gateway.AccountID]gateway.Account{},
	}
	f.metrics = meter.New(reg, f.standings)
	return f, nil
}

// Client returns the library's client of an account that is connected here.
func (f *Fleet) Client(account gateway.AccountID) (*whatsmeow.Client, bool) {
	m := f.member(account)
	if m == nil {
		return nil, false
	}
	cli := m.line()
	return cli, cli != nil
}

// standings tells how the accounts stand that this process holds.
func (f *Fleet) standings() []meter.Standing {
	var out []meter.Standing
	for _, m := range f.all() {
		if m.held() {
			l := m.snapshot()
			out = append(out, meter.Standing{Account: l.Account, Connected: m.ready() != nil, Paired: l.Device != "", Heard: m.heard()})
		}
	}
	return out
}

// Holder is the name under which this process holds accounts.
func (f *Fleet) Holder() string { return f.holder }

// Wake makes the fleet look at the links and pairings at once. It never
// blocks.
func (f *Fleet) Wake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// claimAtOnce is how many free accounts a tick takes, so that of several
// processes that start together none takes all.
const claimAtOnce = 50

// Run holds accounts until ctx is done, then hangs up and gives them back. It
// may be called once.
func (f *Fleet) Run(ctx context.Context) error {
	defer f.giveBack(ctx)
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-f.wake:
		}
		more, err := f.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			f.log.WarnContext(ctx, "look after links", "err", err)
		}
		f.dropLost(ctx)
		if more {
			tick.Reset(0)
		} else {
			tick.Reset(pace.Jitter(f.cfg.Tick))
		}
	}
}

// look renews and claims, and tells each account what is new. It reports
// whether there may be more to claim.
func (f *Fleet) look(ctx context.Context) (more bool, err error) {
	asked := time.Now()
	try, cancel := context.WithTimeout(ctx, f.cfg.Lease/2)
	defer cancel()
	links, err := f.Links.ClaimLinks(try, f.holder, f.cfg.Lease, claimAtOnce)
	if err != nil {
		return false, fmt.Errorf("claim links: %w", err)
	}
	if err := f.readAccounts(try); err != nil {
		return false, err
	}
	until := asked.Add(f.cfg.Lease - clockSkew(f.cfg.Lease))
	held, fresh := map[gateway.AccountID]bool{}, 0
	for i := range links {
		held[links[i].Account] = true
		if f.hold(ctx, &links[i], until) {
			fresh++
		}
	}
	for _, m := range f.all() {
		if !held[m.id] {
			m.stop(errLost)
		}
	}
	return fresh == claimAtOnce, f.lookAtPairings(try)
}

// clockSkew is how much earlier we take a lease for over than the database
// says: clocks of replicas differ.
func clockSkew(lease time.Duration) time.Duration { return min(time.Second, lease/10) }

// readAccounts keeps a recent copy of the accounts' settings.
func (f *Fleet) readAccounts(ctx context.Context) error {
	f.mu.Lock()
	recent := time.Since(f.read) < 5*time.Second
	f.mu.Unlock()
	if recent {
		return nil
	}
	list, err := f.Records.Accounts(ctx)
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.accounts)
	for i := range list {
		f.accounts[list[i].ID] = list[i]
	}
	f.read = time.Now()
	return nil
}

// settings returns how an account behaves.
func (f *Fleet) settings(id gateway.AccountID) gateway.Linked {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a, ok := f.accounts[id]; ok {
		return a.Linked
	}
	return gateway.DefaultLinked()
}

// hold takes note of a link that is ours, and reports whether it is new.
func (f *Fleet) hold(ctx context.Context, l *gateway.Link, until time.Time) bool {
	f.mu.Lock()
	m := f.members[l.Account]
	if m != nil && m.fence == l.Fence {
		f.mu.Unlock()
		m.renew(l, until)
		return false
	}
	f.mu.Unlock()
	if m != nil { // the lease was over for a moment: whatever it did is not ours
		m.stop(errLost)
		<-m.done
	}
	m = newMember(f, *l, until)
	f.mu.Lock()
	f.members[l.Account] = m
	f.mu.Unlock()
	// A member outlives Run's context until it is stopped: what it is writing
	// is to end in order.
	m.start(context.WithoutCancel(ctx))
	return true
}

// lookAtPairings hands each open pairing to the account that it is for.
func (f *Fleet) lookAtPairings(ctx context.Context) error {
	open, err := f.Pairings.OpenPairings(ctx, f.holder)
	if err != nil {
		return fmt.Errorf("list pairings: %w", err)
	}
	for i := range open {
		if m := f.member(open[i].Account); m != nil {
			m.offer(open[i])
		}
	}
	return nil
}

// dropLost stops what is ours no more by our own clock.
func (f *Fleet) dropLost(ctx context.Context) {
	for _, m := range f.all() {
		select {
		case <-m.done:
			f.mu.Lock()
			if f.members[m.id] == m {
				delete(f.members, m.id)
			}
			f.mu.Unlock()
		default:
			if !m.held() {
				f.log.WarnContext(ctx, "account lost: its lease could not be renewed", "account", m.id)
				m.stop(errLost)
			}
		}
	}
}

func (f *Fleet) member(id gateway.AccountID) *member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[id]
}

func (f *Fleet) all() []*member {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*member, 0, len(f.members))
	for _, m := range f.members {
		out = append(out, m)
	}
	return out
}

// giveBack hangs up and lets others have the accounts at once.
func (f *Fleet) giveBack(ctx context.Context) {
	all := f.all()
	for _, m := range all {
		m.stop(errStopped)
	}
	for _, m := range all {
		<-m.done
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := f.Links.ReleaseLinks(ctx, f.holder); err != nil {
		f.log.WarnContext(ctx, "give links back; they are free when their leases end", "err", err)
	}
}

var (
	errLost    = errors.New("the account is another process's now")
	errStopped = errors.New("the process stops")
)
