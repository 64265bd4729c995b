package store

import (
	"context"
	"slices"

	"wagent/gateway"
)

// ContactTags returns what a peer of an account is filed under, sorted; nil:
// nothing. NotFound: nobody is known there by that address.
func (s *Store) ContactTags(ctx context.Context, account gateway.AccountID, peer gateway.Address) ([]string, error) {
	id, err := peerContact(ctx, s.q, account, peer)
	if err != nil {
		return nil, s.fail(err, "find a contact of account %s", account)
	}
	tags, err := contactTags(ctx, s.q, id)
	return tags, s.fail(err, "read the tags of contact %s", id)
}

// SetContactTags replaces what a peer of an account is filed under, and returns
// it as it is kept: sorted, each tag once. Nothing takes all tags away. Runs
// that are claimed from now on have them. Invalid: gateway.CheckTags says so.
// NotFound: nobody is known there by that address.
func (s *Store) SetContactTags(ctx context.Context, account gateway.AccountID, peer gateway.Address, tags []string) ([]string, error) {
	tags = unite(tags)
	err := gateway.CheckTags(tags)
	if err == nil {
		err = s.inTx(ctx, func(q queries) error {
			// Nobody is merged meanwhile: what was set would go with the contact.
			if err := holdContacts(ctx, q, account); err != nil {
				return err
			}
			id, err := peerContact(ctx, q, account, peer)
			if err != nil {
				return err
			}
			return writeTags(ctx, q, id, tags)
		})
	}
	if err != nil {
		return nil, s.fail(err, "set the tags of a contact of account %s", account)
	}
	return tags, nil
}

// peerContact finds who an address means. Where its forms mean several people
// who are not known yet to be one, the most telling form decides.
func peerContact(ctx context.Context, q queries, account gateway.AccountID, peer gateway.Address) (gateway.ContactID, error) {
	aliases := peer.Aliases()
	known, err := knownAliases(ctx, q, account, aliases)
	if err != nil {
		return "", err
	}
	for _, alias := range aliases {
		if id := known[alias]; id != "" {
			return id, nil
		}
	}
	return "", &gateway.Error{Kind: gateway.NotFound, Msg: "There is no contact with that address"}
}

func contactTags(ctx context.Context, q queries, id gateway.ContactID) ([]string, error) {
	tags, err := one(ctx, q, func(r row) (tags []string, err error) {
		err = r.Scan(from(&tags))
		return tags, err
	}, `SELECT tags FROM contacts WHERE id = $1`, id)
	return tags, or(err, "There is no contact with that address")
}

func writeTags(ctx context.Context, q queries, id gateway.ContactID, tags []string) error {
	var value any = ""
	if len(tags) > 0 {
		value = asJSON{tags}
	}
	_, err := q.exec(ctx, `UPDATE contacts SET tags = $2 WHERE id = $1`, id, value)
	return err
}

// joinTags gives the tags of a contact that goes to the one that is kept. They
// may then be more than a person may set: none is lost.
func joinTags(ctx context.Context, q queries, gone, kept gateway.ContactID) error {
	theirs, err := contactTags(ctx, q, gone)
	if err != nil || len(theirs) == 0 {
		return err
	}
	ours, err := contactTags(ctx, q, kept)
	if err != nil {
		return err
	}
	return writeTags(ctx, q, kept, unite(theirs, ours))
}

// unite returns what stands in any of the lists, sorted, each once; nil if
// nothing does.
func unite(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) == 0 {
		return nil
	}
	return all
}
