package gateway

import "time"

// A ContextSummary stands for the older turns of a conversation in what an
// agent reads. It lives as long as the agent's context of that conversation.
type ContextSummary struct {
	Agent        AgentID
	Conversation ConversationID
	Until        int64 // the seq of the last message that it covers
	Text         string
	ExpiresAt    time.Time
}

// A ContactMemory is what an agent keeps of a contact for good, beyond the life
// of its contexts. No other agent reads it, and of no other contact. An empty
// text is what was erased: its time stays, and is later with each change.
type ContactMemory struct {
	Agent     AgentID
	Contact   ContactID
	Text      string
	UpdatedAt time.Time
}
