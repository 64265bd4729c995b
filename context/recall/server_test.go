package recall

import (
	"log/slog"
	"testing"
	"time"

	"wagent/debounce/redistest"
	"wagent/gateway"
)

// The script does the same on a real server as on the one in memory.
func TestRealRedis(t *testing.T) {
	rdb := redistest.Start(t).Client()
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
