package gateway

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"time"
)

// A Webhook is an endpoint that is told of events and actions.
type Webhook struct {
	ID     int64
	Key    string // its id in the configuration file; empty if made over the API
	URL    string
	Secret Secret // signs what is sent
	// PreviousSecret signs beside Secret until PreviousUntil: receivers may still
	// have it. Empty and zero if Secret was never changed.
	PreviousSecret Secret
	PreviousUntil  time.Time
	// SecretRequest is the ID of the IdempotentRequest that gave it its Secret, so
	// that a repetition finds it; empty if none did.
	SecretRequest string
	Active        bool
	Disabled      string      // why wagent turned it off; empty if it did not
	Paused        bool        // a person stopped it: what is to be delivered waits
	Events        []string    // empty: all of them, unless Actions are named
	Actions       []string    // patterns of action types such as support.*.*; empty: all, if it takes EventAction
	Agents        []AgentID   // whose runs it is told of; empty: of all, and of what is no agent's. In what is to be declared, Keys of agents may stand there
	Accounts      []AccountID // whose events it is told of; empty: of all, and of what is no account's
	// Headers are sent with each attempt beside those that sign it.
	Headers     map[string]Secret
	Ordered     bool // of a conversation, nothing before what came earlier has succeeded or was given up
	Concurrency int  // attempts at once, at most; 0: the default
	PerMinute   int  // attempts, at most; 0: any number
	// FailingSince is when the first attempt failed since one succeeded; zero: the
	// last one succeeded, or there was none.
	FailingSince time.Time
	RestsUntil   time.Time // no attempt is made before, since too many failed; zero: none failed so
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Lanes is how many parts the webhooks are in, of which each process that delivers
// has its share: the lane of a webhook is its ID modulo Lanes.
const Lanes = 16

// A LaneHold is what a process has of the lanes.
type LaneHold struct {
	Kept  []int64 // that it had before, and nobody else meanwhile
	Taken []int64 // that others had, or nobody
	Share int     // how many it is to have
}

// Lane is the webhook's.
func (w *Webhook) Lane() int64 { return w.ID % Lanes }

// The events that webhooks are told of. All but EventAction are those of the
// agents API.
const (
	EventMessageReceived     = "message.received"
	EventMessageStatus       = "message.status" // a message of ours was sent, delivered or read
	EventMessageFailed       = "message.failed" // a message of ours never reaches the customer
	EventSessionConnected    = "session.connected"
	EventSessionDisconnected = "session.disconnected"
	EventSessionFailed       = "session.failed" // WhatsApp does not let it connect
	EventRunCompleted        = "agent_run.completed"
	EventRunActioned         = "agent_run.actioned"
	EventRunFailed           = "agent_run.failed"
	EventQuotaWarning        = "quota.warning"  // an agent used most of its tokens of the day
	EventQuotaExceeded       = "quota.exceeded" // it used them all, and stops
	EventPaused              = "conversation.paused"
	EventResumed             = "conversation.resumed"
	EventTemplateStatus      = "template.status"
	EventWebhookDisabled     = "webhook.disabled"        // wagent turned another webhook off; ours
	EventAction              = "agent_action.dispatched" // one per action; ours
)

// EventTest is what a person has sent to one webhook to see whether it arrives. None
// can ask for it.
const EventTest = "webhook.test"

// Events lists every event that a webhook may name.
func Events() []string {
	return []string{
		EventMessageReceived, EventMessageStatus, EventMessageFailed,
		EventSessionConnected, EventSessionDisconnected, EventSessionFailed,
		EventRunCompleted, EventRunActioned, EventRunFailed, EventQuotaWarning, EventQuotaExceeded,
		EventPaused, EventResumed, EventTemplateStatus, EventWebhookDisabled, EventAction,
	}
}

// MaxActionPatterns is how many action patterns a webhook may have.
const MaxActionPatterns = 50

// actionPattern is three segments in which * stands for anything.
var actionPattern = regexp.MustCompile(`^[a-z0-9_*]{1,64}(\.[a-z0-9_*]{1,64}){2}$`)

// ValidActionPattern reports whether MatchAction can match an action type with
// the pattern: three segments such as support.*.*.
func ValidActionPattern(pattern string) bool { return actionPattern.MatchString(pattern) }

// Wants reports whether the webhook takes the event. actionType is that of an
// EventAction and empty for others.
//
// Naming action patterns subscribes to the actions that match them. With
// neither events nor patterns named, a webhook takes everything.
func (w *Webhook) Wants(event, actionType string) bool {
	if !w.Active || w.Disabled != "" {
		return false
	}
	named := slices.Contains(w.Events, event)
	if event != EventAction {
		return named || len(w.Events) == 0 && len(w.Actions) == 0
	}
	if len(w.Actions) == 0 {
		return named || len(w.Events) == 0
	}
	return slices.ContainsFunc(w.Actions, func(pattern string) bool { return MatchAction(pattern, actionType) })
}

// Concerns reports whether the webhook is told of an agent's events, or of none's,
// on an account, or on none.
func (w *Webhook) Concerns(agent AgentID, account AccountID) bool {
	return (len(w.Agents) == 0 || slices.Contains(w.Agents, agent)) && (len(w.Accounts) == 0 || slices.Contains(w.Accounts, account))
}

// MatchAction reports whether an action type matches a pattern, in which *
// stands for one segment or a part of one.
func MatchAction(pattern, actionType string) bool {
	slash := func(s string) string {
		b := []byte(s)
		for i := range b {
			if b[i] == '.' {
				b[i] = '/'
			}
		}
		return string(b)
	}
	ok, err := path.Match(slash(pattern), slash(actionType))
	return ok && err == nil
}

// A Delivery is one event on its way to one webhook.
type Delivery struct {
	ID           DeliveryID // stable over all attempts
	Webhook      int64
	Event        string
	Run          RunID
	Action       int // what tells it from others of its Webhook, Event and Run: the action's index for EventAction, -1 for other events of a run, and without a run the number of what it tells of
	Conversation ConversationID
	Body         json.RawMessage // what is signed and sent, byte for byte
	State        DeliveryState
	Attempt      int       // how many attempts were made
	Replayed     int       // how many there were when a person replayed it last
	NextAt       time.Time // when it is, or was, due
	CreatedAt    time.Time
}

// A DeliveryState is how far a delivery is.
type DeliveryState string

// The states.
const (
	DeliveryPending   DeliveryState = "pending"
	DeliverySucceeded DeliveryState = "succeeded"
	DeliveryDead      DeliveryState = "dead" // given up: a person can replay it
)

// An Attempt is one try to deliver.
type Attempt struct {
	Delivery   DeliveryID
	Number     int // from 1
	At         time.Time
	Latency    time.Duration
	StatusCode int    // 0 if there was no answer
	Error      string // why there was none, by phase; empty otherwise
	Answer     string // the first KiB of the body
	Phases     Phases
	Headers    map[string]string // of the answer, without what may be secret
}

// Phases are how long an attempt was in each of its phases; zero where it did not
// get there, as dns, connect and tls on a connection that was used before.
type Phases struct {
	DNS       time.Duration `json:"dns,omitempty"` // nanoseconds, as all of them
	Connect   time.Duration `json:"connect,omitempty"`
	TLS       time.Duration `json:"tls,omitempty"`
	FirstByte time.Duration `json:"first_byte,omitempty"` // the request is written, its answer waited for
	Body      time.Duration `json:"body,omitempty"`
}

// A DeliveryAsk asks for what is due to a webhook.
type DeliveryAsk struct {
	Webhook int64
	Ordered bool // only what comes first in its conversation
	Limit   int
}

// A Settlement is an attempt that was made, and what became of its delivery:
// State, NextAt if it is pending still, and Attempt, which is the attempt's number.
type Settlement struct {
	Delivery Delivery
	Attempt  Attempt
	Ordered  bool // what comes after it in its conversation waits for it
}

// A DeliveryFilter says which deliveries of a webhook are listed.
type DeliveryFilter struct {
	Webhook int64
	State   DeliveryState // empty: in any
	Event   string        // empty: of any
	Run     RunID         // empty: of any, or none
	Since   time.Time     // made no earlier; zero: whenever
	Before  DeliveryID    // only those that were made before this one; empty: from the newest on
	Limit   int           // at most so many
}

// A ListedDelivery is a delivery, without its body, and its last attempt, whose
// Number is 0 if there was none.
type ListedDelivery struct {
	Delivery
	Last Attempt
}

// MaxActionResult is how long the result of an action may be, in bytes of JSON.
const MaxActionResult = 4 << 10

// An ActionAnswer is what an endpoint answered to an action that was delivered to it.
type ActionAnswer struct {
	Run     RunID
	Index   int
	Webhook int64
	Result  json.RawMessage // what came of the action, for the agent to know; nil: it does not say
	Reply   string          // for the customer to read; empty: nothing
	Again   bool            // a person had it delivered again: its result counts over an earlier one of the webhook's
}

// A WebhookHealth is how a webhook fares, as Webhook has it.
type WebhookHealth struct {
	Webhook      int64
	FailingSince time.Time
	RestsUntil   time.Time
}

// A MessageEvent is what webhooks are told of a message: that a customer wrote
// it, or how far one of ours got, which is its Status.
type MessageEvent struct {
	Message Message
	Peer    Address     // who wrote it, or whom it is to, outside groups
	Group   string      // the group that it was written in or to; empty: none
	Name    string      // of the peer; may be empty
	Kind    AccountKind // of its account
	Reason  string      // why it failed; empty otherwise
	At      time.Time   // when it was written, or got as far
}

// Event is the event that it is.
func (e *MessageEvent) Event() string {
	switch {
	case e.Message.Direction == In:
		return EventMessageReceived
	case e.Message.Status == StatusFailed:
		return EventMessageFailed
	default:
		return EventMessageStatus
	}
}

// A LinkEvent is what webhooks are told of a linked device: that its connection
// came, went or is refused.
type LinkEvent struct {
	Link Link
	Told LinkState // that they were told of last; empty: of none
	Name string    // of the account; may be empty
}

// Event is the event that it is; empty if there is nothing to tell.
func (e *LinkEvent) Event() string {
	switch e.Link.State {
	case e.Told:
	case LinkConnected:
		return EventSessionConnected
	case LinkDisconnected, LinkUnpaired:
		if e.Told == LinkConnected { // else it was away before
			return EventSessionDisconnected
		}
	case LinkLoggedOut, LinkBanned, LinkOutdated, LinkReplaced, LinkRefused:
		return EventSessionFailed
	case LinkConnecting:
	}
	return ""
}

// A QuotaEvent is what webhooks are told of an agent's tokens of a day.
type QuotaEvent struct {
	Agent   AgentID
	Name    string    // of the agent
	Account AccountID // that it answers for; may be empty
	Day     time.Time // when the day began, by the account's clock
	Used    int64     // tokens
	Limit   int64
}

// quotaWarning is of how many percent of a limit is warned.
const quotaWarning = 80

// Event is the event that it is; empty if there is nothing to tell.
func (e *QuotaEvent) Event() string {
	switch {
	case e.Used >= e.Limit:
		return EventQuotaExceeded
	case e.Used*100 >= e.Limit*quotaWarning:
		return EventQuotaWarning
	default:
		return ""
	}
}

// Number is the same whenever an agent's day is told of, and another one for
// another day or agent.
func (e *QuotaEvent) Number() int {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", e.Agent, e.Day.Unix()))
	return int(binary.BigEndian.Uint64(sum[:]) >> 1)
}
