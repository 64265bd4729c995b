// Package gateway is the vocabulary of wagent and the rules of its edges: the
// accounts, contacts, conversations, messages, agents, runs, actions and
// webhooks that every other package talks about, what comes in ([Inbox]) and
// what goes out ([Outbox]).
//
// It imports only the standard library. Its subpackages are named after what
// they wrap, none of them imports another, and package main joins them. State
// lives in SQL behind the small interfaces declared here, so a crash at any
// point loses nothing that was acknowledged.
//
// The package is over our budget of exported names because it is the one
// vocabulary that all the others share; splitting the nouns would only spread
// one sentence over several files.
package gateway

import (
	"log/slog"
	"time"
)

// An AccountKind says how an account reaches WhatsApp.
type AccountKind string

// The kinds of account.
const (
	CloudAPI     AccountKind = "cloud_api"     // through Meta's Cloud API
	LinkedDevice AccountKind = "linked_device" // as a device linked to a phone, like WhatsApp Web
	Sandbox      AccountKind = "sandbox"       // reaches no WhatsApp: for trying out and for tests
)

// An Account is one WhatsApp number of ours.
type Account struct {
	ID          AccountID
	Kind        AccountKind
	Name        string // shown to people; may be empty
	Business    string // whose number it is, shown to people; may be empty
	PhoneNumber string // E.164; may be empty
	Cloud       Cloud  // set when Kind is CloudAPI
	Linked      Linked // set when Kind is LinkedDevice
	// AllowFrom is whom agents answer, as E.164 numbers; empty: everybody. A
	// number also stands for the LID of its owner.
	AllowFrom []string
	Takeover  time.Duration // how long agents keep out after a person of ours wrote to a customer; 0: they do not
	// TimeZone is where the business is (IANA: Europe/Paris); empty: UTC.
	TimeZone  string
	Hours     Hours  // when it is open, in that zone
	Router    string // the handle of the model that is asked which of several agents answers what no rule decides; empty: none is
	Declared  bool   // it stands in the configuration file, and is read-only over the API
	CreatedAt time.Time
}

// Location returns the account's time zone, UTC where it has none that this
// machine knows.
func (a *Account) Location() *time.Location {
	if loc, err := time.LoadLocation(a.TimeZone); err == nil && a.TimeZone != "Local" {
		return loc
	}
	return time.UTC
}

// Cloud is what the Cloud API needs to know of an account.
type Cloud struct {
	PhoneNumberID string // Meta's id of the number: it names the account in webhooks and in URLs
	WABAID        string // the WhatsApp business account's id
	AccessToken   Secret // bearer token of the Graph API
	AppSecret     Secret // key of X-Hub-Signature-256
	VerifyToken   Secret // what Meta's verification GET must carry
	GraphURL      string // base URL with the version, without a trailing slash
}

// DefaultGraphURL is Meta's Graph API in the version that we are tested against.
const DefaultGraphURL = "https://graph.facebook.com/v23.0"

// An Address is what WhatsApp calls somebody. A person may be known by
// several of its forms; whichever are set mean the same contact.
type Address struct {
	Phone string // E.164 with its plus sign
	LID   string // WhatsApp's private id of them: digits, or Meta's business-scoped user id (US.134…)
	Group string // a group's id; then the others are empty
}

// Aliases returns the forms that are set, each with its scheme, most telling
// first. It is empty for the zero Address.
func (a Address) Aliases() []string {
	var out []string
	if a.Group != "" {
		out = append(out, "group:"+a.Group)
	}
	if a.Phone != "" {
		out = append(out, "phone:"+a.Phone)
	}
	if a.LID != "" {
		out = append(out, "lid:"+a.LID)
	}
	return out
}

// LogValue hides the address: logs never carry a whole phone number.
func (a Address) LogValue() slog.Value {
	switch {
	case a.Group != "":
		return slog.StringValue("group")
	case len(a.Phone) > 4:
		return slog.StringValue("…" + a.Phone[len(a.Phone)-2:])
	default:
		return slog.StringValue("contact")
	}
}

// A Contact is a person on WhatsApp, as one account knows them.
type Contact struct {
	ID      ContactID
	Account AccountID
	Address Address
	Name    string   // the profile name; may be empty
	Tags    []string // what people of the business filed it under; see CheckTags
}

// A Conversation is an account's exchange with one peer, a contact or a
// group. Nothing of one conversation is ever read in another.
type Conversation struct {
	ID            ConversationID
	Account       AccountID
	Peer          Address
	Name          string    // of the peer; may be empty
	LastInboundAt time.Time // opens the service window; zero if they never wrote
	Tags          []string  // of the peer, sorted; nil: none
	// Erased is up to which message, by seq, agents are shown nothing any more, since a
	// person had their context erased; of the agent "", every agent.
	Erased map[AgentID]int64
}

// ErasedFor returns the seq of the last message that an agent is shown no more; 0: it is
// shown all.
func (c *Conversation) ErasedFor(agent AgentID) int64 { return max(c.Erased[""], c.Erased[agent]) }

// ServiceWindow is how long after a customer's last message the Cloud API
// takes free-form messages to them (Cloud API error 131047 afterwards).
const ServiceWindow = 24 * time.Hour

// A Pause keeps agents out of a conversation while a person handles it.
type Pause struct {
	ID           int64
	Conversation ConversationID
	Reason       PauseReason
	ExpiresAt    time.Time
	ResumedAt    time.Time // zero unless a person ended it early
	CreatedAt    time.Time
}

// A PausedPeer is a Pause with whom the conversation is with.
type PausedPeer struct {
	Pause
	Peer    Address
	Account AccountID
}

// A PauseReason says who asked for a pause, or what did.
type PauseReason string

// The reasons of a pause.
const (
	PauseManual   PauseReason = "manual"            // a person, over the API
	PauseOutbound PauseReason = "outbound_detected" // a person wrote to the customer
	PauseAgent    PauseReason = "agent_proposed"    // the agent's system.conversation.pause
	PauseFailed   PauseReason = "run_failed"        // nobody: a run failed without an answer; it stops no sends
)

// A Secret is a string that does not print.
type Secret string

// String returns three asterisks, or nothing for the empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString is String: %#v does not print a secret either.
func (s Secret) GoString() string { return s.String() }

// LogValue keeps the secret out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText keeps the secret out of encodings; a store that must write it
// converts it to string first.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
