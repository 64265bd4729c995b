package store

import (
	"context"

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
// covers more or lives longer. Summaries whose life is over go meanwhile.
func (s *Store) PutSummary(ctx context.Context, x *gateway.ContextSummary) error {
	if _, err := s.q.exec(ctx, `DELETE FROM context_summaries WHERE expires_at <= $1`, now()); err != nil {
		return s.fail(err, "delete summaries whose life is over")
	}
	err := s.inTx(ctx, func(q queries) error {
		if err := lockConversation(ctx, q, x.Conversation); err != nil {
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

// DropSummary forgets the summary of a conversation's older turns that an agent
// reads, if there is one.
func (s *Store) DropSummary(ctx context.Context, agent gateway.AgentID, conversation gateway.ConversationID) error {
	_, err := s.q.exec(ctx, `DELETE FROM context_summaries WHERE conversation = $1 AND agent = $2`, conversation, agent)
	return s.fail(err, "drop summary of conversation %s", conversation)
}

// ForgetContext erases what SQL holds of a contact's contexts: what runs that
// ended were given and said, and the summaries. It returns whose contexts those
// were. With an empty agent they are every agent's, and what agents keep of the
// contact for good goes, too. A run in hand is not in it: it may leave a context
// behind. Messages stay. NotFound: there is no such contact.
func (s *Store) ForgetContext(ctx context.Context, id gateway.ContactID, agent gateway.AgentID) (gateway.ConversationID, []gateway.AgentID, error) {
	var conversation gateway.ConversationID
	var agents []gateway.AgentID
	err := s.inTx(ctx, func(q queries) (err error) {
		agents = nil
		c, err := contactByID(ctx, q, id)
		if err != nil {
			return err
		}
		if agent == "" {
			if _, err := q.exec(ctx, `DELETE FROM contact_memories WHERE contact = $1`, id); err != nil {
				return err
			}
		}
		if conversation, err = conversationWith(ctx, q, c.Account, id); err != nil || conversation == "" {
			return err
		}
		if err := lockConversation(ctx, q, conversation); err != nil {
			return err
		}
		agents, err = forgetConversation(ctx, q, conversation, agent)
		return err
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
	for _, stmt := range []string{
		`UPDATE runs SET input = '', output = '' WHERE conversation = $1 AND conversation <> '' AND status IN ('completed', 'failed')` + which,
		`DELETE FROM context_summaries WHERE conversation = $1` + which,
	} {
		if _, err := q.exec(ctx, stmt, args...); err != nil {
			return nil, err
		}
	}
	return agents, nil
}
