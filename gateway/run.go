package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// A Run is one answer of an agent: to a batch of messages, or to the input of
// an API call.
type Run struct {
	ID              RunID
	Agent           AgentID // the agent that answers; empty until a batch is routed
	Account         AccountID
	Conversation    ConversationID // empty for API runs without a conversation_key
	ConversationKey string         // what an API run's metadata named; may be empty
	Peer            Address        // of the conversation; zero for API runs
	Trigger         Trigger
	Routed          string // why this agent answers, once that is decided: see package route; empty for API runs
	Status          RunStatus
	Generation      int64 // raised at each claim: the fence of whatever the claimer writes
	Attempt         int   // how often it was claimed, claims that were superseded aside
	Supersedes      int   // how often newer messages called it back before it finished
	LeaseUntil      time.Time
	Input           json.RawMessage // what the agent was given
	Metadata        json.RawMessage // the caller's; nil if none
	Output          *Output         // set when completed
	StopReason      StopReason      // set when completed or failed
	Error           string          // why it failed, in words that a client may see
	Notes           []string        // what was dropped or repaired on the way
	Model           string          // provider/model that answered
	InputTokens     int             // of all its claims that were superseded, too
	OutputTokens    int             // as well
	Latency         time.Duration   // of the model
	Duration        time.Duration   // of the whole run
	Actions         []Action        // parallel to Output.Actions
	Confirm         bool            // its agent's actions need confirmation; set when completed
	ActionsDecided  time.Time       // when the last action was decided; zero before
	CreatedAt       time.Time
	StartedAt       time.Time // zero while pending
	CompletedAt     time.Time // zero until completed or failed
}

// ContextKey is what a run's context is kept under: its conversation, or what its
// caller named. It is empty for a stateless run.
func (r *Run) ContextKey() string {
	switch {
	case r.Conversation != "":
		return string(r.Conversation)
	case r.ConversationKey != "":
		return "key:" + r.ConversationKey
	default:
		return ""
	}
}

// A Trigger says what started a run.
type Trigger string

// The triggers.
const (
	TriggerAPI     Trigger = "api"
	TriggerInbound Trigger = "auto_inbound"
)

// A RunStatus is how far a run is.
type RunStatus string

// The statuses.
const (
	RunPending   RunStatus = "pending"
	RunRunning   RunStatus = "running"
	RunCompleted RunStatus = "completed"
	RunFailed    RunStatus = "failed"
)

// A StopReason says why a run ended. The names are Letta's.
type StopReason string

// The stop reasons that a run of ours can end with.
const (
	StopEndTurn         StopReason = "end_turn"
	StopError           StopReason = "error"
	StopLLMError        StopReason = "llm_api_error"
	StopInvalidResponse StopReason = "invalid_llm_response"
	StopMaxTokens       StopReason = "max_tokens_exceeded"
	StopCancelled       StopReason = "cancelled"
	StopApproval        StopReason = "requires_approval"
	StopSpent           StopReason = "insufficient_credits" // a spend limit of the agent is reached
	StopTooLong         StopReason = "context_window_overflow_in_system_prompt"
)

// A RunFilter says which runs are listed.
type RunFilter struct {
	Agent    AgentID     // whose; empty: everybody's
	Accounts []AccountID // for which they were; nil: for any, or none
	Before   RunID       // only those that were made before this one of the agent's; empty: from the newest on
	Limit    int         // at most so many
}

// An Output is what an agent answered, after validation.
type Output struct {
	Intent          string         `json:"intent"`
	Confidence      float64        `json:"confidence"` // 0 to 1
	Actions         []OutputAction `json:"actions"`    // never nil
	Language        string         `json:"language"`   // ISO 639-1
	SuggestedReply  string         `json:"suggested_reply"`
	AnalysisSummary string         `json:"analysis_summary"`
	ContextSummary  string         `json:"context_summary"`
}

// An OutputAction is what an agent wants done.
type OutputAction struct {
	Type    string         `json:"type"`
	Payload map[string]any `json:"payload"`
}

// An Action is the record of an OutputAction.
type Action struct {
	Run       RunID
	Index     int // its place in Output.Actions
	Type      string
	Payload   map[string]any
	Status    ActionStatus
	DecidedAt time.Time // zero while pending
	DecidedBy string    // api, timeout, dashboard; empty while pending and in auto mode
	Request   string    // that decided, as Decision has it
	ExpiresAt time.Time // zero unless pending
	// Result is what came of it, as the endpoint says that it was delivered to; nil:
	// nobody said.
	Result     json.RawMessage
	AnsweredBy int64     // the webhook that said so; 0: none
	AnsweredAt time.Time // zero: nobody said
}

// An ActionStatus is what became of an action.
type ActionStatus string

// The statuses. An action of an agent without confirmation starts, and stays,
// as ActionAuto.
const (
	ActionAuto      ActionStatus = "auto"
	ActionPending   ActionStatus = "pending"
	ActionConfirmed ActionStatus = "confirmed"
	ActionRejected  ActionStatus = "rejected"
	ActionExpired   ActionStatus = "expired"
)

// A Send is a row of the outbox: a message of ours on its way to WhatsApp.
type Send struct {
	ID           MessageID // fixed when the row is made; what a resend is known by
	Account      AccountID
	Conversation ConversationID
	To           Address
	Origin       SendOrigin
	OriginID     string // of the run or call that wanted it: unique with Origin and Part
	Part         int
	Type         MessageType     // empty: TypeText
	Text         string          // of another type: its caption, if it has one
	Content      json.RawMessage // what is no text, by Type; nil for TypeText
	ReplyTo      string          // the WhatsApp id to quote; may be empty
	State        SendState
	Attempt      int       // raised at each claim: the fence of settling
	Unknowns     int       // how often an attempt ended unknown
	NextAt       time.Time // not claimed before
	Deadline     time.Time // of the claim in hand: never written to WhatsApp after it
	Answers      time.Time // when the message that it answers was received; may be zero
	ExternalID   string    // WhatsApp's id, once accepted
	Met          Address   // whom WhatsApp says that the attempt in hand reached; zero where it did not say; not kept
	Error        string    // why it was refused or cancelled
	CreatedAt    time.Time
}

// A SendOrigin says who wants a message sent.
type SendOrigin string

// The origins. Somebody's pause stops the replies of runs only.
const (
	FromRun      SendOrigin = "run"      // an agent's reply
	FromHandover SendOrigin = "handover" // an agent's last words before the pause that it asked for itself
	FromAPI      SendOrigin = "api"      // a person's words, over the API
)

// ActionReplyID is the OriginID of what an endpoint has said to the customer in answer to
// an action of a run, which is of origin FromRun: the same rules hold for it.
func ActionReplyID(run RunID, index int) string { return fmt.Sprintf("%s/%d", run, index) }

// OfAction reports whether the send is an endpoint's answer to an action.
func (s *Send) OfAction() bool { return s.Origin == FromRun && strings.Contains(s.OriginID, "/") }

// A SendState is how far a Send is.
type SendState string

// The states.
const (
	SendReady     SendState = "ready"
	SendClaimed   SendState = "claimed"
	SendAccepted  SendState = "accepted"  // WhatsApp took it
	SendUnknown   SendState = "unknown"   // it may have been taken
	SendRefused   SendState = "refused"   // WhatsApp, or a rule, did not take it
	SendCancelled SendState = "cancelled" // a pause came first
)

// A Claim is a run in hand: the fenced right to answer a conversation's batch.
type Claim struct {
	Run          Run
	Conversation Conversation
	Messages     []Message // the batch, in order of arrival; never empty
}

// A Finish is everything that one transaction writes when a run ends. It holds
// only if the run is still running under Run.Generation and, for a run of a
// conversation, the conversation is not paused.
type Finish struct {
	Run        Run    // with its final status, output, actions and times
	Sends      []Send // the reply, in parts where it is long; nil: nothing is said
	Deliveries []Delivery
	Pause      *Pause          // nil: none is wanted
	Memory     *string         // what the agent keeps of the contact from now on; nil: what it kept
	MemoryAt   time.Time       // ContactMemory.UpdatedAt of what the run read: Memory is written over nothing newer
	Summary    *ContextSummary // what the run read of older turns, to live on, if it still does; nil: nothing
}

// A Decision is what somebody says of one pending action.
type Decision struct {
	Index  int
	Status ActionStatus // ActionConfirmed, ActionRejected or ActionExpired
	// Request is the same at each try at one request to decide, and empty where
	// it has no such name: it tells who decides again what it decided before.
	Request string
}

// Decided is what a decision changes, in one transaction.
type Decided struct {
	Actions    []Action  // those that changed
	At         time.Time // set when no action of the run is pending any more
	Deliveries []Delivery
}

// An APIKey opens the API. The key itself is never kept: only its hash.
type APIKey struct {
	ID         string   // key_…; empty if it stands in the configuration file
	Name       string   // unique
	Hash       [32]byte // SHA-256 of the key
	Declared   bool     // it stands in the configuration file
	Scope      KeyScope
	Test       bool        // it reaches sandbox accounts only
	Accounts   []AccountID // that it reaches; empty: all. What is bound to no account is then out of its reach
	PerMinute  int         // requests; 0: as many as the server lets any key make
	CreatedAt  time.Time
	LastUsedAt time.Time // to the minute; zero: never
	RevokedAt  time.Time // zero: it is good
}

// A KeyScope says what a key may do. Each includes the one before it.
type KeyScope string

// The scopes.
const (
	ScopeRead  KeyScope = "read"
	ScopeWrite KeyScope = "write"
	ScopeAdmin KeyScope = "admin" // accounts, webhooks and what they hold of secrets
)
