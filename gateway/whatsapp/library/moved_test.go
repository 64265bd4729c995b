package library

import (
	"context"
	"testing"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// oneByOne keeps sessions by their address.
type oneByOne struct {
	store.SessionStore
	at map[string]string
}

func (s oneByOne) GetSession(_ context.Context, address string) ([]byte, error) {
	if v, ok := s.at[address]; ok {
		return []byte(v), nil
	}
	return nil, nil
}

func (s oneByOne) HasSession(_ context.Context, address string) (bool, error) {
	_, ok := s.at[address]
	return ok, nil
}

func (s oneByOne) PutSession(_ context.Context, address string, session []byte) error {
	s.at[address] = string(session)
	return nil
}

// TestASessionThatMovedIsFound: a message that is decrypted under a number
// uses, and changes, the session under the LID.
func TestASessionThatMovedIsFound(t *testing.T) {
	inner := oneByOne{at: map[string]string{"49151:3": "old", "49152:0": "a stranger's"}}
	m := &movedSessions{SessionStore: inner, lid: map[string]string{}}
	get := func(address, want string) {
		t.Helper()
		got, err := m.GetSession(t.Context(), address)
		has, err2 := m.HasSession(t.Context(), address)
		if err != nil || err2 != nil || string(got) != want || has != (want != "") {
			t.Errorf("the session of %s is %q (%v), %v, %v, want %q", address, got, has, err, err2, want)
		}
	}
	pn, lid := types.NewJID("49151", types.DefaultUserServer), types.NewJID("77", types.HiddenUserServer)
	moved := types.JID{User: "77", Server: types.HiddenUserServer, Device: 3}.SignalAddress().String()

	m.moved(pn, lid) // the pair is known, the move is still to come
	get("49151:3", "old")
	if err := m.PutSession(t.Context(), "49151:3", []byte("older")); err != nil || inner.at["49151:3"] != "older" {
		t.Errorf("sessions %v, %v, want the number's changed", inner.at, err)
	}

	delete(inner.at, "49151:3")
	inner.at[moved] = "new"
	get("49151:3", "new")
	get(moved, "new")
	if err := m.PutSession(t.Context(), "49151:3", []byte("newer")); err != nil || inner.at[moved] != "newer" || len(inner.at) != 2 {
		t.Errorf("sessions %v, %v, want the LID's changed", inner.at, err)
	}
	get("49152:0", "a stranger's")
	get("49153:0", "")
}
