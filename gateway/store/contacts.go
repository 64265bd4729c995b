package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"wagent/gateway"
)

// contact finds who an address means, or adds them. Where its forms were taken
// for several people, they become one. The account must be held (hold), so
// that two processes do not add the same person.
func contact(ctx context.Context, q queries, account gateway.AccountID, a gateway.Address, at time.Time) (gateway.ContactID, error) {
	aliases := a.Aliases()
	if len(aliases) == 0 {
		return "", &gateway.Error{Kind: gateway.Invalid, Msg: "a message needs the address of its peer"}
	}
	known, err := knownAliases(ctx, q, account, aliases)
	if err != nil {
		return "", err
	}
	var id gateway.ContactID
	for _, alias := range aliases {
		switch other := known[alias]; {
		case other == "" || other == id:
		case id == "":
			id = other
		default:
			if err := mergeContact(ctx, q, account, other, id); err != nil {
				return "", err
			}
			for k, v := range known {
				if v == other {
					known[k] = id
				}
			}
		}
	}
	if id == "" {
		id = gateway.NewContactID()
		if _, err := q.exec(ctx, `INSERT INTO contacts (id, account, phone, lid, group_id, name, created_at) VALUES ($1, $2, $3, $4, $5, '', $6)`,
			id, account, a.Phone, a.LID, a.Group, at); err != nil {
			return "", err
		}
	}
	if len(known) == len(aliases) {
		return id, nil
	}
	for _, alias := range aliases {
		if known[alias] != "" {
			continue
		}
		if _, err := q.exec(ctx, `INSERT INTO contact_aliases (account, alias, contact) VALUES ($1, $2, $3)`, account, alias, id); err != nil {
			return "", err
		}
	}
	// A new form is the one to write to from now on: people change numbers.
	_, err = q.exec(ctx, `UPDATE contacts SET phone = CASE WHEN $2 = '' THEN phone ELSE $2 END, lid = CASE WHEN $3 = '' THEN lid ELSE $3 END WHERE id = $1`,
		id, a.Phone, a.LID)
	return id, err
}

func knownAliases(ctx context.Context, q queries, account gateway.AccountID, aliases []string) (map[string]gateway.ContactID, error) {
	known := map[string]gateway.ContactID{}
	if len(aliases) == 0 {
		return known, nil
	}
	_, err := list(ctx, q, func(r row) (struct{}, error) {
		var alias string
		var id gateway.ContactID
		err := r.Scan(&alias, &id)
		known[alias] = id
		return struct{}{}, err
	}, `SELECT alias, contact FROM contact_aliases WHERE account = $1 AND alias IN (`+places(2, len(aliases))+`)`,
		append([]any{account}, anys(aliases)...)...)
	return known, err
}

// nameContact keeps a profile name.
func nameContact(ctx context.Context, q queries, id gateway.ContactID, name string) error {
	if name == "" {
		return nil
	}
	_, err := q.exec(ctx, `UPDATE contacts SET name = $2 WHERE id = $1 AND name <> $2`, id, name)
	return err
}

// mergeContact makes one contact of two that turned out to be the same person.
// What was said to either becomes one conversation.
func mergeContact(ctx context.Context, q queries, account gateway.AccountID, gone, kept gateway.ContactID) error {
	goneConv, err := conversationWith(ctx, q, account, gone)
	if err != nil {
		return err
	}
	keptConv, err := conversationWith(ctx, q, account, kept)
	if err != nil {
		return err
	}
	ids := []gateway.ConversationID{goneConv, keptConv}
	slices.Sort(ids)
	for _, id := range ids {
		if id == "" {
			continue
		}
		if err := lockConversation(ctx, q, id); err != nil {
			return err
		}
	}
	switch {
	case goneConv == "":
	case keptConv == "":
		_, err = q.exec(ctx, `UPDATE conversations SET contact = $2 WHERE id = $1`, goneConv, kept)
	default:
		err = mergeConversation(ctx, q, goneConv, keptConv)
	}
	if err != nil {
		return err
	}
	for _, stmt := range []string{
		// The same message, recorded under both, stays once.
		`DELETE FROM messages WHERE contact = $1 AND contact <> '' AND external_id <> '' AND EXISTS (SELECT 1 FROM messages o
			WHERE o.account = messages.account AND o.conversation = messages.conversation AND o.contact = $2
			AND o.external_id = messages.external_id AND o.external_id <> '' AND o.part = messages.part)`,
		`UPDATE messages SET contact = $2 WHERE contact = $1 AND contact <> ''`,
		`UPDATE contact_aliases SET contact = $2 WHERE contact = $1`,
		`UPDATE contacts SET
			phone = CASE WHEN phone = '' THEN (SELECT o.phone FROM contacts o WHERE o.id = $1) ELSE phone END,
			lid = CASE WHEN lid = '' THEN (SELECT o.lid FROM contacts o WHERE o.id = $1) ELSE lid END,
			name = CASE WHEN name = '' THEN (SELECT o.name FROM contacts o WHERE o.id = $1) ELSE name END
			WHERE id = $2`,
	} {
		if _, err := q.exec(ctx, stmt, gone, kept); err != nil {
			return err
		}
	}
	_, err = q.exec(ctx, `DELETE FROM contacts WHERE id = $1`, gone)
	return err
}

// mergeConversation moves everything of one conversation to another, both of
// which are locked. An unfinished run of the one that goes is cancelled and
// its messages wait again, to be answered with the others'.
func mergeConversation(ctx context.Context, q queries, gone, kept gateway.ConversationID) error {
	run, err := unfinished(ctx, q, gone)
	if err != nil {
		return err
	}
	if run != "" {
		if err := endRun(ctx, q, run, "the conversation became one with another"); err != nil {
			return err
		}
		if _, err := q.exec(ctx, `UPDATE messages SET state = 'waiting', run = '' WHERE run = $1 AND state = 'batched'`, run); err != nil {
			return err
		}
	}
	for _, stmt := range []string{
		`UPDATE runs SET conversation = $2, context_key = $2 WHERE conversation = $1`,
		`UPDATE sends SET conversation = $2 WHERE conversation = $1`,
		`DELETE FROM messages WHERE conversation = $1 AND external_id <> '' AND EXISTS (SELECT 1 FROM messages o
			WHERE o.conversation = $2 AND o.external_id = messages.external_id AND o.part = messages.part AND o.direction = messages.direction)`,
		`UPDATE messages SET conversation = $2 WHERE conversation = $1`,
		`UPDATE deliveries SET conversation = $2 WHERE conversation = $1`,
		`UPDATE pauses SET conversation = $2 WHERE conversation = $1`,
		`UPDATE conversations SET last_inbound_at = (SELECT MAX(o.last_inbound_at) FROM conversations o WHERE o.id IN ($1, $2)) WHERE id = $2`,
	} {
		if _, err := q.exec(ctx, stmt, gone, kept); err != nil {
			return err
		}
	}
	_, err = q.exec(ctx, `DELETE FROM conversations WHERE id = $1`, gone)
	return err
}

// conversationWith returns the conversation with a contact, or "".
func conversationWith(ctx context.Context, q queries, account gateway.AccountID, id gateway.ContactID) (gateway.ConversationID, error) {
	conv, err := one(ctx, q, scanText[gateway.ConversationID], `SELECT id FROM conversations WHERE account = $1 AND contact = $2`, account, id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return conv, err
}

// lockConversation makes whoever else wants to change the conversation wait
// until this transaction ends. Locks are taken in the order conversation, run,
// send, message.
func lockConversation(ctx context.Context, q queries, id gateway.ConversationID) error {
	_, err := one(ctx, q, scanInt, `SELECT 1 FROM conversations WHERE id = $1`+q.lock, id)
	return or(err, "There is no conversation %s", id)
}

// Conversation returns one conversation, or an Error of kind NotFound.
func (s *Store) Conversation(ctx context.Context, id gateway.ConversationID) (gateway.Conversation, error) {
	c, err := conversation(ctx, s.q, id)
	return c, s.fail(err, "read conversation %s", id)
}

func conversation(ctx context.Context, q queries, id gateway.ConversationID) (gateway.Conversation, error) {
	c, err := one(ctx, q, func(r row) (gateway.Conversation, error) {
		var c gateway.Conversation
		err := r.Scan(&c.ID, &c.Account, &c.Peer.Phone, &c.Peer.LID, &c.Peer.Group, &c.Name, at(&c.LastInboundAt))
		return c, err
	}, `SELECT v.id, v.account, c.phone, c.lid, c.group_id, c.name, v.last_inbound_at
		FROM conversations v JOIN contacts c ON c.id = v.contact WHERE v.id = $1`, id)
	return c, or(err, "There is no conversation %s", id)
}
