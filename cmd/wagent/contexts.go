package main

import (
	"context"
	"fmt"

	"wagent/context/recall"
	"wagent/gateway"
	"wagent/gateway/api/contacts"
	"wagent/gateway/store"
)

// contexts are what agents remember of conversations, as the API shows it.
type contexts struct {
	store  *store.Store
	memory *recall.Store
}

// Context satisfies contacts.Contexts.
func (c contexts) Context(ctx context.Context, agent *gateway.Agent, who *gateway.Contact) (*contacts.Context, error) {
	conversation, err := c.store.ConversationWith(ctx, who.Account, who.Address)
	if gateway.KindOf(err) == gateway.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := c.memory.Peek(ctx, agent.ID, string(conversation.ID), agent.ContextTTL)
	if err != nil || m == nil {
		return nil, err
	}
	earlier, err := c.store.Summary(ctx, agent.ID, conversation.ID)
	if err != nil && gateway.KindOf(err) != gateway.NotFound {
		return nil, err
	}
	return &contacts.Context{
		Summary: m.Summary, Earlier: earlier.Text, Intent: m.Intent, Actions: m.Actions, CompletedAt: m.At, ExpiresAt: m.At.Add(agent.ContextTTL),
	}, nil
}

// Forget satisfies contacts.Contexts. SQL forgets first: from then on nothing is
// remembered, whatever copies there are.
func (c contexts) Forget(ctx context.Context, contact gateway.ContactID, agent gateway.AgentID) error {
	conversation, agents, err := c.store.ForgetContext(ctx, contact, agent)
	if err != nil {
		return err
	}
	for _, a := range agents {
		if err := c.memory.Forget(ctx, a, string(conversation)); err != nil {
			return &gateway.Error{
				Kind: gateway.Unavailable, Msg: "It is erased, but for a copy in Redis, which is away: ask again, or wait for the copy's end",
				Err: fmt.Errorf("forget copy of conversation %s: %w", conversation, err),
			}
		}
	}
	return nil
}
