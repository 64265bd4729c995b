// Package transcript holds what was said in a conversation as turns, and
// trims them to a budget. It keeps no state.
package transcript

import "time"

// A Role says who speaks in a turn.
type Role string

// The roles.
const (
	User      Role = "user"
	Assistant Role = "assistant"
)

// A Turn is one message of a conversation, as a model reads it.
type Turn struct {
	Role Role
	Text string
	At   time.Time
}
