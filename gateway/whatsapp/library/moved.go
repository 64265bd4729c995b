package library

import (
	"context"
	"strings"
	"sync"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// movedSessions finds the sessions of numbers that were moved to a LID in this
// life of the client.
//
// The library looks up a sender's LID before it has its turn to decrypt
// (whatsmeow.(*Client).decryptMessages). Where a send learns the LID in between,
// it goes on with the number, whose session is gone: the message could not be
// read.
type movedSessions struct {
	store.SessionStore

	mu  sync.Mutex
	lid map[string]string // by number
}

func (m *movedSessions) moved(pn, lid types.JID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lid[pn.User] = lid.User
}

// now returns where a number's session is now; "" if it was not moved.
func (m *movedSessions) now(address string) string {
	user, device, _ := strings.Cut(address, ":")
	m.mu.Lock()
	defer m.mu.Unlock()
	lid, ok := m.lid[user]
	if !ok {
		return ""
	}
	jid := types.JID{User: lid, Server: types.HiddenUserServer}
	return jid.SignalAddressUser() + ":" + device
}

// GetSession satisfies store.SessionStore.
func (m *movedSessions) GetSession(ctx context.Context, address string) ([]byte, error) {
	session, err := m.SessionStore.GetSession(ctx, address)
	if to := m.now(address); err == nil && session == nil && to != "" {
		return m.SessionStore.GetSession(ctx, to)
	}
	return session, err
}

// HasSession satisfies store.SessionStore.
func (m *movedSessions) HasSession(ctx context.Context, address string) (bool, error) {
	has, err := m.SessionStore.HasSession(ctx, address)
	if to := m.now(address); err == nil && !has && to != "" {
		return m.SessionStore.HasSession(ctx, to)
	}
	return has, err
}

// PutSession satisfies store.SessionStore.
func (m *movedSessions) PutSession(ctx context.Context, address string, session []byte) error {
	if to := m.now(address); to != "" {
		own, err := m.SessionStore.HasSession(ctx, address)
		if err != nil {
			return err
		}
		if !own {
			address = to
		}
	}
	return m.SessionStore.PutSession(ctx, address, session)
}
