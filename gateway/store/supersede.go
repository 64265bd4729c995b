package store

import (
	"cmp"
	"context"
	"slices"

	"wagent/gateway"
)

// SupersedeRun returns a run that is in hand to pending, since a newer message
// called it back: the next claim takes it together with what waits then, and the
// claim that ends here does not count as an attempt. Who answers is decided anew, by all
// that it then has. r.InputTokens and r.OutputTokens are what the run has cost so far,
// and are kept.
//
// It reports false, and changes nothing, if newer messages may not supersede the
// run, or may no more: they are left to the next one. Conflict: the run has
// ended, or somebody else claimed it.
func (s *Store) SupersedeRun(ctx context.Context, r *gateway.Run) (bool, error) {
	var may bool
	err := s.inTx(ctx, func(q queries) error {
		err := lockConversation(ctx, q, r.Conversation)
		if gateway.KindOf(err) == gateway.NotFound {
			return lostRun(r.ID)
		}
		if err != nil {
			return err
		}
		if err := lockRun(ctx, q, r.ID, r.Generation); err != nil {
			return err
		}
		if may, err = maySupersede(ctx, q, r.Account, r.Conversation); err != nil || !may {
			return err
		}
		return supersede(ctx, q, r)
	})
	return may, s.fail(err, "supersede run %s", r.ID)
}

// maySupersede reports whether newer messages may call back the unfinished run
// of a conversation, which is locked.
func maySupersede(ctx context.Context, q queries, account gateway.AccountID, id gateway.ConversationID) (bool, error) {
	w, err := window(ctx, q, account, id)
	return w.Recalls > 0, err
}

// newerWaits reports whether a message waits that calls back the unfinished run
// of a conversation, which is locked. Hardly ever does one wait.
func newerWaits(ctx context.Context, q queries, account gateway.AccountID, id gateway.ConversationID) (bool, error) {
	some, err := exists(ctx, q, waitingOf, id)
	if err != nil || !some {
		return false, err
	}
	return maySupersede(ctx, q, account, id)
}

// waitingOf finds what waits in conversation $1.
const waitingOf = `SELECT 1 FROM messages WHERE conversation = $1 AND state = 'waiting'`

func supersede(ctx context.Context, q queries, r *gateway.Run) error {
	_, err := q.exec(ctx, `UPDATE runs SET status = 'pending', lease_until = 0, started_at = 0, attempt = attempt - 1, supersedes = supersedes + 1, routed = '',
		input_tokens = $2, output_tokens = $3 WHERE id = $1`, r.ID, r.InputTokens, r.OutputTokens)
	return err
}

// appendNewer gives what waits to an unfinished run that is about to be claimed
// again, if the run was superseded. One that was not, because its process died
// first, is superseded by it now.
func appendNewer(ctx context.Context, q queries, c *gateway.Conversation, id gateway.RunID) error {
	pending, err := exists(ctx, q, `SELECT 1 FROM runs WHERE id = $1 AND status = 'pending'`, id)
	if err != nil {
		return err
	}
	if !pending {
		newer, err := newerWaits(ctx, q, c.Account, c.ID)
		if err != nil || !newer {
			return err
		}
		if _, err := q.exec(ctx, `UPDATE runs SET supersedes = supersedes + 1, routed = '' WHERE id = $1`, id); err != nil {
			return err
		}
	}
	_, err = takeWaiting(ctx, q, c.ID, id)
	return err
}

// takeWaiting gives what waits in a conversation to a run, and returns it in its
// order. What was deleted for everybody does not wait.
func takeWaiting(ctx context.Context, q queries, id gateway.ConversationID, run gateway.RunID, beside ...statement) ([]gateway.Message, error) {
	taken, err := listWith(ctx, q, scanMessage, statement{
		`UPDATE messages SET state = 'batched', run = $2 WHERE conversation = $1 AND state = 'waiting' RETURNING ` + messageColumns, []any{id, run},
	}, beside...)
	slices.SortFunc(taken, func(a, b gateway.Message) int { return cmp.Compare(a.Seq, b.Seq) })
	return taken, err
}
