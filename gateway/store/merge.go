package store

import (
	"context"
	"slices"

	"wagent/gateway"
)

// joinedAtOnce is how many addresses share a transaction: a phone tells of
// thousands when it is linked.
const joinedAtOnce = 200

// JoinAddresses takes note that the forms of each address mean one person.
// Where they were taken for two, their contacts and conversations become one;
// somebody new becomes a contact, so that they are known by either form. It
// returns the messages that wait in the conversations that others were joined
// to, also beside an error: the windows of those that went mean nothing any
// more. An address of fewer forms than two says nothing. NotFound: the account
// does not exist, or is not in use any more.
func (s *Store) JoinAddresses(ctx context.Context, account gateway.AccountID, forms ...gateway.Address) ([]gateway.Message, error) {
	forms = slices.DeleteFunc(slices.Clone(forms), func(a gateway.Address) bool { return a.Group != "" || len(a.Aliases()) < 2 })
	var out []gateway.Message
	for some := range slices.Chunk(forms, joinedAtOnce) {
		var joined []gateway.Message
		err := s.inTx(ctx, func(q queries) error {
			joined = nil
			if _, err := s.holdAccount(ctx, q, account); err != nil {
				return err
			}
			in := &intake{store: s, q: q, at: now()}
			for _, a := range some {
				if _, err := in.contact(ctx, account, a); err != nil {
					return err
				}
			}
			for _, id := range slices.Compact(in.joined) {
				ms, err := waiting(ctx, q, id)
				if err != nil {
					return err
				}
				joined = append(joined, ms...)
			}
			return nil
		})
		if err != nil {
			return out, s.fail(err, "join addresses of account %s", account)
		}
		out = append(out, joined...)
	}
	return out, nil
}

// mergeContact makes one contact of two that turned out to be the same person.
// What was said to either becomes one conversation: the one that another was
// joined to is returned, "" if there was none.
func mergeContact(ctx context.Context, q queries, account gateway.AccountID, gone, kept gateway.ContactID) (gateway.ConversationID, error) {
	goneConv, err := conversationWith(ctx, q, account, gone)
	if err != nil {
		return "", err
	}
	keptConv, err := conversationWith(ctx, q, account, kept)
	if err != nil {
		return "", err
	}
	ids := []gateway.ConversationID{goneConv, keptConv}
	slices.Sort(ids)
	for _, id := range ids {
		if id == "" {
			continue
		}
		if err := lockConversation(ctx, q, id); err != nil {
			return "", err
		}
	}
	var into gateway.ConversationID
	switch {
	case goneConv == "":
	case keptConv == "":
		_, err = q.exec(ctx, `UPDATE conversations SET contact = $2 WHERE id = $1`, goneConv, kept)
	default:
		into = keptConv
		err = mergeConversation(ctx, q, goneConv, keptConv)
	}
	if err != nil {
		return "", err
	}
	for _, stmt := range []string{
		// The same message, recorded under both, stays once; what a run took is answered.
		`UPDATE messages SET state = 'batched', run = (` + twinOfContact("o.run") + `) WHERE contact = $2 AND contact <> '' AND state = 'waiting'
			AND EXISTS (` + twinOfContact("1") + `)`,
		`DELETE FROM messages WHERE contact = $1 AND contact <> '' AND external_id <> '' AND EXISTS (SELECT 1 FROM messages o
			WHERE o.account = messages.account AND o.conversation = messages.conversation AND o.contact = $2
			AND o.external_id = messages.external_id AND o.external_id <> '' AND o.part = messages.part)`,
		`UPDATE messages SET contact = $2 WHERE contact = $1 AND contact <> ''`,
		`UPDATE contact_aliases SET contact = $2 WHERE contact = $1`,
		`UPDATE contacts SET
			phone = CASE WHEN phone = '' THEN (SELECT o.phone FROM contacts o WHERE o.id = $1) ELSE phone END,
			lid = CASE WHEN lid = '' THEN (SELECT o.lid FROM contacts o WHERE o.id = $1) ELSE lid END,
			name = CASE WHEN name = '' THEN (SELECT o.name FROM contacts o WHERE o.id = $1) ELSE name END
			WHERE id = $2`,
	} {
		if _, err := q.exec(ctx, stmt, gone, kept); err != nil {
			return "", err
		}
	}
	if err := joinTags(ctx, q, gone, kept); err != nil {
		return "", err
	}
	if err := joinMemories(ctx, q, gone, kept); err != nil {
		return "", err
	}
	_, err = q.exec(ctx, `DELETE FROM contacts WHERE id = $1`, gone)
	return into, err
}

// twinOfContact selects from the row of the same message under contact $1 that a
// run took.
func twinOfContact(what string) string {
	return `SELECT ` + what + ` FROM messages o WHERE o.account = messages.account AND o.conversation = messages.conversation AND o.contact = $1
		AND o.external_id = messages.external_id AND o.external_id <> '' AND o.part = messages.part AND o.state = 'batched'`
}

// twin selects from the row of the same message in conversation $1.
func twin(what string) string {
	return `SELECT ` + what + ` FROM messages o WHERE o.conversation = $1 AND o.external_id = messages.external_id AND o.external_id <> ''
		AND o.part = messages.part AND o.direction = messages.direction`
}

// mergeConversation moves everything of one conversation to another, both of
// which are locked. An unfinished run of the one that goes is cancelled and
// its messages wait again, to be answered with the others'; one of the other
// goes on. Runs keep their order, so that what is remembered is the last one's
// summary.
func mergeConversation(ctx context.Context, q queries, gone, kept gateway.ConversationID) error {
	run, err := unfinished(ctx, q, gone)
	if err != nil {
		return err
	}
	was, err := conversation(ctx, q, gone)
	if err != nil {
		return err
	}
	if err := erase(ctx, q, kept, was.Erased); err != nil {
		return err
	}
	if run != "" {
		if err := endRun(ctx, q, run, "the conversation became one with another"); err != nil {
			return err
		}
		if _, err := q.exec(ctx, `UPDATE messages SET state = 'waiting', run = '' WHERE run = $1 AND run <> '' AND state = 'batched' AND revoked_at = 0`, run); err != nil {
			return err
		}
	}
	for _, stmt := range []string{
		`UPDATE runs SET conversation = $2, context_key = $2 WHERE conversation = $1`,
		`UPDATE sends SET conversation = $2 WHERE conversation = $1`,
		// The same message, recorded in both, stays once. What a run took is
		// answered, and of ours it is the one that the outbox knows.
		`UPDATE messages SET state = 'batched', run = (` + twin("o.run") + ` AND o.state = 'batched' LIMIT 1)
			WHERE conversation = $2 AND state = 'waiting' AND EXISTS (` + twin("1") + ` AND o.state = 'batched')`,
		`DELETE FROM messages WHERE conversation = $2 AND direction = 'out' AND EXISTS (` + twin("1") + ` AND o.run <> '')`,
		`DELETE FROM messages WHERE conversation = $1 AND external_id <> '' AND EXISTS (SELECT 1 FROM messages o
			WHERE o.conversation = $2 AND o.external_id = messages.external_id AND o.part = messages.part AND o.direction = messages.direction)`,
		`UPDATE messages SET conversation = $2 WHERE conversation = $1`,
		`UPDATE deliveries SET conversation = $2 WHERE conversation = $1`,
		`UPDATE pauses SET conversation = $2 WHERE conversation = $1`,
		// Neither covers what was said in the other.
		`DELETE FROM context_summaries WHERE conversation IN ($1, $2)`,
		`DELETE FROM conversation_windows WHERE conversation = $1 AND EXISTS (SELECT 1 FROM conversation_windows o WHERE o.conversation = $2)`,
		`UPDATE conversation_windows SET conversation = $2 WHERE conversation = $1`,
		`UPDATE conversations SET last_inbound_at = (SELECT MAX(o.last_inbound_at) FROM conversations o WHERE o.id IN ($1, $2)),
			last_send_at = (SELECT MAX(o.last_send_at) FROM conversations o WHERE o.id IN ($1, $2)) WHERE id = $2`,
	} {
		if _, err := q.exec(ctx, stmt, gone, kept); err != nil {
			return err
		}
	}
	if err := onePause(ctx, q, kept); err != nil {
		return err
	}
	_, err = q.exec(ctx, `DELETE FROM conversations WHERE id = $1`, gone)
	return err
}

// onePause leaves the longest of a conversation's active pauses, and it is
// somebody's if one of them is.
func onePause(ctx context.Context, q queries, id gateway.ConversationID) error {
	const active = `conversation = $1 AND resumed_at = 0 AND expires_at > $2`
	const anybodys = `SELECT p.reason FROM pauses p WHERE p.conversation = $1 AND p.resumed_at = 0 AND p.expires_at > $2 AND p.reason <> 'run_failed'`
	if _, err := q.exec(ctx, `UPDATE pauses SET reason = (`+anybodys+` ORDER BY p.expires_at DESC LIMIT 1)
		WHERE `+active+` AND reason = 'run_failed' AND EXISTS (`+anybodys+`)`, id, now()); err != nil {
		return err
	}
	// Webhooks are not told that it goes on, which is what the others' end means.
	_, err := q.exec(ctx, `UPDATE pauses SET expires_at = $2, over_told = TRUE WHERE `+active+`
		AND id <> (SELECT id FROM pauses WHERE `+active+` ORDER BY expires_at DESC, id LIMIT 1)`, id, now())
	return err
}
