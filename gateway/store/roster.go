package store

import (
	"context"
	"slices"
	"sync"

	"wagent/gateway"
)

// A Roster is a Store that lists agents without reading those that it knows. It
// asks the database each time whether anything changed, so what it lists is
// what Store.Agents does. It must not be changed.
type Roster struct{ *Store }

// Roster returns the Store as it is seen by who lists agents often.
func (s *Store) Roster() Roster { return Roster{s} }

// Agents is Store.Agents.
func (r Roster) Agents(ctx context.Context) ([]gateway.Agent, error) {
	// Whatever is done to an agent adds one, takes one away, or moves its time
	// forward. It is read before the agents are: who changes one meanwhile has it
	// read again.
	version, err := one(ctx, r.q, scanText[string], `SELECT CAST(COUNT(*) AS TEXT) || ' ' || CAST(COALESCE(MAX(seq), 0) AS TEXT)
		|| ' ' || CAST(COALESCE(SUM(updated_at), 0) AS TEXT) || ' ' || CAST(COALESCE(SUM(CASE WHEN active THEN 1 ELSE 0 END), 0) AS TEXT)
		FROM agents WHERE deleted_at = 0`)
	if err != nil {
		return nil, r.fail(err, "ask for changes of agents")
	}
	if known, ok := r.roster.at(version); ok {
		return known, nil
	}
	as, err := r.Store.Agents(ctx)
	if err == nil {
		r.roster.set(version, as)
	}
	return slices.Clone(as), err
}

// A roster is all agents, as they were at a version.
type roster struct {
	mu      sync.Mutex
	version string // empty: none is known
	agents  []gateway.Agent
}

func (r *roster) at(version string) ([]gateway.Agent, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.version != version {
		return nil, false
	}
	return slices.Clone(r.agents), true
}

func (r *roster) set(version string, as []gateway.Agent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version, r.agents = version, as
}
