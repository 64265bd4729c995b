package store

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"wagent/gateway"
)

const webhookSelect = `SELECT id, config_key, url, secret, previous_secret, previous_until, secret_request, active, disabled, paused, events, actions,
	agents, accounts, headers, ordered, concurrency, per_minute, failing_since, rests_until, created_at, updated_at
	FROM webhooks WHERE deleted_at = 0 `

func (s *Store) scanWebhook(r row) (gateway.Webhook, error) {
	var w gateway.Webhook
	var secret, previous, headers string
	if err := r.Scan(&w.ID, &w.Key, &w.URL, &secret, &previous, at(&w.PreviousUntil), &w.SecretRequest, &w.Active, &w.Disabled, &w.Paused,
		from(&w.Events), from(&w.Actions), from(&w.Agents), from(&w.Accounts), &headers, &w.Ordered, &w.Concurrency, &w.PerMinute,
		at(&w.FailingSince), at(&w.RestsUntil), at(&w.CreatedAt), at(&w.UpdatedAt)); err != nil {
		return w, err
	}
	if w.UpdatedAt.IsZero() { // it is older than the column
		w.UpdatedAt = w.CreatedAt
	}
	var err error
	if w.Secret, err = s.key.open(secret, "webhooks", fmt.Sprint(w.ID), "secret"); err != nil {
		return w, err
	}
	if w.PreviousSecret, err = s.key.open(previous, "webhooks", fmt.Sprint(w.ID), "previous_secret"); err != nil {
		return w, err
	}
	plain, err := s.key.open(headers, "webhooks", fmt.Sprint(w.ID), "headers")
	if err == nil && plain != "" {
		err = json.Unmarshal([]byte(plain), &w.Headers)
	}
	return w, err
}

// Webhooks returns all webhooks, oldest first, also those that are off.
func (s *Store) Webhooks(ctx context.Context) ([]gateway.Webhook, error) {
	ws, err := list(ctx, s.q, s.scanWebhook, webhookSelect+`ORDER BY id`)
	return ws, s.fail(err, "list webhooks")
}

// Webhook returns one webhook, or an Error of kind NotFound.
func (s *Store) Webhook(ctx context.Context, id int64) (gateway.Webhook, error) {
	w, err := s.webhook(ctx, s.q, id, "")
	return w, s.fail(err, "read webhook %d", id)
}

func (s *Store) webhook(ctx context.Context, q queries, id int64, lock string) (gateway.Webhook, error) {
	w, err := one(ctx, q, s.scanWebhook, webhookSelect+`AND id = $1`+lock, id)
	return w, or(err, "There is no webhook %d", id)
}

// CreateWebhook adds a webhook. It gets its number and its times, and w.Key is
// emptied: only the configuration file declares keys.
func (s *Store) CreateWebhook(ctx context.Context, w *gateway.Webhook) error {
	w.Key, w.CreatedAt = "", now()
	w.UpdatedAt = w.CreatedAt
	err := s.inTx(ctx, func(q queries) (err error) {
		w.ID, err = one(ctx, q, scanInt, `INSERT INTO webhooks (config_key, url, secret, active, disabled, events, actions, created_at)
			VALUES ('', '', '', FALSE, '', '', '', $1) RETURNING id`, w.CreatedAt)
		if err != nil {
			return err
		}
		return s.writeWebhook(ctx, q, w) // its secrets are sealed to the row, so that the row must have its number
	})
	s.hooksChanged(err)
	return s.fail(err, "create webhook")
}

// ChangeWebhook has change alter a webhook that nobody else changes meanwhile,
// and returns it as it is then. Its number, key and time of creation stay as they
// are. An error of change's is returned, and nothing is changed; it may be
// called more than once, each time with what is on record. NotFound: there is no
// such webhook. Conflict: it is declared in the configuration file.
func (s *Store) ChangeWebhook(ctx context.Context, id int64, change func(w *gateway.Webhook) error) (gateway.Webhook, error) {
	var w gateway.Webhook
	err := s.inTx(ctx, func(q queries) error {
		old, err := s.editableWebhook(ctx, q, id)
		if err != nil {
			return err
		}
		w = old
		if err := change(&w); err != nil {
			return err
		}
		w.ID, w.Key, w.CreatedAt, w.UpdatedAt = old.ID, old.Key, old.CreatedAt, now()
		afresh(&w, &old)
		return s.writeWebhook(ctx, q, &w)
	})
	s.hooksChanged(err)
	return w, s.fail(err, "change webhook %d", id)
}

// editableWebhook reads and locks a webhook that the API may change.
func (s *Store) editableWebhook(ctx context.Context, q queries, id int64) (gateway.Webhook, error) {
	w, err := s.webhook(ctx, q, id, q.lockKey)
	if err == nil && w.Key != "" {
		err = &gateway.Error{Kind: gateway.Conflict, Msg: "The webhook is declared in the configuration file as " + w.Key + ": change it there"}
	}
	return w, err
}

func (s *Store) writeWebhook(ctx context.Context, q queries, w *gateway.Webhook) error {
	seal := func(secret gateway.Secret, column string) string {
		return s.key.seal(secret, "webhooks", fmt.Sprint(w.ID), column)
	}
	headers := ""
	if len(w.Headers) > 0 {
		plain := make(map[string]string, len(w.Headers))
		for name, value := range w.Headers {
			plain[name] = string(value)
		}
		b, err := json.Marshal(plain)
		if err != nil {
			return err
		}
		headers = seal(gateway.Secret(b), "headers")
	}
	_, err := q.exec(ctx, `UPDATE webhooks SET url = $2, secret = $3, previous_secret = $4, previous_until = $5, active = $6, disabled = $7,
		events = $8, actions = $9, updated_at = $10, secret_request = $11, paused = $12, agents = $13, accounts = $14, headers = $15,
		ordered = $16, concurrency = $17, per_minute = $18, failing_since = $19, rests_until = $20 WHERE id = $1`,
		w.ID, w.URL, seal(w.Secret, "secret"), seal(w.PreviousSecret, "previous_secret"), w.PreviousUntil, w.Active, w.Disabled,
		asJSON{w.Events}, asJSON{w.Actions}, w.UpdatedAt, w.SecretRequest, w.Paused, asJSON{w.Agents}, asJSON{w.Accounts}, headers,
		w.Ordered, w.Concurrency, w.PerMinute, w.FailingSince, w.RestsUntil)
	return err
}

// hooksChanged has webhooks read again, by who delivers too: one was changed, or, if
// the database was away, nobody knows.
func (s *Store) hooksChanged(err error) {
	if err != nil && gateway.KindOf(s.fail(err, "")) != gateway.Unavailable {
		return
	}
	s.forget()
	if s.delivered != nil {
		s.delivered()
	}
}

// afresh forgets how a webhook fared if it is turned on again, or is at another URL.
func afresh(w, old *gateway.Webhook) {
	on := func(w *gateway.Webhook) bool { return w.Active && w.Disabled == "" }
	if w.URL != old.URL || on(w) && !on(old) {
		w.FailingSince, w.RestsUntil = time.Time{}, time.Time{}
	}
}

// reasonDeleted says of a delivery why it was given up.
const reasonDeleted = "the webhook was deleted"

// DeleteWebhook takes a webhook out of use for good. What was delivered to it
// stays on record. What was not goes to the dead letters (BuryDeliveries), but for
// what is in hand. NotFound: there is no such webhook. Conflict: it is declared in
// the configuration file.
func (s *Store) DeleteWebhook(ctx context.Context, id int64) error {
	err := s.inTx(ctx, func(q queries) error {
		if _, err := s.editableWebhook(ctx, q, id); err != nil {
			return err
		}
		_, err := q.exec(ctx, `UPDATE webhooks SET active = FALSE, secret = '', previous_secret = '', headers = '', deleted_at = $2 WHERE id = $1`, id, now())
		return err
	})
	s.hooksChanged(err)
	return s.fail(err, "delete webhook %d", id)
}

// TellOfWebhooks sets what the other webhooks are told of one that DisableWebhook
// turned off; the deliveries are written in the same transaction. It must be called
// before the store is used by others; without it nothing is told.
func (s *Store) TellOfWebhooks(tell func(hooks []gateway.Webhook, w *gateway.Webhook, now time.Time) []gateway.Delivery) {
	s.tellOfWebhook = tell
}

// DisableWebhook turns a webhook off that is at a URL still, with a reason that
// people read. What is still to be delivered to it goes to the dead letters as it
// falls due. NotFound: there is no such webhook, or it is at another URL. Of one that
// is off already the reason stays.
func (s *Store) DisableWebhook(ctx context.Context, id int64, url, reason string) error {
	hooks, err := s.listeners(ctx, s.tellOfWebhook != nil, gateway.EventWebhookDisabled)
	if err == nil {
		hooks = slices.DeleteFunc(slices.Clone(hooks), func(w gateway.Webhook) bool { return w.ID == id })
		err = s.inTx(ctx, func(q queries) error {
			w, err := s.webhook(ctx, q, id, q.lockKey)
			switch {
			case err == nil && w.URL != url:
				return &gateway.Error{Kind: gateway.NotFound, Msg: fmt.Sprintf("There is no webhook %d at that URL", id)}
			case err != nil || w.Disabled != "":
				return err
			}
			w.Disabled = reason
			if _, err := q.exec(ctx, `UPDATE webhooks SET disabled = $2 WHERE id = $1`, id, reason); err != nil || len(hooks) == 0 {
				return err
			}
			ds := s.tellOfWebhook(hooks, &w, now())
			for i := range ds { // no run makes it one of a kind
				ds[i].Action = rand.Int()
			}
			return insertDeliveries(ctx, q, ds)
		})
	}
	s.forget()
	return s.fail(err, "disable webhook %d", id)
}
