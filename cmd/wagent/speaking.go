package main

import (
	"context"

	"wagent/gateway"
)

// speaking sends what people say over the API, at once.
type speaking struct {
	pausing
	sent func() // wakes the outbox, here and elsewhere
}

// QueueMessage satisfies messages.Sender.
func (s speaking) QueueMessage(ctx context.Context, x *gateway.Send) (gateway.PeerMessage, error) {
	m, err := s.Store.QueueMessage(ctx, x)
	if err != nil {
		return m, err
	}
	s.sent()
	// An account whose people take nothing over has no pause, and its windows go on.
	if paused, err := s.Paused(ctx, m.Conversation); err == nil && paused {
		s.drop(ctx, m.Conversation)
	}
	return m, nil
}
