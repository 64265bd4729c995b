package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func account(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Declare(t.Context(), []gateway.Account{{ID: "acc_1", Kind: gateway.Sandbox}}, nil,
		[]gateway.Webhook{{Key: "w", URL: "https://example.com", Active: true}}, nil); err != nil {
		t.Fatal(err)
	}
}

func arrival(phone, id string) gateway.Arrival {
	return gateway.Arrival{
		Inbound: gateway.Inbound{
			Account: "acc_1", Peer: gateway.Address{Phone: phone}, ExternalID: id, Type: gateway.TypeText, Text: "hello",
			SentAt: time.Now(), Origin: gateway.OriginLive,
		},
		State: gateway.StateWaiting, ReceivedAt: time.Now(),
	}
}

// The index says so even to a program that has forgotten it.
func TestOneUnfinishedRunPerConversation(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		s := storetest.At(t, cfg)
		account(t, s)
		as, err := s.AddMessages(t.Context(), []gateway.Arrival{arrival("+15550000001", "wamid.1")})
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.ClaimRun(t.Context(), as[0].Message.Conversation, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		second := `INSERT INTO runs (id, agent, account, conversation, conversation_key, context_key, started_by, status, generation, attempt,
			lease_until, input, metadata, output, stop_reason, error, notes, model, input_tokens, output_tokens, latency_ms, duration_ms,
			actions_decided, created_at, started_at, completed_at)
			SELECT 'run_second', agent, account, conversation, conversation_key, context_key, started_by, 'pending', 0, 0, 0, input, metadata,
			output, stop_reason, error, notes, model, 0, 0, 0, 0, 0, 0, 0, 0 FROM runs WHERE id = '` + string(c.Run.ID) + `'`
		if _, err := store.DB(s).ExecContext(t.Context(), second); err == nil || !strings.Contains(strings.ToLower(err.Error()), "unique") {
			t.Errorf("a second unfinished run ended with %v", err)
		}
		c.Run.Status = gateway.RunFailed
		if err := s.FinishRun(t.Context(), &gateway.Finish{Run: c.Run}); err != nil {
			t.Fatal(err)
		}
		if _, err := store.DB(s).ExecContext(t.Context(), strings.Replace(second, "run_second", "run_third", 1)); err != nil {
			t.Errorf("after the first has ended: %v", err)
		}
	})
}

func TestADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		s := storetest.At(t, cfg)
		account(t, s)
		past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		for name, err := range map[string]error{
			"ping": s.Ping(past),
			"claim": func() error {
				_, err := s.ClaimRun(past, "cnv_1", time.Minute)
				return err
			}(),
		} {
			if gateway.KindOf(err) != gateway.Unavailable {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Ping(gone); err == nil || gateway.KindOf(err) != gateway.Internal {
			t.Errorf("a caller that went away gets %v", err)
		}
	})
}

func TestALockedFileIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := store.Config{Path: filepath.Join(t.TempDir(), "wagent.db"), Key: storetest.Key}
		s, other := storetest.At(t, cfg), storetest.At(t, cfg)
		account(t, s)
		tx, err := store.DB(other).BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.AddMessages(t.Context(), []gateway.Arrival{arrival("+15550000001", "wamid.1")})
		if gateway.KindOf(err) != gateway.Unavailable {
			t.Errorf("while another process writes: %v", err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.AddMessages(t.Context(), []gateway.Arrival{arrival("+15550000001", "wamid.1")}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestACallerThatLeavesTakesItsMessagesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := store.Config{Path: filepath.Join(t.TempDir(), "wagent.db"), Key: storetest.Key}
		s := storetest.At(t, cfg)
		account(t, s)
		// With the only connection taken the first caller leads and waits, the
		// second is in the queue.
		conn, err := store.DB(s).Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		led, queued := make(chan error), make(chan error)
		go func() {
			_, err := s.AddMessages(t.Context(), []gateway.Arrival{arrival("+15550000001", "wamid.1")})
			led <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, err := s.AddMessages(ctx, []gateway.Arrival{arrival("+15550000002", "wamid.2")})
			queued <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-queued; err == nil {
			t.Error("the caller that left was told that its message is safe")
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-led; err != nil {
			t.Error(err)
		}
		ms, err := s.Messages(t.Context(), "acc_1", "", 9)
		if err != nil || len(ms) != 1 || ms[0].ExternalID != "wamid.1" {
			t.Errorf("on record: %+v, %v", ms, err)
		}
	})
}

func TestGauges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		s, err := store.Open(t.Context(), store.Config{Path: filepath.Join(t.TempDir(), "wagent.db"), Key: storetest.Key}, slog.New(slog.DiscardHandler), reg)
		if err != nil {
			t.Fatal(err)
		}
		account(t, s)
		want := func(confirmations, oldest, pending, dead int) {
			t.Helper()
			text := fmt.Sprintf(`# HELP wagent_dead_letters Webhook deliveries that were given up.
# TYPE wagent_dead_letters gauge
wagent_dead_letters %d
# HELP wagent_deliveries_pending Webhook deliveries that are still to be made.
# TYPE wagent_deliveries_pending gauge
wagent_deliveries_pending %d
# HELP wagent_oldest_unanswered_seconds Age of the oldest message that a run has yet to answer; 0 if there is none.
# TYPE wagent_oldest_unanswered_seconds gauge
wagent_oldest_unanswered_seconds %d
# HELP wagent_pending_confirmations Actions that wait for a person.
# TYPE wagent_pending_confirmations gauge
wagent_pending_confirmations %d
`, dead, pending, oldest, confirmations)
			if err := testutil.GatherAndCompare(reg, strings.NewReader(text), "wagent_dead_letters", "wagent_deliveries_pending",
				"wagent_oldest_unanswered_seconds", "wagent_pending_confirmations"); err != nil {
				t.Error(err)
			}
		}
		want(0, 0, 0, 0)
		as, err := s.AddMessages(t.Context(), []gateway.Arrival{arrival("+15550000001", "wamid.1")})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		want(0, 10, 0, 0)
		c, err := s.ClaimRun(t.Context(), as[0].Message.Conversation, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		want(0, 15, 0, 0)
		c.Run.Status = gateway.RunCompleted
		c.Run.Actions = []gateway.Action{{Type: "a.b.c", Status: gateway.ActionPending, ExpiresAt: time.Now().Add(time.Hour)}}
		if err := s.FinishRun(t.Context(), &gateway.Finish{Run: c.Run, Deliveries: []gateway.Delivery{{Webhook: 1, Event: gateway.EventRunCompleted, Run: c.Run.ID, Action: -1}}}); err != nil {
			t.Fatal(err)
		}
		want(1, 0, 1, 0)
		if err := s.DisableWebhook(t.Context(), 1, "https://example.com", "gone"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.BuryDeliveries(t.Context(), []int64{1}); err != nil {
			t.Fatal(err)
		}
		want(1, 0, 0, 1)
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if n, err := testutil.GatherAndCount(reg); n != 0 || err != nil {
			t.Errorf("%d metrics are left after Close, %v", n, err)
		}
	})
}

func BenchmarkAddMessages(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := storetest.Open(b)
			account(b, s)
			var n atomic.Int64
			b.SetParallelism(callers) // times GOMAXPROCS
			add := func() {
				i := n.Add(1)
				if _, err := s.AddMessages(b.Context(), []gateway.Arrival{arrival(fmt.Sprintf("+1555%07d", i%1000), fmt.Sprint("wamid.", i))}); err != nil {
					b.Error(err)
				}
			}
			b.ResetTimer()
			if callers == 1 {
				for range b.N {
					add()
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					add()
				}
			})
		})
	}
}
