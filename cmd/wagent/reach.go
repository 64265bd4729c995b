package main

import (
	"context"
	"slices"

	"wagent/dispatch"
	"wagent/gateway"
	"wagent/gateway/api/access"
	"wagent/gateway/store"
)

// reached is the store as the API sees it: what is listed over accounts, and what
// is bound to an account by a body, is of those that the request's key reaches.
// What a path names was looked at before, by package api. It is for requests only:
// without one in the context nothing is there.
type reached struct{ *store.Store }

// Account satisfies whatsrb.Accounts and others.
func (r reached) Account(ctx context.Context, id gateway.AccountID) (gateway.Account, error) {
	if !access.Reaches(ctx, id) {
		return gateway.Account{}, &gateway.Error{Kind: gateway.NotFound, Msg: "There is no such account"}
	}
	return r.Store.Account(ctx, id)
}

// Accounts satisfies sessions.Accounts and others.
func (r reached) Accounts(ctx context.Context) ([]gateway.Account, error) {
	all, err := r.Store.Accounts(ctx)
	return slices.DeleteFunc(all, func(a gateway.Account) bool { return !access.Reaches(ctx, a.ID) }), err
}

// Agents satisfies whatsrb.Agents.
func (r reached) Agents(ctx context.Context) ([]gateway.Agent, error) {
	all, err := r.Roster().Agents(ctx)
	return slices.DeleteFunc(all, func(a gateway.Agent) bool { return !access.Reaches(ctx, a.Account) }), err
}

// Contacts satisfies contacts.People.
func (r reached) Contacts(ctx context.Context, phone string, after gateway.ContactID, limit int) ([]gateway.Contact, int, error) {
	if accounts, limited := access.Reach(ctx); limited {
		return r.ContactsOf(ctx, accounts, phone, after, limit)
	}
	return r.Store.Contacts(ctx, phone, after, limit)
}

// CreateAgent satisfies whatsrb.AgentEditor.
func (r reached) CreateAgent(ctx context.Context, a *gateway.Agent) error {
	if err := binds(ctx, a); err != nil {
		return err
	}
	return r.Store.CreateAgent(ctx, a)
}

// UpdateAgent satisfies whatsrb.AgentEditor.
func (r reached) UpdateAgent(ctx context.Context, a *gateway.Agent) error {
	if err := binds(ctx, a); err != nil {
		return err
	}
	return r.Store.UpdateAgent(ctx, a)
}

// Run satisfies whatsrb.Runs: a run is seen by who reaches the account that it was
// for, wherever its agent was moved since.
func (r reached) Run(ctx context.Context, agent gateway.AgentID, id gateway.RunID) (gateway.Run, error) {
	x, err := r.Store.Run(ctx, agent, id)
	if err == nil && !access.Reaches(ctx, x.Account) {
		return gateway.Run{}, &gateway.Error{Kind: gateway.NotFound, Msg: "There is no such run"}
	}
	return x, err
}

// Runs satisfies whatsrb.Runs.
func (r reached) Runs(ctx context.Context, f gateway.RunFilter) ([]gateway.Run, int, error) {
	if accounts, limited := access.Reach(ctx); limited {
		f.Accounts = append([]gateway.AccountID{}, accounts...)
	}
	return r.Store.Runs(ctx, f)
}

// A reachedRunner is the dispatcher as the API sees it.
type reachedRunner struct {
	*dispatch.Dispatcher
	runs reached
}

// Decide satisfies whatsrb.Runner. The account of a run never changes.
func (r reachedRunner) Decide(ctx context.Context, agent gateway.AgentID, run gateway.RunID, ds []gateway.Decision, by string) (gateway.Run, error) {
	if _, limited := access.Reach(ctx); limited {
		if _, err := r.runs.Run(ctx, agent, run); err != nil {
			return gateway.Run{}, err
		}
	}
	return r.Dispatcher.Decide(ctx, agent, run, ds, by)
}

// binds refuses an agent that whoever made it could not see.
func binds(ctx context.Context, a *gateway.Agent) error {
	if access.Reaches(ctx, a.Account) {
		return nil
	}
	msg := "does not exist"
	if a.Account == "" {
		msg = "is required, since the API key reaches some accounts only"
	}
	return &gateway.Error{Kind: gateway.Invalid, Msg: "Validation failed", Details: map[string][]string{"business_account_id": {msg}}}
}
