package route

import (
	"bytes"
	"encoding/json"
	"time"

	"wagent/gateway"
)

// Completed tells of a run that completed, in both modes of confirmation.
func Completed(hooks []gateway.Webhook, r *gateway.Run, now time.Time) []gateway.Delivery {
	return deliveries(hooks, gateway.EventRunCompleted, r, now, completed{
		runHead: head(r), Metadata: metadata(r), From: digits(r.Peer), TriggeredBy: r.Trigger, Output: r.Output,
		usage: usageOf(r), ActionStatuses: statuses(r.Actions),
	})
}

// Failed tells of a run that failed.
func Failed(hooks []gateway.Webhook, r *gateway.Run, now time.Time) []gateway.Delivery {
	return deliveries(hooks, gateway.EventRunFailed, r, now, failed{
		runHead: head(r), Metadata: metadata(r), From: digits(r.Peer), TriggeredBy: r.Trigger,
		usage: usageOf(r), Error: r.Error, ErrorMessage: r.Error, StopReason: r.StopReason,
	})
}

// Actioned tells of a run whose last pending action was decided.
func Actioned(hooks []gateway.Webhook, r *gateway.Run, now time.Time) []gateway.Delivery {
	return deliveries(hooks, gateway.EventRunActioned, r, now, actioned{
		runHead: head(r), Output: r.Output, ActionStatuses: statuses(r.Actions), ActionsDecidedAt: stamp(r.ActionsDecided),
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
		system := a.Type == gateway.ActionSkip || a.Type == gateway.ActionPause
		if system || a.Status != gateway.ActionAuto && a.Status != gateway.ActionConfirmed {
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

// Paused tells that a run paused its conversation. The pause may have no id
// yet; the body then says null.
func Paused(hooks []gateway.Webhook, r *gateway.Run, p *gateway.Pause, now time.Time) []gateway.Delivery {
	data := paused{
		ConversationID: p.Conversation, ConversationKey: orNull(conversationKey(r)), RunID: orNull(string(r.ID)), AgentID: orNull(r.Agent.String()),
		PhoneNumber: orNull(r.Peer.Phone), Reason: p.Reason,
		ExpiresAt: stamp(p.ExpiresAt), ResumedAt: stamp(p.ResumedAt), CreatedAt: stamp(p.CreatedAt),
		RemainingMinutes: int64(max(0, p.ExpiresAt.Sub(now)+time.Minute-1) / time.Minute),
	}
	if p.ID != 0 {
		data.ID = &p.ID
	}
	return deliveries(hooks, gateway.EventPaused, r, now, data)
}

// TakenOver tells that a person paused a conversation, by asking for it or by
// writing to the customer.
func TakenOver(hooks []gateway.Webhook, p *gateway.PausedPeer, now time.Time) []gateway.Delivery {
	return Paused(hooks, &gateway.Run{Conversation: p.Conversation, Peer: p.Peer}, &p.Pause, now)
}

// deliveries makes one delivery of an event for each webhook that wants it.
func deliveries(hooks []gateway.Webhook, event string, r *gateway.Run, now time.Time, data any) []gateway.Delivery {
	return told(hooks, event, "", r, now, data)
}

func told(hooks []gateway.Webhook, event, actionType string, r *gateway.Run, now time.Time, data any) []gateway.Delivery {
	var out []gateway.Delivery
	var body json.RawMessage
	for i := range hooks {
		if !hooks[i].Wants(event, actionType) {
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
