package route

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"

	"wagent/gateway"
)

// Ended tells of a run that completed, in both modes of confirmation, or failed.
func Ended(hooks []gateway.Webhook, r *gateway.Run, now time.Time) []gateway.Delivery {
	if r.Status == gateway.RunFailed {
		return deliveries(hooks, gateway.EventRunFailed, r, now, failed{
			runHead: head(r), Metadata: metadata(r), From: digits(r.Peer), TriggeredBy: r.Trigger,
			usage: usageOf(r), Error: r.Error, ErrorMessage: r.Error, StopReason: r.StopReason,
		})
	}
	return deliveries(hooks, gateway.EventRunCompleted, r, now, completed{
		runHead: head(r), Metadata: metadata(r), From: digits(r.Peer), TriggeredBy: r.Trigger, Output: output(r),
		usage: usageOf(r), ActionStatuses: statuses(r),
	})
}

// Actioned tells of a run whose last pending action was decided.
func Actioned(hooks []gateway.Webhook, r *gateway.Run, now time.Time) []gateway.Delivery {
	return deliveries(hooks, gateway.EventRunActioned, r, now, actioned{
		runHead: head(r), Output: output(r), ActionStatuses: statuses(r), ActionsDecidedAt: stamp(r.ActionsDecided),
	})
}

// Actions dispatches actions of a run, each on its own: the caller passes
// those that were confirmed, or all of them where nobody has to. What is
// pending, rejected or expired is left out, and so are system actions, which
// no webhook ever sees.
func Actions(hooks []gateway.Webhook, r *gateway.Run, actions []gateway.Action, now time.Time) []gateway.Delivery {
	var out []gateway.Delivery
	for i := range actions {
		a := &actions[i]
		if !dispatchable(a) {
			continue
		}
		payload := a.Payload
		if payload == nil {
			payload = map[string]any{}
		}
		ds := told(hooks, gateway.EventAction, a.Type, r, now, dispatched{
			RunID: r.ID, AgentID: r.Agent.String(), Index: a.Index, Type: a.Type, Payload: payload,
			ConversationID: orNull(string(r.Conversation)), ConversationKey: orNull(conversationKey(r)),
			Contact: contactOf(r), ConfirmedBy: orNull(a.DecidedBy),
		})
		for j := range ds {
			ds[j].Action = a.Index
		}
		out = append(out, ds...)
	}
	return out
}

// Unrouted returns those actions that are dispatched to nobody, since no webhook
// wants them: of those that Actions was called with, what is not among its
// deliveries.
func Unrouted(actions []gateway.Action, ds []gateway.Delivery) []gateway.Action {
	var out []gateway.Action
	for _, a := range actions {
		to := func(d gateway.Delivery) bool { return d.Event == gateway.EventAction && d.Action == a.Index }
		if dispatchable(&a) && !slices.ContainsFunc(ds, to) {
			out = append(out, a)
		}
	}
	return out
}

// dispatchable reports whether an action is for webhooks, and now.
func dispatchable(a *gateway.Action) bool {
	system := a.Type == gateway.ActionSkip || a.Type == gateway.ActionPause
	return !system && (a.Status == gateway.ActionAuto || a.Status == gateway.ActionConfirmed)
}

// Paused tells that a conversation was paused, by a run or a person, or that a
// pause is over. The pause may have no id yet; the body then says null.
func Paused(hooks []gateway.Webhook, r *gateway.Run, p *gateway.Pause, now time.Time) []gateway.Delivery {
	data := paused{
		ConversationID: p.Conversation, ConversationKey: orNull(conversationKey(r)), RunID: orNull(string(r.ID)), AgentID: orNull(r.Agent.String()),
		PhoneNumber: orNull(r.Peer.Phone), Reason: p.Reason,
		ExpiresAt: stamp(p.ExpiresAt), ResumedAt: stamp(p.ResumedAt), CreatedAt: stamp(p.CreatedAt),
	}
	if p.ID != 0 {
		data.ID = &p.ID
	}
	event := gateway.EventResumed
	if p.ResumedAt.IsZero() && p.ExpiresAt.After(now) {
		event, data.RemainingMinutes = gateway.EventPaused, minutes(p.ExpiresAt.Sub(now))
	}
	return deliveries(hooks, event, r, now, data)
}

// A Teller tells of what no run did.
type Teller struct{}

// Template tells of a message template whose status is another.
func (Teller) Template(hooks []gateway.Webhook, t *gateway.Template, now time.Time) []gateway.Delivery {
	return deliveries(hooks, gateway.EventTemplateStatus, &gateway.Run{Account: t.Account}, now, template{
		ID: t.ID, Account: t.Account, ExternalID: orNull(t.ExternalID), Name: t.Name, Language: t.Language,
		Category: orNull(string(t.Category)), Status: t.Status, Reason: orNull(t.Reason), UpdatedAt: stamp(t.UpdatedAt),
	})
}

// Quota tells that an agent used most of its tokens of a day, or all: to each
// webhook once a day, if whoever stores the deliveries keeps each number once.
func (Teller) Quota(hooks []gateway.Webhook, e *gateway.QuotaEvent, now time.Time) []gateway.Delivery {
	ds := deliveries(hooks, e.Event(), &gateway.Run{Agent: e.Agent, Account: e.Account}, now, quota{
		Quota: "tokens_per_day", AgentID: e.Agent.String(), AgentName: e.Name, Account: orNull(string(e.Account)),
		Day: e.Day.Format(time.DateOnly), Used: e.Used, Limit: e.Limit, Percent: e.Used * 100 / e.Limit,
		ResetsAt: stamp(e.Day.AddDate(0, 0, 1)),
	})
	for i := range ds {
		ds[i].Action = e.Number()
	}
	return ds
}

// Webhook tells that wagent turned another webhook off. Of its URL only the host is
// told, since the rest may be a secret.
func (Teller) Webhook(hooks []gateway.Webhook, w *gateway.Webhook, now time.Time) []gateway.Delivery {
	host := ""
	if u, err := url.Parse(w.URL); err == nil {
		host = u.Host
	}
	return deliveries(hooks, gateway.EventWebhookDisabled, &gateway.Run{}, now, disabled{
		ID: w.ID, Host: host, Reason: w.Disabled, FailingSince: stamp(w.FailingSince), DisabledAt: stamp(now),
	})
}

// Test is what a person has sent to a webhook to see whether it arrives.
func Test(webhook int64, now time.Time) gateway.Delivery {
	return gateway.Delivery{
		ID: gateway.NewDeliveryID(), Webhook: webhook, Event: gateway.EventTest, Action: rand.Int(), // no run makes it one of a kind
		Body: encode(envelope{
			Event: gateway.EventTest, Timestamp: now.UTC().Format(layout),
			Data: tested{WebhookID: webhook, Message: "A person has this sent to see whether it arrives. Nothing happened."},
		}),
		State: gateway.DeliveryPending, NextAt: now, CreatedAt: now,
	}
}

// deliveries makes one delivery of an event for each webhook that wants it.
func deliveries(hooks []gateway.Webhook, event string, r *gateway.Run, now time.Time, data any) []gateway.Delivery {
	return told(hooks, event, "", r, now, data)
}

func told(hooks []gateway.Webhook, event, actionType string, r *gateway.Run, now time.Time, data any) []gateway.Delivery {
	var out []gateway.Delivery
	var body json.RawMessage
	for i := range hooks {
		if !hooks[i].Wants(event, actionType) || !hooks[i].Concerns(r.Agent, r.Account) {
			continue
		}
		if body == nil {
			body = encode(envelope{Event: event, Data: data, Timestamp: now.UTC().Format(layout)})
		}
		out = append(out, gateway.Delivery{
			ID: gateway.NewDeliveryID(), Webhook: hooks[i].ID, Event: event, Run: r.ID, Action: -1,
			Conversation: r.Conversation, Body: body,
			State: gateway.DeliveryPending, NextAt: now, CreatedAt: now,
		})
	}
	return out
}

// encode leaves <, > and & as they are: the reader is a program, and people
// compare bodies with what was said.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		// Payloads came from JSON and metadata is checked before it is put in.
		panic("route: encode event: " + err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// minutes rounds up what remains, of which the store keeps whole milliseconds.
func minutes(d time.Duration) int64 {
	return int64((d.Truncate(time.Millisecond) + time.Minute - 1) / time.Minute)
}
