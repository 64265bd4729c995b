// Package events receives the webhooks of a gateway: it verifies them and routes
// them to handlers by their event.
//
//	var registry events.Registry
//	registry.On("agent_run.completed", func(ctx context.Context, e events.Event) error { … })
//	http.Handle("/webhook", registry.Handler(secret))
//
// A delivery comes at least once: one whose answer was lost, or whose handler
// failed, comes again with the same webhook-id.
package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Event is a verified webhook.
type Event struct {
	Event     string          `json:"event"` // message.received, agent_run.completed, …
	Data      json.RawMessage `json:"data"`
	Timestamp time.Time       `json:"timestamp"`
	ID        string          `json:"-"` // the same when it is delivered again; "" if there is none
}

// Parse decodes a body that [Verify] or [VerifyWebhook] accepted.
func Parse(body []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(body, &e); err != nil {
		return Event{}, fmt.Errorf("decode webhook: %w", err)
	}
	if e.Event == "" {
		return Event{}, errors.New("decode webhook: it names no event")
	}
	return e, nil
}

// Handler takes an event. After an error, the gateway delivers it again.
type Handler func(ctx context.Context, e Event) error

// Registry maps events to handlers. The zero value is empty and ready for use,
// also concurrently.
type Registry struct {
	mu       sync.RWMutex
	handlers map[string][]Handler
}

// On has an event handled by h too, after the handlers that it has. It panics
// if h is nil.
func (r *Registry) On(event string, h Handler) {
	if h == nil {
		panic("events: the handler of " + event + " is nil")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handlers == nil {
		r.handlers = map[string][]Handler{}
	}
	r.handlers[event] = append(slices.Clip(r.handlers[event]), h)
}

// IsRegistered reports whether an event has a handler.
func (r *Registry) IsRegistered(event string) bool { return len(r.of(event)) > 0 }

// EventTypes returns the events that have a handler, sorted.
func (r *Registry) EventTypes() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.handlers))
}

func (r *Registry) of(event string) []Handler {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.handlers[event]
}

// Dispatch runs the handlers of e, one after another, and joins their errors.
// Without any, it reports false.
func (r *Registry) Dispatch(ctx context.Context, e Event) (bool, error) {
	all := r.of(e.Event)
	errs := make([]error, 0, len(all))
	for _, h := range all {
		errs = append(errs, h(ctx, e))
	}
	return len(all) > 0, errors.Join(errs...)
}

// maxBody is in bytes: what the gateway sends is far below.
const maxBody = 4 << 20

// Handler serves the webhook's URL: what the secret (or one of several, while it
// is being changed) signed is dispatched and answered with 204, also an event
// without a handler. 401 is an answer to what is not authentic, 400 to what is
// no event, and 500 to what a handler failed on, so that it is delivered again.
func (r *Registry) Handler(secrets ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
		if err != nil {
			http.Error(w, "the body could not be read", http.StatusBadRequest)
			return
		}
		if err := Verify(req.Header, body, secrets...); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		e, err := Parse(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		e.ID = req.Header.Get("webhook-id")
		if _, err := r.Dispatch(req.Context(), e); err != nil {
			http.Error(w, "the handler failed", http.StatusInternalServerError) // its error is not for strangers
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
