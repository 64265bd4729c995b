package recall

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"wagent/context/budget"
	"wagent/context/prompt"
	"wagent/context/transcript"
	"wagent/gateway"
)

// A Summarizer asks a model for a summary.
type Summarizer interface {
	// Summarize puts a prompt before the model of a handle, which answers in at
	// most so many tokens. What it cost counts beside an error, too.
	Summarize(ctx context.Context, model string, p prompt.Prompt, maxTokens int) (Summarized, error)
}

// Summarized is what a model answered, and what it cost.
type Summarized struct {
	Text         string
	InputTokens  int
	OutputTokens int
}

// Summaries keeps what a Compactor made, in SQL.
type Summaries interface {
	// Summary returns the one of an agent's conversation whose life is not over,
	// or an Error of kind NotFound.
	Summary(ctx context.Context, agent gateway.AgentID, conversation gateway.ConversationID) (gateway.ContextSummary, error)
	// PutSummary replaces it, unless what is kept covers more.
	PutSummary(ctx context.Context, s *gateway.ContextSummary) error
	// DropSummary forgets it. That there is none is no error.
	DropSummary(ctx context.Context, agent gateway.AgentID, conversation gateway.ConversationID) error
}

// A Compactor fits what an agent reads into its budget of tokens
// ([budget.Of]). The zero Compactor makes no summaries: what does not fit is
// left out. It is safe for concurrent use. For which conversations a model gave no
// summary is kept in memory for some minutes, so that not every run of theirs pays
// for that again; a restart forgets it.
type Compactor struct {
	Summaries  Summaries
	Summarizer Summarizer
	Log        *slog.Logger

	count func(model, text string, most int) int // nil: budget.UpTo

	mu     sync.Mutex
	failed map[attempt]time.Time // when a model gave no summary
}

// An attempt is whose summary a model did not give.
type attempt struct {
	agent        gateway.AgentID
	conversation gateway.ConversationID
}

// An Overlong is what is to be fitted.
type Overlong struct {
	Input        prompt.Input           // its Agent is set
	Conversation gateway.ConversationID // empty: no summary is made
	Earlier      []gateway.Message      // what was said before the batch, oldest first, to become Input.RecentMessages; empty: those stay
	Before       int64                  // seq of the last message that Earlier could not hold: a summary is due even if the rest fits; 0: it holds all
	Over         bool                   // the context that a kept summary may belong to has ended, and this run is at its first attempt, or an earlier one may have made it
}

// Fitted is what an agent reads, and what became of the rest.
type Fitted struct {
	Input        prompt.Input
	Summary      *gateway.ContextSummary // which Input shows, and whose life is to be renewed when the run completes; nil: none
	Notes        []string                // what was left out or cut, for the run's notes
	InputTokens  int                     // of summaries
	OutputTokens int
}

// What a summary may cost.
const (
	maxSummary = 1024             // tokens, of the largest budgets
	minSummary = 128              // tokens, of the smallest
	lowWater   = 0.7              // how full the room for turns is after older ones became a summary
	atMost     = 20 * time.Second // for a model to make one
	much       = 32_000           // tokens, which are read at once
	mostRounds = 4                // requests in a run to a model that reads less; the next run goes on

	afterFailure = 5 * time.Minute // in which a model that gave none is not asked again
)

// Fit returns what the agent is to read: Input with the earlier turns, if they
// fit; else with a summary of the older ones or of all, as the agent's
// Compaction says, or without them. A summary is kept, and serves until its turns
// and those that follow it do not fit again. A model that reads less than there is
// makes it in several steps. What comes after it is left out only where that did not
// suffice, which is noted; the next run then goes on from there.
//
// The batch's newest message is always there: if nothing else is left to leave
// out, it loses its head. Where the agent's own prompt, what is kept of the contact
// or the input of a run of the API leaves it no room, the budget is exceeded, which is
// noted.
//
// An error is SQL's, or the context's.
func (c *Compactor) Fit(ctx context.Context, x Overlong) (Fitted, error) {
	f := Fitted{Input: x.Input}
	a := x.Input.Agent
	compacts := c.Summarizer != nil && x.Conversation != "" && a.ContextTTL > 0 &&
		(a.Compaction.Mode == gateway.CompactionSliding || a.Compaction.Mode == gateway.CompactionAll)
	if compacts {
		if err := c.recall(ctx, &x, &f); err != nil {
			return f, err
		}
	}
	if len(x.Earlier) > 0 {
		f.Input.RecentMessages = prompt.Recents(transcript.FromMessages(x.Earlier))
	}
	limit := budget.Of(a)
	if x.Before != 0 {
		f.Notes = append(f.Notes, fmt.Sprintf("not read: what was said before the last %d messages and is in no summary", len(x.Earlier)))
	}
	fits, m, err := c.fits(ctx, &f.Input, limit)
	if err != nil {
		return f, fmt.Errorf("count what conversation %s holds: %w", x.Conversation, err)
	}
	if fits && x.Before == 0 {
		return f, nil
	}
	if m == nil {
		m = newMeter(&f.Input, c.count)
	}
	if compacts && len(x.Earlier) > 0 {
		if err := c.compact(ctx, &x, &f, m, limit); err != nil {
			return f, err
		}
	}
	left, least, err := m.leaveOut(ctx, &f.Input, limit)
	if err != nil {
		return f, fmt.Errorf("count what conversation %s holds: %w", x.Conversation, err)
	}
	if f.Input.EarlierSummary == "" {
		f.Summary = nil
	}
	if least {
		if n := m.prompt(prompt.Render(f.Input)); n > limit {
			f.Notes = append(f.Notes, fmt.Sprintf("the prompt has %d tokens and may have %d, but nothing else can be left out", n, limit))
		}
	}
	if len(left) > 0 {
		f.Notes = append(f.Notes, fmt.Sprintf("left out to fit into %d tokens: %s", limit, strings.Join(left, ", ")))
	}
	return f, nil
}

// recall puts the summary that is kept in place of the turns that it covers.
func (c *Compactor) recall(ctx context.Context, x *Overlong, f *Fitted) error {
	agent := x.Input.Agent.ID
	if x.Over {
		if err := c.Summaries.DropSummary(ctx, agent, x.Conversation); err != nil {
			return fmt.Errorf("drop summary of conversation %s: %w", x.Conversation, err)
		}
		return nil
	}
	s, err := c.Summaries.Summary(ctx, agent, x.Conversation)
	if gateway.KindOf(err) == gateway.NotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find summary of conversation %s: %w", x.Conversation, err)
	}
	f.Summary, f.Input.EarlierSummary = &s, s.Text
	for len(x.Earlier) > 0 && x.Earlier[0].Seq <= s.Until {
		x.Earlier = x.Earlier[1:]
	}
	if x.Before <= s.Until {
		x.Before = 0
	}
	return nil
}

// compact has older turns summarised, those that a summary kept covers included.
// Where that fails everything stays as it is.
func (c *Compactor) compact(ctx context.Context, x *Overlong, f *Fitted, m *meter, limit int) error {
	a, in := x.Input.Agent, &f.Input
	if c.failedLately(a.ID, x.Conversation) {
		f.Notes = append(f.Notes, fmt.Sprintf("no summary was made: the model gave none within the last %v", afterFailure))
		return nil
	}
	size := min(max(limit/8, minSummary), maxSummary)
	n := len(in.RecentMessages)
	if a.Compaction.Mode == gateway.CompactionSliding {
		n = m.older(in, limit, size)
		if x.Before != 0 {
			n = max(n, len(in.RecentMessages)*3/10)
		}
	}
	model := a.Compaction.Model
	if model == "" {
		model = a.Model
	}
	if model != m.model {
		other := *in
		other.Agent = &gateway.Agent{Model: model}
		m = newMeter(&other, c.count)
	}
	limited, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	text, done, rounds := in.EarlierSummary, 0, mostRounds
	if budget.Of(&gateway.Agent{Model: model}) > much {
		rounds = 1
	}
	for round := 0; round < rounds && done < n; round++ {
		p, k := m.summaryPrompt(text, in.RecentMessages[done:n], size)
		made, err := c.Summarizer.Summarize(limited, model, p, size)
		f.InputTokens += made.InputTokens
		f.OutputTokens += made.OutputTokens
		said := strings.TrimSpace(made.Text)
		if ctx.Err() != nil {
			return fmt.Errorf("summarise conversation %s: %w", x.Conversation, context.Cause(ctx))
		}
		if err != nil && done > 0 && limited.Err() != nil {
			break // the next run goes on
		}
		if err != nil || said == "" {
			c.fail(a.ID, x.Conversation)
			note := "no summary was made: the model gave none"
			if done > 0 {
				note = "not everything was summed up: the model gave no more"
			}
			f.Notes = append(f.Notes, note)
			c.Log.WarnContext(ctx, "conversation not summarised: older messages are left out", "conversation", x.Conversation, "agent", a.ID, "model", model, "err", err)
			break
		}
		text, done = budget.Tail(a.Model, said, size), done+k
		f.Summary = &gateway.ContextSummary{
			Agent: a.ID, Conversation: x.Conversation, Until: x.Earlier[done-1].Seq, Text: text, ExpiresAt: time.Now().Add(a.ContextTTL),
		}
		// At once, for the run may be superseded, or fail.
		if err := c.Summaries.PutSummary(ctx, f.Summary); err != nil {
			c.Log.WarnContext(ctx, "summary not kept: the next run makes it again", "conversation", x.Conversation, "err", err)
		}
	}
	in.EarlierSummary, in.RecentMessages = text, in.RecentMessages[done:]
	return nil
}

// failedLately reports whether a model gave no summary a few minutes ago.
func (c *Compactor) failedLately(agent gateway.AgentID, conversation gateway.ConversationID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.failed[attempt{agent, conversation}]
	return ok && time.Since(at) < afterFailure
}

func (c *Compactor) fail(agent gateway.AgentID, conversation gateway.ConversationID) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = map[attempt]time.Time{}
	}
	maps.DeleteFunc(c.failed, func(_ attempt, at time.Time) bool { return now.Sub(at) >= afterFailure })
	c.failed[attempt{agent, conversation}] = now
}

// older returns how many of the recent turns are to become a summary of so many
// tokens, so that it and the others come to the low-water mark of the room that
// the rest of the prompt leaves them: at least one, and all if there is no room.
func (m *meter) older(in *prompt.Input, limit, size int) int {
	bare := *in
	bare.RecentMessages, bare.EarlierSummary = nil, ""
	room := limit - m.base
	for _, p := range m.pieces(&bare) {
		if room > 0 {
			room -= p.frame + m.text(p.text, room)
		}
	}
	room = int(lowWater*float64(room)) - size
	n := len(in.RecentMessages)
	for n > 1 {
		p := m.recent(&in.RecentMessages[n-1])
		if room -= p.frame; room >= 0 {
			room -= m.text(p.text, room)
		}
		if room < 0 {
			break
		}
		n--
	}
	return n
}

// summaryPrompt returns what the summariser, which is the meter's model, reads: a
// summary of what came before, and as many of the turns, from the first, as it can,
// which it counts. Of a turn that is alone too much it reads the end.
func (m *meter) summaryPrompt(previous string, turns []prompt.Recent, size int) (prompt.Prompt, int) {
	reads := budget.Of(&gateway.Agent{Model: m.model, MaxTokens: size})
	words := size / 2 // a word is more than a token nearly everywhere
	whole := reads - m.prompt(prompt.Summary(previous, nil, words))
	room := whole
	var pieces []piece
	for len(pieces) < len(turns) {
		p := piece{recentTurn, turns[len(pieces)].Text, m.frame}
		if room -= p.frame; room >= 0 {
			room -= m.text(p.text, room)
		}
		if room < 0 {
			break
		}
		pieces = append(pieces, p)
	}
	for k := len(pieces); k > 0; k -= (k + 3) / 4 {
		p := prompt.Summary(previous, turns[:k], words)
		if k == len(pieces) && sure(pieces, room) || m.prompt(p) <= reads {
			return p, k
		}
	}
	end := turns[0]
	end.Text = cut + budget.Tail(m.model, end.Text, max(whole-m.frame-whole/64, leastNewest))
	return prompt.Summary(previous, []prompt.Recent{end}, words), 1
}
