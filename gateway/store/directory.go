package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"wagent/gateway"
)

// A Directory is a Store whose agents, webhooks and accounts are those of a
// moment ago: what another process changes shows within two seconds, what this
// one changes at once. It is for what asks at every message and every run. What
// it returns must not be changed.
type Directory struct{ *Store }

// Directory returns the Store as it is seen by who asks all the time.
func (s *Store) Directory() Directory { return Directory{s} }

// Agents is Store.Agents.
func (d Directory) Agents(ctx context.Context) ([]gateway.Agent, error) {
	as, err := d.agents.remember(struct{}{}, func() ([]gateway.Agent, error) { return d.Store.Agents(ctx) })
	return slices.Clone(as), err
}

// Webhooks is Store.Webhooks.
func (d Directory) Webhooks(ctx context.Context) ([]gateway.Webhook, error) {
	ws, err := d.webhooks.remember(struct{}{}, func() ([]gateway.Webhook, error) { return d.Store.Webhooks(ctx) })
	return slices.Clone(ws), err
}

// Account is Store.Account.
func (d Directory) Account(ctx context.Context, id gateway.AccountID) (gateway.Account, error) {
	return d.accounts.remember(id, func() (gateway.Account, error) { return d.Store.Account(ctx, id) })
}

// forget has the agents, webhooks and accounts read again: one of them changed.
func (s *Store) forget() {
	s.answers.forget()
	s.agents.forget()
	s.webhooks.forget()
	s.accounts.forget()
}

// rememberTTL is how long a row is believed to be as it was read.
const rememberTTL = 2 * time.Second

// A cache remembers what was read a moment ago.
type cache[K comparable, V any] struct {
	mu     sync.Mutex
	by     map[K]remembered[V]
	forgot int // counts forget: what was read before must not be put after it
}

type remembered[V any] struct {
	value V
	at    time.Time // when reading it began
}

// remember returns the value of a key, and reads it where it is not known. An
// error is not remembered.
func (c *cache[K, V]) remember(key K, read func() (V, error)) (V, error) {
	c.mu.Lock()
	known, ok := c.by[key]
	version := c.forgot
	c.mu.Unlock()
	at := time.Now()
	if ok && at.Sub(known.at) < rememberTTL {
		return known.value, nil
	}
	v, err := read()
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if version == c.forgot {
		if c.by == nil {
			c.by = map[K]remembered[V]{}
		}
		c.by[key] = remembered[V]{v, at}
	}
	return v, nil
}

func (c *cache[K, V]) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgot++
	clear(c.by)
}
