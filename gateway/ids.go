package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Ids are opaque but for AgentID: a prefix that names the noun, an underscore
// and 26 random characters.

// An AccountID names an account: acc_…, or what the configuration says.
type AccountID string

// A ContactID names a contact: ctc_….
type ContactID string

// A ConversationID names a conversation: cnv_….
type ConversationID string

// A MessageID names a message: msg_…. For a message of ours it is also the id of its row in the outbox.
type MessageID string

// WireID is the WhatsApp id under which a linked device sends the message. It
// is made of ours, so that every attempt has the same one, and has the form that
// WhatsApp Web gives its own (whatsmeow.Client.GenerateMessageID).
func (id MessageID) WireID() string {
	sum := sha256.Sum256([]byte("wagent " + id))
	return "3EB0" + strings.ToUpper(hex.EncodeToString(sum[:9]))
}

// A RunID names a run: run_….
type RunID string

// A DeliveryID names a delivery: del_…, which is also the webhook-id of Standard Webhooks.
type DeliveryID string

// NewAccountID returns an id that nobody else has.
func NewAccountID() AccountID { return AccountID(newID("acc")) }

// NewContactID returns an id that nobody else has.
func NewContactID() ContactID { return ContactID(newID("ctc")) }

// NewConversationID returns an id that nobody else has.
func NewConversationID() ConversationID { return ConversationID(newID("cnv")) }

// NewMessageID returns an id that nobody else has.
func NewMessageID() MessageID { return MessageID(newID("msg")) }

// NewRunID returns an id that nobody else has.
func NewRunID() RunID { return RunID(newID("run")) }

// RunIDOf returns the id of the run that a request makes, whichever try at it
// makes it; request is an [IdempotentRequest]'s ID.
func RunIDOf(request string) RunID { return RunID("run_" + request) }

// MessageIDOf is RunIDOf for a message of ours.
func MessageIDOf(request string) MessageID { return MessageID("msg_" + request) }

// AccountIDOf is RunIDOf for an account.
func AccountIDOf(request string) AccountID { return AccountID("acc_" + request) }

// NewDeliveryID returns an id that nobody else has.
func NewDeliveryID() DeliveryID { return DeliveryID(newID("del")) }

func newID(prefix string) string { return prefix + "_" + strings.ToLower(rand.Text()) }

// An AgentID is a UUIDv4 in its 36-character lower-case form. Both APIs show
// it in a form of their own, made from it and parsed here.
type AgentID string

// NewAgentID returns an id that nobody else has.
func NewAgentID() AgentID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand.Read)
	return agentIDFromBytes(b)
}

// AgentIDOf is RunIDOf for an agent.
func AgentIDOf(request string) AgentID {
	sum := sha256.Sum256([]byte("agent " + request))
	return agentIDFromBytes([16]byte(sum[:16]))
}

func agentIDFromBytes(b [16]byte) AgentID {
	b[6] = b[6]&0x0f | 0x40 // version 4 (RFC 9562, section 5.4)
	b[8] = b[8]&0x3f | 0x80 // variant
	return agentIDFromHex(hex.EncodeToString(b[:]))
}

// ParseAgentID reads an agent's id in any form that we show: agt_<32 hex>,
// agent-<uuid>, or the bare UUID. It reports false for anything else.
func ParseAgentID(s string) (AgentID, bool) {
	s, agt := strings.CutPrefix(s, "agt_")
	if !agt {
		s = strings.ReplaceAll(strings.TrimPrefix(s, "agent-"), "-", "")
	}
	if _, err := hex.DecodeString(s); err != nil || len(s) != 32 || s != strings.ToLower(s) {
		return "", false
	}
	return agentIDFromHex(s), true
}

func agentIDFromHex(h string) AgentID {
	return AgentID(strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-"))
}

// String returns the form of the agents API, agt_<32 hex>; empty for the zero
// id.
func (id AgentID) String() string {
	if id == "" {
		return ""
	}
	return "agt_" + strings.ReplaceAll(string(id), "-", "")
}
