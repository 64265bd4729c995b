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

// Contacts returns at most limit contacts of all accounts, newest first, that come
// after one ("": from the newest on), and how many there are in all. With a phone
// number they are all those that it means, or meant before the person changed it.
// NotFound: there is no such contact any more.
func (s *Store) Contacts(ctx context.Context, phone string, after gateway.ContactID, limit int) ([]gateway.Contact, int, error) {
	if phone != "" { // one for each account
		cs, err := list(ctx, s.q, scanContact, contactSelect+`WHERE c.id IN (SELECT a.contact FROM contact_aliases a WHERE a.alias = $1)
			ORDER BY c.created_at DESC, c.id`, gateway.Address{Phone: phone}.Aliases()[0])
		return cs, len(cs), s.fail(err, "list contacts with a number")
	}
	where, args := ``, []any{limit}
	if after != "" {
		at, err := one(ctx, s.q, scanTime, `SELECT created_at FROM contacts WHERE id = $1`, after)
		if err != nil {
			return nil, 0, s.fail(or(err, "There is no contact %s", after), "list contacts")
		}
		where, args = `WHERE c.created_at <= $2 AND (c.created_at < $2 OR c.id > $3) `, []any{limit, at, after}
	}
	cs, err := list(ctx, s.q, scanContact, contactSelect+where+`ORDER BY c.created_at DESC, c.id LIMIT $1`, args...)
	if err != nil {
		return nil, 0, s.fail(err, "list contacts")
	}
	if after == "" {
		total, err := inAll(ctx, s.q, len(cs), limit, `SELECT COUNT(*) FROM contacts`)
		return cs, total, s.fail(err, "count contacts")
	}
	total, err := one(ctx, s.q, scanInt, `SELECT COUNT(*) FROM contacts`)
	return cs, int(total), s.fail(err, "count contacts")
}
