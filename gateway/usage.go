package gateway

import "time"

// A UsageRow is what was done on one day for one account and, where runs are
// counted, one agent.
type UsageRow struct {
	Day          time.Time // the midnight in UTC that it began at
	Account      AccountID // empty: runs that are bound to none
	Agent        AgentID   // empty: messages are counted
	Received     int       // messages that customers wrote, edits and deletions among them
	Sent         int       // messages of ours that went through the outbox, those that failed too
	Runs         int       // that ended
	InputTokens  int       // that these runs read
	OutputTokens int       // that these runs wrote
}

// Traffic is what became of the messages of a while.
type Traffic struct {
	Messages int           // in both directions, without history and what people wrote on their phones
	Sent     int           // messages of ours that WhatsApp took
	Failed   int           // messages of ours that it did not, or that it could not deliver
	Latency  time.Duration // the mean from taken to delivered; 0: none was delivered
}
