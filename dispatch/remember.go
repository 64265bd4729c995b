package dispatch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"wagent/context/prompt"
	"wagent/context/recall"
	"wagent/context/transcript"
	"wagent/gateway"
)

// What an agent is shown from before the batch, if it is within the context's
// life: so many messages, and so many characters of them. Where older ones
// become a summary their tokens alone count, and a run sums up at most so many.
const (
	recentMessages = 30
	recentBudget   = 12_000
	compactedMost  = 300
)

// remember adds what is remembered of a run's context, if it has one.
func (d *Dispatcher) remember(ctx context.Context, c *gateway.Claim, a *gateway.Agent, x *recall.Overlong) error {
	key := c.Run.ContextKey()
	if key == "" || a.ContextTTL == 0 {
		return nil
	}
	m, err := d.Memory.Recall(ctx, a.ID, key, a.ContextTTL)
	if err != nil {
		return fmt.Errorf("recall context of run %s: %w", c.Run.ID, err)
	}
	x.Over = m == nil && c.Run.Attempt <= 1 && c.Run.Supersedes == 0
	if m != nil {
		x.Input.ContextSummary = m.Summary
		x.Input.LastAgentOutput = &prompt.LastOutput{Intent: m.Intent, Actions: m.Actions}
		if x.Input.ActionResults, err = d.results(ctx, a, key, m); err != nil {
			return fmt.Errorf("read what came of actions before run %s: %w", c.Run.ID, err)
		}
	}
	if len(c.Messages) == 0 {
		return nil
	}
	compacts := a.Compaction.Mode == gateway.CompactionSliding || a.Compaction.Mode == gateway.CompactionAll
	most := recentMessages
	if compacts {
		most = compactedMost + 1 // the first tells whether there are more
	}
	recent, err := d.Directory.Recent(ctx, c.Run.Conversation, c.Messages[0].Seq, most)
	if err != nil {
		return fmt.Errorf("list messages before run %s: %w", c.Run.ID, err)
	}
	erased := c.Conversation.ErasedFor(a.ID)
	recent = slices.DeleteFunc(recent, func(m gateway.Message) bool {
		late := !m.SentAt.IsZero() && m.ReceivedAt.Sub(m.SentAt) >= a.ContextTTL // as from a history sync: it is older than its place
		return late || m.Seq <= erased
	})
	recent = alive(recent, c.Run.StartedAt, a.ContextTTL, m != nil)
	if compacts {
		if len(recent) == most {
			x.Before, recent = recent[0].Seq, recent[1:]
		}
		x.Earlier = recent
	} else {
		x.Input.RecentMessages = prompt.Recents(transcript.Trim(transcript.FromMessages(recent), recentBudget))
	}
	return nil
}

// alive returns those of the messages, oldest first, that are part of a context which
// lives at a moment: what came within its life and, where it goes on, what came within
// the life of what is part of it.
func alive(ms []gateway.Message, at time.Time, life time.Duration, goesOn bool) []gateway.Message {
	for i, m := range slices.Backward(ms) {
		if !m.ReceivedAt.After(at.Add(-life)) {
			return ms[i+1:]
		}
		if goesOn {
			at = m.ReceivedAt
		}
	}
	return ms
}

// What an agent is told of what came of its actions: of so many, and so many bytes of
// each.
const (
	shownResults = 5
	shownResult  = 1000
)

// clockSkew is by how much the clock of who took an endpoint's answer may be behind.
const clockSkew = 2 * time.Second

// results are what endpoints said of an agent's actions in a context since its last run
// there was made, but for what that was told already.
func (d *Dispatcher) results(ctx context.Context, a *gateway.Agent, key string, last *recall.Memory) ([]prompt.ActionResult, error) {
	if d.Results == nil {
		return nil, nil
	}
	hooks, err := d.Directory.Webhooks(ctx)
	asked := func(h gateway.Webhook) bool {
		return len(h.Actions) > 0 || len(h.Events) == 0 || slices.Contains(h.Events, gateway.EventAction)
	}
	if err != nil || !slices.ContainsFunc(hooks, asked) {
		return nil, err
	}
	actions, err := d.Results(ctx, a.ID, key, time.Now().Add(-a.ContextTTL), last.Made.Add(-clockSkew), shownResults)
	if err != nil || len(actions) == 0 {
		return nil, err
	}
	var told prompt.Input
	_ = json.Unmarshal(last.Input, &told) // of a run of the API it is anything
	var out []prompt.ActionResult
	for i := range actions {
		x := &actions[i]
		r := prompt.ActionResult{Type: x.Type, Payload: x.Payload, Result: short(x.Result), At: x.AnsweredAt.UTC().Truncate(time.Second)}
		if !slices.ContainsFunc(told.ActionResults, func(o prompt.ActionResult) bool {
			return o.Type == r.Type && o.At.Equal(r.At) && bytes.Equal(o.Result, r.Result)
		}) {
			out = append(out, r)
		}
	}
	return out, nil
}

// short is a result, or its beginning as a text.
func short(result json.RawMessage) json.RawMessage {
	if len(result) <= shownResult {
		return result
	}
	b, err := json.Marshal(strings.ToValidUTF8(string(result[:shownResult]), "") + "…")
	if err != nil {
		return json.RawMessage(`"…"`) // a text always encodes
	}
	return b
}
