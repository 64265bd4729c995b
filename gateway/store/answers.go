package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"wagent/gateway"
)

// AnswerActions keeps what endpoints answered to actions: results, and replies, which
// go to the customer as the words of the run's agent do, under the same rules. It
// reports whether there is one to send.
//
// An action has the first result; a delivery that a person replayed may bring its
// webhook's another one. It has one reply, the first, where its run answers a
// conversation. Of a run whose words a person had erased nothing is kept. It may be
// repeated, and reports replies beside an error, too.
func (s *Store) AnswerActions(ctx context.Context, answers []gateway.ActionAnswer) (replies bool, err error) {
	answers = slices.Clone(answers)
	// In one order, so that two that do this do not wait for each other.
	slices.SortStableFunc(answers, func(a, b gateway.ActionAnswer) int {
		return cmp.Or(cmp.Compare(a.Run, b.Run), cmp.Compare(a.Index, b.Index))
	})
	err = s.inTx(ctx, func(q queries) error { return keepResults(ctx, q, answers) })
	for i := 0; i < len(answers) && err == nil; i++ {
		if answers[i].Reply != "" {
			var queued bool
			queued, err = s.replyOf(ctx, &answers[i])
			replies = replies || queued
		}
	}
	return replies, s.fail(err, "keep what endpoints answered")
}

// keepResults keeps those of runs whose words nobody erased, nor does meanwhile.
func keepResults(ctx context.Context, q queries, answers []gateway.ActionAnswer) error {
	var ids []gateway.RunID
	for i := range answers {
		if answers[i].Result != nil && !slices.Contains(ids, answers[i].Run) {
			ids = append(ids, answers[i].Run)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	kept, err := list(ctx, q, scanText[gateway.RunID], `SELECT id FROM runs WHERE id IN (`+places(1, len(ids))+`) AND output <> '' ORDER BY id`+q.lockKey, anys(ids)...)
	if err != nil {
		return err
	}
	var rows [][]any
	for i := range answers {
		a := &answers[i]
		again, first := int64(0), true
		if a.Again { // it is for the store to say whose was the first
			again = 1
		} else {
			first = !slices.ContainsFunc(answers[:i], func(b gateway.ActionAnswer) bool { return b.Run == a.Run && b.Index == a.Index && b.Result != nil })
		}
		if a.Result != nil && first && slices.Contains(kept, a.Run) {
			rows = append(rows, []any{a.Run, a.Index, a.Result, a.Webhook, again})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	said, args := q.table(2, rows, "TEXT", "BIGINT", "TEXT", "BIGINT", "BIGINT")
	_, err = q.exec(ctx, `UPDATE actions SET result = s.column3, answered_by = s.column4, answered_at = $1 FROM `+said+`
		WHERE run = s.column1 AND position = s.column2 AND (answered_by = 0 OR answered_by = s.column4 AND s.column5 = 1 AND result <> s.column3)`,
		append([]any{now()}, args...)...)
	return err
}

// replyOf puts the reply of an action in the outbox, unless it has one.
func (s *Store) replyOf(ctx context.Context, a *gateway.ActionAnswer) (queued bool, err error) {
	err = s.inTx(ctx, func(q queries) error {
		queued = false
		const where = `SELECT r.conversation FROM actions a JOIN runs r ON r.id = a.run
			WHERE a.run = $1 AND a.position = $2 AND r.conversation <> '' AND r.output <> ''`
		conversations, err := list(ctx, q, scanText[gateway.ConversationID], where, a.Run, a.Index)
		if err != nil || len(conversations) == 0 {
			return err
		}
		err = lockConversation(ctx, q, conversations[0])
		if err == nil { // a person may have had its words erased until now
			still, err := list(ctx, q, scanText[gateway.ConversationID], where, a.Run, a.Index)
			if err != nil || len(still) == 0 {
				return err
			}
		} else if gateway.KindOf(err) == gateway.NotFound {
			return &gateway.Error{Kind: gateway.Unavailable, Msg: "The conversation became one with another", Err: err}
		} else {
			return err
		}
		id := gateway.ActionReplyID(a.Run, a.Index)
		states, err := list(ctx, q, scanText[gateway.SendState], `SELECT state FROM sends WHERE origin = $1 AND origin_id = $2`, gateway.FromRun, id)
		if err != nil || len(states) > 0 {
			queued = len(states) > 0 && states[0] == gateway.SendReady // nobody may have been told
			return err
		}
		c, err := conversation(ctx, q, conversations[0])
		if err != nil {
			return err
		}
		x := gateway.Send{
			Account: c.Account, Conversation: c.ID, To: c.Peer, Origin: gateway.FromRun, OriginID: id, Text: a.Reply, NextAt: now(), Answers: c.LastInboundAt,
		}
		for _, add := range addedSend(&x, a.Run) {
			if _, err := q.exec(ctx, add.query, add.args...); err != nil {
				return err
			}
		}
		queued = true
		return nil
	})
	return queued, err
}

// ActionResults returns the actions of an agent's runs in a context that were
// answered since a moment, of runs that completed after another: oldest answer
// first, the newest so many.
func (s *Store) ActionResults(ctx context.Context, agent gateway.AgentID, contextKey string, after, since time.Time, limit int) ([]gateway.Action, error) {
	as, err := list(ctx, s.q, scanAction, `SELECT `+actionColumns+` FROM actions WHERE answered_at >= $4 AND answered_at > 0 AND result <> ''
		AND run IN (SELECT r.id FROM runs r WHERE r.agent = $1 AND r.context_key = $2 AND r.context_key <> '' AND r.status = 'completed' AND r.completed_at > $3)
		ORDER BY answered_at DESC, run, position LIMIT $5`, agent, contextKey, after, since, limit)
	slices.Reverse(as)
	return as, s.fail(err, "read what came of actions")
}
