package store

import (
	"context"
	"slices"

	"wagent/gateway"
)

// ContactMemory returns what an agent keeps of a contact, or an Error of kind
// NotFound if that is nothing, also because it was erased.
func (s *Store) ContactMemory(ctx context.Context, agent gateway.AgentID, contact gateway.ContactID) (gateway.ContactMemory, error) {
	m, err := one(ctx, s.q, scanMemory, memorySelect+`WHERE contact = $1 AND agent = $2 AND body <> ''`, contact, agent)
	return m, s.fail(or(err, "Nothing is kept of contact %s", contact), "read memory of contact %s", contact)
}

// MemoryIn returns what an agent keeps of the peer of a conversation: a run that
// reads it gives its time back in [gateway.Finish]. Of what was erased that is
// all there is. NotFound: nothing ever was kept.
func (s *Store) MemoryIn(ctx context.Context, agent gateway.AgentID, conversation gateway.ConversationID) (gateway.ContactMemory, error) {
	m, err := one(ctx, s.q, scanMemory, memorySelect+`WHERE agent = $2 AND contact = (SELECT v.contact FROM conversations v WHERE v.id = $1)`, conversation, agent)
	return m, s.fail(or(err, "Nothing is kept of the contact of conversation %s", conversation), "read memory of conversation %s", conversation)
}

// PutContactMemory sets what an agent keeps of a contact, and m's time. Of an
// empty text nothing is kept but when it was erased: a run in hand that read what
// was there before does not write over either. NotFound: there is no such contact.
func (s *Store) PutContactMemory(ctx context.Context, m *gateway.ContactMemory) error {
	err := s.inTx(ctx, func(q queries) error {
		if _, err := heldContact(ctx, q, m.Contact); err != nil {
			return err
		}
		t, err := one(ctx, q, scanTime, putMemory+` RETURNING updated_at`, m.Agent, m.Contact, m.Text, now())
		if err == nil {
			m.UpdatedAt = t
		}
		return err
	})
	return s.fail(err, "keep memory of contact %s", m.Contact)
}

// heldContact returns a contact whose account is held: nobody is merged until the
// transaction ends, and what is done to the contact does not go with it.
func heldContact(ctx context.Context, q queries, id gateway.ContactID) (gateway.Contact, error) {
	c, err := contactByID(ctx, q, id)
	if err != nil {
		return c, err
	}
	if err := holdContacts(ctx, q, c.Account); err != nil {
		return c, err
	}
	return contactByID(ctx, q, id)
}

// putMemory keeps $3 of contact $2 for agent $1, at $4 or, so that each text has
// a time of its own, right after what was kept before.
const putMemory = `INSERT INTO contact_memories (agent, contact, body, updated_at) VALUES ($1, $2, $3, $4)
	ON CONFLICT (contact, agent) DO UPDATE SET body = excluded.body,
		updated_at = CASE WHEN contact_memories.updated_at < excluded.updated_at THEN excluded.updated_at ELSE contact_memories.updated_at + 1 END`

// learn writes what a completed run wants kept of the contact of its
// conversation, which is locked: not over what somebody wrote, or erased, since
// the run read what was kept. It then says so in the run's notes. A run of the
// API knows no contact.
func learn(ctx context.Context, q queries, f *gateway.Finish) error {
	r := &f.Run
	if f.Memory == nil || r.Conversation == "" || r.Status != gateway.RunCompleted {
		return nil
	}
	contact, err := one(ctx, q, scanText[gateway.ContactID], `SELECT contact FROM conversations WHERE id = $1`, r.Conversation)
	if err != nil {
		return err
	}
	n, err := q.exec(ctx, putMemory+` WHERE contact_memories.updated_at = $5`, r.Agent, contact, *f.Memory, r.CompletedAt, f.MemoryAt)
	if err != nil || n > 0 {
		return err
	}
	_, err = q.exec(ctx, `UPDATE runs SET notes = $2 WHERE id = $1`, r.ID, asJSON{append(slices.Clip(r.Notes), "memory not kept: a person changed it meanwhile")})
	return err
}

// eraseMemories empties what agents keep of a contact.
func eraseMemories(ctx context.Context, q queries, id gateway.ContactID) error {
	_, err := q.exec(ctx, `UPDATE contact_memories SET body = '', updated_at = CASE WHEN updated_at < $2 THEN $2 ELSE updated_at + 1 END WHERE contact = $1`, id, now())
	return err
}

// joinMemories gives what agents keep of a contact that goes to the one that is
// kept. Where one keeps something of both, the newer text stays, be it erased.
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
