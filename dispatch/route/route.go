// Package route says who is concerned: which agent answers an account's
// messages, and which webhooks are told of what a run did, in which words.
//
// Which agent answers is decided by rules ([Choose]); the model that may be
// asked where no rule decides is package router's. The functions keep nothing
// and do nothing; apart from the new ids of deliveries they are pure. A
// delivery's body is made here, once: it is stored with the run's end in one
// transaction, and every attempt signs and sends those bytes, after a crash
// too.
package route

import (
	"slices"
	"strings"

	"wagent/gateway"
)

// Why an agent answers: gateway.Run's Routed. A rule is told by what it names:
// keyword, language, tag, hours, or several of them such as "keyword+hours".
const (
	Default      = "default"       // nothing else decided
	ByRouter     = "router"        // the account's router model chose it
	RouterFailed = "router_failed" // the router model failed, or chose nobody that it may: the default agent answers

	sticky  = "sticky"   // it is in the middle of the dialogue
	standIn = "stand_in" // the default agent has reached a limit
)

var parts = [...]string{"keyword", "language", "tag", "hours"}

// Reasons returns all reasons for which an agent may answer.
func Reasons() []string {
	out := []string{Default, ByRouter, RouterFailed, standIn, sticky}
	for set := 1; set < 1<<len(parts); set++ {
		var named []string
		for i, p := range parts {
			if set&(1<<i) != 0 {
				named = append(named, p)
			}
		}
		out = append(out, strings.Join(named, "+"))
	}
	return out
}

// Candidates returns the agents that may answer inbound messages of the
// account, in the order given: those that are bound to it, active and run by
// themselves. An agent that is bound to no account answers nobody.
func Candidates(agents []gateway.Agent, account gateway.AccountID) []*gateway.Agent {
	var out []*gateway.Agent
	for i := range agents {
		if a := &agents[i]; account != "" && a.Account == account && a.Active && a.AutoRun {
			out = append(out, a)
		}
	}
	return out
}

// A Question is what Choose decides by.
type Question struct {
	Candidates []*gateway.Agent // oldest first; at least one
	Text       string           // what the customer wrote, all messages of the batch
	Language   string           // of the customer, ISO 639-1; empty: unknown
	Tags       []string         // of the contact
	Open       bool             // the account's business hours
	// Last is the agent of the last run that the conversation still remembers;
	// empty: it remembers none.
	Last gateway.AgentID
}

// A Choice is who answers.
type Choice struct {
	Agent  *gateway.Agent
	Reason string // one of Reasons
	// Among are those that a router may choose from instead, where Reason is
	// Default: all whose rules do not forbid it.
	Among []*gateway.Agent
}

// Replace has another agent stand in for the one that was chosen.
func (c *Choice) Replace(a *gateway.Agent) { c.Agent, c.Reason = a, standIn }

// Choose decides which agent answers: the first, by age, whose rule names
// something and matches; else the one that the conversation is in the middle of
// a dialogue with; else the default agent, which is the oldest without a rule
// or, if all have one, the oldest.
//
// A dialogue goes on without the keywords that began it, but not when it is
// clear that the rule does not hold any more: at another hour, without the tag,
// in another language.
func Choose(q *Question) Choice {
	text := normal(q.Text)
	for _, a := range q.Candidates {
		if !a.Route.IsZero() && matches(&a.Route, q, text) {
			return Choice{Agent: a, Reason: names(&a.Route)}
		}
	}
	c := Choice{Agent: q.Candidates[0], Reason: Default}
	for _, a := range q.Candidates {
		if forbids(&a.Route, q) {
			continue
		}
		if a.ID == q.Last {
			return Choice{Agent: a, Reason: sticky}
		}
		c.Among = append(c.Among, a)
	}
	for _, a := range q.Candidates {
		if a.Route.IsZero() {
			c.Agent = a
			break
		}
	}
	return c
}

func matches(r *gateway.RouteRule, q *Question, text words) bool {
	if forbids(r, q) || len(r.Languages) > 0 && q.Language == "" {
		return false
	}
	return len(r.Keywords) == 0 || slices.ContainsFunc(r.Keywords, text.contains)
}

// forbids reports whether a rule is known not to hold, whatever is said.
func forbids(r *gateway.RouteRule, q *Question) bool {
	switch {
	case r.Hours == gateway.HoursOpen && !q.Open, r.Hours == gateway.HoursClosed && q.Open:
		return true
	case len(r.Tags) > 0 && !slices.ContainsFunc(r.Tags, func(t string) bool { return slices.Contains(q.Tags, t) }):
		return true
	default:
		return len(r.Languages) > 0 && q.Language != "" && !slices.Contains(r.Languages, q.Language)
	}
}

// names says what a rule names.
func names(r *gateway.RouteRule) string {
	var named []string
	for i, has := range [...]bool{len(r.Keywords) > 0, len(r.Languages) > 0, len(r.Tags) > 0, r.Hours != ""} {
		if has {
			named = append(named, parts[i])
		}
	}
	return strings.Join(named, "+")
}
