package devices_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
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

// A process may think that it holds an account which another one took: it was

// frozen, or its clock was.

// What a transaction wrote is committed under the fence that it began with.

// The connection must have ended when the library sees an error, whichever of

// its goroutines sees one.

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
