package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"wagent/gateway"
)

// CreateRun adds a run that the API asked for, to be claimed by ClaimRuns. If a
// run with that id was added before, it fills r with that one as it is now.
func (s *Store) CreateRun(ctx context.Context, r *gateway.Run) error {
	if r.ID == "" {
		r.ID = gateway.NewRunID()
	}
	if r.CreatedAt.IsZero() {
		r.CreatedAt = now()
	}
	r.Status, r.Generation, r.Attempt, r.LeaseUntil = gateway.RunPending, 0, 0, time.Time{}
	x := addedRun(r)
	n, err := s.q.exec(ctx, x.query+` ON CONFLICT (id) DO NOTHING`, x.args...)
	if err == nil && n == 0 {
		*r, err = run(ctx, s.q, r.Agent, r.ID)
	}
	return s.fail(err, "create run %s", r.ID)
}

// Run returns one run with its actions, or an Error of kind NotFound. With an
// empty agent it may be any agent's.
func (s *Store) Run(ctx context.Context, agent gateway.AgentID, id gateway.RunID) (gateway.Run, error) {
	r, err := run(ctx, s.q, agent, id)
	return r, s.fail(err, "read run %s", id)
}

// Runs returns the runs that f lets through, newest first, and how many there are
// whatever Before and Limit say. NotFound: there is no such run before which
// they are to be.
func (s *Store) Runs(ctx context.Context, f gateway.RunFilter) ([]gateway.Run, int, error) {
	if f.Accounts != nil && len(f.Accounts) == 0 {
		return nil, 0, nil
	}
	where, args := `WHERE TRUE `, []any{}
	if f.Agent != "" {
		where, args = `WHERE r.agent = $1 `, []any{f.Agent}
	}
	if f.Accounts != nil {
		where += `AND r.account IN (` + places(len(args)+1, len(f.Accounts)) + `) `
		args = append(args, anys(f.Accounts)...)
	}
	total, err := one(ctx, s.q, scanInt, `SELECT COUNT(*) FROM runs r `+where, args...)
	if err != nil {
		return nil, 0, s.fail(err, "count runs")
	}
	if f.Before != "" {
		seq, err := one(ctx, s.q, scanInt, fmt.Sprintf(`SELECT r.seq FROM runs r %sAND r.id = $%d`, where, len(args)+1), append(args, f.Before)...)
		if err != nil {
			return nil, 0, s.fail(or(err, "There is no run %s", f.Before), "list runs")
		}
		where += fmt.Sprintf(`AND r.seq < $%d `, len(args)+1)
		args = append(args, seq)
	}
	rs, err := runs(ctx, s.q, fmt.Sprintf(`%sORDER BY r.seq DESC LIMIT $%d`, where, len(args)+1), append(args, f.Limit)...)
	return rs, int(total), s.fail(err, "list runs")
}

// LastRun returns the last completed run of an agent in a context, without the
// records of its actions, or an Error of kind NotFound. The context of a run that answers a conversation is the
// conversation's id, that of an API run "key:" and its conversation key.
func (s *Store) LastRun(ctx context.Context, agent gateway.AgentID, contextKey string) (gateway.Run, error) {
	rs, err := bareRuns(ctx, s.q, `WHERE r.agent = $1 AND r.context_key = $2 AND r.context_key <> '' AND r.status = 'completed'
		ORDER BY r.completed_at DESC, r.seq DESC LIMIT 1`, agent, contextKey)
	if err == nil && len(rs) == 0 {
		err = &gateway.Error{Kind: gateway.NotFound, Msg: "There is no completed run in this context"}
	}
	if err != nil {
		return gateway.Run{}, s.fail(err, "find the last run of agent %s", agent)
	}
	return rs[0], nil
}

// LastRunOf returns the last run of a conversation that one of the agents
// completed after a moment, as LastRun does.
func (s *Store) LastRunOf(ctx context.Context, id gateway.ConversationID, agents []gateway.AgentID, after time.Time) (gateway.Run, error) {
	rs, err := bareRuns(ctx, s.q, `WHERE r.agent IN (`+places(3, len(agents))+`) AND r.context_key = $1 AND r.context_key <> '' AND r.status = 'completed'
		AND r.completed_at > $2 ORDER BY r.completed_at DESC, r.seq DESC LIMIT 1`, append([]any{id, after}, anys(agents)...)...)
	if err == nil && len(rs) == 0 {
		err = &gateway.Error{Kind: gateway.NotFound, Msg: "There is no completed run in this conversation"}
	}
	if err != nil {
		return gateway.Run{}, s.fail(err, "find the last run of conversation %s", id)
	}
	return rs[0], nil
}

// RouteRun keeps which agent answers a run that is in hand, and why, and what
// deciding it cost: r's Agent, Routed and tokens. Conflict: the run has ended,
// or somebody else claimed it.
func (s *Store) RouteRun(ctx context.Context, r *gateway.Run) error {
	n, err := s.q.exec(ctx, `UPDATE runs SET agent = $3, routed = $4, input_tokens = $5, output_tokens = $6
		WHERE id = $1 AND generation = $2 AND status = 'running'`, r.ID, r.Generation, r.Agent, r.Routed, r.InputTokens, r.OutputTokens)
	if err == nil && n == 0 {
		err = lostRun(r.ID)
	}
	return s.fail(err, "route run %s", r.ID)
}

// StrandedRuns returns the unfinished runs of conversations that nobody holds:
// their lease ended, and no message waits whose window will bring them back.
// They come oldest first, at most a thousand. The plus keeps
// SQLite from looking for them along all runs in their order.
func (s *Store) StrandedRuns(ctx context.Context) ([]gateway.Run, error) {
	rs, err := runs(ctx, s.q, `WHERE r.conversation <> '' AND r.status IN ('pending', 'running') AND r.lease_until <= $1
		AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.conversation = r.conversation AND m.state = 'waiting') ORDER BY +r.seq LIMIT 1000`, now())
	return rs, s.fail(err, "list stranded runs")
}

// run reads a run. sql.ErrNoRows becomes NotFound.
func run(ctx context.Context, q queries, agent gateway.AgentID, id gateway.RunID) (gateway.Run, error) {
	rs, err := runs(ctx, q, `WHERE r.id = $1`, id)
	if err == nil && (len(rs) == 0 || agent != "" && rs[0].Agent != agent) {
		err = &gateway.Error{Kind: gateway.NotFound, Msg: "There is no run " + string(id)}
	}
	if err != nil {
		return gateway.Run{}, err
	}
	return rs[0], nil
}

// runs reads runs with their actions.
func runs(ctx context.Context, q queries, where string, args ...any) ([]gateway.Run, error) {
	rs, err := bareRuns(ctx, q, where, args...)
	if err != nil || len(rs) == 0 {
		return nil, err
	}
	return rs, addActions(ctx, q, rs)
}

// bareRuns reads runs without their actions.
func bareRuns(ctx context.Context, q queries, where string, args ...any) ([]gateway.Run, error) {
	return list(ctx, q, scanRun, `SELECT r.id, r.agent, r.account, r.conversation, r.conversation_key,
		COALESCE(c.phone, ''), COALESCE(c.lid, ''), COALESCE(c.group_id, ''), r.started_by, r.status, r.generation, r.attempt,
		r.lease_until, r.input, r.metadata, r.output, r.stop_reason, r.error, r.notes, r.model, r.input_tokens, r.output_tokens,
		r.latency_ms, r.duration_ms, r.actions_decided, r.created_at, r.started_at, r.completed_at, r.supersedes, r.routed, r.confirm
		FROM runs r LEFT JOIN conversations v ON v.id = r.conversation LEFT JOIN contacts c ON c.id = v.contact `+where, args...)
}

func scanRun(s row) (gateway.Run, error) {
	var r gateway.Run
	var out *gateway.Output
	err := s.Scan(&r.ID, &r.Agent, &r.Account, &r.Conversation, &r.ConversationKey,
		&r.Peer.Phone, &r.Peer.LID, &r.Peer.Group, &r.Trigger, &r.Status, &r.Generation, &r.Attempt,
		at(&r.LeaseUntil), raw(&r.Input), raw(&r.Metadata), from(&out), &r.StopReason, &r.Error, from(&r.Notes), &r.Model, &r.InputTokens, &r.OutputTokens,
		span(&r.Latency), span(&r.Duration), at(&r.ActionsDecided), at(&r.CreatedAt), at(&r.StartedAt), at(&r.CompletedAt), &r.Supersedes, &r.Routed, &r.Confirm)
	if out != nil && out.Actions == nil {
		out.Actions = []gateway.OutputAction{}
	}
	r.Output = out
	return r, err
}

func addedRun(r *gateway.Run) statement {
	return statement{`INSERT INTO runs (id, agent, account, conversation, conversation_key, context_key, started_by, status, generation,
			attempt, lease_until, input, metadata, output, stop_reason, error, notes, model, input_tokens, output_tokens, latency_ms,
			duration_ms, actions_decided, created_at, started_at, completed_at, routed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, '', '', '', '', '', 0, 0, 0, 0, 0, $14, $15, 0, $16)`, []any{
		r.ID, r.Agent, r.Account, r.Conversation, r.ConversationKey, r.ContextKey(), r.Trigger, r.Status, r.Generation,
		r.Attempt, r.LeaseUntil, r.Input, r.Metadata, r.CreatedAt, r.StartedAt, r.Routed,
	}}
}

// unfinishedOf finds the run in hand of conversation $1.
const unfinishedOf = `SELECT id FROM runs WHERE conversation = $1 AND conversation <> '' AND status IN ('pending', 'running')`

// unfinished returns the run in hand of a conversation, or "".
func unfinished(ctx context.Context, q queries, id gateway.ConversationID) (gateway.RunID, error) {
	run, err := one(ctx, q, scanText[gateway.RunID], unfinishedOf+q.lock, id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return run, err
}

// endRun cancels an unfinished run, whoever holds it.
func endRun(ctx context.Context, q queries, id gateway.RunID, reason string) error {
	_, err := q.exec(ctx, `UPDATE runs SET status = 'failed', stop_reason = $2, error = $3, lease_until = 0, completed_at = $4
		WHERE id = $1 AND status IN ('pending', 'running')`, id, gateway.StopCancelled, reason, now())
	return err
}
