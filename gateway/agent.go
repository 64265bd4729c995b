package gateway

import (
	"fmt"
	"regexp"
	"strings"
	"time"
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

// Validate returns nil, or an Error of kind Invalid whose Details name each
// field that is out of range, by the names of the agents API.
func (a *Agent) Validate() error {
	d := details{}
	d.add("name", strings.TrimSpace(a.Name) == "", "can't be blank")
	d.add("system_prompt", strings.TrimSpace(a.SystemPrompt) == "", "can't be blank")
	d.add("model", strings.TrimSpace(a.Model) == "", "can't be blank")
	d.add("model", len(a.Model) > maxModel, fmt.Sprintf("must be at most %d characters", maxModel))
	d.add("temperature", !(a.Temperature >= 0 && a.Temperature <= 2), "must be between 0 and 2")
	d.add("max_tokens", a.MaxTokens < 1 || a.MaxTokens > 2048, "must be between 1 and 2048")
	a.validateWindow(d)
	d.add("context_ttl_minutes", a.ContextTTL < 0 || a.ContextTTL > 24*time.Hour, "must be between 0 and 1440")
	d.add("confirmation_timeout_minutes", a.ConfirmationTimeout < time.Minute || a.ConfirmationTimeout > 24*time.Hour, "must be between 1 and 1440")
	d.add("allowed_actions", len(a.AllowedActions) > 10, "must have at most 10 entries")
	for _, t := range a.AllowedActions {
		d.add("allowed_actions", !actionType.MatchString(t), fmt.Sprintf("%q must be domain.resource.action in snake_case", t))
	}
	a.validateModels(d)
	a.validateLimits(d)
	a.validateMemory(d)
	a.validatePayload(d)
	a.Route.validate(d)
	a.Filter.validate(d)
	return d.err()
}

func (a *Agent) validatePayload(d details) {
	d.add("payload_schema", len(a.PayloadSchema) > 10, "must have at most 10 fields")
	seen := map[string]bool{}
	for _, f := range a.PayloadSchema {
		d.add("payload_schema", !fieldName.MatchString(f.Name), fmt.Sprintf("name %q must be in snake_case", f.Name))
		d.add("payload_schema", seen[f.Name], fmt.Sprintf("name %q stands there twice", f.Name))
		seen[f.Name] = true
		switch f.Type {
		case FieldText, FieldNumber, FieldBoolean, FieldDate, FieldTime, FieldDateTime:
		default:
			d.add("payload_schema", true, fmt.Sprintf("field_type %q must be text, number, boolean, date, time or datetime", f.Type))
		}
	}
}

// details gathers what is wrong, by field.
type details map[string][]string

func (d details) add(field string, wrong bool, msg string) {
	if wrong {
		d[field] = append(d[field], msg)
	}
}

func (d details) err() error {
	if len(d) == 0 {
		return nil
	}
	return &Error{Kind: Invalid, Msg: "Validation failed", Details: d}
}
