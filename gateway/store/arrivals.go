package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"

	"wagent/gateway"
)

// AddMessages records those of ms that are not there yet, in their order and
// in one transaction, and returns what is on record for each. Where it fails,
// none is recorded. It finds or adds the contacts and the conversation of each
// message, learns their names, and opens the service window. A message that
// would wait is held while its conversation is paused, and ignored past
// MaxPerHour; those that were ignored do not count.
//
// Concurrent calls share a transaction. NotFound: an account does not exist,
// or is not in use any more.
func (s *Store) AddMessages(ctx context.Context, ms []gateway.Arrival) ([]gateway.Arrived, error) {
	if len(ms) == 0 {
		return nil, nil
	}
	out, err := s.arrivals.do(ctx, ms)
	return out, s.fail(err, "add %d messages", len(ms))
}

// addArrivals commits several calls of AddMessages at once.
func (s *Store) addArrivals(ctx context.Context, batches [][]gateway.Arrival) ([][]gateway.Arrived, error) {
	var out [][]gateway.Arrived
	err := s.inTx(ctx, func(q queries) error {
		out = make([][]gateway.Arrived, len(batches))
		if err := holdAccounts(ctx, q, batches); err != nil {
			return err
		}
		at := now()
		for i, ms := range batches {
			out[i] = make([]gateway.Arrived, len(ms))
			for k := range ms {
				var err error
				if out[i][k], err = addArrival(ctx, q, &ms[k], at); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return out, s.fail(err, "write messages")
}

// holdAccounts checks that the accounts exist. Of two processes that receive
// messages of one account, one waits: contacts are added and merged by one at
// a time, and seq is the order in which messages were committed.
func holdAccounts(ctx context.Context, q queries, batches [][]gateway.Arrival) error {
	var accounts []gateway.AccountID
	for _, ms := range batches {
		for i := range ms {
			accounts = append(accounts, ms[i].Account)
		}
	}
	slices.Sort(accounts)
	for _, id := range slices.Compact(accounts) {
		if err := q.hold(ctx, "account/"+string(id)); err != nil {
			return err
		}
		_, err := one(ctx, q, scanInt, `SELECT 1 FROM accounts WHERE id = $1 AND active`, id)
		if err != nil {
			return or(err, "There is no account %q", id)
		}
	}
	return nil
}

func addArrival(ctx context.Context, q queries, a *gateway.Arrival, at time.Time) (gateway.Arrived, error) {
	m := gateway.Message{
		ID: gateway.NewMessageID(), Account: a.Account, Direction: gateway.In,
		ExternalID: a.ExternalID, Part: a.Part, Type: a.Type, Text: a.Text, Detail: a.Detail, ReplyTo: a.ReplyTo,
		SentAt: fromMillis(millis(a.SentAt)), ReceivedAt: fromMillis(millis(a.ReceivedAt)), State: a.State, StateReason: a.Reason,
	}
	if m.ReceivedAt.IsZero() {
		m.ReceivedAt = at
	}
	peer, err := contact(ctx, q, a.Account, a.Peer, at)
	if err != nil {
		return gateway.Arrived{}, err
	}
	switch {
	case a.Origin == gateway.OriginEcho:
		m.Direction, m.State, m.StateReason, m.Status = gateway.Out, "", "", gateway.StatusSent
	case a.Sender == gateway.Address{} || a.Sender == a.Peer:
		m.Contact = peer
	default:
		if m.Contact, err = contact(ctx, q, a.Account, a.Sender, at); err != nil {
			return gateway.Arrived{}, err
		}
		// Sender and peer of one person may have become one contact.
		if peer, err = contact(ctx, q, a.Account, a.Peer, at); err != nil {
			return gateway.Arrived{}, err
		}
	}
	if m.Conversation, err = openConversation(ctx, q, a.Account, peer, at); err != nil {
		return gateway.Arrived{}, err
	}
	switch old, err := onRecord(ctx, q, &m); {
	case err == nil:
		return gateway.Arrived{Message: old}, nil
	case !errors.Is(err, sql.ErrNoRows):
		return gateway.Arrived{}, err
	}
	if err := judge(ctx, q, a, &m); err != nil {
		return gateway.Arrived{}, err
	}
	if m.Seq, err = insertMessage(ctx, q, &m, a.Origin); err != nil {
		return gateway.Arrived{}, err
	}
	return gateway.Arrived{Message: m, New: true}, noteInbound(ctx, q, a, &m)
}

// openConversation finds or adds the conversation with a peer.
func openConversation(ctx context.Context, q queries, account gateway.AccountID, peer gateway.ContactID, at time.Time) (gateway.ConversationID, error) {
	id, err := one(ctx, q, scanText[gateway.ConversationID], `SELECT id FROM conversations WHERE account = $1 AND contact = $2`+q.lock, account, peer)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	id = gateway.NewConversationID()
	_, err = q.exec(ctx, `INSERT INTO conversations (id, account, contact, last_inbound_at, created_at) VALUES ($1, $2, $3, 0, $4)`, id, account, peer, at)
	return id, err
}

// onRecord finds the message that has m's key. One without an id of WhatsApp's
// has none.
func onRecord(ctx context.Context, q queries, m *gateway.Message) (gateway.Message, error) {
	if m.ExternalID == "" {
		return gateway.Message{}, sql.ErrNoRows
	}
	return one(ctx, q, scanMessage, messageSelect+`WHERE account = $1 AND conversation = $2 AND contact = $3 AND external_id = $4 AND external_id <> '' AND part = $5`,
		m.Account, m.Conversation, m.Contact, m.ExternalID, m.Part)
}

// judge says what becomes of a message that would wait.
func judge(ctx context.Context, q queries, a *gateway.Arrival, m *gateway.Message) error {
	if m.State != gateway.StateWaiting {
		return nil
	}
	is, err := paused(ctx, q, m.Conversation)
	if err != nil {
		return err
	}
	if is {
		m.State, m.StateReason = gateway.StateHeld, reasonPaused
		return nil
	}
	if a.MaxPerHour <= 0 {
		return nil
	}
	n, err := one(ctx, q, scanInt, `SELECT COUNT(*) FROM messages WHERE conversation = $1 AND direction = 'in'
		AND received_at > $2 AND state <> 'ignored'`, m.Conversation, m.ReceivedAt.Add(-time.Hour))
	if err == nil && n >= int64(a.MaxPerHour) {
		m.State, m.StateReason = gateway.StateIgnored, "hourly_limit"
	}
	return err
}

// noteInbound keeps what a message tells about who wrote it and when.
func noteInbound(ctx context.Context, q queries, a *gateway.Arrival, m *gateway.Message) error {
	if a.Origin != gateway.OriginLive && a.Origin != gateway.OriginBacklog {
		return nil
	}
	if err := nameContact(ctx, q, m.Contact, a.SenderName); err != nil {
		return err
	}
	// A clock that is ahead of ours must not keep the window open for longer.
	wrote := m.SentAt
	if wrote.IsZero() || wrote.After(m.ReceivedAt) {
		wrote = m.ReceivedAt
	}
	_, err := q.exec(ctx, `UPDATE conversations SET last_inbound_at = $2 WHERE id = $1 AND last_inbound_at < $2`, m.Conversation, wrote)
	return err
}
