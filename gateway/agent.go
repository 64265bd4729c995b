package gateway

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// An Agent is what a business wrote to have its messages answered.
type Agent struct {
	ID                  AgentID
	Key                 string // its id in the configuration file; empty if made over the API
	Account             AccountID
	Name                string
	Description         string
	SystemPrompt        string
	Model               string   // provider/model; without a provider, openai
	Fallbacks           []string // models that are asked, in this order, where Model can not answer
	Settings            ModelSettings
	Temperature         float64
	MaxTokens           int
	Active              bool
	AutoRun             bool          // inbound messages start runs
	Quiet               time.Duration // silence that ends a batch
	MaxWait             time.Duration // longest wait after a batch's first message
	MaxBatch            int           // messages that end a batch at once
	OnNewMessage        NewMessagePolicy
	MaxSupersedes       int           // how often newer messages may supersede a run; what comes then waits for the next one
	ContextTTL          time.Duration // how long a run is remembered; zero: stateless
	AllowedActions      []string      // empty: any
	PayloadSchema       []Field       // empty: any payload
	Confirm             bool          // a person confirms actions before they are dispatched
	ConfirmationTimeout time.Duration // unconfirmed actions expire after it
	Filter              InboundFilter
	FallbackReply       string    // what the customer reads when a run failed; empty: nothing
	Route               RouteRule // what it answers where its account has several agents
	Spend               SpendLimits
	Compaction          Compaction
	Blocks              []Block // what it always knows; only people change them
	ContactMemory       int     // characters that it may keep of each contact for good; 0: it keeps nothing
	CreatedAt           time.Time
	UpdatedAt           time.Time
}

// A Field is one entry of an agent's payload schema.
type Field struct {
	Name     string
	Type     FieldType
	Required bool
}

// A FieldType is the type of a payload's field.
type FieldType string

// The field types; dates and times are RFC 3339.
const (
	FieldText     FieldType = "text"
	FieldNumber   FieldType = "number"
	FieldBoolean  FieldType = "boolean"
	FieldDate     FieldType = "date"
	FieldTime     FieldType = "time"
	FieldDateTime FieldType = "datetime"
)

// DefaultAgent returns an agent with every optional setting at its default.
// It lacks what has none: an id, a name and a system prompt.
func DefaultAgent() Agent {
	return Agent{
		Model:               "gpt-4o-mini",
		Temperature:         0.3,
		MaxTokens:           1024,
		Active:              true,
		Quiet:               10 * time.Second,
		MaxWait:             60 * time.Second,
		MaxBatch:            20,
		OnNewMessage:        FollowUp,
		MaxSupersedes:       3,
		ContextTTL:          60 * time.Minute,
		ConfirmationTimeout: 30 * time.Minute,
		Compaction:          Compaction{Mode: CompactionOff},
	}
}

// The system actions: always allowed, never sent to webhooks.
const (
	ActionSkip  = "system.noop.skip"          // no reply is wanted
	ActionPause = "system.conversation.pause" // a person should take over
)

var (
	actionType = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){2}$`)
	fieldName  = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

// maxModel is in bytes. A model's name is a label of metrics.
const maxModel = 200

// Validate is [AgentLimits.Validate] within the limits of the agents API.
func (a *Agent) Validate() error { return AgentLimits{}.Validate(a) }

// validateModel takes what can be a label of metrics and stand in a line of a log.
func validateModel(d details, m string) {
	d.add("model", strings.TrimSpace(m) == "", "can't be blank")
	d.add("model", len(m) > maxModel, fmt.Sprintf("must be at most %d characters", maxModel))
	d.add("model", strings.ContainsFunc(m, unicode.IsControl), "must be one line of text")
}

// details gathers what is wrong, by field.
type details map[string][]string

func (d details) add(field string, wrong bool, msg string) {
	if wrong {
		d[field] = append(d[field], msg)
	}
}

// first is of a list what its limit allows: to look at the rest would take time
// and make an answer of any length.
func first[T any](list []T, limit int) []T { return list[:min(len(list), limit)] }

func (d details) err() error {
	if len(d) == 0 {
		return nil
	}
	return &Error{Kind: Invalid, Msg: "Validation failed", Details: d}
}
