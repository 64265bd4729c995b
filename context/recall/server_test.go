package recall

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"wagent/gateway"
)

// server returns a client of a real redis-server, which ends with the test.
func server(t *testing.T) *redis.Client {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("WAGENT_TEST_STRICT") != "" { //nolint:forbidigo // a test's environment says how strict it is
			t.Fatalf("This test needs redis-server in PATH: %v", err)
		}
		t.Skip("This test needs redis-server in PATH.")
	}
	socket := filepath.Join(t.TempDir(), "s")
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", filepath.Dir(socket))
	if err := cmd.Start(); err != nil {
		stop()
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{
		Addr: socket, MaxRetries: 100, MinRetryBackoff: 20 * time.Millisecond, MaxRetryBackoff: 100 * time.Millisecond,
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	})
	t.Cleanup(func() {
		rdb.Close()
		stop()
		cmd.Wait() // killed
	})
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Fatalf("redis-server does not answer: %v", err)
	}
	return rdb
}

// The script does the same on a real server as on the one in memory.
func TestRealRedis(t *testing.T) {
	rdb := server(t)
	sql := &runs{}
	s := New(rdb, sql, "wagent", slog.New(slog.DiscardHandler), nil)
	old := sql.complete(agentA, "cnv_1", "run_1", "old")
	old.At = old.At.Add(-time.Minute)
	newer := sql.complete(agentA, "cnv_1", "run_2", "new")
	for _, m := range []Memory{newer, old} {
		if err := s.Keep(t.Context(), agentA, "cnv_1", m, ttl); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Keep(t.Context(), agentA, "cnv_1", newer, time.Minute); err != nil {
		t.Fatal(err)
	}
	key := s.key(agentA, "cnv_1")
	got := s.read(t.Context(), key)
	if got == nil || got.Run != newer.Run {
		t.Errorf("Redis holds %+v, want that of %s", got, newer.Run)
	}
	if left := rdb.PTTL(t.Context(), key).Val(); left < ttl-time.Minute || left > ttl {
		t.Errorf("it lives for %v, want about %v", left, ttl)
	}
	rdb.Set(t.Context(), key, "garbage", 0)
	if m, err := s.Recall(t.Context(), agentA, "cnv_1", ttl); err != nil || m == nil || m.Run != gateway.RunID("run_2") {
		t.Errorf("Recall = %+v, %v", m, err)
	}
	if got := s.read(t.Context(), key); got == nil || got.Summary != "new" {
		t.Errorf("garbage was not replaced: %+v", got)
	}
}
