package library

import (
	"context"

	"go.mau.fi/whatsmeow/store"
)

// A Turn lets one at a time use an account's sessions with people. The library
// reads a session, encrypts, and writes the session back
// (whatsmeow.(*Client).encryptMessageForDevices); what it decrypts from the same
// person in between is then forgotten, and their next message can not be read.
// It has room for one.
type Turn chan struct{}

// Take waits until nobody else has the turn, or ctx ends.
func (t Turn) Take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Leave lets the next one have it.
func (t Turn) Leave() { <-t }

// orderlyDecryption decrypts in turn with what is sent.
type orderlyDecryption struct {
	store.EventBuffer
	turn Turn
}

// DoDecryptionTxn satisfies store.EventBuffer. The turn comes before the
// database's connection, which a send needs, too.
func (o *orderlyDecryption) DoDecryptionTxn(ctx context.Context, do func(context.Context) error) error {
	if err := o.turn.Take(ctx); err != nil {
		return err
	}
	defer o.turn.Leave()
	return o.EventBuffer.DoDecryptionTxn(ctx, do)
}
