package gateway

import "time"

// A NewMessagePolicy says what a message does to the run that is answering
// those before it.
type NewMessagePolicy string

// The policies.
const (
	FollowUp  NewMessagePolicy = "follow_up" // the next run answers it
	Supersede NewMessagePolicy = "supersede" // the run is called back before it finishes, and answers it too
)

// ErrSuperseded is of kind Conflict: a newer message came before the run
// finished, and the run waits to be claimed again together with it.
var ErrSuperseded = &Error{Kind: Conflict, Msg: "A newer message superseded the run"}

// A Window says when the messages that wait in a conversation are answered.
type Window struct {
	Quiet    time.Duration // silence that ends a batch
	MaxWait  time.Duration // longest wait after a batch's first message
	MaxItems int           // messages that end a batch at once
	Recalls  int           // how often newer messages may call back the batch in hand; 0: they wait for the next one
}

// A WindowOverride is what an operator wants of one conversation's window. What
// is nil is as the agent has it.
type WindowOverride struct {
	Quiet         *time.Duration
	MaxWait       *time.Duration
	MaxBatch      *int
	OnNewMessage  *NewMessagePolicy
	MaxSupersedes *int
}

// A PeerWindow is a WindowOverride with whose conversation it is for.
type PeerWindow struct {
	WindowOverride
	Conversation ConversationID
	Peer         Address
	UpdatedAt    time.Time
}

// A Windowing is what a conversation has to say of its window.
type Windowing struct {
	WindowOverride
	// Supersedes is how often its unfinished run was superseded; 0 without one. Of
	// a run that waits to be claimed again the last time is not counted: what comes
	// meanwhile belongs to that time, and may not be kept out of it.
	Supersedes int
}

// With returns the agent as the conversation of an override has it.
func (a *Agent) With(o *WindowOverride) Agent {
	b := *a
	override(&b.Quiet, o.Quiet)
	override(&b.MaxWait, o.MaxWait)
	override(&b.MaxBatch, o.MaxBatch)
	override(&b.OnNewMessage, o.OnNewMessage)
	override(&b.MaxSupersedes, o.MaxSupersedes)
	return b
}

func override[T any](to, with *T) {
	if with != nil {
		*to = *with
	}
}

// Window returns the window of a conversation that the agent answers. SQL counts
// how often a run was superseded, so that a Redis that lost its data does not
// begin anew.
func (a *Agent) Window(x *Windowing) Window {
	b := a.With(&x.WindowOverride)
	w := Window{Quiet: b.Quiet, MaxWait: b.MaxWait, MaxItems: b.MaxBatch}
	if b.OnNewMessage == Supersede && x.Supersedes < b.MaxSupersedes {
		w.Recalls = b.MaxSupersedes
	}
	return w
}
