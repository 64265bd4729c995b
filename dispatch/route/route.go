// Package route says who is concerned: which agent answers an account's
// messages, and which webhooks are told of what a run did, in which words.
//
// Its functions keep nothing and do nothing; apart from the new ids of
// deliveries they are pure. A delivery's body is made here, once: it is stored
// with the run's end in one transaction, and every attempt signs and sends
// those bytes, after a crash too.
package route

import (
	"wagent/gateway"
)

// Pick returns the agent that answers inbound messages of the account: the
// oldest of those that are bound to it, active and run by themselves; of two
// made at the same time, the one with the lesser id. It reports false if there
// is none. An agent that is bound to no account answers nobody.
func Pick(agents []gateway.Agent, account gateway.AccountID) (gateway.Agent, bool) {
	var picked *gateway.Agent
	for i := range agents {
		a := &agents[i]
		if account == "" || a.Account != account || !a.Active || !a.AutoRun {
			continue
		}
		if picked == nil || older(a, picked) {
			picked = a
		}
	}
	if picked == nil {
		return gateway.Agent{}, false
	}
	return *picked, true
}

func older(a, b *gateway.Agent) bool {
	if a.CreatedAt.Equal(b.CreatedAt) {
		return a.ID < b.ID
	}
	return a.CreatedAt.Before(b.CreatedAt)
}
