package windows

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"wagent/debounce/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tiny is a bench that takes a moment.
func tiny(opts *redis.Options) Bench {
	return Bench{
		Redis: opts, Callers: []int{1, 20}, Adds: 240, Rounds: 1, Pending: []int{30}, Spread: 100 * time.Millisecond,
		Background: 500, Windows: 20, Burst: 50, Log: slog.New(slog.DiscardHandler),
	}
}

func keysOf(t *testing.T, rdb *redis.Client) []string {
	t.Helper()
	keys, err := rdb.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// TestEachFigure: it is there, and what it can be on a machine that does other
// things, too.
func TestEachFigure(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	if err := rdb.Set(t.Context(), "another's", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{"slowlog-log-slower-than": "777", "slowlog-max-len": "7"}
	for name, value := range settings {
		if err := rdb.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := tiny(server.Options()).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Server.Version == "" || r.Server.AOF != "everysec" || r.Server.Ahead != 0 || r.CPUs < 1 || r.Shards != 16 {
		t.Errorf("the server: %+v, %d processors, %d shards", r.Server, r.CPUs, r.Shards)
	}
	if len(r.Adds) != 2 || len(r.Late) != 1 {
		t.Fatalf("%d measurements of Adds, %d of lateness", len(r.Adds), len(r.Late))
	}
	checkAdds(t, r.Adds[0], r.Adds[1])
	l := r.Late[0]
	checkLate(t, "30 windows", l.Quantiles)
	if l.Pending != 30 || l.Background <= 0 || l.Background > 501 {
		t.Errorf("lateness: %+v", l)
	}
	f := r.Life
	checkLate(t, "a life", f.Quantiles)
	// Three Adds, a share of a claim and one of a settling.
	if f.Windows != 20 || f.Scripts <= 3 || f.Scripts > 10 || f.Commands < 3*f.Scripts || f.Redis <= 0 || f.Client <= 0 {
		t.Errorf("life: %+v", f)
	}
	b := r.Burst
	checkLate(t, "a burst", b.Quantiles)
	if b.Windows != 50 || b.Memory < 3*40 || b.Memory > 5000 || b.Within < 0 || b.Seconds <= 0 || b.Script <= 0 {
		t.Errorf("burst: %+v", b)
	}
	if b.Slow == nil || b.Slow.Over > 0 != (b.Slow.Slowest >= 2) {
		t.Errorf("slow scripts: %+v", b.Slow)
	}
	if keys := keysOf(t, rdb); len(keys) != 1 || keys[0] != "another's" {
		t.Errorf("left are %q, want only what was there before", keys)
	}
	for name, value := range settings {
		if got := rdb.ConfigGet(t.Context(), name).Val()[name]; got != value {
			t.Errorf("%s is %s now, was %s", name, got, value)
		}
	}
	var table bytes.Buffer
	if err := r.Print(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"callers ", "of the ceiling", "\n20 ", "\n30 ", "scripts per window ", "memory per window ", "drained in ", "over 2 ms"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
}

func checkAdds(t *testing.T, one, many Adds) {
	t.Helper()
	for _, a := range []Adds{one, many} {
		if a.PerSecond <= 0 || a.Alone <= 0 || math.Abs(a.Ratio-a.PerSecond/max(a.Alone, a.Pipelined)) > 1e-9 {
			t.Errorf("Adds: %+v", a)
		}
		if _, err := exec.LookPath("redis-benchmark"); err == nil && (a.Tool.PerSecond <= 0 || a.Tool.Why != "") {
			t.Errorf("redis-benchmark is installed, and the report has %+v", a.Tool)
		} else if err != nil && a.Tool.Why != "not installed" {
			t.Errorf("redis-benchmark is not installed, and the report has %+v", a.Tool)
		}
	}
	if one.Callers != 1 || one.Trips != 1 || one.Together != 1 || one.Pipelines != 1 || one.Pipelined != 0 || one.Tool.Pipelined != 0 {
		t.Errorf("a lone caller: %+v, want each Add to be one round trip", one)
	}
	if many.Callers != 20 || many.Trips >= 1 || math.Abs(many.Together*many.Trips-1) > 1e-9 || many.Pipelines < 1 {
		t.Errorf("many callers: %+v, want Adds that share round trips", many)
	}
	if many.Together >= 1.5 && many.Pipelined <= 0 {
		t.Errorf("many callers: %+v, want a ceiling with pipelines", many)
	}
}

func checkLate(t *testing.T, what string, q Quantiles) {
	t.Helper()
	if q.P50 <= 0 || q.P50 > q.P99 || q.P99 > q.P999 || q.P999 > q.Max {
		t.Errorf("%s: late by %+v", what, q)
	}
}

// A signal tells of a line in a log.
type signal struct {
	of string
	c  chan struct{}
}

func (s *signal) Write(p []byte) (int, error) {
	if strings.Contains(string(p), s.of) {
		close(s.c)
	}
	return len(p), nil
}

func TestAStopRemovesTheKeys(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	b := tiny(server.Options())
	b.Spread = time.Hour
	lateness := &signal{of: "lateness", c: make(chan struct{})}
	b.Log = slog.New(slog.NewTextHandler(lateness, nil))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, err := b.Run(ctx)
		ended <- err
	}()
	<-lateness.c
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for len(keysOf(t, rdb)) < 30 {
		select {
		case err := <-ended:
			t.Fatalf("it ended by itself: %v", err)
		case <-limit.C:
			t.Fatal("no windows are added")
		case <-tick.C:
		}
	}
	stop()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("Run = %v, want to hear that it was stopped", err)
	}
	if keys := keysOf(t, rdb); len(keys) > 0 {
		t.Errorf("left are %q", keys)
	}
}

// TestAStopTellsOfKeysThatAreLeft because Redis has gone, too.
func TestAStopTellsOfKeysThatAreLeft(t *testing.T) {
	server := redistest.Start(t)
	r := &run{rdb: server.Client(), Bench: Bench{Prefix: "mine"}}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	cleared := r.told(ctx, "measure", errors.Join(ctx.Err(), r.clear(ctx))).Error()
	server.Stop()
	left := r.told(ctx, "measure", errors.Join(ctx.Err(), r.clear(ctx))).Error()
	if !strings.Contains(cleared, "its keys are removed") || strings.Contains(left, "its keys are removed") || !strings.Contains(left, `"{mine"`) {
		t.Errorf("it says %q, and where keys are left %q", cleared, left)
	}
}

func TestWhatIsThereIsRefused(t *testing.T) {
	tests := map[string]struct {
		key     string
		refused bool
	}{
		"a window":                         {"{mine:abc.0}:w:key", true},
		"what all windows share":           {"{mine}:layouts", true},
		"of a prefix that begins the same": {"{mine2}:layouts", false},
		"of another program":               {"mine", false},
	}
	server := redistest.Start(t)
	rdb := server.Client()
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := rdb.Set(t.Context(), tt.key, 1, 0).Err(); err != nil {
				t.Fatal(err)
			}
			b := tiny(server.Options())
			b.Prefix, b.Callers, b.Rounds = "mine", []int{1}, 1
			_, err := b.Run(t.Context())
			if got := err != nil && strings.Contains(err.Error(), "take another prefix"); got != tt.refused || !got && err != nil {
				t.Errorf("Run = %v, refused is to be %v", err, tt.refused)
			}
			if n := rdb.Del(t.Context(), tt.key).Val(); n != 1 {
				t.Error("the key is gone")
			}
		})
	}
}

// TestSlowLeavesSettingsAsTheyWere even if what it watches fails.
func TestSlowLeavesSettingsAsTheyWere(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	r := &run{rdb: rdb, Bench: tiny(rdb.Options())}
	const name = "slowlog-log-slower-than"
	before := rdb.ConfigGet(t.Context(), name).Val()[name]
	ctx, cancel := context.WithCancel(t.Context())
	failed := errors.New("it failed")
	_, err := r.slow(ctx, func() error {
		if got := rdb.ConfigGet(t.Context(), name).Val()[name]; got != "2000" {
			t.Errorf("%s is %s, want 2000", name, got)
		}
		cancel()
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("slow = %v, want what failed", err)
	}
	if got := rdb.ConfigGet(t.Context(), name).Val()[name]; got != before {
		t.Errorf("%s is %s, want %s as before", name, got, before)
	}
}

func TestSlowCountsScriptsThatAreSlow(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	work := func(n string) error {
		return rdb.Eval(t.Context(), "for i = 1, tonumber(ARGV[1]) do redis.call('PING') end return 1", nil, n).Err()
	}
	if err := rdb.ConfigSet(t.Context(), "slowlog-log-slower-than", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := work("100000"); err != nil { // slow, but before
		t.Fatal(err)
	}
	s, err := (&run{rdb: rdb}).slow(t.Context(), func() error { return work("100000") })
	if err != nil || s == nil || s.Over != 1 || s.Slowest < 2 {
		t.Errorf("slow = %+v, %v, want the one script that took long", s, err)
	}
}

func TestSlowDoesWithoutTheLogWhereSettingsAreKept(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Client().Do(t.Context(), "ACL", "SETUSER", "default", "-config|set").Err(); err != nil {
		t.Fatal(err)
	}
	worked := false
	s, err := (&run{rdb: server.Client()}).slow(t.Context(), func() error {
		worked = true
		return nil
	})
	if s != nil || err != nil || !worked {
		t.Errorf("slow = %+v, %v, its part was done: %v; want that and no more", s, err, worked)
	}
}

func TestARedisThatKeepsItsSettingsIsMeasuredAllTheSame(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Client().Do(t.Context(), "ACL", "SETUSER", "default", "-config").Err(); err != nil {
		t.Fatal(err)
	}
	b := tiny(server.Options())
	b.Callers, b.Rounds = []int{1}, 1
	r, err := b.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Server.AOF != "on" || r.Burst.Slow != nil || r.Burst.Seconds <= 0 {
		t.Errorf("aof %q, slow scripts %+v, burst %+v", r.Server.AOF, r.Burst.Slow, r.Burst)
	}
	var table bytes.Buffer
	if err := r.Print(&table); err != nil || !strings.Contains(table.String(), "does not let its slow log be set") {
		t.Errorf("%v\n%s", err, table.String())
	}
}

func TestValidateNamesWhatIsWrong(t *testing.T) {
	tests := map[string]struct {
		change func(*Bench)
		want   string // empty: nothing is wrong
	}{
		"all is right":             {func(*Bench) {}, ""},
		"no callers":               {func(b *Bench) { b.Callers = nil }, "callers"},
		"too many callers":         {func(b *Bench) { b.Callers = []int{1, 5001} }, "callers"},
		"fewer Adds than callers":  {func(b *Bench) { b.Adds = 19 }, "adds"},
		"no rounds":                {func(b *Bench) { b.Rounds = 0 }, "rounds"},
		"nothing waits":            {func(b *Bench) { b.Pending = []int{0} }, "pending"},
		"no window":                {func(b *Bench) { b.Windows = 0 }, "windows"},
		"no burst":                 {func(b *Bench) { b.Burst = 0 }, "burst"},
		"a spread into the past":   {func(b *Bench) { b.Spread = -1 }, "spread"},
		"less than nothing beside": {func(b *Bench) { b.Background = -1 }, "background"},
		"a prefix of a pattern":    {func(b *Bench) { b.Prefix = "a*" }, "prefix"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := tiny(&redis.Options{})
			tt.change(&b)
			if err := b.Validate(); tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Validate = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestRedisBenchmarkIsRead(t *testing.T) {
	const head = `"test","rps","avg_latency_ms"` + "\n"
	tests := map[string]struct {
		out  string
		want float64 // 0: an error
	}{
		"as it prints":         {head + `"EVALSHA abc 4 {k} ","18181.82","1.827"` + "\n", 18181.82},
		"quotes in the name":   {head + `"EVALSHA "a" x","5.00","1.827"` + "\n", 5},
		"names only":           {head, 0},
		"nothing":              {"", 0},
		"a rate of no command": {head + `"EVALSHA","0.00","1"`, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := figure(tt.out)
			if got != tt.want || (err != nil) != (tt.want == 0) {
				t.Errorf("figure = %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// TestRatioIsOfEachRound: a round in which all was slow does not count as a loss.
func TestRatioIsOfEachRound(t *testing.T) {
	adds, ceiling := []float64{90, 45, 92}, []float64{100, 50, 100}
	if got := ratio(adds, ceiling); math.Abs(got-.9) > 1e-9 {
		t.Errorf("ratio = %v, want 0.9", got)
	}
	if got := median(adds); got != 90 || adds[1] != 45 {
		t.Errorf("median = %v of %v, want 90 and their order kept", got, adds)
	}
}
