package gateway

import "time"

// A ConnectID names a Connect: con_…. It is as good as a key to it.
type ConnectID string

// NewConnectID returns an id that nobody else has, or could guess.
func NewConnectID() ConnectID { return ConnectID(newID("con")) }

// ConnectTTL is how long a Connect may be used.
const ConnectTTL = time.Hour

// A Connect is leave to add one account on the Cloud API, once, without a key of
// the API.
type Connect struct {
	ID        ConnectID
	Account   AccountID // what it added; empty: nothing yet
	ExpiresAt time.Time
	CreatedAt time.Time
}
