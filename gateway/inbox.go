package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// An Inbox accepts messages from the edges. A message may come more than
// once. Its methods are safe for concurrent use.
type Inbox struct {
	Store  MessageStore
	Agents AgentFinder
	Window Windower
	MaxAge time.Duration // backlog older than this is held for a person
	// Skipped is told of each new message of a customer's that no run is to
	// answer, with its reason. It must not block. It may be nil.
	Skipped func(m *Message)
	Log     *slog.Logger

	patterns patternCache
}

// MessageStore records messages.
type MessageStore interface {
	// AddMessages records those of ms that are not there yet, in their order
	// and in one transaction, and returns what is on record for each. Where it
	// fails, none is recorded.
	AddMessages(ctx context.Context, ms []Arrival) ([]Arrived, error)
	// Waiting returns at most limit messages of the account that wait for a
	// run, by their seq, after the one given.
	Waiting(ctx context.Context, account AccountID, afterSeq int64, limit int) ([]Message, error)
	// JoinAddresses makes one contact, and one conversation, of those that the
	// forms of each address mean. It returns the messages that wait in the
	// conversations that others were joined to, also beside an error.
	JoinAddresses(ctx context.Context, account AccountID, forms ...Address) ([]Message, error)
}

// AgentFinder knows who answers an account's messages.
type AgentFinder interface {
	// DefaultAgent returns the active agent that inbound messages of the
	// account go to, or an Error of kind NotFound.
	DefaultAgent(ctx context.Context, account AccountID) (Agent, error)
	// Windowing returns what the conversation has to say of its window: nothing,
	// where there is none.
	Windowing(ctx context.Context, id ConversationID) (Windowing, error)
}

// Windower gathers the messages that a run is to answer together.
type Windower interface {
	// Add puts a waiting message in its conversation's window. It may be
	// repeated.
	Add(ctx context.Context, m *Message, w Window) error
	// Drop forgets the window: what was in it is a person's now.
	Drop(ctx context.Context, id ConversationID) error
}

// An Arrival is a message to record, with what the rules say of it. The state
// is a wish: the store knows the account, who is allowed, which message is
// changed and whether the conversation is paused.
type Arrival struct {
	Inbound
	State      MessageState
	Reason     string
	MaxPerHour int // 0: no limit; past it the message is ignored
	ReceivedAt time.Time
}

// Arrived is what the store has of an Arrival.
type Arrived struct {
	Message Message   // as it is on record, which may be older than the Arrival
	New     bool      // it was recorded just now
	Window  Windowing // of its conversation, if it waits
	Paused  bool      // it paused its conversation: what waited there is a person's
	// Joined is what waits in a conversation that others were joined to, since the
	// message told who is who: their windows are gone. It may be another
	// conversation than the message's, and has the window that stands beside it.
	Joined       []Message
	JoinedWindow Windowing
}

// An Outcome says what became of a message that came in.
type Outcome string

// The outcomes.
const (
	OutcomeStored    Outcome = "stored" // and a run will answer it
	OutcomeDuplicate Outcome = "duplicate"
	OutcomeIgnored   Outcome = "ignored"
	OutcomeHeld      Outcome = "held"
	OutcomeUnarmed   Outcome = "unarmed" // stored, but its window must wait for the sweeper
)

// Receive records ms, which are in the order in which they were written, and
// opens or extends the windows of those that wait for a run. It returns an
// outcome for each.
//
// When it returns nil they are all safe, and the caller may acknowledge them
// to WhatsApp; when it fails, none of them is, and the caller must not.
func (in *Inbox) Receive(ctx context.Context, ms ...Inbound) ([]Outcome, error) {
	now := time.Now()
	arrivals := make([]Arrival, len(ms))
	agents := map[AccountID]*Agent{}
	for i := range ms {
		agent, ok := agents[ms[i].Account]
		if !ok {
			var err error
			if agent, err = in.agent(ctx, ms[i].Account); err != nil {
				return nil, err
			}
			agents[ms[i].Account] = agent
		}
		arrivals[i] = in.judge(ms[i], agent, now)
	}
	arrived, err := in.Store.AddMessages(ctx, arrivals)
	if err != nil {
		return nil, fmt.Errorf("store %d messages: %w", len(ms), err)
	}
	// They are safe. A Redis that hangs must not keep the acknowledgement back,
	// and a caller who went away must not keep the messages from their windows.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), armPatience)
	defer cancel()
	outcomes := make([]Outcome, len(ms))
	for i := range arrived {
		agent := agents[ms[i].Account]
		in.rearm(ctx, arrived[i].Joined, agent, arrived[i].JoinedWindow)
		outcomes[i] = in.arm(ctx, &arrived[i], agent, ms[i].Deferred)
		if m := &arrived[i].Message; in.Skipped != nil && arrived[i].New && (m.State == StateIgnored || m.State == StateHeld) {
			in.Skipped(m)
		}
		if arrived[i].Paused {
			in.drop(ctx, arrived[i].Message.Conversation)
		}
	}
	return outcomes, nil
}

// drop forgets a window whose messages are held. Where that fails, it comes to
// its end and finds nothing to answer.
func (in *Inbox) drop(ctx context.Context, id ConversationID) {
	if err := in.Window.Drop(ctx, id); err != nil {
		in.Log.WarnContext(ctx, "window of a paused conversation left to its end", "conversation", id, "err", err)
	}
}

// releasePage is how many messages Release reads at once.
const releasePage = 500

// Release opens the windows of the account's messages that were received as
// deferred, all at once, so that a conversation's backlog is answered by one
// run. It may be repeated. What it does not get to is left to the sweeper.
func (in *Inbox) Release(ctx context.Context, account AccountID) error {
	agent, err := in.agent(ctx, account)
	if err != nil || agent == nil {
		return err
	}
	for after := int64(0); ; {
		page, err := in.Store.Waiting(ctx, account, after, releasePage)
		if err != nil {
			return fmt.Errorf("list waiting messages of account %s: %w", account, err)
		}
		windowing := in.windowings()
		for i := range page {
			x, err := windowing(ctx, page[i].Conversation)
			if err != nil {
				return fmt.Errorf("find window of message %s: %w", page[i].ID, err)
			}
			if err := in.Window.Add(ctx, &page[i], agent.Window(&x)); err != nil {
				return fmt.Errorf("add message %s to its window: %w", page[i].ID, err)
			}
			after = page[i].Seq
		}
		if len(page) < releasePage {
			return nil
		}
	}
}

// Join takes note that the forms of each address mean one person, who may
// have been taken for two: their conversations become one, and what waits
// there is answered together.
func (in *Inbox) Join(ctx context.Context, account AccountID, forms ...Address) error {
	waiting, err := in.Store.JoinAddresses(ctx, account, forms...)
	if len(waiting) > 0 {
		in.Joined(ctx, account, waiting)
	}
	if err != nil {
		return fmt.Errorf("join %d addresses of account %s: %w", len(forms), account, err)
	}
	return nil
}

// Joined opens the windows of what waits in conversations that others were joined
// to. What it does not get to is left to the sweeper.
func (in *Inbox) Joined(ctx context.Context, account AccountID, waiting []Message) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), armPatience)
	defer cancel()
	agent, err := in.agent(ctx, account)
	windowing := in.windowings()
	for i := range waiting {
		var x Windowing
		if err == nil {
			x, err = windowing(ctx, waiting[i].Conversation)
		}
		if err != nil {
			in.Log.WarnContext(ctx, "joined messages left to the sweeper", "account", account, "messages", len(waiting)-i, "err", err)
			return
		}
		in.rearm(ctx, waiting[i:i+1], agent, x)
	}
}

// windowings returns Agents.Windowing, which is asked once of each conversation.
func (in *Inbox) windowings() func(context.Context, ConversationID) (Windowing, error) {
	known := map[ConversationID]Windowing{}
	return func(ctx context.Context, id ConversationID) (Windowing, error) {
		if x, ok := known[id]; ok {
			return x, nil
		}
		x, err := in.Agents.Windowing(ctx, id)
		if err == nil {
			known[id] = x
		}
		return x, err
	}
}

// rearm puts messages in the window of the conversation that they now stand in.
func (in *Inbox) rearm(ctx context.Context, waiting []Message, agent *Agent, x Windowing) {
	for i := range waiting {
		in.arm(ctx, &Arrived{Message: waiting[i], Window: x}, agent, false)
	}
}

// armPatience is how long the messages of one call may take to get into their
// windows, all together; the sweeper finds those that did not.
const armPatience = time.Second

// agent returns the account's agent, or nil if it has none.
func (in *Inbox) agent(ctx context.Context, account AccountID) (*Agent, error) {
	a, err := in.Agents.DefaultAgent(ctx, account)
	switch {
	case err == nil:
		return &a, nil
	case KindOf(err) == NotFound:
		return nil, nil
	default:
		return nil, fmt.Errorf("find agent of account %s: %w", account, err)
	}
}

// judge says what should become of a message, as far as its own words tell.
func (in *Inbox) judge(m Inbound, agent *Agent, now time.Time) Arrival {
	for _, s := range []*string{&m.Text, &m.SenderName, &m.ExternalID, &m.ReplyTo, &m.Target} {
		*s = clean(*s)
	}
	m.Detail = json.RawMessage(clean(string(m.Detail)))
	a := Arrival{Inbound: m, State: StateWaiting, ReceivedAt: now}
	set := func(s MessageState, reason string) Arrival { a.State, a.Reason = s, reason; return a }
	switch {
	case m.Origin == OriginHistory:
		return set(StateIgnored, ReasonHistory)
	case m.Origin == OriginEcho:
		return set(StateIgnored, ReasonEcho)
	case m.Change == Revoke:
		return set(StateIgnored, ReasonRevoke) // nobody is told; the store knows what goes
	case agent == nil || !agent.AutoRun:
		return set(StateIgnored, ReasonNoAgent)
	case in.MaxAge > 0 && now.Sub(m.SentAt) > in.MaxAge:
		return set(StateHeld, ReasonTooOld)
	}
	if why := agent.Filter.refuses(&m, in.patterns.of(m.Account, agent.Filter.IgnorePatterns)); why != "" {
		return set(StateIgnored, why)
	}
	a.MaxPerHour = agent.Filter.MaxPerHour
	return a
}

// arm puts a message that still waits in its window. A window that can't be
// reached is the sweeper's: the message is safe.
func (in *Inbox) arm(ctx context.Context, a *Arrived, agent *Agent, deferred bool) Outcome {
	switch {
	case a.Message.State == StateWaiting && agent != nil && !deferred:
		if err := in.Window.Add(ctx, &a.Message, agent.Window(&a.Window)); err != nil {
			in.Log.WarnContext(ctx, "message left to the sweeper", "message", a.Message.ID, "err", err)
			return OutcomeUnarmed
		}
		if a.New {
			return OutcomeStored
		}
		return OutcomeDuplicate
	case !a.New:
		return OutcomeDuplicate
	case a.Message.State == StateWaiting && agent != nil:
		return OutcomeStored
	case a.Message.State == StateHeld:
		return OutcomeHeld
	default:
		return OutcomeIgnored
	}
}

// clean makes a stranger's text safe to store: valid UTF-8 without the zero
// byte, which PostgreSQL's text type refuses.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}
