package library

import (
	"context"
	"fmt"
	"sync"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// observedLIDs tells of each pair of a number and a LID that the library
// learns, and moves what it has of the number to the LID at once.
//
// The library does that only with the next message of that person. Where it
// answers them first, it finds no session under their LID and begins another
// one, which it then overwrites with the number's: the person's next message
// can not be read (whatsmeow's store/sqlstore, MigratePNToLID).
type observedLIDs struct {
	store.LIDStore
	sessions *movedSessions
	tx       store.EventBuffer
	tell     func(pairs ...store.LIDMapping)

	// mu comes before the database's connection. The library's own lock, which
	// lookups hold while they wait for the connection, comes behind it in put.
	mu sync.RWMutex
}

// GetLIDForPN satisfies store.LIDStore.
func (o *observedLIDs) GetLIDForPN(ctx context.Context, pn types.JID) (types.JID, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.LIDStore.GetLIDForPN(ctx, pn)
}

// GetPNForLID satisfies store.LIDStore.
func (o *observedLIDs) GetPNForLID(ctx context.Context, lid types.JID) (types.JID, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.LIDStore.GetPNForLID(ctx, lid)
}

// GetManyLIDsForPNs satisfies store.LIDStore.
func (o *observedLIDs) GetManyLIDsForPNs(ctx context.Context, pns []types.JID) (map[types.JID]types.JID, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.LIDStore.GetManyLIDsForPNs(ctx, pns)
}

// PutLIDMapping satisfies store.LIDStore.
func (o *observedLIDs) PutLIDMapping(ctx context.Context, lid, pn types.JID) error {
	return o.put(ctx, []store.LIDMapping{{LID: lid, PN: pn}}, func(ctx context.Context) error {
		return o.LIDStore.PutLIDMapping(ctx, lid, pn)
	})
}

// PutManyLIDMappings satisfies store.LIDStore.
func (o *observedLIDs) PutManyLIDMappings(ctx context.Context, pairs []store.LIDMapping) error {
	return o.put(ctx, pairs, func(ctx context.Context) error { return o.LIDStore.PutManyLIDMappings(ctx, pairs) })
}

// put writes pairs and what follows from them in one transaction.
func (o *observedLIDs) put(ctx context.Context, pairs []store.LIDMapping, write func(context.Context) error) error {
	if err := o.putAndMove(ctx, pairs, write); err != nil {
		return err
	}
	o.tell(pairs...)
	return nil
}

func (o *observedLIDs) putAndMove(ctx context.Context, pairs []store.LIDMapping, write func(context.Context) error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tx.DoDecryptionTxn(ctx, func(ctx context.Context) error { // a transaction like any other
		if err := write(ctx); err != nil {
			return err
		}
		for _, p := range pairs {
			if err := o.move(ctx, p.PN.ToNonAD(), p.LID.ToNonAD()); err != nil {
				return fmt.Errorf("move sessions to a LID: %w", err)
			}
		}
		return nil
	})
}

// move gives a LID the sessions of its number, unless it has some of its own.
func (o *observedLIDs) move(ctx context.Context, pn, lid types.JID) error {
	if pn.Server != types.DefaultUserServer || lid.Server != types.HiddenUserServer {
		return nil
	}
	old, err := o.sessions.SessionStore.HasSession(ctx, pn.SignalAddress().String())
	if err != nil || !old {
		return err
	}
	if own, err := o.sessions.SessionStore.HasSession(ctx, lid.SignalAddress().String()); err != nil || own {
		return err
	}
	o.sessions.moved(pn, lid)
	return o.sessions.MigratePNToLID(ctx, pn, lid)
}
