package debounce

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const forever = 1000 * time.Hour

// config is what most tests use: much at once, and a stop that waits for nobody.
func config() Config {
	return Config{Shards: 4, Lease: 30 * time.Second, Concurrency: 10, Prefix: "test"}
}

func newDebouncer(tb testing.TB, rdb redis.UniversalClient, cfg Config) *Debouncer {
	tb.Helper()
	d, err := New(rdb, cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// A delivery is a batch as a handler saw it.
type delivery struct {
	Batch
	at time.Time
}

// run starts d.Run and returns a function that ends it and waits.
func run(tb testing.TB, d *Debouncer, handle func(context.Context, Batch) error) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, handle) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("Run = %v, want nil", err)
		}
	})
	tb.Cleanup(stop)
	return stop
}

// collect runs d with a handler that finishes at once, and returns what it saw.
func collect(tb testing.TB, d *Debouncer) <-chan delivery {
	tb.Helper()
	got := make(chan delivery, 1000)
	run(tb, d, func(_ context.Context, b Batch) error {
		got <- delivery{b, time.Now()}
		return nil
	})
	return got
}

// receive waits for one value, in a bubble for as long as it takes.
func receive[T any](tb testing.TB, c <-chan T) T {
	tb.Helper()
	limit := time.Minute // of patience with a busy machine
	if inBubble() {
		limit = forever
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		tb.Fatal("nothing came")
		panic("unreachable")
	}
}

// inBubble reports whether time is virtual: it begins in the year 2000.
func inBubble() bool { return time.Now().Year() < 2020 }

func nothing[T any](tb testing.TB, c <-chan T) {
	tb.Helper()
	select {
	case v := <-c:
		tb.Errorf("%+v came, want nothing", v)
	default:
	}
}

// wantAt checks that something happened when it should: to the nanosecond in
// a bubble, and else not before it nor as late as somebody who was not told.
func wantAt(tb testing.TB, what string, got, want time.Time) {
	tb.Helper()
	late := got.Sub(want)
	if inBubble() && late != 0 || late < -2*time.Millisecond || late > 4*time.Second {
		tb.Errorf("%s came %v late", what, late)
	}
}

func wantItems(tb testing.TB, got []string, want ...string) {
	tb.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Errorf("items (-want +got):\n%s", diff)
	}
}

func add(tb testing.TB, d *Debouncer, key string, w Window, items ...string) {
	tb.Helper()
	for _, item := range items {
		if err := d.Add(tb.Context(), "group", key, item, w); err != nil {
			tb.Fatal(err)
		}
	}
}

// onlyConstants checks that nothing is left of any window.
func onlyConstants(tb testing.TB, rdb redis.UniversalClient) {
	tb.Helper()
	for _, k := range keysLike(tb, rdb, "*") {
		if !slices.ContainsFunc([]string{"}:gen", "}:closed", "}:epoch", "}:members", "}:layouts"}, func(end string) bool {
			return strings.HasSuffix(k, end)
		}) {
			tb.Errorf("key %q is left", k)
		}
	}
}

// claimAll takes what is due, as a process would that dies before it is done.
func claimAll(tb testing.TB, d *Debouncer) []claimed {
	tb.Helper()
	var all []claimed
	for _, s := range boardOf(tb, d).shards {
		c := d.claim(tb.Context(), claimChunk, s)[0]
		if c.err != nil {
			tb.Fatal(c.err)
		}
		all = append(all, c.batches...)
	}
	return all
}

func boardOf(tb testing.TB, d *Debouncer) *board {
	tb.Helper()
	b, err := d.known(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// done settles a batch that was handled.
func (d *Debouncer) done(tb testing.TB, c *claimed) hold {
	tb.Helper()
	h, err := d.settleOnce(tb.Context(), c, opDone, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

// A cable fails every command of a client while it is cut, and counts them
// otherwise.
type cable struct {
	cut      atomic.Bool
	commands atomic.Int64
}

var errCut = errors.New("the cable is cut")

func (c *cable) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *cable) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if c.cut.Load() {
			cmd.SetErr(errCut)
			return errCut
		}
		c.commands.Add(1)
		return next(ctx, cmd)
	}
}

func (c *cable) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if c.cut.Load() {
			return errCut
		}
		c.commands.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

// through returns a client of the same server behind a cable.
func through(tb testing.TB, rdb *redis.Client) (*redis.Client, *cable) {
	tb.Helper()
	c := &cable{}
	out := redis.NewClient(rdb.Options())
	out.AddHook(c)
	tb.Cleanup(func() { out.Close() })
	return out, c
}

// A logbook keeps log lines. It is safe for concurrent use.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), s)
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// unheardAdd is the script of Add where what it tells other processes is lost.
func unheardAdd(t *testing.T) *redis.Script {
	t.Helper()
	var text string
	for _, name := range []string{"common", "add"} {
		b, err := os.ReadFile("lua/" + name + ".lua")
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
	}
	unheard := strings.ReplaceAll(text, "prefix .. ':wake'", "'a channel that nobody hears'")
	if unheard == text {
		t.Fatal("the scripts tell others in another way")
	}
	return redis.NewScript(unheard)
}
