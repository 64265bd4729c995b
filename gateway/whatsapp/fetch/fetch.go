// Package fetch downloads the files that come with messages to linked devices, at
// once, and keeps them for a while: WhatsApp forgets them after some weeks, and
// the keys to them are worth nothing without a connection.
//
//	wanted ─▶ download ─▶ kept ─▶ (retention) ─▶ expired
//	  ▲          ├─▶ too_large, gone
//	  │          └─▶ asked: WhatsApp lost it, and our phone is asked for it again
//	  └── the phone's answer ──┴─▶ gone
//
// State lives in the Store, which hands each file to one process at a time, for
// the length of a lease. After a crash the lease ends, and the file is fetched
// again by whoever is connected for the account then. A file that can not be had
// is no reason to hold a message back: that is on record before.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waMmsRetry"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"golang.org/x/sync/errgroup"

	"wagent/gateway"
)

// Store keeps files and what is known of them.
type Store interface {
	// ClaimMedia takes at most limit files that are due, of accounts that holder
	// holds and that are connected. Each falls due again after the lease unless it
	// is settled before.
	ClaimMedia(ctx context.Context, holder string, limit int, lease time.Duration) (work []gateway.Media, next time.Time, err error)
	// SettleMedia records what became of a file, with its bytes where its state is
	// MediaKept. An error of kind Conflict says that it is in other hands.
	SettleMedia(ctx context.Context, m *gateway.Media, data []byte) error
	// MediaAskedFor finds the file that a phone was asked for by WhatsApp's id of
	// its message, or an error of kind NotFound.
	MediaAskedFor(ctx context.Context, account gateway.AccountID, externalID string) (gateway.Media, error)
	// ExpireMedia deletes bytes whose time is over, some at once, and returns of how
	// many files; 0 when none is left.
	ExpireMedia(ctx context.Context) (int, error)
}

// A Client is the connection of an account: a *whatsmeow.Client.
type Client interface {
	DownloadToFile(ctx context.Context, m whatsmeow.DownloadableMessage, into whatsmeow.File) error
	SendMediaRetryReceipt(ctx context.Context, m *types.MessageInfo, key []byte) error
}

// Config says what to fetch, and for how long.
type Config struct {
	Holder    string        // this process, as it claims accounts
	MaxSize   int64         // bytes; larger files stay where they are
	Retention time.Duration // how long bytes are kept
	Slots     int           // downloads at once, each with MaxSize in memory at most; 0 means 1
}

// Validate says what is missing.
func (c *Config) Validate() error {
	switch {
	case c.Holder == "":
		return errors.New("fetch: Holder is empty")
	case c.MaxSize <= 0:
		return errors.New("fetch: MaxSize is not positive")
	case c.Retention <= 0:
		return errors.New("fetch: Retention is not positive")
	}
	return nil
}

// The times of a fetch.
const (
	lease        = 5 * time.Minute
	patience     = 4 * time.Minute // of one download
	firstPause   = 2 * time.Second // doubled with each attempt
	longestPause = 10 * time.Minute
	giveUp       = 24 * time.Hour // after the message came, and no sooner than after fewest attempts
	fewest       = 10
	brokenOften  = 3 // a file that arrives broken so often was never whole
	askTime      = 10 * time.Second
	recordTime   = 5 * time.Second
	expireEvery  = time.Minute
)

// askAgain is how long a phone has for its answer, each time that it is asked: it
// may be without power for a night.
var askAgain = []time.Duration{time.Hour, 6 * time.Hour, 17 * time.Hour}

// A Fetcher fetches files.
type Fetcher struct {
	store   Store
	clients func(gateway.AccountID) (Client, bool)
	cfg     Config
	log     *slog.Logger
	total   *prometheus.CounterVec
	loop    gateway.Loop[gateway.Media]
}

// New returns a Fetcher that does nothing until Run. clients finds the connection
// of an account, if this process has one; it must be safe for concurrent use. reg
// may be nil. cfg must be valid.
func New(store Store, clients func(gateway.AccountID) (Client, bool), log *slog.Logger, reg prometheus.Registerer, cfg Config) *Fetcher {
	f := &Fetcher{store: store, clients: clients, cfg: cfg, log: log, total: newMetrics(reg)}
	f.loop.Name, f.loop.Slots, f.loop.Work, f.loop.Log = "media", cfg.Slots, f.fetch, log
	f.loop.Claim = func(ctx context.Context, limit int) ([]gateway.Media, time.Time, error) {
		return store.ClaimMedia(ctx, cfg.Holder, limit, lease)
	}
	return f
}

// Run fetches what is due and deletes what is over, until ctx is done; what is
// being downloaded then is put back. It may be called once.
func (f *Fetcher) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return f.loop.Run(ctx) })
	g.Go(func() error { f.expire(ctx); return nil })
	return g.Wait()
}

// Wake tells that there is a file to fetch, or that an account is connected. It
// never blocks.
func (f *Fetcher) Wake() { f.loop.Wake() }

func (f *Fetcher) expire(ctx context.Context) {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		n, err := f.store.ExpireMedia(ctx)
		f.total.WithLabelValues(string(gateway.MediaExpired)).Add(float64(n))
		if err != nil && ctx.Err() == nil {
			f.log.WarnContext(ctx, "delete expired media", "err", err)
		}
		if n > 0 && err == nil {
			continue
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// fetch makes one attempt at a file.
func (f *Fetcher) fetch(ctx context.Context, m gateway.Media) {
	began := time.Now()
	data, file := f.attempt(ctx, &m)
	if f.record(ctx, &m, data, time.Since(began)) && m.State == gateway.MediaAsked {
		f.ask(ctx, &m, file)
	}
}

// attempt downloads m, and says in it what came of that.
func (f *Fetcher) attempt(ctx context.Context, m *gateway.Media) ([]byte, *File) {
	file, err := ParseFile(m.Source)
	if err != nil {
		settle(m, gateway.MediaGone, "what it takes to fetch the file is not on record")
		return nil, nil
	}
	if file.Length > f.cfg.MaxSize {
		settle(m, gateway.MediaTooLarge, fmt.Sprintf("the file has more than %d bytes", f.cfg.MaxSize))
		return nil, nil
	}
	client, ok := f.clients(m.Account)
	if !ok {
		again(m, pause(m), "the account is not connected")
		return nil, nil
	}
	try, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	into := &buffer{limit: f.cfg.MaxSize}
	err = download(try, client, file, into)
	if err == nil && int64(len(into.data)) > f.cfg.MaxSize {
		err = errTooLarge
	}
	if err != nil {
		f.judge(ctx, m, file, into, err)
		return nil, file
	}
	settle(m, gateway.MediaKept, "")
	m.Size, m.ExpiresAt = int64(len(into.data)), time.Now().Add(f.cfg.Retention)
	return into.data, file
}

// download is the library's, which a stranger's file may make panic.
func download(ctx context.Context, client Client, file *File, into *buffer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic: %v", errBroken, p)
		}
	}()
	return client.DownloadToFile(ctx, file, into)
}

var errBroken = errors.New("the file is broken")

// judge says what a download that failed means.
func (f *Fetcher) judge(ctx context.Context, m *gateway.Media, file *File, into *buffer, err error) {
	broken := into.whole || errors.Is(err, errBroken) || errors.Is(err, errTooLarge) ||
		errors.Is(err, whatsmeow.ErrInvalidMediaEncSHA256) || errors.Is(err, whatsmeow.ErrTooShortFile)
	switch {
	case ctx.Err() != nil:
		again(m, 0, "stopped by a shutdown")
	case lost(err):
		f.miss(m, file)
	case broken && file.Broken < brokenOften-1:
		// The library goes on with another host where the first one stopped, in the
		// middle of what it wrote: what arrives broken may be whole.
		again(m, pause(m), "the file arrived broken")
		file.Broken++
		m.Source = file.Source()
	case errors.Is(err, errTooLarge):
		settle(m, gateway.MediaTooLarge, fmt.Sprintf("the file has more than %d bytes, unlike its sender says", f.cfg.MaxSize))
	case broken:
		settle(m, gateway.MediaGone, "the file is not what its sender says")
	case time.Since(m.CreatedAt) > giveUp && m.Attempt >= fewest:
		settle(m, gateway.MediaGone, "the file could not be downloaded for a day: "+brief(err))
	default:
		again(m, pause(m), "the download failed: "+brief(err))
	}
}

// lost reports whether WhatsApp has the file no more.
func lost(err error) bool {
	return errors.Is(err, whatsmeow.ErrMediaDownloadFailedWith403) ||
		errors.Is(err, whatsmeow.ErrMediaDownloadFailedWith404) ||
		errors.Is(err, whatsmeow.ErrMediaDownloadFailedWith410)
}

// miss makes m one that the phone is asked for, unless it was asked in vain.
func (f *Fetcher) miss(m *gateway.Media, file *File) {
	if file.Asked >= len(askAgain) {
		settle(m, gateway.MediaGone, "WhatsApp has the file no more, and the phone did not answer")
		return
	}
	wait := askAgain[file.Asked]
	file.Asked++
	settle(m, gateway.MediaAsked, "WhatsApp has the file no more; the phone is asked for it")
	m.NextAt, m.Source = time.Now().Add(wait), file.Source()
}

// ask asks the phone for the file. That stands on record before, because the
// answer may be quick.
func (f *Fetcher) ask(ctx context.Context, m *gateway.Media, file *File) {
	err := errors.New("the account is not connected")
	if client, ok := f.clients(m.Account); ok {
		try, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		err = client.SendMediaRetryReceipt(try, file.Info(), file.GetMediaKey())
	}
	if err == nil {
		return
	}
	file.Asked-- // it was not
	again(m, pause(m), "the phone could not be asked for the file: "+brief(err))
	m.Source = file.Source()
	f.record(ctx, m, nil, 0)
}

// Answered takes a phone's answer for an account. An error says that the answer
// was not understood or could not be recorded: the phone is asked again in time.
func (f *Fetcher) Answered(ctx context.Context, account gateway.AccountID, evt *events.MediaRetry) error {
	m, err := f.store.MediaAskedFor(ctx, account, evt.MessageID)
	if gateway.KindOf(err) == gateway.NotFound {
		return nil // it is settled, or another device asked
	}
	if err != nil {
		return fmt.Errorf("find the media of an answer: %w", err)
	}
	file, err := ParseFile(m.Source)
	if err != nil {
		return fmt.Errorf("media of message %s: %w", m.Message, err)
	}
	path, err := reuploaded(evt, file)
	switch {
	case errors.Is(err, whatsmeow.ErrMediaNotAvailableOnPhone):
		settle(&m, gateway.MediaGone, "WhatsApp has the file no more, nor has the phone")
	case err != nil:
		return fmt.Errorf("media of message %s: %w", m.Message, err)
	default:
		file.Path = path
		again(&m, 0, "the phone sent it again")
		m.Source = file.Source()
	}
	f.record(ctx, &m, nil, 0)
	f.Wake()
	return nil
}

// nonceSize is AES-GCM's. The library panics on any other.
const nonceSize = 12

// reuploaded returns where the phone put the file.
func reuploaded(evt *events.MediaRetry, file *File) (string, error) {
	if evt.Ciphertext != nil && len(evt.IV) != nonceSize || evt.Ciphertext == nil && evt.Error == nil {
		return "", errors.New("the answer is malformed")
	}
	answer, err := whatsmeow.DecryptMediaRetryNotification(evt, file.GetMediaKey())
	if err != nil {
		return "", err
	}
	switch answer.GetResult() {
	case waMmsRetry.MediaRetryNotification_SUCCESS:
	case waMmsRetry.MediaRetryNotification_NOT_FOUND, waMmsRetry.MediaRetryNotification_DECRYPTION_ERROR:
		return "", whatsmeow.ErrMediaNotAvailableOnPhone
	default:
		return "", fmt.Errorf("the phone says %s", answer.GetResult())
	}
	moved := *file
	if moved.Path = answer.GetDirectPath(); !moved.Whole() {
		return "", errors.New("the answer has no path")
	}
	return moved.Path, nil
}
