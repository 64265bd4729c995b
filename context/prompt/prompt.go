// Package prompt makes what a model reads out of what a run was given.
//
// It is pure: the same [Input] gives the same [Prompt], byte for byte, and
// nothing is read or kept elsewhere. What strangers wrote stands between
// fences that it can not forge; see [Render]. State lives in the run's record,
// whose input is an Input as JSON, so after a crash the same prompt is made
// again, but for the time.
package prompt

import (
	"encoding/json"
	"strings"
	"time"

	"wagent/context/transcript"
	"wagent/gateway"
)

// A Prompt is what a model reads.
type Prompt struct {
	System string
	Stable int               // how many bytes System begins with that are the same in all of the agent's runs, so that a provider can keep them; 0: none
	Turns  []transcript.Turn // never empty; the last one is the user's
	// Now is what the model was told the time is. What it says of days and hours
	// without a zone is meant in Now's location; zero: in UTC.
	Now time.Time
}

// An Input is what a run is given. Marshalled, it is what a batch's run keeps
// as its input; what has no JSON name is looked up again. Every field but
// Agent may be zero.
type Input struct {
	Agent           *gateway.Agent  `json:"-"`
	Now             time.Time       `json:"-"` // shown in its own location; zero: no time is shown
	Hours           gateway.Hours   `json:"-"` // when the business is open, in Now's location; empty: nothing is said of it
	Account         Facts           `json:"account,omitzero"`
	Contact         Facts           `json:"contact,omitzero"`
	LastMessage     string          `json:"last_message"`       // the batch's texts joined by newlines
	Messages        []Message       `json:"messages,omitempty"` // the batch; where empty, LastMessage is shown
	RecentMessages  []Recent        `json:"recent_messages,omitempty"`
	EarlierSummary  string          `json:"earlier_summary,omitempty"` // of turns before RecentMessages
	ContextSummary  string          `json:"context_summary,omitempty"`
	LastAgentOutput *LastOutput     `json:"last_agent_output,omitempty"`
	ActionResults   []ActionResult  `json:"action_results,omitempty"` // oldest first
	ContactMemory   string          `json:"-"`                        // what the agent keeps of the contact, if it may; no record of the run has it, since people erase it elsewhere
	Extra           json.RawMessage `json:"-"`                        // the rest of an API run's input, shown as data; that run's record keeps the whole
}

// Facts are what we know of an account or a contact.
type Facts struct {
	Name  string `json:"name,omitempty"`
	Phone string `json:"-"` // E.164; shown to the model, kept in no record of the run
}

// A Message is one message of the batch.
type Message struct {
	Type gateway.MessageType `json:"type"`
	Text string              `json:"text"`        // as [transcript.Describe] tells it
	At   time.Time           `json:"at,omitzero"` // RFC 3339
}

// A Recent is a turn from before the batch.
type Recent struct {
	Role transcript.Role `json:"role"`
	Text string          `json:"text"`
	At   time.Time       `json:"at,omitzero"` // RFC 3339
}

// A LastOutput is what the agent answered last in this conversation.
type LastOutput struct {
	Intent  string                 `json:"intent"`
	Actions []gateway.OutputAction `json:"actions"`
}

// An ActionResult is what came of an action that the agent wanted, as the endpoint
// says that it was delivered to.
type ActionResult struct {
	Type    string          `json:"type"`
	Payload map[string]any  `json:"payload"`
	Result  json.RawMessage `json:"result"`
	At      time.Time       `json:"at"` // RFC 3339
}

// FromBatch returns the input of a run that answers messages, which are in
// order of arrival: its LastMessage and Messages are set, in whole seconds.
func FromBatch(messages []gateway.Message) Input {
	var in Input
	texts := make([]string, 0, len(messages))
	for i := range messages {
		text := transcript.Describe(&messages[i])
		texts = append(texts, text)
		in.Messages = append(in.Messages, Message{
			Type: messages[i].Type, Text: text, At: messages[i].SentAt.UTC().Truncate(time.Second),
		})
	}
	in.LastMessage = strings.Join(texts, "\n")
	return in
}

// Recents returns turns in the form of Input.RecentMessages, times in UTC and
// whole seconds.
func Recents(turns []transcript.Turn) []Recent {
	out := make([]Recent, 0, len(turns))
	for _, t := range turns {
		out = append(out, Recent{Role: t.Role, Text: t.Text, At: t.At.UTC().Truncate(time.Second)})
	}
	return out
}
