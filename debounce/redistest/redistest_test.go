package redistest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"wagent/debounce/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAKilledServerKeepsWhatItAcknowledged(t *testing.T) {
	s := redistest.Start(t)
	rdb := s.Client()
	if err := rdb.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	addr := s.Addr()
	s.Stop()
	if err := rdb.Ping(t.Context()).Err(); err == nil {
		t.Error("a stopped server answers")
	}
	s.Restart()
	if s.Addr() != addr {
		t.Errorf("restarted on %s, was on %s", s.Addr(), addr)
	}
	if got, err := rdb.Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("after a restart k = %q, %v, want v", got, err)
	}
	s.Stop()
	s.Lose()
	s.Restart()
	if n, err := rdb.DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Errorf("after it lost its data there are %d keys, %v, want none", n, err)
	}
}

func TestInMemoryFollowsVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redistest.InMemory(t)
		if err := rdb.Set(t.Context(), "k", "v", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if n := rdb.Exists(t.Context(), "k").Val(); n != 0 {
			t.Error("a key lives longer than its hour")
		}
		if at := rdb.Time(t.Context()).Val(); !at.Equal(time.Now()) {
			t.Errorf("Redis's clock says %v, the bubble's %v", at, time.Now())
		}
	})
}
