package store

import (
	"context"
	"database/sql"
	"errors"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"wagent/gateway"
)

// AddMessages records those of ms that are not there yet, in their order and
// in one transaction, and returns what is on record for each. Where it fails,
// none is recorded. It finds or adds the contacts and the conversation of each
// message, learns their names, opens the service window, and keeps what is
// needed to fetch a file.
//
// A message that would wait is ignored where the account does not answer its
// group or its sender, or past MaxPerHour (those that were ignored do not
// count), and held while its conversation is paused. Edits and deletions change
// the message that they are about, if no run took it yet; what is deleted is
// given to no run that is claimed later. A person of ours who writes to the
// customer by other means pauses the conversation.
//
// Concurrent calls for one account share a transaction. NotFound: an account does not exist,
// or was not in use any more when the call began.
func (s *Store) AddMessages(ctx context.Context, ms []gateway.Arrival) ([]gateway.Arrived, error) {
	if len(ms) == 0 {
		return nil, nil
	}
	out, err := s.group(ms[0].Account).do(ctx, ms)
	return out, s.fail(err, "add %d messages", len(ms))
}

// arrivalGroups is how many transactions write down at once what arrives. One
// account's wait for each other in any case.
const arrivalGroups = 8

func (s *Store) group(id gateway.AccountID) *group {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return &s.arrivals[h.Sum32()%uint32(len(s.arrivals))]
}

// addArrivals commits several calls of AddMessages at once.
func (s *Store) addArrivals(ctx context.Context, batches [][]gateway.Arrival) ([][]gateway.Arrived, error) {
	var out [][]gateway.Arrived
	hooks, err := s.listeners(ctx, s.tellOfMessage != nil, gateway.EventMessageReceived)
	if err != nil {
		return nil, err
	}
	told := &teller{store: s, hooks: hooks}
	err = s.inTx(ctx, func(q queries) error {
		out = make([][]gateway.Arrived, len(batches))
		in := &intake{store: s, q: q, teller: told, at: now(), windowed: map[gateway.ConversationID]gateway.Windowing{}}
		var err error
		if in.accounts, err = s.holdAccounts(ctx, q, batches); err != nil {
			return err
		}
		joins := map[*gateway.Arrived]gateway.ConversationID{}
		for i, ms := range batches {
			out[i] = make([]gateway.Arrived, len(ms))
			for k := range ms {
				in.joined, in.took = nil, false
				if out[i][k], err = in.add(ctx, &ms[k]); err != nil {
					return err
				}
				if len(in.joined) > 0 { // whose windows may have become one
					clear(in.windowed)
				}
				for _, id := range in.joined {
					joins[&out[i][k]] = id // the last one: what it joined before was joined to it, or is another's
				}
			}
		}
		for arrived, id := range joins {
			if arrived.Joined, err = waiting(ctx, q, id); err != nil {
				return err
			}
		}
		return in.windows(ctx, out)
	})
	return out, s.fail(err, "write messages")
}

// windows says of what waits how its windows are. Most are known by now, unless
// conversations were joined.
func (in *intake) windows(ctx context.Context, out [][]gateway.Arrived) error {
	var ids []gateway.ConversationID
	each := func(do func(id gateway.ConversationID, to *gateway.Windowing)) {
		for i := range out {
			for k := range out[i] {
				a := &out[i][k]
				if a.Message.State == gateway.StateWaiting {
					do(a.Message.Conversation, &a.Window)
				}
				if len(a.Joined) > 0 {
					do(a.Joined[0].Conversation, &a.JoinedWindow)
				}
			}
		}
	}
	each(func(id gateway.ConversationID, _ *gateway.Windowing) {
		if _, ok := in.windowed[id]; !ok {
			ids = append(ids, id)
		}
	})
	if len(ids) > 0 {
		slices.Sort(ids)
		known, err := windowings(ctx, in.q, slices.Compact(ids))
		if err != nil {
			return err
		}
		maps.Copy(in.windowed, known)
	}
	each(func(id gateway.ConversationID, to *gateway.Windowing) { *to = in.windowed[id] })
	return nil
}

// holdAccounts returns the accounts, which must be in use. Of two processes
// that receive messages of one account, one waits: contacts are added and
// merged by one at a time, and seq is the order in which messages were
// committed.
func (s *Store) holdAccounts(ctx context.Context, q queries, batches [][]gateway.Arrival) (map[gateway.AccountID]gateway.Account, error) {
	var ids []gateway.AccountID
	for _, ms := range batches {
		for i := range ms {
			ids = append(ids, ms[i].Account)
		}
	}
	slices.Sort(ids)
	accounts := map[gateway.AccountID]gateway.Account{}
	for _, id := range slices.Compact(ids) {
		a, err := s.holdAccount(ctx, q, id)
		if err != nil {
			return nil, err
		}
		accounts[id] = a
	}
	return accounts, nil
}

// holdAccount keeps an account that is in use to this transaction, as
// holdContacts does. It is as it was before others were waited for: what is taken out
// of use, or changed, in that moment is found the next time.
func (s *Store) holdAccount(ctx context.Context, q queries, id gateway.AccountID) (gateway.Account, error) {
	query, args := accountSelect+`WHERE id = $1 AND active`, []any{id}
	if q.advisory {
		query = `WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock($2)) ` + accountSelect + `CROSS JOIN held WHERE id = $1 AND active`
		args = append(args, lockNumber(contactsOf(id)))
	}
	a, err := one(ctx, q, s.scanAccount, query, args...)
	return a, or(err, "There is no account %q", id)
}

// holdContacts keeps an account, in use or not, to this transaction: nobody of it
// is added or merged meanwhile.
func holdContacts(ctx context.Context, q queries, id gateway.AccountID) error {
	return q.hold(ctx, contactsOf(id))
}

func contactsOf(id gateway.AccountID) string { return "account/" + string(id) }

// An intake takes messages in, in one transaction that holds their accounts.
type intake struct {
	store    *Store
	q        queries
	teller   *teller
	at       time.Time
	accounts map[gateway.AccountID]gateway.Account
	windowed map[gateway.ConversationID]gateway.Windowing
	joined   []gateway.ConversationID // to which others were joined
	took     bool                     // a person of ours took a conversation over
	paused   bool                     // the conversation of the message that is being added
}

func (in *intake) add(ctx context.Context, a *gateway.Arrival) (gateway.Arrived, error) {
	m := in.message(a)
	if m.Direction == gateway.Out {
		switch old, err := in.ours(ctx, a, &m); {
		case err == nil:
			return gateway.Arrived{Message: old}, nil
		case !errors.Is(err, sql.ErrNoRows):
			return gateway.Arrived{}, err
		}
	}
	if err := in.address(ctx, a, &m); err != nil {
		return gateway.Arrived{}, err
	}
	old, changes, err := in.before(ctx, &m)
	if err != nil || old != nil {
		if old != nil {
			return gateway.Arrived{Message: *old}, nil
		}
		return gateway.Arrived{}, err
	}
	if err := in.judge(ctx, a, &m, changes); err != nil {
		return gateway.Arrived{}, err
	}
	x := addedMessage(&m, a.Origin)
	x.query += ` RETURNING seq`
	if m.Seq, err = oneWith(ctx, in.q, scanInt, x, wroteLast(a, &m)...); err != nil {
		return gateway.Arrived{}, err
	}
	for _, follow := range []func(context.Context, *gateway.Arrival, *gateway.Message) error{in.attach, in.takeOver, in.note, in.received} {
		if err := follow(ctx, a, &m); err != nil {
			return gateway.Arrived{}, err
		}
	}
	return gateway.Arrived{Message: m, New: true, Paused: in.took}, nil
}

// message is a message as it arrives, before it has a conversation.
func (in *intake) message(a *gateway.Arrival) gateway.Message {
	m := gateway.Message{
		ID: gateway.NewMessageID(), Account: a.Account, Direction: gateway.In,
		ExternalID: a.ExternalID, Part: a.Part, Type: a.Type, Text: a.Text, Detail: a.Detail, ReplyTo: a.ReplyTo,
		SentAt: fromMillis(millis(a.SentAt)), ReceivedAt: fromMillis(millis(a.ReceivedAt)), State: a.State, StateReason: a.Reason,
		Change: a.Change, Target: a.Target,
	}
	if m.ReceivedAt.IsZero() {
		m.ReceivedAt = in.at
	}
	if m.Change == "" || m.Target == "" {
		m.Change, m.Target = "", ""
	}
	if a.Origin == gateway.OriginEcho || a.FromUs {
		m.Direction, m.State, m.StateReason, m.Status = gateway.Out, "", "", gateway.StatusSent
	}
	return m
}

// ours finds a message of ours whatever the form of the address that it comes
// back under: WhatsApp may know the peer by another than we wrote to.
func (in *intake) ours(ctx context.Context, a *gateway.Arrival, m *gateway.Message) (gateway.Message, error) {
	if m.ExternalID == "" {
		return gateway.Message{}, sql.ErrNoRows
	}
	if len(a.Peer.Aliases()) > 1 { // which is worth knowing in any case
		if _, err := in.contact(ctx, a.Account, a.Peer); err != nil {
			return gateway.Message{}, err
		}
	}
	return one(ctx, in.q, scanMessage, messageSelect+`WHERE account = $1 AND external_id = $2 AND external_id <> '' AND direction = 'out' AND part = $3 LIMIT 1`,
		m.Account, m.ExternalID, m.Part)
}

// address finds or adds the contact and the conversation of a message, which it
// locks.
func (in *intake) address(ctx context.Context, a *gateway.Arrival, m *gateway.Message) error {
	alone := m.Direction == gateway.Out || a.Sender == gateway.Address{} || a.Sender == a.Peer
	if alone {
		peer, conv, err := metBefore(ctx, in.q, a.Account, a.Peer)
		if err != nil {
			return err
		}
		if conv != "" {
			if m.Direction == gateway.In {
				m.Contact = peer
			}
			m.Conversation = conv
			return nil
		}
	}
	peer, err := in.contact(ctx, a.Account, a.Peer)
	if err != nil {
		return err
	}
	switch {
	case m.Direction == gateway.Out:
	case alone:
		m.Contact = peer
	default:
		if m.Contact, err = in.contact(ctx, a.Account, a.Sender); err != nil {
			return err
		}
		// Sender and peer of one person may have become one contact.
		if peer, err = in.contact(ctx, a.Account, a.Peer); err != nil {
			return err
		}
	}
	m.Conversation, err = openConversation(ctx, in.q, a.Account, peer, in.at)
	return err
}

// metBefore returns who an address means and the conversation with them, which it
// locks, if all of its forms are known to mean one and there is a conversation; else
// nothing.
func metBefore(ctx context.Context, q queries, account gateway.AccountID, a gateway.Address) (gateway.ContactID, gateway.ConversationID, error) {
	aliases := a.Aliases()
	if len(aliases) == 0 {
		return "", "", nil
	}
	type pair struct {
		who  gateway.ContactID
		with gateway.ConversationID
	}
	met, err := list(ctx, q, func(r row) (pair, error) {
		var p pair
		err := r.Scan(&p.who, &p.with)
		return p, err
	}, `SELECT a.contact, v.id FROM contact_aliases a JOIN conversations v ON v.account = a.account AND v.contact = a.contact
		WHERE a.account = $1 AND a.alias IN (`+places(2, len(aliases))+`)`+q.lockOf("v"), append([]any{account}, anys(aliases)...)...)
	if err != nil || len(met) < len(aliases) || slices.ContainsFunc(met, func(p pair) bool { return p != met[0] }) {
		return "", "", err
	}
	return met[0].who, met[0].with, nil
}

// openConversation finds or adds the conversation with a peer, and locks it.
func openConversation(ctx context.Context, q queries, account gateway.AccountID, peer gateway.ContactID, at time.Time) (gateway.ConversationID, error) {
	id, err := one(ctx, q, scanText[gateway.ConversationID], `SELECT id FROM conversations WHERE account = $1 AND contact = $2`+q.lock, account, peer)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	id = gateway.NewConversationID()
	_, err = q.exec(ctx, `INSERT INTO conversations (id, account, contact, last_inbound_at, created_at) VALUES ($1, $2, $3, 0, $4)`, id, account, peer, at)
	return id, err
}

// before looks at what was there before m: the message that has its key, or else
// what changes m; whether the conversation is paused, and what it has to say of its window.
func (in *intake) before(ctx context.Context, m *gateway.Message) (old *gateway.Message, changes []gateway.Message, err error) {
	var some bool
	var x gateway.Windowing
	_, err = one(ctx, in.q, func(r row) (struct{}, error) {
		return struct{}{}, r.Scan(append([]any{&some, &in.paused}, windowingFields(&x, new(string))...)...)
	}, `SELECT EXISTS (SELECT 1 FROM messages WHERE `+sameKey+`) OR EXISTS (SELECT 1 FROM messages WHERE `+changesIt+`),
		EXISTS (`+renumbered(pauseOf, "$1", "$2", "$2", "$7")+`), `+windowingColumns+windowingFrom+`WHERE v.id = $2`,
		m.Account, m.Conversation, m.Contact, m.ExternalID, m.Part, m.Direction, now())
	if err != nil {
		return nil, nil, err
	}
	in.windowed[m.Conversation] = x
	if !some {
		return nil, nil, nil
	}
	return onRecord(ctx, in.q, m)
}

// The message that has the key of another, and what changes that. One without an
// id of WhatsApp's has neither.
const (
	sameKey   = `account = $1 AND conversation = $2 AND contact = $3 AND external_id = $4 AND external_id <> '' AND part = $5`
	changesIt = `conversation = $2 AND target = $4 AND target <> '' AND contact = $3 AND direction = $6`
)

// onRecord finds the message that has m's key, or else what came before m
// though it changes m.
func onRecord(ctx context.Context, q queries, m *gateway.Message) (old *gateway.Message, changes []gateway.Message, err error) {
	found, err := list(ctx, q, scanMessage, messageSelect+`WHERE `+sameKey+` UNION ALL `+messageSelect+`WHERE `+changesIt,
		m.Account, m.Conversation, m.Contact, m.ExternalID, m.Part, m.Direction)
	for i := range found {
		if found[i].ExternalID == m.ExternalID {
			return &found[i], nil, err
		}
	}
	return nil, found, err
}

// tells reports whether a message tells who wrote it and when.
func tells(a *gateway.Arrival, m *gateway.Message) bool {
	return m.Direction == gateway.In && m.Change != gateway.Revoke && (a.Origin == gateway.OriginLive || a.Origin == gateway.OriginBacklog)
}

// note keeps what a message tells of who wrote it.
func (in *intake) note(ctx context.Context, a *gateway.Arrival, m *gateway.Message) error {
	if !tells(a, m) {
		return nil
	}
	return nameContact(ctx, in.q, m.Contact, a.SenderName)
}

// wroteLast is the statement that keeps when a customer wrote last.
func wroteLast(a *gateway.Arrival, m *gateway.Message) []statement {
	if !tells(a, m) {
		return nil
	}
	// A clock that is ahead of ours must not keep the window open for longer.
	wrote := m.SentAt
	if wrote.IsZero() || wrote.After(m.ReceivedAt) {
		wrote = m.ReceivedAt
	}
	return []statement{{`UPDATE conversations SET last_inbound_at = $2 WHERE id = $1 AND last_inbound_at < $2`, []any{m.Conversation, wrote}}}
}

// waiting returns what waits in a conversation.
func waiting(ctx context.Context, q queries, id gateway.ConversationID) ([]gateway.Message, error) {
	return list(ctx, q, scanMessage, messageSelect+`WHERE conversation = $1 AND state = 'waiting' ORDER BY seq`, id)
}
