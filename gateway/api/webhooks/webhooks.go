// Package webhooks is /api/v1/webhooks: the endpoints that are told of events
// and actions. Those that the configuration file declares are shown, and
// read-only.
//
// The shape is that of WhatsRB Cloud. Ours beyond it, which changes nothing
// where it is not asked for: actions, patterns of the action types that a
// webhook takes; disabled, why wagent turned it off, which active: true ends;
// POST …/rotate_secret; …/settings, which says how a webhook is delivered to, and
// how it fares; and …/deliveries and …/test, with which people look after it. A webhook is of the whole installation, so that what
// mounts these routes is to keep keys that are limited to accounts out of them.
//
// The secret is made here and shown once: by the call that creates the webhook,
// or by the one that rotates the secret. For [rotation] from then on deliveries
// carry a Standard Webhooks signature under the old secret too; the headers of
// the agents API have room for one signature, which is the new secret's. Until then
// no other rotation is let in, which would end what receivers still have: whoever
// lost the answer repeats the request with its Idempotency-Key, and is shown the secret
// that it made, as whoever repeats a creation is. Nothing
// is kept here, so a crash leaves a call done or not done.
package webhooks

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/wire"
)

// API serves the webhooks. All parts are required. The errors of its parts are
// [gateway.Error]s where a client is to learn of them.
type API struct {
	Webhooks   Webhooks
	Editor     Editor
	Deliveries Deliveries
	Network    Network
}

// Webhooks are all that there are.
type Webhooks interface {
	// Webhooks returns all of them, oldest first.
	Webhooks(ctx context.Context) ([]gateway.Webhook, error)
	// Webhook returns one, or an Error of kind NotFound.
	Webhook(ctx context.Context, id int64) (gateway.Webhook, error)
}

// Editor changes webhooks that the configuration file does not declare: for
// those its error is a Conflict.
type Editor interface {
	// CreateWebhook adds one, which gets its number and times.
	CreateWebhook(ctx context.Context, w *gateway.Webhook) error
	// ChangeWebhook has change alter one that nobody else changes meanwhile, and
	// returns it as it is then. change may be called more than once; where it
	// fails nothing is changed. NotFound: there is none.
	ChangeWebhook(ctx context.Context, id int64, change func(w *gateway.Webhook) error) (gateway.Webhook, error)
	// DeleteWebhook takes one out of use, with what is still to be delivered to
	// it. NotFound: there is none.
	DeleteWebhook(ctx context.Context, id int64) error
	// PauseWebhook has what is to be delivered wait, or go on, also to one that the
	// configuration file declares. NotFound: there is none.
	PauseWebhook(ctx context.Context, id int64, paused bool) (gateway.Webhook, error)
}

// Network knows the network that deliveries go through.
type Network interface {
	// Allowed reports whether the operator let deliveries through to a host that
	// is not on the internet: to each of its addresses, if it is a name.
	Allowed(ctx context.Context, host string) bool
}

// Validate says which part is missing.
func (h *API) Validate() error {
	switch {
	case h.Webhooks == nil:
		return errors.New("webhooks: no Webhooks")
	case h.Editor == nil:
		return errors.New("webhooks: no Editor")
	case h.Deliveries == nil:
		return errors.New("webhooks: no Deliveries")
	case h.Network == nil:
		return errors.New("webhooks: no Network")
	}
	return nil
}

// Mount registers the routes in a group that stands at /api/v1. The group's
// middleware authenticates, and limits bodies and times; errors are left to
// the server's error handler, which is to be [wire.ErrorHandler].
func (h *API) Mount(g *echo.Group) {
	const path = "/webhooks"
	g.GET(path, h.list)
	g.POST(path, h.create)
	g.GET(path+"/:webhook", h.retrieve)
	g.PATCH(path+"/:webhook", h.update)
	g.DELETE(path+"/:webhook", h.remove)
	g.POST(path+"/:webhook/rotate_secret", h.rotate)
	g.GET(path+"/:webhook/settings", h.settings)
	g.PATCH(path+"/:webhook/settings", h.set)
	g.GET(path+"/:webhook/deliveries", h.listDeliveries)
	g.GET(path+"/:webhook/deliveries/:delivery", h.retrieveDelivery)
	g.POST(path+"/:webhook/deliveries/:delivery/replay", h.replay)
	g.POST(path+"/:webhook/deliveries/replay", h.replayDead)
	g.POST(path+"/:webhook/test", h.test)
}

// webhookBody is a webhook as clients see it. No events and no actions: all.
type webhookBody struct {
	ID        int64    `json:"id"`
	URL       string   `json:"url"`
	Active    bool     `json:"active"`
	Disabled  *string  `json:"disabled" description:"Why wagent turned it off"`
	Events    []string `json:"events" description:"None, and no actions: all"`
	Actions   []string `json:"actions" description:"Patterns of action types"`
	CreatedAt *string  `json:"created_at"`
	UpdatedAt *string  `json:"updated_at"`
}

// secretBody is a webhook with its secret, which is shown once.
type secretBody struct {
	webhookBody
	Secret string `json:"secret"`
}

// newWebhookBody shows a webhook that wagent turned off as one that is not
// active: nothing is sent to it.
func newWebhookBody(w *gateway.Webhook) webhookBody {
	return webhookBody{
		ID: w.ID, URL: w.URL, Active: w.Active && w.Disabled == "", Disabled: wire.OrNull(w.Disabled),
		Events: append([]string{}, w.Events...), Actions: append([]string{}, w.Actions...),
		CreatedAt: wire.Stamp(w.CreatedAt), UpdatedAt: wire.Stamp(w.UpdatedAt),
	}
}

func (h *API) list(c echo.Context) error {
	ws, err := h.Webhooks.Webhooks(c.Request().Context())
	if err != nil {
		return fmt.Errorf("list webhooks: %w", err)
	}
	out := make([]webhookBody, len(ws))
	for i := range ws {
		out[i] = newWebhookBody(&ws[i])
	}
	return wire.List(c, out, len(out))
}

func (h *API) create(c echo.Context) error {
	in, err := h.read(c)
	if err != nil {
		return err
	}
	w := gateway.Webhook{Active: true, Secret: newSecret(), SecretRequest: idempotency.ID(c)}
	if err := in.apply(&w); err != nil {
		return err
	}
	if w.SecretRequest != "" {
		ws, err := h.Webhooks.Webhooks(c.Request().Context())
		if err != nil {
			return fmt.Errorf("list webhooks: %w", err)
		}
		if i := slices.IndexFunc(ws, func(x gateway.Webhook) bool { return x.SecretRequest == w.SecretRequest }); i >= 0 {
			// An earlier try made it, and was not answered.
			return wire.Data(c, http.StatusCreated, secretBody{newWebhookBody(&ws[i]), string(ws[i].Secret)})
		}
	}
	if err := h.Editor.CreateWebhook(c.Request().Context(), &w); err != nil {
		return fmt.Errorf("create webhook: %w", err)
	}
	return wire.Data(c, http.StatusCreated, secretBody{newWebhookBody(&w), string(w.Secret)})
}

func (h *API) retrieve(c echo.Context) error {
	w, err := h.find(c)
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusOK, newWebhookBody(&w))
}

func (h *API) update(c echo.Context) error {
	old, err := h.find(c)
	if err != nil {
		return err
	}
	in, err := h.read(c)
	if err != nil {
		return err
	}
	w, err := h.Editor.ChangeWebhook(c.Request().Context(), old.ID, in.apply)
	if err != nil {
		return fmt.Errorf("change webhook %d: %w", old.ID, err)
	}
	return wire.Data(c, http.StatusOK, newWebhookBody(&w))
}

func (h *API) remove(c echo.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	if err := h.Editor.DeleteWebhook(c.Request().Context(), id); err != nil {
		return fmt.Errorf("delete webhook %d: %w", id, err)
	}
	return c.NoContent(http.StatusNoContent)
}

// rotation is how long an old secret stays good beside the new one: time to
// bring the new one to every receiver.
const rotation = 24 * time.Hour

func (h *API) rotate(c echo.Context) error {
	id, err := pathID(c)
	if err != nil {
		return err
	}
	secret, request := newSecret(), idempotency.ID(c)
	w, err := h.Editor.ChangeWebhook(c.Request().Context(), id, func(w *gateway.Webhook) error {
		if request != "" && w.SecretRequest == request {
			return nil // an earlier try rotated it, and was not answered
		}
		if w.PreviousSecret != "" && time.Now().Before(w.PreviousUntil) {
			return &gateway.Error{Kind: gateway.Conflict, Msg: "The secret before this one is good until " + *wire.Stamp(w.PreviousUntil) +
				": rotate again after that. If the new one is lost, repeat the request that made it, with its Idempotency-Key, or delete the webhook and create it anew"}
		}
		w.PreviousSecret, w.PreviousUntil = w.Secret, time.Now().Add(rotation)
		w.Secret, w.SecretRequest = secret, request
		return nil
	})
	if err != nil {
		return fmt.Errorf("rotate secret of webhook %d: %w", id, err)
	}
	return wire.Data(c, http.StatusOK, secretBody{newWebhookBody(&w), string(w.Secret)})
}

// newSecret makes a secret as Standard Webhooks has them ("Signature scheme":
// between 24 and 64 random bytes).
func newSecret() gateway.Secret {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand.Read)
	return gateway.Secret("whsec_" + base64.StdEncoding.EncodeToString(b[:]))
}

// find returns the webhook that the path names.
func (h *API) find(c echo.Context) (gateway.Webhook, error) {
	id, err := pathID(c)
	if err != nil {
		return gateway.Webhook{}, err
	}
	w, err := h.Webhooks.Webhook(c.Request().Context(), id)
	if err != nil {
		err = fmt.Errorf("find webhook %d: %w", id, err)
	}
	return w, err
}

func pathID(c echo.Context) (int64, error) {
	s, _ := wire.PathID(c, "webhook")
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, wire.NotFound("webhook")
	}
	return id, nil
}
