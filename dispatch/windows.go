package dispatch

import (
	"context"
	"fmt"
	"time"

	"wagent/debounce"
	"wagent/gateway"
)

// Windows are the debounce windows of conversations: they hold ids of messages
// that wait in Store. The account is the group that shares fairly.
type Windows struct {
	Debouncer *debounce.Debouncer
	Store     SweepStore
	Agents    gateway.AgentFinder
}

// Add satisfies gateway.Windower.
func (w Windows) Add(ctx context.Context, m *gateway.Message, x gateway.Window) error {
	return w.Debouncer.Add(ctx, string(m.Account), string(m.Conversation), string(m.ID), debounceWindow(x))
}

// Drop satisfies gateway.Windower.
func (w Windows) Drop(ctx context.Context, id gateway.ConversationID) error {
	return w.Debouncer.Drop(ctx, string(id))
}

// Rearm brings what waits in a conversation into its window, where it is not
// there, with what is left of its times. It returns how many messages wait.
func (w Windows) Rearm(ctx context.Context, id gateway.ConversationID) (int, error) {
	ms, err := w.Store.WaitingIn(ctx, id)
	if err != nil || len(ms) == 0 {
		return 0, err
	}
	a, err := agentOf(ctx, w.Agents, ms[0].Account)
	if err != nil {
		return 0, err
	}
	x, err := w.Agents.Windowing(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("find window of conversation %s: %w", id, err)
	}
	window := left(a.Window(&x), ms, time.Now())
	for i := range ms {
		if err := w.Add(ctx, &ms[i], window); err != nil {
			return 0, fmt.Errorf("add message %s to its window: %w", ms[i].ID, err)
		}
	}
	return len(ms), nil
}

// AnswerNow makes what waits in a conversation due at once, whatever Redis still
// knows of it. It returns how many messages that are: 0 if none waits.
// Unavailable: they wait for their time.
func (w Windows) AnswerNow(ctx context.Context, id gateway.ConversationID) (int, error) {
	n, err := w.Rearm(ctx, id)
	if err == nil && n > 0 {
		err = w.Debouncer.Flush(ctx, string(id))
	}
	if err != nil && gateway.KindOf(err) == gateway.Internal {
		err = &gateway.Error{Kind: gateway.Unavailable, Msg: "The windows can not be reached; what waits is answered in its time", Err: err}
	}
	return n, err
}

func debounceWindow(x gateway.Window) debounce.Window {
	return debounce.Window{Quiet: x.Quiet, MaxWait: x.MaxWait, MaxItems: x.MaxItems, Recalls: x.Recalls}
}

// left is a window to which what waits in a conversation is added late: it falls due
// when it would have, by the quiet after the newest of the messages and by the longest
// wait of the oldest. One that is open already keeps its own longest wait.
func left(x gateway.Window, waiting []gateway.Message, now time.Time) gateway.Window {
	least, most := x.Quiet, time.Duration(0) // since the newest, and the oldest
	for i := range waiting {
		gone := max(0, now.Sub(waiting[i].ReceivedAt)) // another process's clock may be ahead
		least, most = min(least, gone), max(most, gone)
	}
	x.Quiet -= least
	if x.MaxWait > 0 {
		x.Quiet = min(x.Quiet, max(0, x.MaxWait-most))
	}
	return x
}

// agentOf returns the agent that answers an account. Without one any more,
// messages are due at once: their run will say so.
func agentOf(ctx context.Context, agents gateway.AgentFinder, account gateway.AccountID) (gateway.Agent, error) {
	a, err := agents.DefaultAgent(ctx, account)
	if err != nil && gateway.KindOf(err) != gateway.NotFound {
		return a, fmt.Errorf("find agent of account %s: %w", account, err)
	}
	return a, nil
}
