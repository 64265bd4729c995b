package devices_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"golang.org/x/sync/errgroup"

	"wagent/gateway/whatsapp/devices"
)

// A holder is one hold of a process on an account.
type holder struct {
	gremlin gremlin
	away    atomic.Bool // the lease is over

	mu    sync.Mutex
	broke []error
}

func (h *holder) fence(account string) devices.Fence {
	return devices.Fence{Account: account, Number: 1, Held: func() bool { return !h.away.Load() }, Broke: func(err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.broke = append(h.broke, err)
	}}
}

// brokeOnce fails the test unless the fence broke exactly once, with that.
func (h *holder) brokeOnce(t *testing.T, want error) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.broke) != 1 || !errors.Is(h.broke[0], want) {
		t.Errorf("broke with %v, want once %v", h.broke, want)
	}
}

func open(t testing.TB, cfg config, h *holder) *devices.Store {
	t.Helper()
	s, err := devices.OpenThrough(t.Context(), cfg, h.gremlin.wrap)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func account(t testing.TB, s *devices.Store, f devices.Fence) *devices.Account {
	t.Helper()
	a := s.Account(f)
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// paired is a stored device of that number.
func paired(t testing.TB, a *devices.Account, number string) *store.Device {
	t.Helper()
	d := a.NewDevice()
	d.ID = &types.JID{User: number, Device: 7, Server: types.DefaultUserServer}
	d.LID = types.JID{User: "1" + number, Device: 7, Server: types.HiddenUserServer}
	d.Account = &waAdv.ADVSignedDeviceIdentity{
		Details: []byte{}, AccountSignature: make([]byte, 64), AccountSignatureKey: make([]byte, 32), DeviceSignature: make([]byte, 64),
	}
	if err := d.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestADeviceIsFoundAgainAndDeleted(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config) {
		h := &holder{}
		s := open(t, cfg, h)
		d := paired(t, account(t, s, h.fence("acc_1")), "491510000001")
		jid := *d.ID
		a := account(t, s, h.fence("acc_1"))
		again, err := a.Device(t.Context(), jid)
		if err != nil || again == nil {
			t.Fatal(again, err)
		}
		if *again.IdentityKey.Priv != *d.IdentityKey.Priv || again.LID != d.LID || again.RegistrationID != d.RegistrationID || again.Container != a {
			t.Errorf("found %+v, want %+v", again, d)
		}
		made, err := again.PreKeys.GetOrGenPreKeys(t.Context(), 3)
		if err != nil || len(made) != 3 {
			t.Fatal(made, err)
		}
		same, err := again.PreKeys.GetOrGenPreKeys(t.Context(), 3)
		if err != nil || *same[2].Priv != *made[2].Priv {
			t.Errorf("the keys of the first time are lost: %v, %v", same, err)
		}
		if err := again.Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
		if gone, err := a.Device(t.Context(), jid); gone != nil || err != nil {
			t.Errorf("after Delete there is %v, %v", gone, err)
		}
		db := devices.View(s, h.fence("acc_1"))
		defer func() { _ = db.Close() }()
		var left int
		if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM whatsmeow_pre_keys`).Scan(&left); err != nil || left != 0 {
			t.Errorf("%d keys of the device are left, %v", left, err)
		}
	})
}

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

// A process may think that it holds an account which another one took: it was
// frozen, or its clock was.
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

// What a transaction wrote is committed under the fence that it began with.
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

// The connection must have ended when the library sees an error, whichever of
// its goroutines sees one.
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

func TestClosing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config) {
		h := &holder{}
		s := open(t, cfg, h)
		a := s.Account(h.fence("acc_1"))
		d := paired(t, a, "491510000001")
		for range 2 {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
		h.brokeOnce(t, devices.ErrClosed)
		if err := d.Save(t.Context()); err == nil {
			t.Error("a device of a closed account was saved")
		}
	})
}

func TestTwoAccountsAtOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, cfg config) {
		h := &holder{}
		s := open(t, cfg, h)
		var group errgroup.Group
		for n, id := range []string{"acc_1", "acc_2"} {
			d := paired(t, account(t, s, h.fence(id)), fmt.Sprint(491510000001+n))
			for i := range 25 {
				group.Go(func() error {
					who := fmt.Sprint(i)
					for turn := range 8 {
						if err := d.Sessions.PutManySessions(t.Context(), map[string][]byte{who: fmt.Append(nil, id, turn), "all": []byte(id)}); err != nil {
							return err
						}
						got, err := d.Sessions.GetManySessions(t.Context(), []string{who, "all", "none"})
						if err != nil {
							return err
						}
						if string(got[who]) != id+fmt.Sprint(turn) || string(got["all"]) != id || got["none"] != nil {
							return fmt.Errorf("%s reads %q", id, got)
						}
					}
					return nil
				})
			}
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
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

func TestSQLiteIsPrivateAndOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a ?#%.db")
	h := &holder{}
	s := open(t, config{Path: path}, h)
	for _, file := range []string{path, path + "-wal"} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	db := devices.View(s, h.fence("acc_1"))
	defer func() { _ = db.Close() }()
	var synchronous, foreignKeys int
	var journal string
	err := db.QueryRowContext(t.Context(), `SELECT * FROM pragma_synchronous, pragma_foreign_keys, pragma_journal_mode`).Scan(&synchronous, &foreignKeys, &journal)
	if err != nil || synchronous != 2 || foreignKeys != 1 || journal != "wal" {
		t.Errorf("synchronous=%d foreign_keys=%d journal_mode=%s, %v", synchronous, foreignKeys, journal, err)
	}
}

func TestReplicasOpenAtOnce(t *testing.T) {
	cfg := postgres(t)
	run(t, cfg.URL, `CREATE TABLE public.whatsmeow_version (version INTEGER)`) // of another program
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			s, err := devices.Open(t.Context(), cfg)
			if err != nil {
				return err
			}
			return s.Close()
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	h := &holder{}
	paired(t, account(t, open(t, cfg, h), h.fence("acc_1")), "491510000001")
	run(t, cfg.URL, `SELECT 1 / count(*) FROM whatsmeow.whatsmeow_device`)
}

func TestPostgresNeedsAGuard(t *testing.T) {
	if _, err := devices.Open(t.Context(), config{URL: "postgres://nowhere.invalid/x"}); err == nil {
		t.Error("it was opened without one")
	}
}

// Hundreds of accounts live in a process.
func TestAnIdleAccountCostsLittle(t *testing.T) {
	h := &holder{}
	s := open(t, config{Path: filepath.Join(t.TempDir(), "devices.db")}, h)
	const many = 1000
	all := make([]*devices.Account, many)
	before, goroutines := inUse(), runtime.NumGoroutine()
	for i := range all {
		all[i] = s.Account(h.fence("acc_1"))
		if _, err := all[i].Device(t.Context(), types.JID{User: "1", Device: 1, Server: types.DefaultUserServer}); err != nil {
			t.Fatal(err)
		}
	}
	bytes, more := (inUse()-before)/many, runtime.NumGoroutine()-goroutines
	t.Logf("an account that was used costs %d bytes; %d have %d goroutines", bytes, many, more)
	if bytes > 16<<10 || more > many+10 {
		t.Error("which is too much")
	}
	for _, a := range all {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// BenchmarkFirstLogin makes and stores the keys of a device's first login.
func BenchmarkFirstLogin(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		h := &holder{}
		s := open(b, config{Path: filepath.Join(b.TempDir(), "devices.db")}, h)
		d := paired(b, account(b, s, h.fence("acc_1")), "491510000001")
		b.StartTimer()
		if _, err := d.PreKeys.GetOrGenPreKeys(b.Context(), 812); err != nil {
			b.Fatal(err)
		}
	}
}
