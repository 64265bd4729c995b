package store

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"wagent/gateway"
)

// TellOfMessages sets what webhooks are told of a message that a customer wrote,
// and of how far one of ours got: tell makes the deliveries, which are written
// in the same transaction. It must be called before the store is used by others;
// without it nothing is told.
//
// A webhook that another process made, or changed, is known within two seconds.
func (s *Store) TellOfMessages(tell func(hooks []gateway.Webhook, e *gateway.MessageEvent, now time.Time) []gateway.Delivery) {
	s.tellOfMessage = tell
}

// listeners returns the webhooks that want one of the events, none if we do not
// tell of them. They are
// remembered for a moment: where none wants any there is nothing to write, and
// hardly ever anything to read. It must not be asked in a transaction, which
// keeps SQLite's only connection.
func (s *Store) listeners(ctx context.Context, tells bool, events ...string) ([]gateway.Webhook, error) {
	if !tells {
		return nil, nil
	}
	hooks, err := s.Directory().Webhooks(ctx)
	return slices.DeleteFunc(hooks, func(w gateway.Webhook) bool {
		return !slices.ContainsFunc(events, func(e string) bool { return w.Wants(e, "") })
	}), err
}

// A teller tells webhooks of messages, in a transaction.
type teller struct {
	store *Store
	hooks []gateway.Webhook // who wants to know; none: nothing is told
}

// statusRank numbers what may be told of one message.
var statusRank = map[gateway.SendStatus]int{
	gateway.StatusSent: 1, gateway.StatusDelivered: 2, gateway.StatusRead: 3, gateway.StatusFailed: 4,
}

// statusRanks is more than the highest of them.
const statusRanks = 8

// tell tells of a message, once of each status.
func (t *teller) tell(ctx context.Context, q queries, e *gateway.MessageEvent) error {
	number := int(e.Message.Seq)
	if e.Message.Direction == gateway.Out {
		number = number*statusRanks + statusRank[e.Message.Status]
	}
	ds := t.store.tellOfMessage(t.hooks, e, now())
	for i := range ds {
		ds[i].Action = number // no run makes it one of a kind
	}
	return insertDeliveries(ctx, q, ds)
}

// received tells of a message that a customer just wrote: not of what is history
// to us, nor of edits and deletions, for which the agents API has no event.
func (in *intake) received(ctx context.Context, a *gateway.Arrival, m *gateway.Message) error {
	if len(in.teller.hooks) == 0 || m.Direction != gateway.In || m.Change != "" || a.Origin != gateway.OriginLive && a.Origin != gateway.OriginBacklog {
		return nil
	}
	e := gateway.MessageEvent{Message: *m, Peer: a.Sender, Group: a.Peer.Group, Name: a.SenderName, Kind: in.accounts[m.Account].Kind, At: m.SentAt}
	if e.Peer == (gateway.Address{}) {
		e.Peer = a.Peer
	}
	if e.At.IsZero() {
		e.At = m.ReceivedAt
	}
	if e.Peer.Phone == "" { // we may know it all the same
		phones, err := list(ctx, in.q, scanText[string], `SELECT phone FROM contacts WHERE id = $1`, m.Contact)
		if err != nil {
			return err
		}
		if len(phones) > 0 {
			e.Peer.Phone = phones[0]
		}
	}
	return in.teller.tell(ctx, in.q, &e)
}

// settled tells of a message of ours what became of its send.
func (t *teller) settled(ctx context.Context, q queries, x *gateway.Send) error {
	var status gateway.SendStatus
	switch x.State {
	case gateway.SendAccepted:
		status = gateway.StatusSent
	case gateway.SendRefused, gateway.SendCancelled:
		status = gateway.StatusFailed
	default:
		return nil
	}
	return t.updated(ctx, q, &gateway.StatusUpdate{
		Account: x.Account, Message: x.ID, ExternalID: x.ExternalID, Status: status, Reason: x.Error, At: now(),
	})
}

// updated tells of a message of ours that has the status that u tells of. What
// repeats was told already, and what came too late is not so any more.
func (t *teller) updated(ctx context.Context, q queries, u *gateway.StatusUpdate) error {
	if len(t.hooks) == 0 || statusRank[u.Status] == 0 {
		return nil
	}
	ms, err := list(ctx, q, scanMessage, messageSelect+`WHERE id = $1 AND account = $2 AND direction = 'out' AND status = $3
		UNION ALL `+messageSelect+`WHERE account = $2 AND external_id = $4 AND external_id <> '' AND direction = 'out' AND status = $3 LIMIT 1`,
		u.Message, u.Account, u.Status, u.ExternalID)
	if err != nil || len(ms) == 0 {
		return err
	}
	e := gateway.MessageEvent{Message: ms[0], Reason: u.Reason, At: u.At}
	if e.At.IsZero() {
		e.At = now()
	}
	_, err = one(ctx, q, func(r row) (struct{}, error) {
		return struct{}{}, r.Scan(&e.Peer.Phone, &e.Peer.LID, &e.Group, &e.Name, &e.Kind)
	}, `SELECT c.phone, c.lid, c.group_id, c.name, a.kind FROM conversations v JOIN contacts c ON c.id = v.contact JOIN accounts a ON a.id = v.account
		WHERE v.id = $1`, e.Message.Conversation)
	if err != nil {
		return err
	}
	return t.tell(ctx, q, &e)
}

// TellOfLinks sets what webhooks are told of a linked device whose connection
// SetLink says has changed since they were told last; the deliveries are written
// in the same transaction. It must be called before the store is used by others;
// without it nothing is told. A process that hands a link to another, or dies,
// tells nothing: the next one does, if it does not get as far.
func (s *Store) TellOfLinks(tell func(hooks []gateway.Webhook, e *gateway.LinkEvent, now time.Time) []gateway.Delivery) {
	s.tellOfLink = tell
}

// setLinkAndTell is SetLink where webhooks want to know. It returns how many
// links it changed.
func (s *Store) setLinkAndTell(ctx context.Context, l *gateway.Link, hooks []gateway.Webhook) (n int64, err error) {
	err = s.inTx(ctx, func(q queries) error {
		told, err := list(ctx, q, scanText[gateway.LinkState], `SELECT told FROM links WHERE account = $1 AND holder = $2 AND fence = $3`+q.lockKey,
			l.Account, l.Holder, l.Fence)
		if err != nil {
			return err
		}
		if n, err = setLink(ctx, q, l); err != nil || n == 0 {
			return err
		}
		e := gateway.LinkEvent{Link: *l, Told: told[0]}
		if e.Event() == "" {
			return nil
		}
		a, err := s.account(ctx, q, l.Account)
		if err != nil {
			return err
		}
		e.Name = a.Name
		ds := s.tellOfLink(hooks, &e, now())
		for i := range ds { // no run makes it one of a kind, and a change has no number
			ds[i].Action = rand.Int()
		}
		return insertDeliveries(ctx, q, ds)
	})
	return n, err
}

// TellOfQuota writes the deliveries that tell makes of what an agent used, but
// for those that were written before: they are told by their numbers.
func (s *Store) TellOfQuota(ctx context.Context, e *gateway.QuotaEvent, tell func(hooks []gateway.Webhook, e *gateway.QuotaEvent, now time.Time) []gateway.Delivery) error {
	hooks, err := s.listeners(ctx, true, e.Event())
	if err == nil && len(hooks) > 0 {
		err = s.inTx(ctx, func(q queries) error { return insertDeliveries(ctx, q, tell(hooks, e, now())) })
	}
	return s.fail(err, "tell of what agent %s used", e.Agent)
}
