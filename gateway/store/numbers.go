package store

import (
	"context"

	"wagent/gateway"
)

// JoinNumbers takes note that whom an account wrote to under one address WhatsApp
// knows under another: Brazil, Mexico and Argentina have numbers that are written
// in two ways. Where they were taken for two people, these become one, in the
// conversation under which they write; the other address goes on to mean them, too.
// It returns the messages that wait in a conversation that another was joined to,
// as JoinAddresses does, and may be repeated. Nobody is added. NotFound: the account
// does not exist, or is not in use any more.
func (s *Store) JoinNumbers(ctx context.Context, account gateway.AccountID, asked, known gateway.Address) ([]gateway.Message, error) {
	if asked.Group != "" || known.Group != "" {
		return nil, nil
	}
	if same, err := areOne(ctx, s.q, account, asked, known); same || err != nil { // hardly ever is it news
		return nil, s.fail(err, "join numbers of account %s", account)
	}
	var out []gateway.Message
	err := s.inTx(ctx, func(q queries) error {
		out = nil
		if _, err := s.holdAccount(ctx, q, account); err != nil {
			return err
		}
		in := &intake{store: s, q: q, at: now()}
		if err := in.join(ctx, account, asked, known); err != nil {
			return err
		}
		for _, id := range in.joined[max(0, len(in.joined)-1):] { // all went to the same
			ms, err := waiting(ctx, q, id)
			if err != nil {
				return err
			}
			out = ms
		}
		return nil
	})
	return out, s.fail(err, "join numbers of account %s", account)
}

// areOne reports whether all forms of two addresses are on record as one person's.
func areOne(ctx context.Context, q queries, account gateway.AccountID, a, b gateway.Address) (bool, error) {
	all := append(a.Aliases(), b.Aliases()...)
	met, err := knownAliases(ctx, q, account, all)
	for _, alias := range all {
		if met[alias] == "" || met[alias] != met[all[0]] {
			return false, err
		}
	}
	return true, err
}

// join makes known, under which somebody writes, and asked one person. The account
// must be held.
func (in *intake) join(ctx context.Context, account gateway.AccountID, asked, known gateway.Address) error {
	met, err := knownAliases(ctx, in.q, account, append(asked.Aliases(), known.Aliases()...))
	if err != nil {
		return err
	}
	var old, kept gateway.ContactID
	for _, alias := range asked.Aliases() {
		if old == "" {
			old = met[alias]
		}
	}
	for _, alias := range known.Aliases() {
		if kept == "" {
			kept = met[alias]
		}
	}
	switch {
	case old == "": // they were forgotten meanwhile
		return nil
	case kept == "":
		kept = old
	case kept != old:
		into, err := mergeContact(ctx, in.q, account, old, kept)
		if err != nil {
			return err
		}
		if into != "" {
			in.joined = append(in.joined, into)
		}
	}
	// The forms of known are one person's, and the ones to write to from now on.
	if known.Phone != "" && met["phone:"+known.Phone] == "" {
		if _, err := in.q.exec(ctx, `INSERT INTO contact_aliases (account, alias, contact) VALUES ($1, $2, $3)`, account, "phone:"+known.Phone, kept); err != nil {
			return err
		}
		if _, err := in.q.exec(ctx, `UPDATE contacts SET phone = $2 WHERE id = $1`, kept, known.Phone); err != nil {
			return err
		}
	}
	_, err = in.contact(ctx, account, known)
	return err
}
