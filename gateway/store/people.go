package store

import (
	"context"

	"wagent/gateway"
)

const contactSelect = `SELECT c.id, c.account, c.phone, c.lid, c.group_id, c.name, c.tags FROM contacts c `

func scanContact(r row) (gateway.Contact, error) {
	var c gateway.Contact
	err := r.Scan(&c.ID, &c.Account, &c.Address.Phone, &c.Address.LID, &c.Address.Group, &c.Name, from(&c.Tags))
	return c, err
}

// Contact returns one contact, or an Error of kind NotFound.
func (s *Store) Contact(ctx context.Context, id gateway.ContactID) (gateway.Contact, error) {
	c, err := contactByID(ctx, s.q, id)
	return c, s.fail(err, "read contact %s", id)
}

func contactByID(ctx context.Context, q queries, id gateway.ContactID) (gateway.Contact, error) {
	c, err := one(ctx, q, scanContact, contactSelect+`WHERE c.id = $1`, id)
	return c, or(err, "There is no contact %s", id)
}

// Contacts returns at most limit contacts of all accounts, newest first, and how
// many there are in all. With a phone number they are those that it means, or
// meant before the person changed it.
func (s *Store) Contacts(ctx context.Context, phone string, limit int) ([]gateway.Contact, int, error) {
	where, args := ``, []any{}
	if phone != "" {
		where, args = `WHERE c.id IN (SELECT a.contact FROM contact_aliases a WHERE a.alias = $2) `, []any{gateway.Address{Phone: phone}.Aliases()[0]}
	}
	cs, err := list(ctx, s.q, scanContact, contactSelect+where+`ORDER BY c.created_at DESC, c.id LIMIT $1`, append([]any{limit}, args...)...)
	if err != nil {
		return nil, 0, s.fail(err, "list contacts")
	}
	if phone != "" { // one for each account
		return cs, len(cs), nil
	}
	total, err := inAll(ctx, s.q, len(cs), limit, `SELECT COUNT(*) FROM contacts`)
	return cs, total, s.fail(err, "count contacts")
}
