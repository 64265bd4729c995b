package inmemory_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"wagent/debounce/inmemory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAPipelineOfAnySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inmemory.Start()
		rdb := redis.NewClient(s.Options())
		text := strings.Repeat("x", 1000)
		cmds, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for range 200 {
				p.Echo(t.Context(), text)
			}
			return nil
		})
		if err != nil || len(cmds) != 200 {
			t.Fatalf("%d answers, %v", len(cmds), err)
		}
		for _, c := range cmds {
			if got := c.(*redis.StringCmd).Val(); got != text {
				t.Fatalf("the answer is %q", got)
			}
		}
		rdb.Close()
		s.Close()
	})
}

func TestTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inmemory.Start()
		defer s.Close()
		rdb := redis.NewClient(s.Options())
		defer rdb.Close()
		start := time.Now()
		ahead := func() time.Duration {
			t.Helper()
			now, err := rdb.Time(t.Context()).Result()
			if err != nil {
				t.Fatal(err)
			}
			return time.Until(now)
		}
		for _, step := range []time.Duration{0, time.Hour, -90 * time.Minute, 30 * time.Minute} {
			s.SetClock(step)
			time.Sleep(time.Second)
			t.Logf("set by %v, it is %v ahead", step, ahead())
		}
		if got := ahead(); got != 0 {
			t.Errorf("forward and back again, it is %v ahead", got)
		}
		s.SetClock(-time.Minute)
		time.Sleep(time.Second)
		if got := ahead(); got != -time.Minute || time.Since(start) < 5*time.Second {
			t.Errorf("set back by a minute, it is %v ahead", got)
		}
	})
}

// TestASubscriberThatDoesNotReadYet: were its answers not taken off the server, the
// next publication would wait on a mutex, and virtual time would stand still.
func TestASubscriberThatDoesNotReadYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inmemory.Start()
		defer s.Close()
		subscriber, err := s.Options().Dialer(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = subscriber.Close() }()
		if _, err := subscriber.Write([]byte("*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nnews\r\n")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		rdb := redis.NewClient(s.Options())
		defer func() { _ = rdb.Close() }()
		if n, err := rdb.Publish(t.Context(), "news", "hello").Result(); n != 1 || err != nil {
			t.Fatalf("%d subscribers, %v", n, err)
		}
		time.Sleep(time.Second)
		said := make([]byte, 1024)
		n, err := subscriber.Read(said)
		if err != nil || !strings.Contains(string(said[:n]), "news") {
			t.Errorf("the subscriber reads %q, %v", said[:n], err)
		}
	})
}
