package store_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// The index says so even to a program that has forgotten it.
func TestOneOpenPairingPerAccount(t *testing.T) {
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		s := storetest.At(t, cfg)
		connected(t, s, "acc_1", "me", gateway.LinkConnected)
		insert := func(step gateway.PairingStep) error {
			_, err := store.DB(s).ExecContext(t.Context(), `INSERT INTO pairings (account, method, phone, step, qr, code, options, answer, confirmed, error,
				expires_at, created_at, updated_at) VALUES ('acc_1', 'qr', '', '`+string(step)+`', '', '', '', '', FALSE, '', 0, 0, 0)`)
			return err
		}
		for _, step := range []gateway.PairingStep{gateway.StepDone, gateway.StepFailed, gateway.StepExpired, gateway.StepQR, gateway.StepDone} {
			if err := insert(step); err != nil {
				t.Errorf("%s: %v", step, err)
			}
		}
		if err := insert(gateway.StepWanted); err == nil || !strings.Contains(strings.ToLower(err.Error()), "unique") {
			t.Errorf("a second one under way ended with %v", err)
		}
	})
}

func TestTheGuardKeepsALinkFromTheNext(t *testing.T) {
	if g := storetest.Open(t).LinkGuard(); g != "" {
		t.Errorf("SQLite, which has one process, has the guard %q", g)
	}
	s := storetest.At(t, store.Config{URL: storetest.Postgres(t), Key: storetest.Key})
	connected(t, s, "acc_1", "me", gateway.LinkConnected)
	guard := func(q interface {
		QueryRowContext(context.Context, string, ...any) *sql.Row
	}, fence int64,
	) error {
		var one int
		return q.QueryRowContext(t.Context(), s.LinkGuard(), "acc_1", fence).Scan(&one)
	}
	if _, err := s.ClaimLinks(t.Context(), "me", 0, 0); err != nil { // its lease is over
		t.Fatal(err)
	}
	tx, err := store.DB(s).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := guard(tx, 1); err != nil {
		t.Fatal(err)
	}
	if ls, err := s.ClaimLinks(t.Context(), "you", time.Minute, 9); err != nil || len(ls) != 0 {
		t.Errorf("while the holder writes, another one claims %+v, %v", ls, err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if ls, err := s.ClaimLinks(t.Context(), "you", time.Minute, 9); err != nil || len(ls) != 1 || ls[0].Fence != 2 {
		t.Errorf("afterwards it claims %+v, %v", ls, err)
	}
	if err := guard(store.DB(s), 1); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("the old fence still stands: %v", err)
	}
	if err := guard(store.DB(s), 2); err != nil {
		t.Errorf("the new fence: %v", err)
	}
}

// A process that is stopped in the middle of a transaction keeps its locks, and
// its kernel keeps the connection alive.
func TestAFrozenProcessKeepsNoLink(t *testing.T) {
	url := storetest.Postgres(t)
	var limit string
	s := storetest.At(t, store.Config{URL: url, Key: storetest.Key})
	if err := store.DB(s).QueryRowContext(t.Context(), `SHOW idle_in_transaction_session_timeout`).Scan(&limit); err != nil || limit != "10s" {
		t.Errorf("a transaction may be idle for %s, %v", limit, err)
	}
	frozen := storetest.At(t, store.Config{URL: url + "&idle_in_transaction_session_timeout=50", Key: storetest.Key})
	connected(t, s, "acc_1", "me", gateway.LinkConnected)
	tx, err := store.DB(frozen).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `SELECT 1 FROM links FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	// It waits for the lock, and would wait for longer than its patience.
	if err := s.ReleaseLinks(t.Context(), "me"); err != nil {
		t.Errorf("release what a frozen process has locked: %v", err)
	}
	if ls, err := s.ClaimLinks(t.Context(), "you", time.Minute, 9); err != nil || len(ls) != 1 {
		t.Errorf("another one claims %+v, %v", ls, err)
	}
	if err := tx.Commit(); err == nil {
		t.Error("the frozen process has committed")
	}
}

// Both find something to send while the other has not committed yet, each in a
// conversation of its own.
func TestTwoClaimsOfAnAccountGiveOneSend(t *testing.T) {
	s := storetest.At(t, store.Config{URL: storetest.Postgres(t), Key: storetest.Key})
	connected(t, s, "acc_1", "me", gateway.LinkConnected)
	claim := func() []gateway.ClaimedSend {
		claimed, _, _, err := s.ClaimSends(t.Context(), "me", true, 9)
		if err != nil {
			t.Error(err)
		}
		return claimed
	}
	answer(t, s, "+15550000001")
	for _, c := range claim() {
		c.Send.State = gateway.SendAccepted
		if _, err := s.SettleSend(t.Context(), &c.Send); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := store.DB(s).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `SELECT 1 FROM links FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	claims := make(chan int, 2)
	for i, who := range []string{"+15550000001", "+15550000002"} { // the second was never served, and goes first
		answer(t, s, who)
		go func() { claims <- len(claim()) }()
		for waiting := 0; waiting <= i; {
			if err := store.DB(s).QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if a, b := <-claims, <-claims; a+b != 1 {
		t.Errorf("claimed %d and %d at once", a, b)
	}
}

// answer adds a message of somebody's to acc_1, and an answer.
func answer(t *testing.T, s *store.Store, who string) {
	t.Helper()
	as, err := s.AddMessages(t.Context(), []gateway.Arrival{arrival(who, "wamid."+gateway.NewMessageID().WireID())})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.ClaimRun(t.Context(), as[0].Message.Conversation, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	c.Run.Status = gateway.RunCompleted
	x := gateway.Send{Account: "acc_1", Conversation: c.Run.Conversation, To: c.Conversation.Peer, Origin: gateway.FromRun, OriginID: string(c.Run.ID), Text: "hello"}
	if err := s.FinishRun(t.Context(), &gateway.Finish{Run: c.Run, Sends: []gateway.Send{x}}); err != nil {
		t.Fatal(err)
	}
}
