package store

import (
	"context"

	"wagent/gateway"
)

// PollOptions returns what could be chosen in a poll, in its order, by the
// WhatsApp id of its message; nothing if it is not on record.
func (s *Store) PollOptions(ctx context.Context, account gateway.AccountID, externalID string) ([]string, error) {
	polls, err := list(ctx, s.q, func(r row) ([]string, error) {
		var detail struct{ Options []string }
		err := r.Scan(from(&detail))
		return detail.Options, err
	}, `SELECT detail FROM messages WHERE account = $1 AND external_id = $2 AND detail LIKE '%"options":[%' LIMIT 3`, account, externalID)
	if err != nil {
		return nil, s.fail(err, "read poll of account %s", account)
	}
	for _, options := range polls {
		if len(options) > 0 {
			return options, nil
		}
	}
	return nil, nil
}
