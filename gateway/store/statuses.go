package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"wagent/gateway"
)

// earlier lists, for each status that WhatsApp tells, those it may follow: a
// message never goes back, and a failure is final and comes before delivery.
var earlier = map[gateway.SendStatus]string{
	gateway.StatusSent:      `('queued')`,
	gateway.StatusDelivered: `('queued', 'sent')`,
	gateway.StatusRead:      `('queued', 'sent', 'delivered')`,
	gateway.StatusFailed:    `('queued', 'sent')`,
}

// ApplyStatuses records what WhatsApp tells about messages of ours, all of it
// or nothing. Updates may repeat, come out of order and be about messages that
// are not on record. A message is known by our id, if it came back, or else by
// WhatsApp's.
//
// An update is also the proof that a send, whose attempt may not have ended or
// ended unknown, was taken or refused.
func (s *Store) ApplyStatuses(ctx context.Context, updates []gateway.StatusUpdate) error {
	if len(updates) == 0 {
		return nil
	}
	// One order for all, so that two processes do not wait for each other.
	updates = slices.Clone(updates)
	slices.SortStableFunc(updates, func(a, b gateway.StatusUpdate) int {
		return strings.Compare(string(a.Message)+a.ExternalID, string(b.Message)+b.ExternalID)
	})
	hooks, err := s.listeners(ctx, s.tellOfMessage != nil, gateway.EventMessageStatus, gateway.EventMessageFailed)
	if err != nil {
		return s.fail(err, "apply %d statuses", len(updates))
	}
	told := &teller{store: s, hooks: hooks}
	err = s.inTx(ctx, func(q queries) error {
		for i := range updates {
			if err := applyStatus(ctx, q, &updates[i]); err != nil {
				return err
			}
			if err := told.updated(ctx, q, &updates[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return s.fail(err, "apply %d statuses", len(updates))
}

func applyStatus(ctx context.Context, q queries, u *gateway.StatusUpdate) error {
	before, ok := earlier[u.Status]
	if !ok {
		return nil
	}
	m, err := statusMessage(ctx, q, u)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.ExternalID != "" && u.ExternalID != "" && m.ExternalID != u.ExternalID && u.Status == gateway.StatusFailed {
		return nil // it was sent twice, and the customer has the other one
	}
	if err := proveSend(ctx, q, &m, u); err != nil {
		return err
	}
	if m.ExternalID == "" {
		if err := nameMessage(ctx, q, m.Account, m.ID, u.ExternalID); err != nil {
			return err
		}
	}
	told := u.At
	if told.IsZero() {
		told = now()
	}
	_, err = q.exec(ctx, `UPDATE messages SET status = $2, failure = $4,
		accepted_at = CASE WHEN accepted_at = 0 AND $5 >= 1 THEN $3 ELSE accepted_at END,
		delivered_at = CASE WHEN delivered_at = 0 AND $5 >= 2 THEN $3 ELSE delivered_at END,
		read_at = CASE WHEN read_at = 0 AND $5 >= 3 THEN $3 ELSE read_at END WHERE id = $1 AND status IN `+before,
		m.ID, u.Status, told, u.Reason, reached[u.Status])
	return err
}

// reached says which of a message's times a status tells: what was read was
// delivered, at the latest then.
var reached = map[gateway.SendStatus]int{gateway.StatusSent: 1, gateway.StatusDelivered: 2, gateway.StatusRead: 3}

func statusMessage(ctx context.Context, q queries, u *gateway.StatusUpdate) (gateway.Message, error) {
	if u.Message != "" {
		m, err := one(ctx, q, scanMessage, messageSelect+`WHERE id = $1 AND account = $2 AND direction = 'out'`, u.Message, u.Account)
		if !errors.Is(err, sql.ErrNoRows) || u.ExternalID == "" {
			return m, err
		}
	}
	return one(ctx, q, scanMessage, messageSelect+`WHERE account = $1 AND external_id = $2 AND external_id <> '' AND direction = 'out' LIMIT 1`, u.Account, u.ExternalID)
}

// proveSend settles a send whose end was not known.
func proveSend(ctx context.Context, q queries, m *gateway.Message, u *gateway.StatusUpdate) error {
	if u.Status == gateway.StatusFailed {
		// The reason is worth keeping where the send was accepted, too.
		_, err := q.exec(ctx, `UPDATE sends SET state = CASE WHEN state = 'accepted' THEN state ELSE 'refused' END, error = $2
			WHERE id = $1 AND (state IN ('claimed', 'unknown', 'accepted') OR state = 'ready' AND unknowns > 0)
			AND EXISTS (SELECT 1 FROM messages m WHERE m.id = $1 AND m.status IN `+earlier[u.Status]+`)`, m.ID, u.Reason)
		return err
	}
	// WhatsApp's word counts for more than the answer to an attempt: it may have
	// taken what the Graph API said it had not.
	_, err := q.exec(ctx, `UPDATE sends SET state = 'accepted', external_id = $2, error = ''
		WHERE id = $1 AND (state IN ('claimed', 'unknown') OR state = 'ready' AND attempt > 0)`, m.ID, u.ExternalID)
	return err
}

// nameMessage gives a message of ours the id that WhatsApp knows it by.
func nameMessage(ctx context.Context, q queries, account gateway.AccountID, id gateway.MessageID, externalID string) error {
	if externalID == "" {
		return nil
	}
	if err := forgetEcho(ctx, q, account, id, externalID); err != nil {
		return err
	}
	_, err := q.exec(ctx, `UPDATE messages SET external_id = $2 WHERE id = $1`, id, externalID)
	return err
}

// forgetEcho removes the echo of a message of ours that came before we knew the
// id that WhatsApp knows it by: it is not a message of its own.
func forgetEcho(ctx context.Context, q queries, account gateway.AccountID, id gateway.MessageID, externalID string) error {
	if externalID == "" {
		return nil
	}
	_, err := q.exec(ctx, `DELETE FROM messages WHERE `+echoOf, account, externalID, id)
	return err
}

// echoOf finds the echo in account $1 of message $3 of ours, which WhatsApp knows by $2.
const echoOf = `account = $1 AND external_id = $2 AND external_id <> '' AND direction = 'out' AND origin = 'echo' AND id <> $3`
