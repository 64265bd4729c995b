package store

import (
	"context"
	"math"
	"time"

	"wagent/gateway"
)

// QueueMessage puts what a person of ours says to x.To in the outbox, and on
// record, and keeps agents out of the conversation for as long as the account
// says, or for longer where it is paused already: all of it or nothing. It adds
// the contact and the conversation where there were none, fills what x lacks,
// and returns the message. Where there is a message with x's id it returns that,
// and changes nothing: a request may be repeated. A message that the service window
// stops is on record, but takes nothing over: nobody reads it.
//
// NotFound: the account does not exist, or is not in use any more. Conflict: no
// device is linked to it, where it needs one. Invalid: the address is empty.
func (s *Store) QueueMessage(ctx context.Context, x *gateway.Send) (gateway.PeerMessage, error) {
	want := *x
	var m gateway.PeerMessage
	err := s.inTx(ctx, func(q queries) error {
		*x = want
		a, err := s.holdAccount(ctx, q, x.Account)
		if err != nil {
			return err
		}
		if x.ID != "" {
			if m, err = messageOf(ctx, q, a.ID, x.ID); gateway.KindOf(err) != gateway.NotFound {
				return err
			}
		}
		if a.Kind == gateway.LinkedDevice {
			linked, err := exists(ctx, q, `SELECT 1 FROM links WHERE account = $1 AND device <> ''`, a.ID)
			if err == nil && !linked {
				err = &gateway.Error{Kind: gateway.Conflict, Msg: "The session is not connected: no device is linked"}
			}
			if err != nil {
				return err
			}
		}
		in := &intake{store: s, q: q, at: now()}
		who, err := in.contact(ctx, a.ID, x.To)
		if err != nil {
			return err
		}
		id, err := openConversation(ctx, q, a.ID, who, in.at)
		if err != nil {
			return err
		}
		c, err := conversation(ctx, q, id)
		if err != nil {
			return err
		}
		open := a.Kind != gateway.CloudAPI || x.Type == gateway.TypeTemplate || in.at.Before(c.LastInboundAt.Add(gateway.ServiceWindow))
		if open && a.Takeover > 0 {
			if err := s.beginTakeover(ctx, q, &a, id, in.at); err != nil {
				return err
			}
		}
		address(x, &c)
		for _, add := range addedSend(x, "") {
			if _, err := q.exec(ctx, add.query, add.args...); err != nil {
				return err
			}
		}
		m, err = messageOf(ctx, q, a.ID, x.ID)
		return err
	})
	return m, s.fail(err, "queue a message of account %s", x.Account)
}

// address says whom a send is for and in which conversation: under the number
// that was asked for, and the other forms that we know.
func address(x *gateway.Send, c *gateway.Conversation) {
	asked := x.To
	x.Conversation, x.To, x.Answers = c.ID, c.Peer, c.LastInboundAt
	if asked.Phone != "" {
		x.To.Phone = asked.Phone
	}
	if x.ID == "" {
		x.ID = gateway.NewMessageID()
	}
	x.Origin, x.OriginID = gateway.FromAPI, string(x.ID)
}

// beginTakeover needs the conversation locked.
func (s *Store) beginTakeover(ctx context.Context, q queries, a *gateway.Account, id gateway.ConversationID, at time.Time) error {
	return s.beginPause(ctx, q, &gateway.Pause{Conversation: id, Reason: gateway.PauseOutbound, ExpiresAt: at.Add(a.Takeover)})
}

const (
	peerMessageSelect = `SELECT m.id, m.seq, m.account, m.conversation, m.contact, m.direction, m.external_id, m.part, m.type, m.body, m.detail, m.reply_to,
	m.sent_at, m.received_at, m.state, m.state_reason, m.status, m.run, m.change, m.target, m.revoked_at,
	m.accepted_at, m.delivered_at, m.read_at, m.failure, c.phone, c.lid, c.group_id ` + peerMessageFrom
	// The messages come first: SQLite takes a cross join as it is written.
	peerMessageFrom = `FROM messages m CROSS JOIN conversations v CROSS JOIN contacts c WHERE v.id = m.conversation AND c.id = v.contact AND m.account = $1 `
)

// withPeer scans what follows a message's own columns.
type withPeer struct {
	row
	peer *gateway.Address
}

// Scan satisfies row.
func (w withPeer) Scan(dest ...any) error {
	return w.row.Scan(append(dest, &w.peer.Phone, &w.peer.LID, &w.peer.Group)...)
}

func scanPeerMessage(r row) (gateway.PeerMessage, error) {
	var m gateway.PeerMessage
	var err error
	m.Message, err = scanMessage(withPeer{r, &m.Peer})
	return m, err
}

// maxCounted is where PeerMessages stops to count, so that a list takes no longer
// the more was ever said.
const maxCounted = 10_000

// PeerMessages returns at most limit messages of an account that came before one
// ("": from the newest on), newest first, and how many there are in all, at most
// 10,000: that many are 10,000 or more. Edits and deletions are none of their own.
// NotFound: the account has no such message.
func (s *Store) PeerMessages(ctx context.Context, account gateway.AccountID, before gateway.MessageID, limit int) ([]gateway.PeerMessage, int, error) {
	seq := int64(math.MaxInt64)
	if before != "" {
		m, err := messageOf(ctx, s.q, account, before)
		if err != nil {
			return nil, 0, s.fail(err, "list messages of account %s", account)
		}
		seq = m.Seq
	}
	ms, err := list(ctx, s.q, scanPeerMessage, peerMessageSelect+`AND m.change = '' AND m.seq < $2 ORDER BY m.seq DESC LIMIT $3`, account, seq, limit)
	if err != nil {
		return nil, 0, s.fail(err, "list messages of account %s", account)
	}
	read := len(ms)
	if before != "" {
		read = limit // there are others
	}
	total, err := inAll(ctx, s.q, read, limit, `SELECT COUNT(*) FROM (SELECT 1 FROM messages
		WHERE account = $1 AND change = '' LIMIT $2) AS counted`, account, maxCounted)
	return ms, total, s.fail(err, "count messages of account %s", account)
}

// PeerMessage returns one message of an account, or an Error of kind NotFound.
func (s *Store) PeerMessage(ctx context.Context, account gateway.AccountID, id gateway.MessageID) (gateway.PeerMessage, error) {
	m, err := messageOf(ctx, s.q, account, id)
	return m, s.fail(err, "read message %s", id)
}

func messageOf(ctx context.Context, q queries, account gateway.AccountID, id gateway.MessageID) (gateway.PeerMessage, error) {
	m, err := one(ctx, q, scanPeerMessage, peerMessageSelect+`AND m.id = $2 AND m.change = ''`, account, id)
	return m, or(err, "There is no message %s", id)
}
