package store

import (
	"context"
	"time"

	"wagent/gateway"
)

// addActions reads the actions of runs into them.
func addActions(ctx context.Context, q queries, rs []gateway.Run) error {
	ids := make([]any, len(rs))
	by := make(map[gateway.RunID]*gateway.Run, len(rs))
	for i := range rs {
		ids[i], by[rs[i].ID] = rs[i].ID, &rs[i]
	}
	as, err := list(ctx, q, scanAction, `SELECT `+actionColumns+` FROM actions
		WHERE run IN (`+places(1, len(ids))+`) ORDER BY run, position`, ids...)
	for _, a := range as {
		by[a.Run].Actions = append(by[a.Run].Actions, a)
	}
	return err
}

const actionColumns = `run, position, type, payload, status, decided_at, decided_by, expires_at, request, result, answered_by, answered_at`

func scanAction(r row) (gateway.Action, error) {
	var a gateway.Action
	err := r.Scan(&a.Run, &a.Index, &a.Type, from(&a.Payload), &a.Status, at(&a.DecidedAt), &a.DecidedBy, at(&a.ExpiresAt), &a.Request,
		raw(&a.Result), &a.AnsweredBy, at(&a.AnsweredAt))
	return a, err
}

// addedActions are the statements that write down a run's actions.
func addedActions(r *gateway.Run) (out []statement) {
	for i := range r.Actions {
		a := &r.Actions[i]
		a.Run = r.ID
		out = append(out, statement{`INSERT INTO actions (run, position, type, payload, status, decided_at, decided_by, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, []any{
			a.Run, a.Index, a.Type, asJSON{a.Payload}, a.Status, a.DecidedAt, a.DecidedBy, a.ExpiresAt,
		}})
	}
	return out
}

// DecideActions locks the run, asks decide what changes, and writes that; it
// returns the run as it is then. decide sees nobody else's decision in
// between. It may be called more than once, and must not use the Store. Its
// error is returned as it is, and nothing is written. NotFound: the agent has
// no such run; with an empty agent it may be any agent's.
func (s *Store) DecideActions(ctx context.Context, agent gateway.AgentID, id gateway.RunID, decide func(gateway.Run) (gateway.Decided, error)) (gateway.Run, error) {
	var after gateway.Run
	err := s.inTx(ctx, func(q queries) error {
		if _, err := list(ctx, q, scanInt, `SELECT 1 FROM runs WHERE id = $1`+q.lock, id); err != nil {
			return err
		}
		before, err := run(ctx, q, agent, id)
		if err != nil {
			return err
		}
		d, err := decide(before)
		if err != nil {
			return err
		}
		for i := range d.Actions {
			a := &d.Actions[i]
			if _, err := q.exec(ctx, `UPDATE actions SET status = $3, decided_at = $4, decided_by = $5, expires_at = $6, request = $7 WHERE run = $1 AND position = $2`,
				id, a.Index, a.Status, a.DecidedAt, a.DecidedBy, a.ExpiresAt, a.Request); err != nil {
				return err
			}
		}
		if !d.At.IsZero() {
			if _, err := q.exec(ctx, `UPDATE runs SET actions_decided = $2 WHERE id = $1`, id, d.At); err != nil {
				return err
			}
		}
		if err := insertDeliveries(ctx, q, d.Deliveries); err != nil {
			return err
		}
		after, err = run(ctx, q, agent, id)
		return err
	})
	if err != nil {
		return gateway.Run{}, s.fail(err, "decide actions of run %s", id)
	}
	return after, nil
}

// DueActions returns at most limit runs with pending actions whose time to be
// confirmed is over, and when the next one will be; zero if none is pending.
// It claims nothing: DecideActions says who comes first.
func (s *Store) DueActions(ctx context.Context, limit int) ([]gateway.Run, time.Time, error) {
	at := now()
	rs, err := runs(ctx, s.q, `WHERE r.id IN (SELECT run FROM actions WHERE status = 'pending' AND expires_at > 0 AND expires_at <= $1) ORDER BY r.seq LIMIT $2`, at, limit)
	if err != nil {
		return nil, time.Time{}, s.fail(err, "list expired actions")
	}
	next, err := due(ctx, s.q, at, `SELECT expires_at FROM actions WHERE status = 'pending' AND expires_at > $1 ORDER BY expires_at LIMIT 1`, at)
	return rs, next, s.fail(err, "find the next action to expire")
}
