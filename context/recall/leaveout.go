package recall

import (
	"fmt"

	"wagent/context/budget"
	"wagent/context/prompt"
)

// cut stands where the head of a message was cut off.
const cut = "[…] "

// leastNewest is what stays of the newest message, in tokens, where the rest of
// the prompt leaves it nothing.
const leastNewest = 64

// leaveOut makes a prompt fit: what matters least goes first, the newest message
// never, nor what is kept of the contact: a model that does not read it would
// write over it. It returns what went. Every try is rendered anew, since the tag of the
// fences, which stands in every turn, changes with the texts.
func leaveOut(in *prompt.Input, limit int) (left []string) {
	fits := func() bool { return budget.Fits(in.Agent.Model, prompt.Render(*in), limit) }
	if n := leaveOutTurns(in, limit); n > 0 {
		left = append(left, fmt.Sprintf("older messages (%d)", n))
	}
	for _, part := range []struct {
		name   string
		leave  func()
		absent bool
	}{
		{"their summary", func() { in.EarlierSummary = "" }, in.EarlierSummary == ""},
		{"the last answer", func() { in.LastAgentOutput = nil }, in.LastAgentOutput == nil},
		{"the context summary", func() { in.ContextSummary = "" }, in.ContextSummary == ""},
	} {
		if part.absent || fits() {
			continue
		}
		part.leave()
		left = append(left, part.name)
	}
	batch := len(in.Messages)
	for len(in.Messages) > 1 && !fits() {
		in.Messages = in.Messages[1:]
	}
	if n := batch - len(in.Messages); n > 0 {
		left = append(left, fmt.Sprintf("messages of the batch (%d)", n))
	}
	if !fits() && cutNewest(in, limit) {
		left = append(left, "the beginning of the newest message")
	}
	return left
}

// leaveOutTurns drops recent turns, the oldest first, and returns how many.
func leaveOutTurns(in *prompt.Input, limit int) int {
	model, before := in.Agent.Model, len(in.RecentMessages)
	for len(in.RecentMessages) > 0 {
		p := prompt.Render(*in)
		over := budget.Prompt(model, p) - limit
		if over <= 0 {
			break
		}
		n := 0
		for n < len(in.RecentMessages) && over > 0 {
			over -= budget.Turns(model, p.Turns[n:n+1])
			n++
		}
		in.RecentMessages = in.RecentMessages[n:]
	}
	return before - len(in.RecentMessages)
}

// cutNewest cuts the head of the newest message, and reports whether it had to.
func cutNewest(in *prompt.Input, limit int) bool {
	model, text := in.Agent.Model, &in.LastMessage
	if len(in.Messages) > 0 {
		in.Messages = append([]prompt.Message(nil), in.Messages...) // the caller's stay as they are
		text = &in.Messages[0].Text
	}
	whole := *text
	for keep := budget.Count(model, whole); ; {
		over := budget.Prompt(model, prompt.Render(*in)) - limit
		if over <= 0 || keep <= leastNewest {
			return *text != whole
		}
		keep = max(keep-over-budget.Count(model, cut), leastNewest)
		if tail := budget.Tail(model, whole, keep); tail != whole {
			*text = cut + tail
		}
	}
}
