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

// OpenConversation returns the account's conversation with a peer, whom it adds
// if there was none yet. NotFound: the account does not exist, or is not in use
// any more. Invalid: the address is empty.
func (s *Store) OpenConversation(ctx context.Context, account gateway.AccountID, peer gateway.Address) (gateway.Conversation, error) {
	var c gateway.Conversation
	err := s.inTx(ctx, func(q queries) error {
		if _, err := s.holdAccount(ctx, q, account); err != nil {
			return err
		}
		in := &intake{store: s, q: q, at: now()}
		who, err := in.contact(ctx, account, peer)
		if err != nil {
			return err
		}
		id, err := openConversation(ctx, q, account, who, in.at)
		if err != nil {
			return err
		}
		c, err = conversation(ctx, q, id)
		return err
	})
	return c, s.fail(err, "open a conversation of account %s", account)
}
