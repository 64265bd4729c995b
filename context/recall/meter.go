package recall

import (
	"context"
	"encoding/json"
	"math"
	"slices"

	"wagent/context/budget"
	"wagent/context/prompt"
	"wagent/context/transcript"
)

// A meter counts the parts of a prompt for a model, each once, and none further
// than there is room for it: customers decide how much there is to count.
//
// Its sums are a little off: the tag of the fences, which stands in every part,
// is another in every prompt, and words may join where parts do. What comes close
// to the limit is counted once more as a whole.
type meter struct {
	model string
	count func(model, text string, most int) int // [budget.UpTo]
	known map[string]counted
	base  int // tokens of a prompt whose pieces are empty, with the newest message's frame
	frame int // of what stands around a text of the customer's
}

// counted is what is known of a text: its tokens or, where the count ended
// before, how many there are at least.
type counted struct {
	n     int
	whole bool
}

// A piece is a part of a prompt that may be left out.
type piece struct {
	kind  kind
	text  string
	frame int // tokens around it
}

// A kind says what a piece is. What matters most comes first.
type kind int

const (
	newestMessage kind = iota
	batchMessage
	contextSummary
	lastAnswer
	actionResult
	earlierSummary
	recentTurn
)

// newMeter returns the meter for an input, of which pieces may be left out.
func newMeter(in *prompt.Input, count func(model, text string, most int) int) *meter {
	if count == nil {
		count = budget.UpTo
	}
	m := &meter{model: in.Agent.Model, count: count, known: map[string]counted{}}
	hollow := *in
	hollow.Messages, hollow.LastMessage, hollow.RecentMessages = nil, "", nil
	hollow.EarlierSummary, hollow.ContextSummary, hollow.LastAgentOutput, hollow.ActionResults = "", "", nil, nil
	if len(in.Messages) > 0 {
		hollow.Messages = []prompt.Message{{At: in.Messages[0].At}}
		m.base = perPiece
	}
	m.base += m.prompt(prompt.Render(hollow))
	hollow.RecentMessages = []prompt.Recent{{Role: transcript.User, At: in.Now}}
	m.frame = m.turns(prompt.Render(hollow).Turns[:1])
	return m
}

// perPiece is for a title that is longer than a recent turn's.
const perPiece = 8

// prompt counts a whole prompt.
func (m *meter) prompt(p prompt.Prompt) int {
	return m.count(m.model, p.System, math.MaxInt) + budget.PerTurn + m.turns(p.Turns)
}

func (m *meter) turns(turns []transcript.Turn) (n int) {
	for i := range turns {
		n += m.count(m.model, turns[i].Text, math.MaxInt) + budget.PerTurn
	}
	return n
}

// text returns the tokens of a text, or more than most.
func (m *meter) text(text string, most int) int {
	k, ok := m.known[text]
	if !ok || !k.whole && k.n <= most {
		n := m.count(m.model, text, most)
		k = counted{n, n <= most}
		m.known[text] = k
	}
	return k.n
}

// pieces returns what may be left out of an input, the last one first. Only the
// first, the newest message, has to stay.
func (m *meter) pieces(in *prompt.Input) []piece {
	out := []piece{{newestMessage, in.LastMessage, 0}}
	for i, message := range slices.Backward(in.Messages) {
		if i == len(in.Messages)-1 {
			out[0].text = message.Text
			continue
		}
		out = append(out, piece{batchMessage, message.Text, m.frame + perPiece})
	}
	if in.ContextSummary != "" {
		out = append(out, piece{contextSummary, in.ContextSummary, m.frame + perPiece})
	}
	if in.LastAgentOutput != nil {
		out = append(out, piece{lastAnswer, encoded(in.LastAgentOutput), m.frame + perPiece})
	}
	for _, r := range slices.Backward(in.ActionResults) {
		out = append(out, piece{actionResult, encoded(r), m.frame + perPiece})
	}
	if in.EarlierSummary != "" {
		out = append(out, piece{earlierSummary, in.EarlierSummary, m.frame + perPiece})
	}
	for i := len(in.RecentMessages) - 1; i >= 0; i-- {
		out = append(out, m.recent(&in.RecentMessages[i]))
	}
	return out
}

// encoded is a piece that stands in the prompt as JSON.
func encoded(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "null" // a payload that came from JSON always encodes
	}
	return string(text)
}

func (m *meter) recent(r *prompt.Recent) piece {
	frame := m.frame
	if r.Role == transcript.Assistant {
		frame = budget.PerTurn
	}
	return piece{recentTurn, r.Text, frame}
}

// keep returns how many of the pieces, from the first, have room, and what they
// leave of it; less than nothing, if not all have.
func (m *meter) keep(ctx context.Context, pieces []piece, room int) (n, left int, err error) {
	for i := range pieces {
		if err := ctx.Err(); err != nil {
			return 0, 0, context.Cause(ctx)
		}
		if room -= pieces[i].frame; room >= 0 {
			room -= m.text(pieces[i].text, room)
		}
		if room < 0 {
			return i, room, nil
		}
	}
	return len(pieces), room, nil
}

// sure reports whether what is left is more than the sum of pieces can be off:
// by a tag in each frame and, since long texts are counted in parts, by a token in
// each part.
func sure(pieces []piece, left int) bool {
	for i := range pieces {
		left -= 2*perPiece + len(pieces[i].text)/256
	}
	return left >= 0
}

// fits reports whether an input has at most so many tokens. It counts only where
// its bytes do not tell: most prompts are far smaller than what a model reads.
func (c *Compactor) fits(ctx context.Context, in *prompt.Input, limit int) (bool, *meter, error) {
	p := prompt.Render(*in)
	if size(p) <= limit {
		return true, nil, nil
	}
	m := newMeter(in, c.count)
	pieces := m.pieces(in)
	n, left, err := m.keep(ctx, pieces, limit-m.base)
	if err != nil || n < len(pieces) {
		return false, m, err
	}
	return sure(pieces, left) || m.prompt(p) <= limit, m, nil
}

func size(p prompt.Prompt) int {
	n := len(p.System) + budget.PerTurn
	for i := range p.Turns {
		n += len(p.Turns[i].Text) + budget.PerTurn
	}
	return n
}
