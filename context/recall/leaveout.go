package recall

import (
	"context"
	"fmt"
	"strings"

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
// write over it. It returns what went, and whether nothing else may go, so that the
// prompt may still be too long. Its error is the context's.
func (m *meter) leaveOut(ctx context.Context, in *prompt.Input, limit int) (left []string, least bool, err error) {
	whole, pieces := *in, m.pieces(in)
	for target := limit; ; {
		n, spare, err := m.keep(ctx, pieces, target-m.base)
		if err != nil {
			return nil, false, err
		}
		*in = whole
		left = without(in, pieces[max(n, 1):])
		if len(in.Messages) < len(whole.Messages) {
			in.LastMessage = joined(in.Messages)
		}
		least = n == 0 && target-m.base <= leastNewest
		if n == 0 && m.cutNewest(in, target-m.base) {
			left = append(left, "the beginning of the newest message")
		}
		if least || n > 0 && sure(pieces[:n], max(spare, 0)) {
			return left, least, nil
		}
		over := m.prompt(prompt.Render(*in)) - limit
		if over <= 0 {
			return left, false, nil
		}
		target -= over
	}
}

// without leaves pieces out of an input and returns their names.
func without(in *prompt.Input, pieces []piece) (left []string) {
	var n [recentTurn + 1]int
	for i := range pieces {
		n[pieces[i].kind]++
	}
	if k := n[recentTurn]; k > 0 {
		in.RecentMessages = in.RecentMessages[k:]
		left = append(left, fmt.Sprintf("older messages (%d)", k))
	}
	if n[earlierSummary] > 0 {
		in.EarlierSummary = ""
		left = append(left, "their summary")
	}
	if k := n[actionResult]; k > 0 {
		in.ActionResults = in.ActionResults[k:]
		left = append(left, fmt.Sprintf("what came of actions (%d)", k))
	}
	if n[lastAnswer] > 0 {
		in.LastAgentOutput = nil
		left = append(left, "the last answer")
	}
	if n[contextSummary] > 0 {
		in.ContextSummary = ""
		left = append(left, "the context summary")
	}
	if k := n[batchMessage]; k > 0 {
		in.Messages = in.Messages[k:]
		left = append(left, fmt.Sprintf("messages of the batch (%d)", k))
	}
	return left
}

// cutNewest cuts the head of the only message so that it has at most so many
// tokens, and reports whether it had to.
func (m *meter) cutNewest(in *prompt.Input, tokens int) bool {
	text := &in.LastMessage
	if len(in.Messages) > 0 {
		in.Messages = append([]prompt.Message(nil), in.Messages...) // the caller's stay as they are
		text = &in.Messages[0].Text
	}
	tail := budget.Tail(m.model, *text, max(tokens-budget.Count(m.model, cut), leastNewest))
	if tail == *text {
		return false
	}
	*text = cut + tail
	if len(in.Messages) > 0 {
		in.LastMessage = *text
	}
	return true
}

// joined is what an input's LastMessage is of its Messages.
func joined(messages []prompt.Message) string {
	texts := make([]string, len(messages))
	for i := range messages {
		texts[i] = messages[i].Text
	}
	return strings.Join(texts, "\n")
}
