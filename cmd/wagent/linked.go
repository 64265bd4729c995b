//go:build !nolinked

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/whatsapp"
	"wagent/gateway/whatsapp/devices"
	"wagent/gateway/whatsapp/fetch"
)

// linked is what this process has of accounts that are linked devices, and how
// replicas tell each other of them.
type linked struct {
	*whatsapp.Fleet
	files *fetch.Fetcher
	store *store.Store
	bell  *bell  // nil where there are no other replicas
	sends func() // wakes our own outbox
	log   *slog.Logger

	mu    sync.Mutex               // guards hands
	hands map[gateway.RunID]func() // stops what shows that another replica's run is being answered
}

// newLinked joins the parts of linked devices. sends is called when an account
// can send.
func newLinked(ctx context.Context, cfg *config.Config, a *app, h host, inbox *gateway.Inbox, b *bell, sends func(), log *slog.Logger) (*linked, error) {
	boxes := devices.Config{URL: string(cfg.Database.URL), Guard: a.store.LinkGuard()}
	if a.home != nil {
		boxes.Path = a.home.devices()
	}
	library, err := devices.Open(ctx, boxes)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, func() { _ = library.Close() })
	l := &linked{store: a.store, bell: b, sends: sends, log: log, hands: map[gateway.RunID]func(){}}
	reg := prometheus.Registerer(a.registry)
	times := whatsapp.Defaults()
	if err := rehearse(&times, h.rehearsal); err != nil {
		return nil, err
	}
	l.Fleet, err = whatsapp.New(whatsapp.Parts{
		Links: a.store, Pairings: a.store, Inbox: inbox, Records: a.store, Devices: library,
		Ready: sends,
	}, times, log, reg)
	if err != nil {
		return nil, err
	}
	client := func(id gateway.AccountID) (fetch.Client, bool) {
		c, ok := l.Client(id)
		return c, ok
	}
	l.files = fetch.New(a.store, client, log, reg, fetch.Config{
		Holder: l.Holder(), MaxSize: cfg.Media.MaxSize, Retention: cfg.Media.Retention, Slots: 4,
	})
	l.Files = l.files
	return l, nil
}

// run holds accounts and fetches files until ctx is done.
func (l *linked) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.Run(ctx) })
	g.Go(func() error { return l.files.Run(ctx) })
	return g.Wait()
}

// sent tells every replica that the outbox has something to send.
func (l *linked) sent() {
	l.sends()
	l.ring(ringSends, "")
}

// changed tells every replica that a link or a pairing is to be looked at.
func (l *linked) changed() {
	l.Wake()
	l.ring(ringLinks, "")
}

// ring tells the other replicas, where some account may be with them.
func (l *linked) ring(what, about string) {
	if l.bell != nil && l.Any() {
		l.bell.ring(what, about)
	}
}

// working shows the customer that a batch is being answered, here or at the
// replica that holds the account.
func (l *linked) working(ctx context.Context, c *gateway.Claim) (stop func()) {
	if l.Holds(c.Run.Account) {
		return l.attend(ctx, c.Run.ID)
	}
	about := string(c.Run.Account) + " " + string(c.Run.ID)
	l.ring(ringWork, about)
	return func() { l.ring(ringRest, about) }
}

func (l *linked) attend(ctx context.Context, id gateway.RunID) (stop func()) {
	ctx, stop = context.WithTimeout(context.WithoutCancel(ctx), longestWork)
	go func() {
		c, batch, err := l.store.Batch(ctx, id)
		if err == nil {
			l.Attend(ctx, c.Account, c.Peer, batch)
		}
	}()
	return stop
}

// longestWork is after what time a run counts as over, if nobody said so.
const longestWork = 2 * time.Minute

// hear does what another replica asks for.
func (l *linked) hear(ctx context.Context, what, about string) {
	switch what {
	case ringSends:
		l.sends()
	case ringLinks:
		l.Wake()
	case ringWork, ringRest:
		account, run, _ := strings.Cut(about, " ")
		switch {
		case what == ringRest:
			l.rest(gateway.RunID(run))
		case l.Holds(gateway.AccountID(account)):
			l.workFor(ctx, gateway.RunID(run))
		}
	}
}

// workFor shows what another replica works on for an account of ours.
func (l *linked) workFor(ctx context.Context, id gateway.RunID) {
	stop := l.attend(ctx, id)
	l.mu.Lock()
	defer l.mu.Unlock()
	for old, end := range l.hands { // whose end nobody told
		if len(l.hands) < mostRings {
			break
		}
		end()
		delete(l.hands, old)
	}
	l.hands[id] = stop
}

func (l *linked) rest(id gateway.RunID) {
	l.mu.Lock()
	stop := l.hands[id]
	delete(l.hands, id)
	l.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// rehearse leads accounts to the WhatsApp for tests that spec names:
// host:port?panic=N.
func rehearse(times *whatsapp.Config, spec string) error {
	if spec == "" {
		return nil
	}
	u, err := url.Parse("rehearsal://" + spec)
	if err != nil {
		return fmt.Errorf("rehearsal %q: %w", spec, err)
	}
	n, _ := strconv.ParseInt(u.Query().Get("panic"), 10, 64)
	return startRehearsal(times, u.Host, n)
}
