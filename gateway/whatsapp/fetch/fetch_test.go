package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waMmsRetry"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"
	"go.mau.fi/whatsmeow/util/gcmutil"
	"go.mau.fi/whatsmeow/util/hkdfutil"
	"google.golang.org/protobuf/proto"

	"wagent/gateway"
)

// A memory is a Store of one account's files, all of which it may claim.
type memory struct {
	mu      sync.Mutex
	media   map[gateway.MessageID]*gateway.Media
	ids     map[gateway.MessageID]string // WhatsApp's
	data    map[gateway.MessageID][]byte
	claims  []time.Duration // when, since the beginning
	began   time.Time
	expired []int // what ExpireMedia returns, one after the other
	away    bool  // every call fails
	changed chan struct{}
}

var errAway = errors.New("database is away")

func newMemory() *memory {
	return &memory{
		media: map[gateway.MessageID]*gateway.Media{}, ids: map[gateway.MessageID]string{}, data: map[gateway.MessageID][]byte{},
		began: time.Now(), changed: make(chan struct{}, 1),
	}
}

func (s *memory) add(id gateway.MessageID, externalID string, a *gateway.Attachment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.media[id] = &gateway.Media{
		Message: id, Account: "acc_a", State: gateway.MediaWanted, MimeType: a.MimeType, Size: a.Size, Source: a.Source,
		CreatedAt: time.Now(), NextAt: time.Now(),
	}
	s.ids[id] = externalID
}

func unsettled(m *gateway.Media) bool {
	return m.State == gateway.MediaWanted || m.State == gateway.MediaAsked
}

func (s *memory) ClaimMedia(_ context.Context, holder string, limit int, lease time.Duration) (work []gateway.Media, next time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away || holder != "me" {
		return nil, next, errAway
	}
	for _, m := range s.media {
		switch {
		case !unsettled(m):
			continue
		case !m.NextAt.After(time.Now()) && len(work) < limit:
			m.Attempt++
			m.NextAt = time.Now().Add(lease)
			work = append(work, *m)
			s.claims = append(s.claims, time.Since(s.began))
		}
		if next.IsZero() || m.NextAt.Before(next) {
			next = m.NextAt
		}
	}
	return work, next, nil
}

func (s *memory) SettleMedia(ctx context.Context, m *gateway.Media, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.media[m.Message]
	switch {
	case s.away || ctx.Err() != nil:
		return errAway
	case !unsettled(was) || was.Attempt != m.Attempt:
		return &gateway.Error{Kind: gateway.Conflict, Msg: "in other hands"}
	}
	kept := *m
	if m.Source == nil {
		kept.Source = was.Source
	}
	s.media[m.Message] = &kept
	if m.State == gateway.MediaKept {
		s.data[m.Message] = bytes.Clone(data)
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return nil
}

func (s *memory) MediaAskedFor(_ context.Context, account gateway.AccountID, externalID string) (gateway.Media, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return gateway.Media{}, errAway
	}
	for id, m := range s.media {
		if m.State == gateway.MediaAsked && m.Account == account && s.ids[id] == externalID {
			return *m, nil
		}
	}
	return gateway.Media{}, &gateway.Error{Kind: gateway.NotFound, Msg: "nothing was asked for"}
}

func (s *memory) ExpireMedia(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return 0, errAway
	}
	if len(s.expired) == 0 {
		return 0, nil
	}
	n := s.expired[0]
	s.expired = s.expired[1:]
	return n, nil
}

func (s *memory) get(id gateway.MessageID) gateway.Media {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.media[id]
}

func (s *memory) times() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Duration(nil), s.claims...)
}

// A wire is a Client that answers with what it is told.
type wire struct {
	mu     sync.Mutex
	down   func(ctx context.Context, into whatsmeow.File) error
	asked  []types.MessageInfo
	askErr error
	onAsk  func()
}

func (w *wire) DownloadToFile(ctx context.Context, _ whatsmeow.DownloadableMessage, into whatsmeow.File) error {
	w.mu.Lock()
	down := w.down
	w.mu.Unlock()
	return down(ctx, into)
}

func (w *wire) SendMediaRetryReceipt(_ context.Context, m *types.MessageInfo, key []byte) error {
	w.mu.Lock()
	w.asked = append(w.asked, *m)
	err, onAsk := w.askErr, w.onAsk
	w.mu.Unlock()
	if len(key) != 32 {
		return fmt.Errorf("key of %d bytes", len(key))
	}
	if onAsk != nil {
		onAsk()
	}
	return err
}

func (w *wire) does(down func(ctx context.Context, into whatsmeow.File) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

func (w *wire) ask(i int) types.MessageInfo {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[i]
}

func (w *wire) asks() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked)
}

func fails(err error) func(context.Context, whatsmeow.File) error {
	return func(context.Context, whatsmeow.File) error { return err }
}

// brings is what the library does with a file that comes whole.
func brings(data string) func(context.Context, whatsmeow.File) error {
	return func(_ context.Context, into whatsmeow.File) error {
		if _, err := io.Copy(into, strings.NewReader(data+"0123456789")); err != nil {
			return fmt.Errorf("failed to download media from last host: %w", err)
		}
		return into.Truncate(int64(len(data)))
	}
}

var key = bytes.Repeat([]byte{1}, 32)

func attachment(length int64) *gateway.Attachment {
	f := &File{
		Kind: "audio", Path: "/v/f/1?ccb=1", Key: gateway.Secret(key), SHA256: key, EncSHA256: key, Length: length,
		ID: "3EB0", Chat: "120363000000000001@g.us", Sender: "77000000000002@lid",
	}
	return &gateway.Attachment{MimeType: "audio/ogg", Size: length, Source: f.Source()}
}

const id = gateway.MessageID("msg_1")

type rig struct {
	*Fetcher
	store *memory
	wire  *wire
	reg   *prometheus.Registry
	log   *bytes.Buffer
	there atomic.Bool // the account is connected
	end   func()
}

// start runs a Fetcher in a bubble, with one file to fetch.
func start(t *testing.T, down func(context.Context, whatsmeow.File) error) *rig {
	t.Helper()
	r := newRig(t, down)
	r.run(t)
	return r
}

func newRig(t *testing.T, down func(context.Context, whatsmeow.File) error) *rig {
	t.Helper()
	r := &rig{store: newMemory(), wire: &wire{down: down}, reg: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	r.there.Store(true)
	r.store.add(id, "3EB0", attachment(100))
	cfg := Config{Holder: "me", MaxSize: 1000, Retention: 48 * time.Hour}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	clients := func(account gateway.AccountID) (Client, bool) { return r.wire, r.there.Load() && account == "acc_a" }
	r.Fetcher = New(r.store, clients, slog.New(slog.NewTextHandler(r.log, nil)), r.reg, cfg)
	return r
}

func (r *rig) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(r.end)
}

// after is the file when some time has gone by.
func (r *rig) after(d time.Duration) gateway.Media {
	time.Sleep(d)
	synctest.Wait()
	return r.store.get(id)
}

func (r *rig) counted(t *testing.T, outcome string, want float64) {
	t.Helper()
	if got := testutil.ToFloat64(r.total.WithLabelValues(outcome)); got != want {
		t.Errorf("wagent_media_total{outcome=%q} is %v, want %v", outcome, got, want)
	}
}

func (r *rig) has(t *testing.T, m gateway.Media, state gateway.MediaState, reason string) {
	t.Helper()
	if m.State != state || !strings.Contains(m.Error, reason) || (reason == "") != (m.Error == "") {
		t.Errorf("the file is %s (%q), want %s (%q)", m.State, m.Error, state, reason)
	}
}

func TestAFileIsKeptForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, brings("sound"))
		m := r.after(0)
		r.has(t, m, gateway.MediaKept, "")
		if string(r.store.data[id]) != "sound" || m.Size != 5 || !m.ExpiresAt.Equal(time.Now().Add(48*time.Hour)) {
			t.Errorf("kept %q, size %d, until %s", r.store.data[id], m.Size, m.ExpiresAt)
		}
		r.counted(t, "kept", 1)
		r.after(time.Hour)
		if n := len(r.store.times()); n != 1 {
			t.Errorf("%d attempts", n)
		}
		for _, word := range []string{"sound", "/v/f/", string(key)} {
			if strings.Contains(r.log.String(), word) {
				t.Errorf("the log tells %q: %s", word, r.log)
			}
		}
	})
}

func TestALargeFileIsNotDownloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, brings("sound"))
		r.after(0)
		r.store.add(id, "3EB0", attachment(1001))
		r.wire.does(func(context.Context, whatsmeow.File) error { t.Error("downloaded"); return nil })
		r.Wake()
		r.has(t, r.after(0), gateway.MediaTooLarge, "more than 1000 bytes")
		r.counted(t, "too_large", 1)
	})
}

func TestAFileThatIsLargerThanItSaysIsLeft(t *testing.T) {
	for name, down := range map[string]func(context.Context, whatsmeow.File) error{
		"endless": func(_ context.Context, into whatsmeow.File) error {
			for {
				if _, err := into.Write(make([]byte, 512)); err != nil {
					return fmt.Errorf("failed to download media from last host: %w", err)
				}
			}
		},
		"by a byte": brings(strings.Repeat("x", 1001)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, down)
				r.has(t, r.after(time.Minute), gateway.MediaTooLarge, "unlike its sender says")
				if diff := cmp.Diff([]time.Duration{0, 2 * time.Second, 6 * time.Second}, r.store.times()); diff != "" {
					t.Errorf("attempts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestAFileThatIsBrokenIsTriedThreeTimes(t *testing.T) {
	for name, down := range map[string]func(context.Context, whatsmeow.File) error{
		"another hash":    fails(fmt.Errorf("last host: %w", whatsmeow.ErrInvalidMediaEncSHA256)),
		"hardly anything": fails(whatsmeow.ErrTooShortFile),
		"another MAC": func(_ context.Context, f whatsmeow.File) error {
			_ = f.Truncate(0)
			return whatsmeow.ErrInvalidMediaHMAC
		},
		"a wrong length":          func(_ context.Context, f whatsmeow.File) error { _ = f.Truncate(0); return io.ErrUnexpectedEOF },
		"the library's own panic": func(context.Context, whatsmeow.File) error { panic("a stranger's file") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, down)
				r.has(t, r.after(time.Second), gateway.MediaWanted, "arrived broken")
				r.has(t, r.after(time.Minute), gateway.MediaGone, "not what its sender says")
				if n := len(r.store.times()); n != 3 {
					t.Errorf("%d attempts", n)
				}
				r.counted(t, "again", 2)
				r.counted(t, "gone", 1)
			})
		})
	}
}

func TestTroubleIsWaitedOutForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		secret := &url.Error{Op: "Get", URL: "https://mmg/v/f/1", Err: errors.New("connection refused")}
		r := start(t, fails(fmt.Errorf("last host: %w", secret)))
		r.has(t, r.after(20*time.Minute), gateway.MediaWanted, "connection refused")
		want := []time.Duration{0, 2, 6, 14, 30, 62, 126, 254, 510, 1022}
		for i := range want {
			want[i] *= time.Second
		}
		if diff := cmp.Diff(want, r.store.times()); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		m := r.after(24 * time.Hour)
		r.has(t, m, gateway.MediaGone, "connection refused")
		if strings.Contains(m.Error, "mmg") || strings.Contains(r.log.String(), "mmg") {
			t.Errorf("the URL is told: %s", m.Error)
		}
		last := r.store.times()
		if gap := last[len(last)-1] - last[len(last)-2]; gap != longestPause {
			t.Errorf("the last pause is %s", gap)
		}
	})
}

func TestAnAccountThatIsBackAfterDaysGetsItsTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, fails(io.ErrUnexpectedEOF))
		r.store.mu.Lock()
		r.store.media[id].CreatedAt = time.Now().Add(-72 * time.Hour)
		r.store.mu.Unlock()
		r.has(t, r.after(10*time.Second), gateway.MediaWanted, "EOF")
		r.wire.does(brings("sound"))
		r.has(t, r.after(time.Minute), gateway.MediaKept, "")
	})
}

func TestALostFileIsAskedForThreeTimes(t *testing.T) {
	for _, status := range []error{
		whatsmeow.ErrMediaDownloadFailedWith403, whatsmeow.ErrMediaDownloadFailedWith404, whatsmeow.ErrMediaDownloadFailedWith410,
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, fails(status))
			r.wire.onAsk = func() {
				if m := r.store.get(id); m.State != gateway.MediaAsked {
					t.Errorf("asked for while it is %s: the answer would find nothing", m.State)
				}
			}
			r.run(t)
			m := r.after(0)
			r.has(t, m, gateway.MediaAsked, "the phone is asked")
			if got := r.wire.ask(0); got.ID != "3EB0" || !got.IsGroup || got.Chat.User != "120363000000000001" || got.Sender.User != "77000000000002" {
				t.Errorf("asked for %+v", got)
			}
			r.has(t, r.after(25*time.Hour), gateway.MediaGone, "did not answer")
			if diff := cmp.Diff([]time.Duration{0, time.Hour, 7 * time.Hour, 24 * time.Hour}, r.store.times()); diff != "" {
				t.Errorf("attempts (-want +got):\n%s", diff)
			}
			if r.wire.asks() != 3 {
				t.Errorf("asked %d times", r.wire.asks())
			}
			r.counted(t, "asked", 3)
		})
	}
}

func TestAPhoneThatCanNotBeAskedIsAskedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fails(whatsmeow.ErrMediaDownloadFailedWith404))
		r.wire.askErr = whatsmeow.ErrNotConnected
		r.run(t)
		r.has(t, r.after(time.Hour), gateway.MediaWanted, "could not be asked")
		r.wire.mu.Lock()
		r.wire.askErr = nil
		r.wire.mu.Unlock()
		r.has(t, r.after(10*time.Minute), gateway.MediaAsked, "the phone is asked")
		f, err := ParseFile(r.store.get(id).Source)
		if err != nil || f.Asked != 1 {
			t.Errorf("asked %d times on record, error %v", f.Asked, err)
		}
	})
}

// answer is what a phone says.
func answer(t *testing.T, result waMmsRetry.MediaRetryNotification_ResultType, path string) *events.MediaRetry {
	t.Helper()
	plain, err := proto.Marshal(&waMmsRetry.MediaRetryNotification{StanzaID: new("3EB0"), DirectPath: &path, Result: &result})
	if err != nil {
		t.Fatal(err)
	}
	evt := &events.MediaRetry{MessageID: "3EB0", IV: make([]byte, nonceSize)}
	evt.Ciphertext, err = gcmutil.Encrypt(hkdfutil.SHA256(key, nil, []byte("WhatsApp Media Retry Notification"), 32), evt.IV, plain, []byte("3EB0"))
	if err != nil {
		t.Fatal(err)
	}
	return evt
}

func TestAnswersOfThePhone(t *testing.T) {
	const success = waMmsRetry.MediaRetryNotification_SUCCESS
	forged := answer(t, success, "/v/f/2")
	forged.Ciphertext[0] ^= 1
	short := answer(t, success, "/v/f/2")
	short.IV = []byte("short")
	tests := map[string]struct {
		evt    *events.MediaRetry
		err    string
		state  gateway.MediaState
		reason string
	}{
		"it sent the file again":          {answer(t, success, "/v/f/2"), "", gateway.MediaKept, ""},
		"it has the file no more":         {&events.MediaRetry{MessageID: "3EB0", Error: &events.MediaRetryError{Code: 2}}, "", gateway.MediaGone, "nor has the phone"},
		"it does not find the file":       {answer(t, waMmsRetry.MediaRetryNotification_NOT_FOUND, ""), "", gateway.MediaGone, "nor has the phone"},
		"it could not read what we asked": {answer(t, waMmsRetry.MediaRetryNotification_DECRYPTION_ERROR, ""), "", gateway.MediaGone, "nor has the phone"},
		"it had some trouble":             {answer(t, waMmsRetry.MediaRetryNotification_GENERAL_ERROR, ""), "GENERAL_ERROR", gateway.MediaAsked, "the phone is asked"},
		"it had some other trouble":       {&events.MediaRetry{MessageID: "3EB0", Error: &events.MediaRetryError{Code: 7}}, "code: 7", gateway.MediaAsked, "the phone is asked"},
		"it says no path":                 {answer(t, success, "x"), "no path", gateway.MediaAsked, "the phone is asked"},
		"it is not the phone":             {forged, "decrypt", gateway.MediaAsked, "the phone is asked"},
		"its nonce has another length":    {short, "malformed", gateway.MediaAsked, "the phone is asked"},
		"it says nothing":                 {&events.MediaRetry{MessageID: "3EB0"}, "malformed", gateway.MediaAsked, "the phone is asked"},
		"it speaks of what nobody asked":  {&events.MediaRetry{MessageID: "3EB1"}, "", gateway.MediaAsked, "the phone is asked"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, fails(whatsmeow.ErrMediaDownloadFailedWith404))
				r.has(t, r.after(0), gateway.MediaAsked, "the phone is asked")
				r.wire.does(brings("sound"))
				err := r.Answered(t.Context(), "acc_a", tt.evt)
				if (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				r.has(t, r.after(0), tt.state, tt.reason)
				if tt.state == gateway.MediaKept && string(r.store.data[id]) != "sound" {
					t.Errorf("kept %q", r.store.data[id])
				}
			})
		})
	}
}

func TestAnAnswerThatCanNotBeLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, fails(whatsmeow.ErrMediaDownloadFailedWith404))
		r.after(0)
		r.store.mu.Lock()
		r.store.away = true
		r.store.mu.Unlock()
		if err := r.Answered(t.Context(), "acc_a", answer(t, waMmsRetry.MediaRetryNotification_SUCCESS, "/v/f/2")); !errors.Is(err, errAway) {
			t.Errorf("error %v", err)
		}
	})
}

func TestAShutdownPutsAFileBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(ctx context.Context, _ whatsmeow.File) error { <-ctx.Done(); return ctx.Err() })
		r.after(time.Second)
		r.end()
		m := r.store.get(id)
		r.has(t, m, gateway.MediaWanted, "shutdown")
		if m.NextAt.After(time.Now()) {
			t.Errorf("due in %s", time.Until(m.NextAt))
		}
	})
}

func TestADownloadThatHangsEndsBeforeItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, func(ctx context.Context, _ whatsmeow.File) error { <-ctx.Done(); return ctx.Err() })
		r.has(t, r.after(patience), gateway.MediaWanted, "deadline")
		if patience >= lease {
			t.Error("another process would fetch it too")
		}
	})
}

func TestAnAccountThatIsNotHereIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, brings("sound"))
		r.after(0)
		r.there.Store(false)
		r.store.add(id, "3EB0", attachment(100))
		r.Wake()
		r.has(t, r.after(time.Second), gateway.MediaWanted, "not connected")
		r.there.Store(true)
		r.has(t, r.after(2*time.Second), gateway.MediaKept, "")
	})
}

func TestASourceThatNobodyCanReadIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, brings("sound"))
		r.after(0)
		r.store.add(id, "3EB0", &gateway.Attachment{Source: []byte(`{"kind":"audio"}`)})
		r.Wake()
		r.has(t, r.after(0), gateway.MediaGone, "not on record")
	})
}

func TestWhatIsInOtherHandsIsLeftToThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.wire.does(func(context.Context, whatsmeow.File) error {
			r.store.mu.Lock()
			r.store.media[id].Attempt++ // claimed by somebody else
			r.store.mu.Unlock()
			return whatsmeow.ErrMediaDownloadFailedWith404
		})
		r.run(t)
		if r.after(0); r.wire.asks() != 0 {
			t.Error("asked for a file in other hands")
		}
		r.counted(t, "asked", 0)
	})
}

func TestADatabaseThatIsAwayIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		r.wire.does(func(ctx context.Context, into whatsmeow.File) error {
			r.store.mu.Lock()
			r.store.away = true
			r.store.mu.Unlock()
			return brings("sound")(ctx, into)
		})
		r.run(t)
		r.has(t, r.after(time.Minute), gateway.MediaWanted, "")
		if !strings.Contains(r.log.String(), "settle media") {
			t.Error("nothing was logged")
		}
		r.store.mu.Lock()
		r.store.away = false
		r.store.mu.Unlock()
		r.wire.does(brings("sound"))
		r.has(t, r.after(lease), gateway.MediaKept, "")
	})
}

func TestBytesExpireEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, brings("sound"))
		r.after(0)
		r.store.mu.Lock()
		r.store.expired = []int{1000, 1000, 7}
		r.store.mu.Unlock()
		r.after(59 * time.Second)
		r.counted(t, "expired", 0)
		r.after(time.Second)
		r.counted(t, "expired", 2007)
	})
}

func TestConfigs(t *testing.T) {
	good := Config{Holder: "me", MaxSize: 1, Retention: 1}
	for name, change := range map[string]func(*Config){
		"Holder":    func(c *Config) { c.Holder = "" },
		"MaxSize":   func(c *Config) { c.MaxSize = 0 },
		"Retention": func(c *Config) { c.Retention = -1 },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestFiles(t *testing.T) {
	f, err := ParseFile(attachment(7).Source)
	if err != nil {
		t.Fatal(err)
	}
	if string(f.GetMediaKey()) != string(key) || f.Length != 7 || whatsmeow.GetMediaType(f) != whatsmeow.MediaAudio {
		t.Errorf("%+v", f)
	}
	if s := fmt.Sprintf("%v %+v %#v", f, f, f); strings.Contains(s, string(key)) {
		t.Errorf("the key prints: %q", s)
	}
	for name, change := range map[string]func(*File){
		"kind":      func(f *File) { f.Kind = "hologram" },
		"path":      func(f *File) { f.Path = "v" },
		"long path": func(f *File) { f.Path = "/" + strings.Repeat("x", maxPath) },
		"key":       func(f *File) { f.Key = "short" },
		"hash":      func(f *File) { f.SHA256 = nil },
		"enc hash":  func(f *File) { f.EncSHA256 = key[:31] },
	} {
		broken := *f
		change(&broken)
		if _, err := ParseFile(broken.Source()); err == nil {
			t.Errorf("a file with a wrong %s was read", name)
		}
	}
	if _, err := ParseFile([]byte("{")); err == nil {
		t.Error("no JSON was read")
	}
}

func TestBufferIsAFile(t *testing.T) {
	b := &buffer{limit: 100}
	if _, err := io.Copy(b, iotest.OneByteReader(strings.NewReader("hello, world"))); err != nil {
		t.Fatal(err)
	}
	if err := b.Truncate(5); err != nil || b.Truncate(6) == nil || b.Truncate(-1) == nil {
		t.Errorf("truncate: %v", err)
	}
	if n, err := b.WriteAt([]byte("J"), 0); n != 1 || err != nil {
		t.Errorf("write at: %d, %v", n, err)
	}
	if _, err := b.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(b, []byte("Jello")); err != nil {
		t.Error(err)
	}
	if at, err := b.Seek(-2, io.SeekEnd); at != 3 || err != nil {
		t.Errorf("seek: %d, %v", at, err)
	}
	if _, err := b.Write([]byte("p me")); err != nil || string(b.data) != "Jelp me" {
		t.Errorf("%q, %v", b.data, err)
	}
	if s, err := b.Stat(); err != nil || s.Size() != 7 {
		t.Errorf("size %d, %v", s.Size(), err)
	}
	if n, err := b.Write(make([]byte, 100+sealing)); n != 0 || !errors.Is(err, errTooLarge) {
		t.Errorf("past the limit: %d, %v", n, err)
	}
}
