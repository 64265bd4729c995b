package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"wagent/gateway"
)

// Declare writes what the configuration file says, all of it or nothing.
// Accounts are known by their id, agents and webhooks by their Key, API keys
// by their name. An agent gets its id, and a webhook its number, the first
// time; they are kept. What was declared before and is not any more is
// deactivated, API keys are removed. A webhook that wagent had turned off is
// on again; one that a person paused is paused still.
func (s *Store) Declare(ctx context.Context, accounts []gateway.Account, agents []gateway.Agent, webhooks []gateway.Webhook, keys []gateway.APIKey) error {
	at := now()
	err := s.inTx(ctx, func(q queries) error {
		if err := q.hold(ctx, "declare"); err != nil {
			return err
		}
		if err := s.declareAccounts(ctx, q, accounts, at); err != nil {
			return fmt.Errorf("accounts: %w", err)
		}
		if err := declareAgents(ctx, q, agents, at); err != nil {
			return fmt.Errorf("agents: %w", err)
		}
		if err := s.declareWebhooks(ctx, q, webhooks, at); err != nil {
			return fmt.Errorf("webhooks: %w", err)
		}
		return declareKeys(ctx, q, keys)
	})
	s.forget()
	return s.fail(err, "declare the configuration")
}

func (s *Store) declareAccounts(ctx context.Context, q queries, accounts []gateway.Account, at time.Time) error {
	old, err := list(ctx, q, scanText[gateway.AccountID], `SELECT id FROM accounts WHERE declared AND active`)
	if err != nil {
		return err
	}
	for i := range accounts {
		a := accounts[i]
		a.Declared = true
		if err := s.upsertAccount(ctx, q, &a, at); err != nil {
			return err
		}
	}
	for _, id := range old {
		if slices.ContainsFunc(accounts, func(a gateway.Account) bool { return a.ID == id }) {
			continue
		}
		if _, err := q.exec(ctx, `UPDATE accounts SET active = FALSE, declared = FALSE WHERE id = $1`, id); err != nil {
			return err
		}
	}
	return nil
}

func declareAgents(ctx context.Context, q queries, agents []gateway.Agent, at time.Time) error {
	old, err := list(ctx, q, scanAgent, agentSelect+`WHERE config_key <> ''`)
	if err != nil {
		return err
	}
	for i := range agents {
		a := agents[i]
		if a.Key == "" {
			return errors.New("a declared agent needs a key")
		}
		if err := agentAccount(ctx, q, &a); err != nil {
			return fmt.Errorf("%s: %w", a.Key, err)
		}
		k := slices.IndexFunc(old, func(o gateway.Agent) bool { return o.Key == a.Key })
		if k < 0 {
			if a.ID == "" {
				a.ID = gateway.NewAgentID()
			}
			a.CreatedAt, a.UpdatedAt = at, at
			if err := insertAgent(ctx, q, &a); err != nil {
				return err
			}
			continue
		}
		a.ID, a.CreatedAt, a.UpdatedAt = old[k].ID, old[k].CreatedAt, old[k].UpdatedAt
		if reflect.DeepEqual(agentValues(&a), agentValues(&old[k])) {
			continue
		}
		a.UpdatedAt = at
		if err := updateAgent(ctx, q, &a); err != nil {
			return err
		}
	}
	for i := range old {
		declared := func(a gateway.Agent) bool { return a.Key == old[i].Key }
		if !old[i].Active || slices.ContainsFunc(agents, declared) {
			continue
		}
		if _, err := q.exec(ctx, `UPDATE agents SET active = FALSE, updated_at = $2 WHERE id = $1`, old[i].ID, at); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) declareWebhooks(ctx context.Context, q queries, webhooks []gateway.Webhook, at time.Time) error {
	old, err := list(ctx, q, scanText[string], `SELECT config_key FROM webhooks WHERE config_key <> '' AND active`)
	if err != nil {
		return err
	}
	for i := range webhooks {
		w := webhooks[i]
		if w.Agents, err = agentsOf(ctx, q, w.Agents); err == nil {
			err = s.declareWebhook(ctx, q, &w, at)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w.Key, err)
		}
	}
	for _, key := range old {
		if slices.ContainsFunc(webhooks, func(w gateway.Webhook) bool { return w.Key == key }) {
			continue
		}
		if _, err := q.exec(ctx, `UPDATE webhooks SET active = FALSE WHERE config_key = $1`, key); err != nil {
			return err
		}
	}
	return nil
}

// agentsOf returns the ids of agents of which some stand there by their keys.
func agentsOf(ctx context.Context, q queries, named []gateway.AgentID) ([]gateway.AgentID, error) {
	var out []gateway.AgentID
	for _, name := range named {
		ids, err := list(ctx, q, scanText[gateway.AgentID], `SELECT id FROM agents WHERE config_key = $1 AND config_key <> ''`, name)
		if err != nil {
			return nil, err
		}
		if len(ids) > 0 {
			name = ids[0]
		}
		out = append(out, name)
	}
	return out, nil
}

func (s *Store) declareWebhook(ctx context.Context, q queries, w *gateway.Webhook, at time.Time) error {
	if w.Key == "" {
		return errors.New("a declared webhook needs a key")
	}
	old, err := one(ctx, q, s.scanWebhook, webhookSelect+`AND config_key = $1`+q.lockKey, w.Key)
	if errors.Is(err, sql.ErrNoRows) {
		old = gateway.Webhook{Key: w.Key, UpdatedAt: at}
		old.ID, err = one(ctx, q, scanInt, `INSERT INTO webhooks (config_key, url, secret, active, disabled, events, actions, created_at)
			VALUES ($1, '', '', FALSE, '', '', '', $2) RETURNING id`, w.Key, at)
	}
	if err != nil {
		return err
	}
	next := old
	next.URL, next.Secret, next.Active, next.Disabled, next.Events, next.Actions = w.URL, w.Secret, w.Active, "", w.Events, w.Actions
	next.Agents, next.Accounts, next.Headers = w.Agents, w.Accounts, w.Headers
	next.Ordered, next.Concurrency, next.PerMinute = w.Ordered, w.Concurrency, w.PerMinute
	afresh(&next, &old)
	if reflect.DeepEqual(next, old) {
		return nil
	}
	next.UpdatedAt = at
	return s.writeWebhook(ctx, q, &next)
}
