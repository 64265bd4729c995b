package storetest_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

const gone gateway.AccountID = "acc_gone"

// TestWhatAnAccountOutOfUseWouldSendIsCancelled: it comes to the outbox, or back to
// it, after the account was deleted.
func TestWhatAnAccountOutOfUseWouldSendIsCancelled(t *testing.T) {
	remove := func(t *testing.T, s *store.Store) { t.Helper(); must(t, s.DeleteAccount(t.Context(), gone)) }
	for name, tc := range map[string]struct {
		kind gateway.AccountKind
		do   func(t *testing.T, s *store.Store) gateway.Send
	}{
		"of a run that was in hand": {gateway.CloudAPI, func(t *testing.T, s *store.Store) gateway.Send {
			f := finish(claimed(t, s, gone, alice, "wamid.1"), "reply to wamid.1")
			remove(t, s)
			must(t, s.FinishRun(t.Context(), f))
			return f.Sends[0]
		}},
		"that is put back": {gateway.CloudAPI, func(t *testing.T, s *store.Store) gateway.Send {
			sent(t, s, gone, alice, "wamid.1")
			x := claimOne(t, s)
			remove(t, s)
			settle(t, s, x, gateway.SendReady, "")
			return x
		}},
		"that is put back in the sandbox": {gateway.Sandbox, func(t *testing.T, s *store.Store) gateway.Send {
			sent(t, s, gone, alice, "wamid.1")
			x := claimOne(t, s)
			remove(t, s)
			settle(t, s, x, gateway.SendReady, "")
			return x
		}},
		"that is put back by a linked device": {gateway.LinkedDevice, func(t *testing.T, s *store.Store) gateway.Send {
			sent(t, s, gone, alice, "wamid.1")
			set(t, s, hold(t, s, "me")[0], gateway.LinkConnected)
			c, _, _, err := s.ClaimSends(t.Context(), "me", true, 9)
			must(t, err)
			remove(t, s)
			settle(t, s, c[0].Send, gateway.SendReady, "")
			return c[0].Send
		}},
		"whose end stayed unknown": {gateway.CloudAPI, func(t *testing.T, s *store.Store) gateway.Send {
			sent(t, s, gone, alice, "wamid.1")
			x := claimOne(t, s)
			remove(t, s)
			x.Unknowns, x.NextAt = 1, time.Now().Add(-time.Second)
			settle(t, s, x, gateway.SendUnknown, "")
			return x
		}},
		"that vanished from the file": {gateway.CloudAPI, func(t *testing.T, s *store.Store) gateway.Send {
			hooks := []gateway.Webhook{{Key: "all", URL: "https://example.com/hook", Active: true}}
			must(t, s.Declare(t.Context(), []gateway.Account{{ID: cloud, Kind: gateway.CloudAPI}}, nil, hooks, nil))
			x := sent(t, s, cloud, alice, "wamid.1")
			must(t, s.Declare(t.Context(), nil, nil, hooks, nil))
			return x
		}},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				seed(t, s)
				must(t, s.PutAccount(t.Context(), gateway.Account{ID: gone, Kind: tc.kind}))
				x := tc.do(t, s)
				announced(t, s)
				listening(s)
				claimed, settled, _ := claim(t, s, true)
				if len(claimed) != 0 || len(settled) != 1 || settled[0].ID != x.ID || settled[0].Error != "the account was deleted" {
					t.Errorf("claimed %+v, settled %+v", claimed, settled)
				}
				wantSend(t, s, x, gateway.SendCancelled, gateway.StatusFailed)
				equal(t, "told", announced(t, s), []string{
					`message.failed "` + string(got(s.Account(t.Context(), x.Account))(t).Kind) + ` ` + alice + ` reply to wamid.1 failed the account was deleted"`,
				})
			})
		})
	}
}

func TestWebhooksAreToldOfMessagesThatFailWithTheirAccount(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		seed(t, s)
		must(t, s.PutAccount(t.Context(), gateway.Account{ID: gone, Kind: gateway.Sandbox}))
		queued(t, s, gone, alice, gateway.Send{Text: "hello"})
		woken := listening(s)
		must(t, s.DeleteAccount(t.Context(), gone))
		equal(t, "told", announced(t, s), []string{`message.failed "sandbox ` + alice + ` hello failed the account was deleted"`})
		if woken() == 0 {
			t.Error("nobody was woken to deliver")
		}
	})
}

// TestWhoDeletesAnAccountHasItsLinkBeforeItsSends has it wait for the link, as for
// one who claims what is to be sent, whom it must not keep from the sends.
func TestWhoDeletesAnAccountHasItsLinkBeforeItsSends(t *testing.T) {
	url := storetest.Postgres(t)
	s := storetest.At(t, store.Config{URL: url, Key: storetest.Key})
	link(t, s, nil)
	x := sent(t, s, phone, alice, "wamid.1")
	set(t, s, hold(t, s, "me")[0], gateway.LinkConnected)
	tx, wait := lockedRow(t, url, `SELECT 1 FROM links WHERE account = $1 FOR NO KEY UPDATE`, phone)
	deleted := make(chan error, 1)
	go func() { deleted <- s.DeleteAccount(context.Background(), phone) }()
	wait()
	if _, err := tx.ExecContext(t.Context(), `SELECT 1 FROM sends WHERE id = $1 FOR UPDATE NOWAIT`, string(x.ID)); err != nil {
		t.Errorf("its send is locked before its link: %v", err)
	}
	must(t, tx.Rollback())
	must(t, <-deleted)
	wantSend(t, s, x, gateway.SendCancelled, gateway.StatusFailed)
}

// lockedRow locks a row in a transaction of its own. wait waits until somebody else
// waits for a lock.
func lockedRow[T ~string](t *testing.T, url, query string, of T) (tx *sql.Tx, wait func()) {
	t.Helper()
	db := got(sql.Open("pgx", url))(t)
	t.Cleanup(func() { must(t, db.Close()) })
	tx = got(db.BeginTx(t.Context(), nil))(t)
	got(tx.ExecContext(t.Context(), query, string(of)))(t)
	return tx, func() {
		t.Helper()
		for waits := 0; waits == 0; { // t's deadline ends it
			must(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waits))
		}
	}
}
