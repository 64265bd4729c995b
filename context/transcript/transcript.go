// Package transcript holds what was said in a conversation as turns, and
// trims them to a budget. It keeps no state: turns are made anew from the
// messages on record for each run, so a crash loses nothing.
package transcript

import (
	"time"
	"unicode/utf8"

	"wagent/gateway"
)

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

// FromMessages returns one turn for each message, in their order: the User's
// for what came in, the Assistant's for what went out. Messages that were
// ignored or held are among them, since somebody reading the conversation
// would see them; the caller leaves out what never reached the customer.
func FromMessages(messages []gateway.Message) []Turn {
	turns := make([]Turn, 0, len(messages))
	for i := range messages {
		role := User
		if messages[i].Direction == gateway.Out {
			role = Assistant
		}
		turns = append(turns, Turn{Role: role, Text: Describe(&messages[i]), At: messages[i].SentAt})
	}
	return turns
}

// cut stands where the head of a turn was cut off.
const cut = "[…] "

// Trim returns the newest turns whose texts fit in budget, which counts
// characters (runes): to a token go about four of them in English, three in
// most languages of alphabets and one in Chinese, Japanese or Thai, so that a
// budget of 12,000 is 3,000 to 12,000 tokens. Turns are never skipped: what
// is kept is the end of turns without a gap.
//
// The newest turn is always kept. If it alone is too long it loses its head,
// and "[…] " stands there instead; a budget that is smaller than this mark
// leaves the mark alone. Trim does not change turns.
func Trim(turns []Turn, budget int) []Turn {
	if len(turns) == 0 {
		return nil
	}
	first, left := len(turns), budget
	for first > 0 {
		n := utf8.RuneCountInString(turns[first-1].Text)
		if n > left {
			break
		}
		left -= n
		first--
	}
	if first < len(turns) {
		return turns[first:]
	}
	newest := turns[len(turns)-1]
	newest.Text = cut + tail(newest.Text, budget-utf8.RuneCountInString(cut))
	return []Turn{newest}
}

// tail returns the last n characters of s.
func tail(s string, n int) string {
	start := len(s)
	for ; n > 0 && start > 0; n-- {
		_, size := utf8.DecodeLastRuneInString(s[:start])
		start -= size
	}
	return s[start:]
}
