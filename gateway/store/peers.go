package store

import (
	"context"

	"wagent/gateway"
)

// ConversationWith returns the account's conversation with a peer, or an Error
// of kind NotFound if there was none yet.
func (s *Store) ConversationWith(ctx context.Context, account gateway.AccountID, peer gateway.Address) (gateway.Conversation, error) {
	aliases := peer.Aliases()
	known, err := knownAliases(ctx, s.q, account, aliases)
	if err != nil {
		return gateway.Conversation{}, s.fail(err, "find peer of account %s", account)
	}
	for _, alias := range aliases {
		if known[alias] == "" {
			continue
		}
		id, err := conversationWith(ctx, s.q, account, known[alias])
		if err != nil {
			return gateway.Conversation{}, s.fail(err, "find conversation of account %s", account)
		}
		if id != "" {
			return s.Conversation(ctx, id)
		}
	}
	return gateway.Conversation{}, &gateway.Error{Kind: gateway.NotFound, Msg: "There is no conversation with that peer"}
}
