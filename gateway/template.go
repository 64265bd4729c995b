package gateway

import (
	"encoding/json"
	"time"
)

// A TemplateID names a message template: tpl_….
type TemplateID string

// NewTemplateID returns an id that nobody else has.
func NewTemplateID() TemplateID { return TemplateID(newID("tpl")) }

// A Template is a message template of an account's: words that Meta approved,
// which may be sent outside of the service window. What we keep is what Meta
// last said of it. Numbers of one WhatsApp business account share its
// templates, and each account of ours has its own record of them.
type Template struct {
	ID         TemplateID
	Account    AccountID
	ExternalID string // Meta's id of it
	Name       string // unique for the account, with Language
	Language   string // as Meta writes it: en, pt_BR
	Category   TemplateCategory
	Status     TemplateStatus
	Components json.RawMessage // a list, as Meta has it; nil where only its status is known
	Reason     string          // why it was rejected or paused, as Meta says it; may be empty
	CreatedAt  time.Time       // when we first knew of it
	UpdatedAt  time.Time       // when what we know of it changed last
	SyncedAt   time.Time       // when we last read or made it at Meta; zero: never
}

// A TemplateCategory is what a template is for, and what Meta charges for it.
type TemplateCategory string

// The categories, as Meta writes them.
const (
	TemplateMarketing      TemplateCategory = "MARKETING"
	TemplateUtility        TemplateCategory = "UTILITY"
	TemplateAuthentication TemplateCategory = "AUTHENTICATION"
)

// A TemplateStatus says whether a template may be sent. The names are those
// of the agents API.
type TemplateStatus string

// The statuses. Only an approved template can be sent, and one that is deleted
// is not kept.
const (
	TemplatePending  TemplateStatus = "pending"
	TemplateApproved TemplateStatus = "approved"
	TemplateRejected TemplateStatus = "rejected"
	TemplatePaused   TemplateStatus = "paused"
	TemplateDisabled TemplateStatus = "disabled"
	TemplateDeleted  TemplateStatus = "deleted"
)

// A TemplateFilter says which templates are wanted; what is empty is any.
type TemplateFilter struct {
	Status   TemplateStatus
	Category TemplateCategory
}

// A TemplateUpdate is what Meta tells of a template's status.
type TemplateUpdate struct {
	Account    AccountID
	ExternalID string
	Name       string
	Language   string
	Category   TemplateCategory // may be empty
	Status     TemplateStatus
	Reason     string
	At         time.Time // Meta's clock; zero: not said
}
