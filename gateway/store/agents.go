package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"wagent/gateway"
)

// CreateAgent adds an agent. It fills the id and the times that a lacks, and
// a.Key is emptied: only the configuration file declares keys. Invalid: its
// account does not exist. Conflict: there is an agent of that id, or there was one.
func (s *Store) CreateAgent(ctx context.Context, a *gateway.Agent) error {
	a.Key = ""
	if a.ID == "" {
		a.ID = gateway.NewAgentID()
	}
	if a.CreatedAt.IsZero() {
		a.CreatedAt = now()
	}
	if a.UpdatedAt.IsZero() {
		a.UpdatedAt = a.CreatedAt
	}
	err := s.inTx(ctx, func(q queries) error {
		if err := agentAccount(ctx, q, a); err != nil {
			return err
		}
		err := insertAgent(ctx, q, a)
		if err != nil && q.unique(err) {
			return &gateway.Error{Kind: gateway.Conflict, Msg: "The agent was made already, and may have been deleted since", Err: err}
		}
		return err
	})
	s.forget()
	return s.fail(err, "create agent %s", a.ID)
}

// UpdateAgent replaces the settings of the agent with a's id, and sets a's
// times. NotFound: there is none. Conflict: it is declared in the
// configuration file, or a.UpdatedAt is not that of the record. Invalid: its
// account does not exist.
func (s *Store) UpdateAgent(ctx context.Context, a *gateway.Agent) error {
	err := s.inTx(ctx, func(q queries) error {
		old, err := editableAgent(ctx, q, a.ID)
		if err != nil {
			return err
		}
		if err := agentAccount(ctx, q, a); err != nil {
			return err
		}
		if !a.UpdatedAt.Equal(old.UpdatedAt) {
			return &gateway.Error{Kind: gateway.Conflict, Msg: "The agent was changed meanwhile: read it and try again"}
		}
		a.Key, a.CreatedAt, a.UpdatedAt = "", old.CreatedAt, now()
		if !a.UpdatedAt.After(old.UpdatedAt) { // times are kept in milliseconds
			a.UpdatedAt = old.UpdatedAt.Add(time.Millisecond)
		}
		return updateAgent(ctx, q, a)
	})
	s.forget()
	return s.fail(err, "update agent %s", a.ID)
}

// DeleteAgent takes an agent out of every list; its runs stay readable.
// NotFound: there is none. Conflict: it is declared in the configuration file.
func (s *Store) DeleteAgent(ctx context.Context, id gateway.AgentID) error {
	err := s.inTx(ctx, func(q queries) error {
		if _, err := editableAgent(ctx, q, id); err != nil {
			return err
		}
		_, err := q.exec(ctx, `UPDATE agents SET deleted_at = $2, active = FALSE WHERE id = $1`, id, now())
		return err
	})
	s.forget()
	return s.fail(err, "delete agent %s", id)
}

// Agent returns one agent, or an Error of kind NotFound.
func (s *Store) Agent(ctx context.Context, id gateway.AgentID) (gateway.Agent, error) {
	a, err := agent(ctx, s.q, id, "")
	return a, s.fail(err, "read agent %s", id)
}

// Agents returns all agents, oldest first, the inactive ones too.
func (s *Store) Agents(ctx context.Context) ([]gateway.Agent, error) {
	as, err := list(ctx, s.q, scanAgent, agentSelect+`WHERE deleted_at = 0 ORDER BY seq`)
	return as, s.fail(err, "list agents")
}

// DefaultAgent returns the account's oldest active agent that runs by itself and
// answers what no other does or, if there is none, the oldest that runs by
// itself; or an Error of kind NotFound. What another process changes shows within two
// seconds.
func (s *Store) DefaultAgent(ctx context.Context, account gateway.AccountID) (gateway.Agent, error) {
	a, err := s.answering(ctx, s.q, account)
	if err != nil {
		return gateway.Agent{}, s.fail(err, "find agent of account %s", account)
	}
	return a.result(account)
}

// answering returns who answers an account, as it was a moment ago.
func (s *Store) answering(ctx context.Context, q queries, account gateway.AccountID) (answering, error) {
	return s.answers.remember(account, func() (answering, error) {
		a, err := defaultAgent(ctx, q, account)
		if errors.Is(err, sql.ErrNoRows) {
			return answering{none: true}, nil
		}
		return answering{agent: a}, err
	})
}

func defaultAgent(ctx context.Context, q queries, account gateway.AccountID) (gateway.Agent, error) {
	return one(ctx, q, scanAgent, agentSelect+`WHERE account = $1 AND active AND auto_run AND deleted_at = 0
		ORDER BY CASE answers WHEN '' THEN 0 ELSE 1 END, seq LIMIT 1`, account)
}

type answering struct {
	agent gateway.Agent
	none  bool
}

func (a *answering) result(account gateway.AccountID) (gateway.Agent, error) {
	if a.none {
		return gateway.Agent{}, &gateway.Error{Kind: gateway.NotFound, Msg: "No agent answers account " + string(account)}
	}
	return a.agent, nil
}

// editableAgent reads and locks an agent that the API may change.
func editableAgent(ctx context.Context, q queries, id gateway.AgentID) (gateway.Agent, error) {
	a, err := agent(ctx, q, id, q.lock)
	if err == nil && a.Key != "" {
		err = &gateway.Error{Kind: gateway.Conflict, Msg: "The agent is declared in the configuration file as " + a.Key + ": change it there"}
	}
	return a, err
}

func agent(ctx context.Context, q queries, id gateway.AgentID, lock string) (gateway.Agent, error) {
	a, err := one(ctx, q, scanAgent, agentSelect+`WHERE id = $1 AND deleted_at = 0`+lock, id)
	return a, or(err, "There is no agent %s", id)
}

func agentAccount(ctx context.Context, q queries, a *gateway.Agent) error {
	if a.Account == "" {
		return nil
	}
	known, err := exists(ctx, q, `SELECT 1 FROM accounts WHERE id = $1`, a.Account)
	if err == nil && !known {
		err = &gateway.Error{Kind: gateway.Invalid, Msg: "Validation failed", Details: map[string][]string{"account": {"does not exist"}}}
	}
	return err
}
