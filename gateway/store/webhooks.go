package store

import (
	"context"
	"fmt"

	"wagent/gateway"
)

const webhookSelect = `SELECT id, config_key, url, secret, active, disabled, events, actions, created_at FROM webhooks `

func (s *Store) scanWebhook(r row) (gateway.Webhook, error) {
	var w gateway.Webhook
	var secret string
	if err := r.Scan(&w.ID, &w.Key, &w.URL, &secret, &w.Active, &w.Disabled, from(&w.Events), from(&w.Actions), at(&w.CreatedAt)); err != nil {
		return w, err
	}
	var err error
	w.Secret, err = s.key.open(secret, "webhooks", fmt.Sprint(w.ID), "secret")
	return w, err
}

// Webhooks returns all webhooks, oldest first, also those that are off.
func (s *Store) Webhooks(ctx context.Context) ([]gateway.Webhook, error) {
	ws, err := list(ctx, s.q, s.scanWebhook, webhookSelect+`ORDER BY id`)
	return ws, s.fail(err, "list webhooks")
}

// Webhook returns one webhook, or an Error of kind NotFound.
func (s *Store) Webhook(ctx context.Context, id int64) (gateway.Webhook, error) {
	w, err := one(ctx, s.q, s.scanWebhook, webhookSelect+`WHERE id = $1`, id)
	return w, s.fail(or(err, "There is no webhook %d", id), "read webhook %d", id)
}

// DisableWebhook turns a webhook off, with a reason that people read. What is
// still to be delivered to it goes to the dead letters as it falls due. NotFound:
// there is no such webhook.
func (s *Store) DisableWebhook(ctx context.Context, id int64, reason string) error {
	n, err := s.q.exec(ctx, `UPDATE webhooks SET disabled = $2 WHERE id = $1`, id, reason)
	s.forget()
	if err == nil && n == 0 {
		err = &gateway.Error{Kind: gateway.NotFound, Msg: fmt.Sprintf("There is no webhook %d", id)}
	}
	return s.fail(err, "disable webhook %d", id)
}
