package dispatch

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"wagent/dispatch/route"
	"wagent/gateway"
)

// maxText is the longest text message that WhatsApp takes, in characters
// (Cloud API reference, text object: body).
const maxText = 4096

// How long a conversation is a person's: one that an agent handed over, and one
// whose run failed without a word to the customer. What a provider's outage
// leaves behind is to be seen by somebody, and not to keep the agent out for a
// day.
const (
	handover       = 24 * time.Hour
	failedHandover = time.Hour
)

// conclude fills in what follows from f.Run's status and output: the actions'
// records, the reply, the pause and who is told. A run that failed says the
// agent's fallback, after which the agent goes on; without one, or where a spend
// limit is reached, the conversation is handed over.
func (d *Dispatcher) conclude(f *gateway.Finish, c *gateway.Claim, a *gateway.Agent, hooks []gateway.Webhook) {
	now := time.Now()
	r := &f.Run
	r.CompletedAt, r.Duration = now, now.Sub(r.StartedAt)
	if r.Status == gateway.RunFailed {
		f.Summary = nil
		f.Sends = reply(c, a.FallbackReply, gateway.FromRun, now)
		f.Deliveries = route.Ended(hooks, r, now)
		spent := r.StopReason == gateway.StopSpent // whatever is said, it is not said again and again
		if (len(f.Sends) == 0 || spent) && r.Conversation != "" {
			f.Pause = &gateway.Pause{Conversation: r.Conversation, Reason: gateway.PauseFailed, CreatedAt: now, ExpiresAt: now.Add(failedHandover)}
			f.Deliveries = append(f.Deliveries, route.Paused(hooks, r, f.Pause, now)...)
		}
		return
	}
	if f.Summary != nil {
		f.Summary.ExpiresAt = now.Add(a.ContextTTL)
	}
	skip, pause := false, false
	r.Actions = make([]gateway.Action, len(r.Output.Actions))
	for i, o := range r.Output.Actions {
		r.Actions[i] = record(r.ID, i, o, a, now)
		skip = skip || o.Type == gateway.ActionSkip
		pause = pause || o.Type == gateway.ActionPause
	}
	r.Confirm = a.Confirm
	if pending(r.Actions) {
		r.StopReason = gateway.StopApproval
	} else if a.Confirm && len(r.Actions) > 0 {
		r.ActionsDecided = now // system actions only: nothing is left to decide
	}
	origin := gateway.FromRun
	if pause && r.Conversation != "" {
		origin = gateway.FromHandover
		f.Pause = &gateway.Pause{Conversation: r.Conversation, Reason: gateway.PauseAgent, CreatedAt: now, ExpiresAt: now.Add(handover)}
	}
	if !skip {
		f.Sends = reply(c, r.Output.SuggestedReply, origin, now)
	}
	f.Deliveries = route.Ended(hooks, r, now)
	switch {
	case !a.Confirm:
		f.Deliveries = append(f.Deliveries, route.Actions(hooks, r, r.Actions, now)...)
		for _, x := range route.Unrouted(r.Actions, f.Deliveries) {
			r.Notes = append(r.Notes, fmt.Sprintf("action %d, %s, went nowhere: no webhook takes it", x.Index, x.Type))
		}
	case !r.ActionsDecided.IsZero():
		f.Deliveries = append(f.Deliveries, route.Actioned(hooks, r, now)...)
	}
	if f.Pause != nil {
		f.Deliveries = append(f.Deliveries, route.Paused(hooks, r, f.Pause, now)...)
	}
}

// record makes an action's record. The system's own actions take effect at
// once and need nobody's confirmation.
func record(id gateway.RunID, i int, o gateway.OutputAction, a *gateway.Agent, now time.Time) gateway.Action {
	out := gateway.Action{Run: id, Index: i, Type: o.Type, Payload: o.Payload, Status: gateway.ActionAuto}
	switch {
	case !a.Confirm:
	case o.Type == gateway.ActionSkip || o.Type == gateway.ActionPause:
		out.Status, out.DecidedAt, out.DecidedBy = gateway.ActionConfirmed, now, "system"
	default:
		out.Status, out.ExpiresAt = gateway.ActionPending, now.Add(a.ConfirmationTimeout)
	}
	return out
}

// reply makes the sends of a text to the run's conversation: none for a run of
// the API or an empty text, several for one that is too long for WhatsApp.
func reply(c *gateway.Claim, text string, origin gateway.SendOrigin, now time.Time) []gateway.Send {
	text = strings.TrimSpace(text)
	if c.Run.Conversation == "" || text == "" {
		return nil
	}
	var out []gateway.Send
	for part, t := range split(text, maxText) {
		out = append(out, gateway.Send{
			ID: gateway.NewMessageID(), Account: c.Run.Account, Conversation: c.Run.Conversation, To: c.Conversation.Peer,
			Origin: origin, OriginID: string(c.Run.ID), Part: part, Text: t, State: gateway.SendReady,
			NextAt: now, Answers: c.Messages[len(c.Messages)-1].ReceivedAt, CreatedAt: now,
		})
	}
	return out
}

// split cuts a text into parts of at most limit characters, at the end of a
// paragraph, line or word where there is one in the part's second half.
func split(text string, limit int) []string {
	var parts []string
	for utf8.RuneCountInString(text) > limit {
		end := 0
		for range limit {
			_, n := utf8.DecodeRuneInString(text[end:])
			end += n
		}
		for _, sep := range []string{"\n\n", "\n", " "} {
			if i := strings.LastIndex(text[:end], sep); i > end/2 {
				end = i
				break
			}
		}
		parts = append(parts, strings.TrimSpace(text[:end]))
		text = strings.TrimSpace(text[end:])
	}
	return append(parts, text)
}
