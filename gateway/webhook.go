package gateway

import (
	"encoding/json"
	"path"
	"slices"
	"time"
)

// A Webhook is an endpoint that is told of events and actions.
type Webhook struct {
	ID        int64
	Key       string // its id in the configuration file; empty if made over the API
	URL       string
	Secret    Secret // signs what is sent
	Active    bool
	Disabled  string   // why wagent turned it off; empty if it did not
	Events    []string // empty: all of them, unless Actions are named
	Actions   []string // patterns of action types such as support.*.*; empty: all, if it takes EventAction
	CreatedAt time.Time
}

// The events that webhooks are told of.
const (
	EventRunCompleted = "agent_run.completed"
	EventRunActioned  = "agent_run.actioned"
	EventRunFailed    = "agent_run.failed"
	EventAction       = "agent_action.dispatched" // one per action
	EventPaused       = "conversation.paused"
)

// Events lists every event that a webhook may name.
func Events() []string {
	return []string{EventRunCompleted, EventRunActioned, EventRunFailed, EventAction, EventPaused}
}

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
	Action       int // the action's index for EventAction, the pause's number for an EventPaused without a run, else -1; unique with Webhook, Event and Run
	Conversation ConversationID
	Body         json.RawMessage // what is signed and sent, byte for byte
	State        DeliveryState
	Attempt      int // raised at each claim: the fence of settling
	NextAt       time.Time
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
}
