package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"wagent/gateway"
)

// ClaimRun takes the conversation's unfinished run, if nobody holds it, or
// makes one of all messages that wait. A run that was superseded takes them too.
// What its customer deleted meanwhile is left out. The claim is good for lease.
//
// NotFound: there is nothing to do. That is also so while the conversation is
// paused: an unfinished run is then cancelled, and the messages are held for a
// person. Conflict: another process holds the run.
//
// A PostgreSQL that crashes within a second may forget the claim of a run that
// it made: the messages wait again, and whoever answers them finds the run gone.
// One that takes a run up again is on disk: its generation is not given out twice.
func (s *Store) ClaimRun(ctx context.Context, id gateway.ConversationID, lease time.Duration) (gateway.Claim, error) {
	var c gateway.Claim
	var none error // what the transaction writes stays written
	err := s.inTx(ctx, func(q queries) (err error) {
		c, none = gateway.Claim{}, nil
		if err := lockConversation(ctx, q, id); err != nil {
			return err
		}
		is, waits, open, err := standing(ctx, q, id, &c.Conversation)
		if err != nil {
			return err
		}
		if is {
			none = &gateway.Error{Kind: gateway.NotFound, Msg: "The conversation is paused"}
			return holdMessages(ctx, q, id, open)
		}
		if open != "" {
			if err := appendNewer(ctx, q, &c.Conversation, open); err != nil {
				return err
			}
			if c.Run, err = resumeRun(ctx, q, open, lease); err != nil {
				return err
			}
			if c.Messages, err = batch(ctx, q, open); err != nil || len(c.Messages) > 0 {
				return err
			}
			// Its messages went elsewhere, or were deleted.
			if err := endRun(ctx, q, open, "the run has no messages any more"); err != nil {
				return err
			}
			if waits, err = exists(ctx, q, waitingOf, id); err != nil {
				return err
			}
		}
		if !waits {
			none = errNothing
			return nil
		}
		return s.startRun(ctx, q, &c, lease)
	})
	if err == nil {
		err = none
	}
	if err != nil {
		return gateway.Claim{}, s.fail(err, "claim conversation %s", id)
	}
	return c, nil
}

// standing reads a conversation that is locked, whether it is paused, whether
// something waits in it, and the id of its unfinished run, which it locks too: "" if there is none, and then none
// can begin until the lock ends, and the commit does not wait for the disk.
func standing(ctx context.Context, q queries, id gateway.ConversationID, c *gateway.Conversation) (paused, waits bool, open gateway.RunID, err error) {
	_, err = one(ctx, q, func(r row) (struct{}, error) {
		return struct{}{}, r.Scan(&c.ID, &c.Account, &c.Peer.Phone, &c.Peer.LID, &c.Peer.Group, &c.Name, at(&c.LastInboundAt), from(&c.Tags), from(&c.Erased), &paused, &waits, &open, new(string))
	}, `SELECT `+conversationColumns+`, EXISTS (`+pauseOf+`), EXISTS (`+waitingOf+`), COALESCE((`+unfinishedOf+`), ''),
		CASE WHEN EXISTS (`+unfinishedOf+`) THEN '' ELSE `+q.lazily+` END `+conversationFrom, id, now())
	if err != nil || open == "" {
		return paused, waits, open, or(err, "There is no conversation %s", id)
	}
	open, err = unfinished(ctx, q, id)
	return paused, waits, open, err
}

var errNothing = &gateway.Error{Kind: gateway.NotFound, Msg: "No message waits"}

// resumeRun claims an unfinished run that nobody holds.
func resumeRun(ctx context.Context, q queries, id gateway.RunID, lease time.Duration) (gateway.Run, error) {
	at := now()
	n, err := q.exec(ctx, `UPDATE runs SET status = 'running', generation = generation + 1, attempt = attempt + 1, lease_until = $3, forgotten = FALSE,
		started_at = CASE WHEN started_at = 0 THEN $2 ELSE started_at END WHERE id = $1 AND lease_until <= $2`, id, at, at.Add(lease))
	if err != nil {
		return gateway.Run{}, err
	}
	r, err := run(ctx, q, "", id)
	if err == nil && n == 0 {
		err = &gateway.Error{Kind: gateway.Conflict, Msg: fmt.Sprintf("run %s is in hand until %s", id, r.LeaseUntil.Format(time.RFC3339Nano))}
	}
	return r, err
}

// startRun makes a run of what waits, which must be something.
func (s *Store) startRun(ctx context.Context, q queries, c *gateway.Claim, lease time.Duration) error {
	at := now()
	a, err := s.answering(ctx, q, c.Conversation.Account)
	if err != nil {
		return err
	}
	r := gateway.Run{
		ID: gateway.NewRunID(), Agent: a.agent.ID, Account: c.Conversation.Account, Conversation: c.Conversation.ID, Peer: c.Conversation.Peer,
		Trigger: gateway.TriggerInbound, Status: gateway.RunRunning, Generation: 1, Attempt: 1,
		LeaseUntil: at.Add(lease), CreatedAt: at, StartedAt: at,
	}
	taken, err := takeWaiting(ctx, q, r.Conversation, r.ID, addedRun(&r))
	if err != nil {
		return err
	}
	if len(taken) == 0 { // whoever takes what waits locks the conversation first
		return fmt.Errorf("what waited in conversation %s was taken without its lock", r.Conversation)
	}
	c.Run, c.Messages = r, taken
	return nil
}

// batch returns the messages that a run took and is to answer.
func batch(ctx context.Context, q queries, id gateway.RunID) ([]gateway.Message, error) {
	return list(ctx, q, scanMessage, messageSelect+`WHERE run = $1 AND run <> '' AND direction = 'in' AND state = 'batched' AND revoked_at = 0 ORDER BY seq`, id)
}

// holdMessages leaves to a person what waits in a paused conversation, and
// what its unfinished run, if there is one, was to answer.
func holdMessages(ctx context.Context, q queries, id gateway.ConversationID, open gateway.RunID) error {
	if open != "" {
		if err := endRun(ctx, q, open, "the conversation was paused"); err != nil {
			return err
		}
		if err := holdBatch(ctx, q, open, reasonPaused); err != nil {
			return err
		}
	}
	_, err := q.exec(ctx, holdWaiting, id, reasonPaused)
	return err
}

const holdWaiting = `UPDATE messages SET state = 'held', state_reason = $2 WHERE conversation = $1 AND state = 'waiting'`

func holdBatch(ctx context.Context, q queries, id gateway.RunID, reason string) error {
	_, err := q.exec(ctx, `UPDATE messages SET state = 'held', state_reason = $2 WHERE run = $1 AND run <> '' AND state = 'batched' AND revoked_at = 0`, id, reason)
	return err
}

// RenewRun moves the end of a claim's lease. Conflict: the run has ended, or
// somebody else claimed it.
func (s *Store) RenewRun(ctx context.Context, id gateway.RunID, generation int64, until time.Time) error {
	n, err := s.q.exec(ctx, `UPDATE runs SET lease_until = $3 WHERE id = $1 AND generation = $2 AND status = 'running'`, id, generation, until)
	if err == nil && n == 0 {
		err = lostRun(id)
	}
	return s.fail(err, "renew run %s", id)
}

// unanswered is true of runs that are in hand, or that somebody cancelled: the end
// of the others says what they cost, and is not touched again.
const unanswered = `(status = 'running' OR stop_reason = 'cancelled')`

// ReleaseRun ends the lease of a claim that came to no end. r.InputTokens and
// r.OutputTokens are what the run has cost so far: they are kept, also if somebody
// cancelled the run meanwhile. Conflict: somebody else claimed it.
func (s *Store) ReleaseRun(ctx context.Context, r *gateway.Run) error {
	n, err := s.q.exec(ctx, `UPDATE runs SET lease_until = CASE WHEN status = 'running' THEN $3 ELSE lease_until END, input_tokens = $4, output_tokens = $5
		WHERE id = $1 AND generation = $2 AND `+unanswered, r.ID, r.Generation, now(), r.InputTokens, r.OutputTokens)
	if err == nil && n == 0 {
		err = lostRun(r.ID)
	}
	return s.fail(err, "release run %s", r.ID)
}

// CancelRun ends a claim without an answer; the run fails, and its messages
// are held for a person. reason is text that a client may see. What it cost is
// kept as by ReleaseRun. Conflict: the run has ended, or somebody else claimed it.
func (s *Store) CancelRun(ctx context.Context, r *gateway.Run, reason string) error {
	var none error // what the transaction writes stays written
	err := s.inTx(ctx, func(q queries) error {
		none = nil
		if _, err := q.exec(ctx, `UPDATE runs SET input_tokens = $3, output_tokens = $4 WHERE id = $1 AND generation = $2 AND `+unanswered, r.ID, r.Generation, r.InputTokens, r.OutputTokens); err != nil {
			return err
		}
		if err := lockRun(ctx, q, r.ID, r.Generation); gateway.KindOf(err) == gateway.Conflict {
			none = err
			return nil
		} else if err != nil {
			return err
		}
		if err := endRun(ctx, q, r.ID, reason); err != nil {
			return err
		}
		return holdBatch(ctx, q, r.ID, gateway.ReasonCancelled)
	})
	if err == nil {
		err = none
	}
	return s.fail(err, "cancel run %s", r.ID)
}

// ClaimRuns takes at most limit runs that the API asked for, oldest first:
// those that are pending, and those whose lease ended. next is when the next
// lease ends; zero if there are no such runs.
func (s *Store) ClaimRuns(ctx context.Context, limit int, lease time.Duration) (claimed []gateway.Run, next time.Time, err error) {
	err = s.inTx(ctx, func(q queries) error {
		claimed, next = nil, time.Time{}
		at := now()
		ids, err := list(ctx, q, scanText[gateway.RunID], `SELECT id FROM runs WHERE conversation = '' AND status IN ('pending', 'running')
			AND lease_until <= $1 ORDER BY seq LIMIT $2`+q.lock+q.skip, at, limit)
		if err != nil {
			return err
		}
		for _, id := range ids {
			r, err := resumeRun(ctx, q, id, lease)
			if err != nil {
				return err
			}
			claimed = append(claimed, r)
		}
		next, err = due(ctx, q, at, `SELECT lease_until FROM runs WHERE conversation = '' AND status IN ('pending', 'running') ORDER BY lease_until LIMIT 1`)
		return err
	})
	if err != nil {
		return nil, time.Time{}, s.fail(err, "claim runs")
	}
	return claimed, next, nil
}

// due returns when the first row of a query, which is a time, is to be looked
// at again: zero if there is none. What is due already is left because
// somebody holds it, or for want of room: it is looked at again in a moment.
func due(ctx context.Context, q queries, at time.Time, query string, args ...any) (time.Time, error) {
	next, err := one(ctx, q, scanTime, query, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return soonest(next, at), err
}

// soonest is t, but in a moment rather than in the past.
func soonest(t, at time.Time) time.Time {
	if again := at.Add(moment); t.Before(again) {
		return again
	}
	return t
}

// moment is how long what is due, but could not be claimed, is left alone.
const moment = 20 * time.Millisecond

// lockRun locks a run that is in hand under a generation, or returns Conflict.
func lockRun(ctx context.Context, q queries, id gateway.RunID, generation int64) error {
	_, err := one(ctx, q, scanInt, `SELECT 1 FROM runs WHERE id = $1 AND generation = $2 AND status = 'running'`+q.lock, id, generation)
	if errors.Is(err, sql.ErrNoRows) {
		return lostRun(id)
	}
	return err
}

func lostRun(id gateway.RunID) error {
	return &gateway.Error{Kind: gateway.Conflict, Msg: fmt.Sprintf("run %s has ended or is in other hands", id)}
}
