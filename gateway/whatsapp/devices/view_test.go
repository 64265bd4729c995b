package devices_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"golang.org/x/sync/errgroup"

	"wagent/gateway/whatsapp/devices"
)

func TestNothingRunsAfterTheLease(t *testing.T) {
	uses := map[string]func(context.Context, *store.Device) error{
		"write":       func(ctx context.Context, d *store.Device) error { return d.Sessions.PutSession(ctx, "x", []byte("y")) },
		"transaction": func(ctx context.Context, d *store.Device) error { return d.LIDs.PutLIDMapping(ctx, d.LID, *d.ID) },
		"read": func(ctx context.Context, d *store.Device) error {
			_, err := d.Sessions.HasSession(ctx, "x")
			return err
		},
		"keys": func(ctx context.Context, d *store.Device) error {
			_, err := d.PreKeys.GetOrGenPreKeys(ctx, 9)
			return err
		},
		"unlinking": func(ctx context.Context, d *store.Device) error { return d.Delete(ctx) },
		"midway": func(ctx context.Context, d *store.Device) error {
			return d.EventBuffer.DoDecryptionTxn(ctx, func(ctx context.Context) error { return d.Sessions.PutSession(ctx, "x", []byte("y")) })
		},
	}
	eachDatabase(t, func(t *testing.T, cfg config) {
		for name, use := range uses {
			h := &holder{}
			s := open(t, cfg, h)
			d := paired(t, account(t, s, h.fence("acc_1")), "491510000001")
			h.away.Store(true)
			before := h.gremlin.operations()
			if err := use(t.Context(), d); !errors.Is(err, devices.ErrFenced) {
				t.Errorf("%s: %v, want %v", name, err, devices.ErrFenced)
			}
			if n := h.gremlin.operations() - before; n > 0 {
				t.Errorf("%s: %d operations reached the database", name, n)
			}
			h.brokeOnce(t, devices.ErrFenced)
		}
	})
}

func TestARaisedFenceStopsWrites(t *testing.T) {
	h := &holder{}
	cfg := postgres(t)
	s := open(t, cfg, h)
	d := paired(t, account(t, s, h.fence("acc_1")), "491510000001")
	run(t, cfg.URL, `UPDATE links SET fence = 2 WHERE account = 'acc_1'`)
	if has, err := d.Sessions.HasSession(t.Context(), "x"); has || err != nil {
		t.Errorf("a read says %t, %v", has, err)
	}
	if err := d.Sessions.PutSession(t.Context(), "x", []byte("y")); !errors.Is(err, devices.ErrFenced) {
		t.Errorf("a write: %v, want %v", err, devices.ErrFenced)
	}
	h.brokeOnce(t, devices.ErrFenced)

	other := &holder{}
	d = paired(t, account(t, s, other.fence("acc_2")), "491510000002")
	run(t, cfg.URL, `DELETE FROM links WHERE account = 'acc_2'`)
	err := d.EventBuffer.DoDecryptionTxn(t.Context(), func(context.Context) error { t.Error("the transaction began"); return nil })
	if !errors.Is(err, devices.ErrFenced) {
		t.Errorf("a transaction: %v, want %v", err, devices.ErrFenced)
	}
	other.brokeOnce(t, devices.ErrFenced)

	third := &holder{}
	db := devices.View(s, devices.Fence{Account: "acc_1", Number: 2, Held: func() bool { return true }, Broke: third.fence("").Broke})
	defer func() { _ = db.Close() }()
	var sessions int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM whatsmeow_sessions`).Scan(&sessions); err != nil || sessions != 0 {
		t.Errorf("%d sessions were written, %v", sessions, err)
	}
}

func TestTheFenceHoldsUntilTheTransactionEnds(t *testing.T) {
	h := &holder{}
	cfg := postgres(t)
	s := open(t, cfg, h)
	d := paired(t, account(t, s, h.fence("acc_1")), "491510000001")
	raise := `SET lock_timeout = '50ms'; UPDATE links SET fence = 2 WHERE account = 'acc_1'`
	err := d.EventBuffer.DoDecryptionTxn(t.Context(), func(ctx context.Context) error {
		if err := try(ctx, cfg.URL, raise); err == nil {
			t.Error("the fence was raised in the middle of a transaction")
		}
		return d.Sessions.PutSession(ctx, "x", []byte("y"))
	})
	if err != nil {
		t.Error(err)
	}
	run(t, cfg.URL, raise)
}

func TestABrokenViewAnswersNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config) {
		h := &holder{}
		s := open(t, cfg, h)
		d := paired(t, account(t, s, h.fence("acc_1")), "491510000001")
		h.gremlin.arm(1, false)
		if _, err := d.Sessions.GetSession(t.Context(), "x"); !errors.Is(err, errGremlin) {
			t.Errorf("a read: %v, want %v", err, errGremlin)
		}
		h.brokeOnce(t, errGremlin)
		before := h.gremlin.operations()
		if err := d.Sessions.PutSession(context.WithoutCancel(t.Context()), "x", []byte("y")); !errors.Is(err, errGremlin) {
			t.Errorf("a later write: %v, want %v", err, errGremlin)
		}
		if n := h.gremlin.operations() - before; n > 0 {
			t.Errorf("%d operations reached the database", n)
		}
		h.brokeOnce(t, errGremlin)
		fresh := &holder{}
		again, err := account(t, s, fresh.fence("acc_1")).Device(t.Context(), *d.ID)
		if err != nil || again == nil {
			t.Errorf("a new view says %v, %v", again, err)
		}
	})
}

func TestNobodySeesAnErrorBeforeBroke(t *testing.T) {
	h := &holder{}
	s := open(t, config{Path: filepath.Join(t.TempDir(), "devices.db")}, h)
	var ended atomic.Bool
	f := h.fence("acc_1")
	f.Broke = func(error) {
		// The others end what they had begun, and come again.
		for n, spins := h.gremlin.operations(), 0; h.gremlin.operations() < n+60 && spins < 1e7; spins++ {
			runtime.Gosched()
		}
		ended.Store(true)
	}
	d := paired(t, account(t, s, f), "491510000001")
	h.gremlin.arm(300, false)
	var group errgroup.Group
	for range 50 {
		group.Go(func() error {
			for {
				if err := d.Sessions.PutSession(t.Context(), "x", []byte("y")); err == nil {
					continue
				} else if !ended.Load() {
					return fmt.Errorf("saw %w", err)
				}
				return nil
			}
		})
	}
	if err := group.Wait(); err != nil || !ended.Load() {
		t.Errorf("ended: %t; %v", ended.Load(), err)
	}
}

func TestAnEndedContextBreaksNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config) {
		h := &holder{}
		s := open(t, cfg, h)
		d := paired(t, account(t, s, h.fence("acc_1")), "491510000001")
		ctx, cancel := context.WithCancel(t.Context())
		err := d.EventBuffer.DoDecryptionTxn(ctx, func(ctx context.Context) error {
			cancel()
			return d.Sessions.PutSession(ctx, "x", []byte("y"))
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		if has, err := d.Sessions.HasSession(t.Context(), "x"); has || err != nil {
			t.Errorf("after it: %t, %v", has, err)
		}
		if len(h.broke) > 0 {
			t.Errorf("broke with %v", h.broke)
		}
	})
}

func TestValuesPassUnchanged(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config) {
		h := &holder{}
		s := open(t, cfg, h)
		db := devices.View(s, h.fence("acc_1"))
		defer func() { _ = db.Close() }()
		// A query that writes is fenced like any other write.
		query := `INSERT INTO whatsmeow_event_buffer (our_jid, ciphertext_hash, plaintext, server_timestamp, insert_timestamp)
			VALUES ($1, $2, $3, $4, $5) RETURNING our_jid, ciphertext_hash, plaintext, server_timestamp, insert_timestamp`
		paired(t, account(t, s, h.fence("acc_1")), "491510000001")
		hash := slices.Repeat([]byte{0, 1, 255, '\''}, 8)
		for i, plain := range [][]byte{nil, {}, {0, 255}} {
			hash[0] = byte(i)
			var jid string
			var gotHash, gotPlain []byte
			var server, inserted int64
			row := db.QueryRowContext(t.Context(), query, types.JID{User: "491510000001", Device: 7, Server: types.DefaultUserServer}, hash, plain, int64(-1), int64(1)<<62)
			if err := row.Scan(&jid, &gotHash, &gotPlain, &server, &inserted); err != nil {
				t.Fatal(err)
			}
			if jid != "491510000001:7@s.whatsapp.net" || !slices.Equal(gotHash, hash) || !slices.Equal(gotPlain, plain) || server != -1 || inserted != 1<<62 {
				t.Errorf("got %q %v %v %d %d", jid, gotHash, gotPlain, server, inserted)
			}
		}
		var n int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM whatsmeow_event_buffer`).Scan(&n); err != nil || n != 3 {
			t.Errorf("%d rows were committed, %v", n, err)
		}
		h.away.Store(true)
		if err := db.QueryRowContext(t.Context(), query, "", nil, nil, 0, 0).Scan(new(string)); !errors.Is(err, devices.ErrFenced) {
			t.Errorf("after the lease: %v", err)
		}
	})
}
