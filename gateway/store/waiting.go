package store

import (
	"context"

	"wagent/gateway"
)

// Waiting returns at most limit messages of the account that wait for a run, by
// their seq, after the one given.
func (s *Store) Waiting(ctx context.Context, account gateway.AccountID, afterSeq int64, limit int) ([]gateway.Message, error) {
	out, err := list(ctx, s.q, scanMessage, messageSelect+`WHERE state = 'waiting' AND seq > $1 AND account = $2 ORDER BY seq LIMIT $3`, afterSeq, account, limit)
	return out, s.fail(err, "list waiting messages of account %s", account)
}

// WaitingIn returns what waits in a conversation for a run, in its order.
func (s *Store) WaitingIn(ctx context.Context, id gateway.ConversationID) ([]gateway.Message, error) {
	out, err := waiting(ctx, s.q, id)
	return out, s.fail(err, "list what waits in conversation %s", id)
}
