package store

import (
	"context"
	"database/sql"
	"errors"

	"wagent/gateway"
)

// contact finds who an address means, or adds them. Where its forms were taken
// for several people, they become one. The account must be held, so that two
// processes do not add the same person.
func (in *intake) contact(ctx context.Context, account gateway.AccountID, a gateway.Address) (gateway.ContactID, error) {
	q := in.q
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
			into, err := mergeContact(ctx, q, account, other, id)
			if err != nil {
				return "", err
			}
			if into != "" {
				in.joined = append(in.joined, into)
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
			id, account, a.Phone, a.LID, a.Group, in.at); err != nil {
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

const (
	conversationColumns = `v.id, v.account, c.phone, c.lid, c.group_id, c.name, v.last_inbound_at, c.tags, v.erased`
	conversationFrom    = `FROM conversations v JOIN contacts c ON c.id = v.contact WHERE v.id = $1`
)

func conversation(ctx context.Context, q queries, id gateway.ConversationID) (gateway.Conversation, error) {
	c, err := one(ctx, q, func(r row) (gateway.Conversation, error) {
		var c gateway.Conversation
		err := r.Scan(&c.ID, &c.Account, &c.Peer.Phone, &c.Peer.LID, &c.Peer.Group, &c.Name, at(&c.LastInboundAt), from(&c.Tags), from(&c.Erased))
		return c, err
	}, `SELECT `+conversationColumns+` `+conversationFrom, id)
	return c, or(err, "There is no conversation %s", id)
}
