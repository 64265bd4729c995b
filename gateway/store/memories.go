package store

import (
	"context"

	"wagent/gateway"
)

// ContactMemory returns what an agent keeps of a contact, or an Error of kind
// NotFound if that is nothing.
func (s *Store) ContactMemory(ctx context.Context, agent gateway.AgentID, contact gateway.ContactID) (gateway.ContactMemory, error) {
	m, err := one(ctx, s.q, scanMemory, memorySelect+`WHERE contact = $1 AND agent = $2`, contact, agent)
	return m, s.fail(or(err, "Nothing is kept of contact %s", contact), "read memory of contact %s", contact)
}

// MemoryIn returns what an agent keeps of the peer of a conversation, or an
// Error of kind NotFound if that is nothing.
func (s *Store) MemoryIn(ctx context.Context, agent gateway.AgentID, conversation gateway.ConversationID) (gateway.ContactMemory, error) {
	m, err := one(ctx, s.q, scanMemory, memorySelect+`WHERE agent = $2 AND contact = (SELECT v.contact FROM conversations v WHERE v.id = $1)`, conversation, agent)
	return m, s.fail(or(err, "Nothing is kept of the contact of conversation %s", conversation), "read memory of conversation %s", conversation)
}

// PutContactMemory sets what an agent keeps of a contact, and m's time. Nothing
// of an empty text is kept. NotFound: there is no such contact.
func (s *Store) PutContactMemory(ctx context.Context, m *gateway.ContactMemory) error {
	m.UpdatedAt = now()
	err := s.inTx(ctx, func(q queries) error {
		c, err := contactByID(ctx, q, m.Contact)
		if err != nil {
			return err
		}
		// Nobody is merged meanwhile: what was set would go with the contact.
		if _, err := s.holdAccount(ctx, q, c.Account); err != nil {
			return err
		}
		if _, err := contactByID(ctx, q, m.Contact); err != nil {
			return err
		}
		return putMemory(ctx, q, m)
	})
	return s.fail(err, "keep memory of contact %s", m.Contact)
}

func putMemory(ctx context.Context, q queries, m *gateway.ContactMemory) error {
	if m.Text == "" {
		_, err := q.exec(ctx, `DELETE FROM contact_memories WHERE contact = $1 AND agent = $2`, m.Contact, m.Agent)
		return err
	}
	_, err := q.exec(ctx, `INSERT INTO contact_memories (agent, contact, body, updated_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (contact, agent) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at`, m.Agent, m.Contact, m.Text, m.UpdatedAt)
	return err
}

// learn writes what a completed run wants kept of the contact of its
// conversation, which is locked. A run of the API knows no contact.
func learn(ctx context.Context, q queries, f *gateway.Finish) error {
	r := &f.Run
	if f.Memory == nil || r.Conversation == "" || r.Status != gateway.RunCompleted {
		return nil
	}
	contact, err := one(ctx, q, scanText[gateway.ContactID], `SELECT contact FROM conversations WHERE id = $1`, r.Conversation)
	if err != nil {
		return err
	}
	return putMemory(ctx, q, &gateway.ContactMemory{Agent: r.Agent, Contact: contact, Text: *f.Memory, UpdatedAt: r.CompletedAt})
}

// joinMemories gives what agents keep of a contact that goes to the one that is
// kept. Where one keeps something of both, the newer text stays.
func joinMemories(ctx context.Context, q queries, gone, kept gateway.ContactID) error {
	for _, stmt := range []string{
		`DELETE FROM contact_memories WHERE contact = $2 AND EXISTS (SELECT 1 FROM contact_memories o
			WHERE o.contact = $1 AND o.agent = contact_memories.agent AND o.updated_at > contact_memories.updated_at)`,
		`DELETE FROM contact_memories WHERE contact = $1 AND EXISTS (SELECT 1 FROM contact_memories o
			WHERE o.contact = $2 AND o.agent = contact_memories.agent)`,
		`UPDATE contact_memories SET contact = $2 WHERE contact = $1`,
	} {
		if _, err := q.exec(ctx, stmt, gone, kept); err != nil {
			return err
		}
	}
	return nil
}

const memorySelect = `SELECT agent, contact, body, updated_at FROM contact_memories `

func scanMemory(r row) (gateway.ContactMemory, error) {
	var m gateway.ContactMemory
	err := r.Scan(&m.Agent, &m.Contact, &m.Text, at(&m.UpdatedAt))
	return m, err
}
