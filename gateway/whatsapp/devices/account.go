package devices

import (
	"context"
	"database/sql"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// A Fence is one hold of a process on an account.
type Fence struct {
	Account string
	Number  int64       // raised whenever the account changes hands
	Held    func() bool // by the local clock, the account is still ours; called before each statement
	// Broke must end the connection's context before it returns, and must not
	// use the account. It is called once, before the library sees the error.
	Broke func(error)
}

// An Account is what one connection of an account sees of a Store. It is the
// DeviceContainer of its devices. Its methods may be called from any goroutine.
type Account struct {
	view *view
	box  *sqlstore.Container
}

// Account returns a new view of the store. It costs no connection while it is
// idle. Whoever called Close it.
func (s *Store) Account(f Fence) *Account {
	v := &view{s: s, fence: f}
	return &Account{v, sqlstore.NewWithDB(sql.OpenDB(v), s.dialect, nil)}
}

// Close breaks the view with ErrClosed, unless it is broken, and ends it. It may
// be called twice.
func (a *Account) Close() error {
	_ = a.view.fail(context.Background(), ErrClosed) // for whoever still uses a device
	return a.box.Close()
}

// NewDevice makes a device that is not paired. Pairing stores it.
func (a *Account) NewDevice() *store.Device {
	d := a.box.NewDevice()
	d.Container = a
	return d
}

// Device returns the stored device of that address, or nil if there is none.
func (a *Account) Device(ctx context.Context, jid types.JID) (*store.Device, error) {
	d, err := a.box.GetDevice(ctx, jid)
	if d != nil {
		a.adopt(d)
	}
	return d, err
}

// PutDevice stores a device. The library calls it.
func (a *Account) PutDevice(ctx context.Context, d *store.Device) error {
	err := a.box.PutDevice(ctx, d)
	a.adopt(d)
	return err
}

// DeleteDevice deletes a device and all that belongs to it. The library calls
// it; others call Delete of the device.
func (a *Account) DeleteDevice(ctx context.Context, d *store.Device) error {
	return a.box.DeleteDevice(ctx, d)
}

// adopt takes over what the library's container gives to a device.
func (a *Account) adopt(d *store.Device) {
	if d.Container != a {
		d.Container = a
	}
	if s, ok := d.PreKeys.(*sqlstore.SQLStore); ok {
		d.PreKeys = preKeys{s}
	}
}

// preKeys makes the keys of a first login, 812 of them, in one transaction: the
// library stores each by itself, and each would be written through to the disk.
type preKeys struct{ *sqlstore.SQLStore }

func (p preKeys) GetOrGenPreKeys(ctx context.Context, count uint32) (made []*keys.PreKey, err error) {
	err = p.DoDecryptionTxn(ctx, func(ctx context.Context) error { // a transaction like any other
		made, err = p.SQLStore.GetOrGenPreKeys(ctx, count)
		return err
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}
