package store

import (
	"context"
	"maps"

	"wagent/gateway"
)

// Summary returns the summary of a conversation's older turns that an agent
// reads, or an Error of kind NotFound: there is none, or its life is over.
func (s *Store) Summary(ctx context.Context, agent gateway.AgentID, conversation gateway.ConversationID) (gateway.ContextSummary, error) {
	x, err := one(ctx, s.q, func(r row) (gateway.ContextSummary, error) {
		x := gateway.ContextSummary{Agent: agent, Conversation: conversation}
		err := r.Scan(&x.Until, &x.Text, at(&x.ExpiresAt))
		return x, err
	}, `SELECT covers, body, expires_at FROM context_summaries WHERE conversation = $1 AND agent = $2 AND expires_at > $3`, conversation, agent, now())
	return x, s.fail(or(err, "There is no summary of conversation %s", conversation), "read summary of conversation %s", conversation)
}

// PutSummary keeps a summary in place of the one that was kept, unless that
// covers more or lives longer, or the run that made it is in hand and a person had
// erased what it knows. Summaries whose life is over go meanwhile.
func (s *Store) PutSummary(ctx context.Context, x *gateway.ContextSummary) error {
	if _, err := s.q.exec(ctx, `DELETE FROM context_summaries WHERE expires_at <= $1`, now()); err != nil {
		return s.fail(err, "delete summaries whose life is over")
	}
	err := s.inTx(ctx, func(q queries) error {
		if err := lockConversation(ctx, q, x.Conversation); err != nil {
			return err
		}
		forgotten, err := exists(ctx, q, forgottenOf, x.Conversation)
		if err != nil || forgotten {
			return err
		}
		return putSummary(ctx, q, x)
	})
	return s.fail(err, "keep summary of conversation %s", x.Conversation)
}

func putSummary(ctx context.Context, q queries, x *gateway.ContextSummary) error {
	_, err := q.exec(ctx, `INSERT INTO context_summaries (agent, conversation, covers, body, expires_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (conversation, agent) DO UPDATE SET covers = excluded.covers, body = excluded.body, expires_at = excluded.expires_at
		WHERE context_summaries.covers < excluded.covers OR context_summaries.covers = excluded.covers AND context_summaries.expires_at < excluded.expires_at
			OR context_summaries.expires_at <= $6`,
		x.Agent, x.Conversation, x.Until, x.Text, x.ExpiresAt, now())
	return err
}

// renewSummary has a summary live on, if it is still the one that was read: one
// that was erased, or that a merge took away, does not come back.
func renewSummary(ctx context.Context, q queries, x *gateway.ContextSummary) error {
	_, err := q.exec(ctx, `UPDATE context_summaries SET expires_at = $4 WHERE conversation = $1 AND agent = $2 AND covers = $3 AND expires_at < $4`,
		x.Conversation, x.Agent, x.Until, x.ExpiresAt)
	return err
}

// DropSummary forgets the summary of a conversation's older turns that an agent
// reads, if there is one.
func (s *Store) DropSummary(ctx context.Context, agent gateway.AgentID, conversation gateway.ConversationID) error {
	_, err := s.q.exec(ctx, `DELETE FROM context_summaries WHERE conversation = $1 AND agent = $2`, conversation, agent)
	return s.fail(err, "drop summary of conversation %s", conversation)
}

// ForgetContext erases what SQL holds of a contact's contexts: what runs that
// ended were given, said and noted, what their actions hold, the summaries, and
// what webhooks were told, and answered. It returns whose contexts those were. With an empty
// agent they are every agent's, and what agents keep of the contact for good goes,
// too. A run in hand goes on, and leaves nothing of it behind.
//
// What remains: messages, of which no later run is shown those up to now; an action
// that waits to be confirmed; what is still to be delivered to a webhook, or died and
// may be replayed; of runs their times, tokens, errors, and the types of their
// actions. NotFound: there is no such contact.
func (s *Store) ForgetContext(ctx context.Context, id gateway.ContactID, agent gateway.AgentID) (gateway.ConversationID, []gateway.AgentID, error) {
	var conversation gateway.ConversationID
	var agents []gateway.AgentID
	err := s.inTx(ctx, func(q queries) (err error) {
		agents = nil
		c, err := heldContact(ctx, q, id)
		if err != nil {
			return err
		}
		if conversation, err = conversationWith(ctx, q, c.Account, id); err != nil {
			return err
		}
		if conversation != "" {
			if err := lockConversation(ctx, q, conversation); err != nil {
				return err
			}
			if agents, err = forgetConversation(ctx, q, conversation, agent); err != nil {
				return err
			}
		}
		if agent == "" {
			return eraseMemories(ctx, q, id)
		}
		return nil
	})
	return conversation, agents, s.fail(err, "forget contexts of contact %s", id)
}

func forgetConversation(ctx context.Context, q queries, id gateway.ConversationID, agent gateway.AgentID) ([]gateway.AgentID, error) {
	which, args := ``, []any{id}
	if agent != "" {
		which, args = ` AND agent = $2`, append(args, agent)
	}
	agents, err := list(ctx, q, scanText[gateway.AgentID], `SELECT DISTINCT agent FROM runs WHERE conversation = $1 AND conversation <> '' AND agent <> ''`+which, args...)
	if err != nil {
		return nil, err
	}
	const ended = `conversation = $1 AND conversation <> '' AND status IN ('completed', 'failed')`
	for _, stmt := range []string{
		`UPDATE runs SET forgotten = TRUE WHERE conversation = $1 AND conversation <> '' AND status IN ('pending', 'running')` + which,
		`UPDATE runs SET input = '', output = '', notes = '' WHERE ` + ended + which,
		`UPDATE actions SET payload = '', result = '' WHERE status <> 'pending' AND run IN (SELECT id FROM runs WHERE ` + ended + which + `)`,
		`UPDATE attempts SET answer = '', headers = '' WHERE delivery IN (SELECT d.id FROM deliveries d WHERE d.run IN (SELECT id FROM runs WHERE ` + ended + which + `))`,
		`UPDATE deliveries SET body = '' WHERE state = 'succeeded' AND run IN (SELECT id FROM runs WHERE ` + ended + which + `)`,
		`DELETE FROM context_summaries WHERE conversation = $1` + which,
	} {
		if _, err := q.exec(ctx, stmt, args...); err != nil {
			return nil, err
		}
	}
	newest, err := one(ctx, q, scanInt, `SELECT COALESCE((SELECT seq FROM messages WHERE conversation = $1 AND seq > 0 ORDER BY seq DESC LIMIT 1), 0)`, id)
	if err != nil {
		return nil, err
	}
	return agents, erase(ctx, q, id, map[gateway.AgentID]int64{agent: newest})
}

// erase takes note of up to which messages agents are shown nothing any more of a
// conversation, which is locked.
func erase(ctx context.Context, q queries, id gateway.ConversationID, more map[gateway.AgentID]int64) error {
	if len(more) == 0 {
		return nil
	}
	c, err := conversation(ctx, q, id)
	if err != nil {
		return err
	}
	all := maps.Clone(more)
	for agent, seq := range c.Erased {
		all[agent] = max(all[agent], seq)
	}
	_, err = q.exec(ctx, `UPDATE conversations SET erased = $2 WHERE id = $1`, id, asJSON{all})
	return err
}

// forgottenOf finds the run in hand of conversation $1 if a person had erased what
// it knows since it was claimed.
const forgottenOf = `SELECT 1 FROM runs WHERE conversation = $1 AND conversation <> '' AND status IN ('pending', 'running') AND forgotten`
