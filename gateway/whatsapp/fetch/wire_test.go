//go:build watest

package fetch_test

import (
	"bytes"
	"context"
	"database/sql"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"
	_ "modernc.org/sqlite"

	"wagent/gateway"
	"wagent/gateway/whatsapp/content"
	"wagent/gateway/whatsapp/fetch"
	"wagent/gateway/whatsapp/watest"
)

// patience bounds every wait: what does not happen fails.
const patience = 30 * time.Second

// A line is an account's connection to a WhatsApp of its own, with a Fetcher that
// takes what comes.
type line struct {
	t       *testing.T
	ctx     context.Context
	server  *watest.Server
	ada     *watest.Chat
	cli     *whatsmeow.Client
	store   *fetch.Memory
	fetcher *fetch.Fetcher
	reader  content.Reader
	before  func(*events.Message) // what happens between a message and its record
	notes   chan any
}

func newLine(t *testing.T, maxSize int64) *line {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	t.Cleanup(cancel)
	l := &line{t: t, ctx: ctx, server: watest.New(), store: fetch.NewMemory(), notes: make(chan any, 100)}
	t.Cleanup(l.server.Close)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "devices.db")+
		"?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_txlock=immediate")
	l.must(err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	devices := sqlstore.NewWithDB(db, "sqlite", waLog.Noop)
	l.must(devices.Upgrade(ctx))
	l.cli = whatsmeow.NewClient(devices.NewDevice(), waLog.Noop)
	l.cli.AddEventHandler(l.handle)
	watest.Attach(l.cli, l.server.Addr())
	t.Cleanup(l.cli.Disconnect)

	cfg := fetch.Config{Holder: "me", MaxSize: maxSize, Retention: time.Hour, Slots: 2}
	client := func(gateway.AccountID) (fetch.Client, bool) { return l.cli, true }
	l.fetcher = fetch.New(l.store, client, slog.New(slog.DiscardHandler), nil, cfg)

	phone := l.server.Phone("491510000001")
	l.must(l.cli.ConnectContext(ctx))
	device, err := phone.Link(await[*events.QR](l).Codes[0])
	l.must(err)
	await[*events.Connected](l)
	l.must(device.Ready(ctx))
	l.reader.Self = content.Self{Account: "acc_a", PN: device.JID(), LID: device.LID()}
	l.ada = l.server.Contact("491510000002").To(phone)
	l.run()
	return l
}

func (l *line) run() {
	ctx, stop := context.WithCancel(l.ctx)
	done := make(chan error, 1)
	go func() { done <- l.fetcher.Run(ctx) }()
	l.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			l.t.Errorf("Run: %v", err)
		}
	})
}

// handle does what production does: a message is put on record, with its file.
func (l *line) handle(evt any) {
	switch evt := evt.(type) {
	case *events.Message:
		if l.before != nil {
			l.before(evt)
		}
		in, ok, err := l.reader.Read(l.ctx, evt)
		if err != nil {
			l.t.Errorf("read a message: %v", err)
		}
		if ok && in.Attachment != nil {
			l.store.Add(gateway.MessageID(in.ExternalID), in.ExternalID, in.Attachment)
			l.fetcher.Wake()
		}
	case *events.MediaRetry:
		if err := l.fetcher.Answered(l.ctx, "acc_a", evt); err != nil {
			l.t.Errorf("an answer: %v", err)
		}
	case *events.QR, *events.Connected:
		l.notes <- evt
	}
}

func (l *line) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func await[T any](l *line) T {
	l.t.Helper()
	for {
		select {
		case n := <-l.notes:
			if v, ok := n.(T); ok {
				return v
			}
		case <-l.ctx.Done():
			var none T
			l.t.Fatalf("no %T came", none)
		}
	}
}

// settled blocks until the file of a message is what it will be.
func (l *line) settled(sent *watest.Sent) (gateway.Media, string) {
	l.t.Helper()
	l.must(sent.Acked(l.ctx))
	for {
		m, data := l.store.Get(gateway.MessageID(sent.ID))
		if m.State != gateway.MediaWanted && m.State != gateway.MediaAsked {
			return m, data
		}
		select {
		case <-l.store.Changed():
		case <-l.ctx.Done():
			l.t.Fatalf("the file is still %s: %s", m.State, m.Error)
		}
	}
}

func TestFilesAreKept(t *testing.T) {
	l := newLine(t, 1<<20)
	for name, size := range map[string]int{"empty": 0, "a byte": 1, "a block": 16, "not quite whole blocks": 100_001, "as large as may be": 1 << 20} {
		want := bytes.Repeat([]byte("x"), size)
		m, data := l.settled(l.ada.Voice(want, time.Second))
		if m.State != gateway.MediaKept || data != string(want) || m.Size != int64(size) || m.MimeType != "audio/ogg; codecs=opus" {
			t.Errorf("%s: %s (%s), %d bytes of %s", name, m.State, m.Error, len(data), m.MimeType)
		}
	}
	if m, data := l.settled(l.ada.Image([]byte("jpeg"), "my room")); m.State != gateway.MediaKept || data != "jpeg" {
		t.Errorf("picture: %s (%s), %q", m.State, m.Error, data)
	}
}

func TestAFileThatIsTooLargeIsLeft(t *testing.T) {
	l := newLine(t, 1000)
	m, _ := l.settled(l.ada.Voice(make([]byte, 1001), time.Second))
	if m.State != gateway.MediaTooLarge {
		t.Errorf("%s (%s)", m.State, m.Error)
	}
	l.before = func(evt *events.Message) { evt.Message.AudioMessage.FileLength = new(uint64(1)) }
	m, _ = l.settled(l.ada.Voice(make([]byte, 100_000), time.Second))
	if m.State != gateway.MediaTooLarge || !strings.Contains(m.Error, "unlike") {
		t.Errorf("one that lies: %s (%s)", m.State, m.Error)
	}
}

func TestALostFileComesFromThePhone(t *testing.T) {
	l := newLine(t, 1<<20)
	sent := make(chan *watest.Sent, 1)
	l.before = func(*events.Message) { (<-sent).LoseMedia() }
	voice := l.ada.Voice([]byte("some sound"), time.Second)
	sent <- voice
	if m, data := l.settled(voice); m.State != gateway.MediaKept || data != "some sound" {
		t.Errorf("%s (%s), %q", m.State, m.Error, data)
	}
}

func TestAFileThatThePhoneLostTooIsGone(t *testing.T) {
	l := newLine(t, 1<<20)
	l.before = func(evt *events.Message) {
		evt.Message.AudioMessage.DirectPath = new("/v/f/nothing?ccb=1")
		evt.Info.ID = "nobody sent this"
	}
	l.must(l.ada.Voice([]byte("some sound"), time.Second).Acked(l.ctx))
	for {
		if m, _ := l.store.Get("nobody sent this"); m.State == gateway.MediaGone {
			if !strings.Contains(m.Error, "nor has the phone") {
				t.Errorf("gone: %s", m.Error)
			}
			return
		}
		select {
		case <-l.store.Changed():
		case <-l.ctx.Done():
			t.Fatal("the file is not gone")
		}
	}
}

func TestAFileWithAnotherHashIsGone(t *testing.T) {
	l := newLine(t, 1<<20)
	l.before = func(evt *events.Message) { evt.Message.AudioMessage.FileSHA256[0] ^= 1 }
	if m, data := l.settled(l.ada.Voice([]byte("some sound"), time.Second)); m.State != gateway.MediaGone || data != "" {
		t.Errorf("%s (%s), %q", m.State, m.Error, data)
	}
}
