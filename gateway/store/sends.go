package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"wagent/gateway"
)

const sendColumns = `id, account, conversation, to_phone, to_lid, to_group, origin, origin_id, part, body, reply_to,
	state, attempt, unknowns, next_at, deadline, answers, external_id, error, created_at, type, content`

func scanSend(r row) (gateway.Send, error) {
	var s gateway.Send
	err := r.Scan(&s.ID, &s.Account, &s.Conversation, &s.To.Phone, &s.To.LID, &s.To.Group, &s.Origin, &s.OriginID, &s.Part, &s.Text, &s.ReplyTo,
		&s.State, &s.Attempt, &s.Unknowns, at(&s.NextAt), at(&s.Deadline), at(&s.Answers), &s.ExternalID, &s.Error, at(&s.CreatedAt), &s.Type, raw(&s.Content))
	return s, err
}

// Sends returns the outbox of a conversation, oldest first.
func (s *Store) Sends(ctx context.Context, id gateway.ConversationID) ([]gateway.Send, error) {
	out, err := list(ctx, s.q, scanSend, `SELECT `+sendColumns+` FROM sends WHERE conversation = $1 ORDER BY seq`, id)
	return out, s.fail(err, "read sends of conversation %s", id)
}

// maxUnknowns is how many attempts may end unknown until a send is left to a
// person: sent once more, and no further.
const maxUnknowns = 2

// ClaimSends settles what the rules stop and claims at most limit sends that
// are due, oldest first and one per conversation, each for
// gateway.SendDeadline. Within a conversation nothing overtakes: a send waits
// for the older ones, and for those whose end is unknown until it is known or
// their quarantine is over.
//
// A send of a linked device is claimed only by whoever holds the account's link
// and is connected, one at a time and its SendGap apart, and of the account's
// conversations the one goes first that was served the longest ago. A holder of
// "" holds none.
//
// settled are the sends that became cancelled (an agent's reply in a
// conversation that somebody paused, or whatever an account sends that is not in use
// any more), refused (the service window is over, or a template waited for as long)
// or unknown (the claim's quarantine is over). next is when to ask again: in a moment where sends were
// claimed, since only then is it known what comes after them; zero if nothing is to
// come, or if limit was reached.
//
// An unknown send becomes ready once its quarantine is over, if resend says
// so, but only once; otherwise it stays unknown, for a person.
func (s *Store) ClaimSends(ctx context.Context, holder string, resend bool, limit int) (claimed []gateway.ClaimedSend, settled []gateway.Send, next time.Time, err error) {
	at := now()
	seen, err := look(ctx, s.q, holder, at)
	told := &teller{store: s}
	if err == nil && seen.ruled() {
		told.hooks, err = s.listeners(ctx, s.tellOfMessage != nil, gateway.EventMessageFailed)
	}
	if err == nil && (seen.ruled() || seen.due(at)) {
		err = s.inTx(ctx, func(q queries) (err error) {
			o, at := seen, now() // a claim's time begins when it can be made
			if settled, err = settleByRule(ctx, q, &o, resend, at); err != nil {
				return err
			}
			for i := range settled {
				if err := told.settled(ctx, q, &settled[i]); err != nil {
					return err
				}
			}
			if o.ruled() {
				if o, err = look(ctx, q, holder, at); err != nil {
					return err
				}
			}
			next = o.next
			due, err := dueHeads(ctx, q, &o, holder, limit, at)
			if err != nil {
				return err
			}
			claimed, err = s.claimSends(ctx, q, holder, due, at)
			return err
		})
	} else {
		next = seen.next
	}
	if err != nil {
		return nil, nil, time.Time{}, s.fail(err, "claim sends")
	}
	if len(claimed) == limit { // there may be more to claim at once
		next = time.Time{}
	}
	return claimed, settled, next, nil
}

// An outlook is what there is to do in the outbox, which is hardly ever more than
// one thing: one statement tells.
type outlook struct {
	lost, quarantined, stopped bool      // what the rules have to end
	free, paced                time.Time // when the next send falls due, of linked devices and of others; zero: none waits
	next                       time.Time // when anything does, moments later at the soonest; zero: nothing waits
}

func (o *outlook) ruled() bool { return o.lost || o.quarantined || o.stopped }

func (o *outlook) due(at time.Time) bool { return isDue(o.free, at) || isDue(o.paced, at) }

func isDue(t, at time.Time) bool { return !t.IsZero() && !t.After(at) }

// look looks at the outbox. A send that was never put off has next_at 0, which
// must not read as none.
func look(ctx context.Context, q queries, holder string, now time.Time) (outlook, error) {
	var o outlook
	var claimed, unknown time.Time
	_, err := one(ctx, q, func(r row) (struct{}, error) {
		return struct{}{}, r.Scan(&o.lost, &o.quarantined, &o.stopped, at(&o.free), at(&o.paced), at(&claimed), at(&unknown))
	}, `SELECT EXISTS (SELECT 1 FROM sends WHERE state = 'claimed' AND deadline <= $6), EXISTS (SELECT 1 FROM sends WHERE `+quarantineOver+`),
			EXISTS (SELECT 1 FROM sends WHERE `+ripe+` AND (origin || '' = $5 AND `+activePause+` OR `+tooLateInLook+` OR `+outOfUse+`)),
			(SELECT MIN(CASE WHEN next_at = 0 THEN 1 ELSE next_at END) FROM sends WHERE `+unlinked+` AND `+first+`), (`+nextPaced+`),
			(SELECT MIN(deadline) FROM sends WHERE state = 'claimed'), (SELECT MIN(next_at) FROM sends WHERE state = 'unknown' AND next_at > 0)`,
		now, holder, gateway.CloudAPI, now.Add(-gateway.ServiceWindow), gateway.FromRun, now.Add(-gateway.SendQuarantine))
	if !claimed.IsZero() {
		claimed = claimed.Add(gateway.SendQuarantine)
	}
	for _, t := range []time.Time{o.free, o.paced, claimed, unknown} {
		if !t.IsZero() {
			o.next = earlierOf(o.next, t)
		}
	}
	if !o.next.IsZero() {
		o.next = soonest(o.next, now)
	}
	return o, err
}

// tooLateInLook is tooLate where $2 is taken.
var tooLateInLook = renumbered(tooLate, "$2", "$3", "$3", "$4")

// settleByRule ends what the rules end.
func settleByRule(ctx context.Context, q queries, o *outlook, resend bool, at time.Time) (settled []gateway.Send, err error) {
	if o.lost {
		if settled, err = loseClaims(ctx, q, at); err != nil {
			return nil, err
		}
	}
	if o.lost || o.quarantined {
		if err := endQuarantine(ctx, q, resend, at); err != nil {
			return nil, err
		}
	}
	if o.ruled() { // what was resent may not be any more
		more, err := stopSends(ctx, q, at)
		return append(settled, more...), err
	}
	return settled, nil
}

// What falls due in the outbox, at $1.
const (
	ripe           = `state = 'ready' AND next_at <= $1`
	quarantineOver = `state = 'unknown' AND next_at > 0 AND next_at <= $1`
)

// loseClaims gives up on claims that nobody settled.
func loseClaims(ctx context.Context, q queries, at time.Time) ([]gateway.Send, error) {
	return list(ctx, q, scanSend, `UPDATE sends SET state = 'unknown', unknowns = unknowns + 1, next_at = $1,
		error = 'nobody knows how the attempt ended' WHERE state = 'claimed' AND deadline <= $2 RETURNING `+sendColumns,
		at, at.Add(-gateway.SendQuarantine))
}

func endQuarantine(ctx context.Context, q queries, resend bool, at time.Time) error {
	if resend {
		if _, err := q.exec(ctx, `UPDATE sends SET state = 'ready' WHERE `+quarantineOver+` AND unknowns < $2`,
			at, maxUnknowns); err != nil {
			return err
		}
	}
	_, err := q.exec(ctx, `UPDATE sends SET next_at = 0 WHERE `+quarantineOver, at)
	return err
}

// activePause finds the pause of a send's conversation at $1 that stops an agent's
// words. That of a run that failed is nobody's wish: what was said before it, or
// in its place, is still to be read.
const activePause = `EXISTS (SELECT 1 FROM pauses p WHERE p.conversation = sends.conversation AND p.resumed_at = 0 AND p.expires_at > $1
	AND p.reason <> 'run_failed')`

// tooLate is true of sends whose account is of kind $2 and to which the customer
// wrote last before $3. Templates, which need no customer that wrote, are too late
// if they were queued before $3: nobody wants them days later, and what comes after
// them waits.
const tooLate = `(type = 'template' AND created_at <= $3 OR type <> 'template' AND EXISTS (SELECT 1 FROM conversations c JOIN accounts a ON a.id = c.account
	WHERE c.id = sends.conversation AND a.kind = $2 AND c.last_inbound_at <= $3))`

// outOfUse is true of sends of accounts that were deleted, or that vanished from the
// configuration file.
const outOfUse = `NOT EXISTS (SELECT 1 FROM accounts a WHERE a.id = sends.account AND a.active)`

// stopSends ends what may not be sent any more. The origin is hidden from
// SQLite's planner, which would go through every send that ever had it.
func stopSends(ctx context.Context, q queries, at time.Time) ([]gateway.Send, error) {
	out, err := list(ctx, q, scanSend, `UPDATE sends SET state = 'cancelled', error = $2 WHERE `+ripe+` AND `+outOfUse+` RETURNING `+sendColumns,
		at, accountDeleted)
	if err != nil {
		return nil, err
	}
	paused, err := list(ctx, q, scanSend, `UPDATE sends SET state = 'cancelled', error = 'the conversation is paused'
		WHERE `+ripe+` AND origin || '' = $2 AND `+activePause+` RETURNING `+sendColumns, at, gateway.FromRun)
	if err != nil {
		return nil, err
	}
	refused, err := list(ctx, q, scanSend, `UPDATE sends SET state = 'refused', error = CASE WHEN type = 'template' THEN 'not sent within a day'
		ELSE 'service window closed: the customer wrote last more than 24 hours ago, and only a template may be sent' END
		WHERE `+ripe+` AND `+tooLate+` RETURNING `+sendColumns,
		at, gateway.CloudAPI, at.Add(-gateway.ServiceWindow))
	if err != nil {
		return nil, err
	}
	out = slices.Concat(out, paused, refused)
	return out, mirror(ctx, q, out)
}

// first is true of ready sends with nothing before them in their conversation,
// not even what may have to be sent again: a customer reads answers in their
// order. The conversation of those few is hidden from SQLite's planner, which
// would go through all that was ever sent in it.
const first = `state = 'ready' AND NOT EXISTS (SELECT 1 FROM sends o WHERE o.conversation = sends.conversation
	AND o.state IN ('ready', 'claimed') AND (o.state = 'claimed' OR o.seq < sends.seq))
	AND NOT EXISTS (SELECT 1 FROM sends o WHERE o.state = 'unknown' AND o.next_at > 0 AND o.conversation || '' = sends.conversation AND o.seq < sends.seq)`

// unlinked is true of sends of accounts that are no linked devices.
const unlinked = `NOT EXISTS (SELECT 1 FROM links l WHERE l.account = sends.account)`

// A head is the next send of a conversation.
type head struct {
	seq     int64
	id      gateway.MessageID
	account gateway.AccountID
	linked  bool // it goes through a linked device
}

func scanHead(linked bool) func(row) (head, error) {
	return func(r row) (head, error) {
		h := head{linked: linked}
		err := r.Scan(&h.seq, &h.id, &h.account)
		return h, err
	}
}

// dueHeads returns at most limit sends that may go now, oldest first, and locks
// their conversations, which can not be paused or joined any more before this
// transaction ends. What happened before the lock is seen by claimSend, which looks
// at all of it again. Conversations that others hold are left for the next time.
func dueHeads(ctx context.Context, q queries, o *outlook, holder string, limit int, at time.Time) (due []head, err error) {
	if isDue(o.free, at) {
		if due, err = freeHeads(ctx, q, limit, at); err != nil {
			return nil, err
		}
	}
	if isDue(o.paced, at) {
		paced, err := pacedHeads(ctx, q, holder, limit, at)
		if err != nil {
			return nil, err
		}
		due = append(due, paced...)
	}
	slices.SortFunc(due, func(a, b head) int { return cmp.Compare(a.seq, b.seq) })
	return due[:min(len(due), max(limit, 0))], nil
}

// freeHeads returns the due sends of accounts that are no linked devices. The
// plus keeps SQLite from looking for the few that are due along all sends in
// their order, and the cross join from beginning with all conversations.
func freeHeads(ctx context.Context, q queries, limit int, at time.Time) ([]head, error) {
	return list(ctx, q, scanHead(false), `SELECT sends.seq, sends.id, sends.account FROM sends CROSS JOIN conversations v
		WHERE v.id = sends.conversation AND `+unlinked+` AND sends.`+first+` AND sends.next_at <= $1 ORDER BY +sends.seq LIMIT $2`+q.lockOf("v")+q.skip, at, limit)
}

// claimSends claims heads whose conversations are locked, while it holds the links
// of those that go through one.
func (s *Store) claimSends(ctx context.Context, q queries, holder string, due []head, at time.Time) ([]gateway.ClaimedSend, error) {
	turns, err := holdTurns(ctx, q, holder, due, at)
	if err != nil {
		return nil, err
	}
	var free []any
	for i := range due {
		if !due[i].linked {
			free = append(free, due[i].id)
		}
	}
	got, err := claimFree(ctx, q, free, at)
	if err != nil {
		return nil, err
	}
	for i := range due {
		if due[i].linked && slices.Contains(turns, due[i].account) {
			x, err := claimPaced(ctx, q, &due[i], at)
			if err != nil {
				return nil, err
			}
			got = append(got, x...)
		}
	}
	out := make([]gateway.ClaimedSend, 0, len(got))
	for _, h := range due {
		i := slices.IndexFunc(got, func(x gateway.Send) bool { return x.ID == h.id })
		if i < 0 {
			continue
		}
		a, err := s.accounts.remember(h.account, func() (gateway.Account, error) { return s.account(ctx, q, h.account) })
		if err != nil {
			return nil, err
		}
		if h.linked {
			if err := takeTurn(ctx, q, &a, &got[i], at); err != nil {
				return nil, err
			}
		}
		out = append(out, gateway.ClaimedSend{Send: got[i], Account: a})
	}
	return out, nil
}

// claimSend is the statement, up to which sends it is about, that claims what may go
// at $1, with $2 as the deadline: neither a pause nor the end of the service window
// nor that of its account stops it.
var claimSend = `UPDATE sends SET state = 'claimed', attempt = attempt + 1, deadline = $2 WHERE next_at <= $1
	AND ` + first + ` AND NOT (origin = $3 AND ` + activePause + `) AND NOT ` + renumbered(tooLate, "$2", "$4", "$3", "$5") + ` AND NOT ` + outOfUse

func claimArgs(at time.Time) []any {
	return []any{at, at.Add(gateway.SendDeadline), gateway.FromRun, gateway.CloudAPI, at.Add(-gateway.ServiceWindow)}
}

// claimFree claims those of sends that may go.
func claimFree(ctx context.Context, q queries, ids []any, at time.Time) ([]gateway.Send, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := claimArgs(at)
	return list(ctx, q, scanSend, claimSend+` AND id IN (`+places(len(args)+1, len(ids))+`) RETURNING `+sendColumns, append(args, ids...)...)
}

// claimPaced claims the send of a linked device, or returns none if it may not go
// any more.
func claimPaced(ctx context.Context, q queries, h *head, at time.Time) ([]gateway.Send, error) {
	args := claimArgs(at)
	return list(ctx, q, scanSend, claimSend+` AND id = $6 AND `+handsFree+` RETURNING `+sendColumns, append(args, h.id)...)
}

// earlierOf returns the earlier of two times; zero is never.
func earlierOf(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
