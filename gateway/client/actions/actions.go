// Package actions routes the actions of an agent's runs to handlers, on the
// client's side.
//
//	var registry actions.Registry
//	registry.Register("create_task", actions.Typed(func(ctx context.Context, t Task) error { … }))
//	report, err := run.Dispatch(ctx, &registry)
//
// Nothing is remembered between two dispatches: who may come twice with the same
// run (a webhook that is delivered again) makes handlers idempotent, by the
// run's id and the action's index.
package actions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Action is one of a run's.
type Action struct {
	Type    string          `json:"type"`    // domain.resource.action, or whatever a free-form agent made up
	Payload json.RawMessage `json:"payload"` // an object; models make mistakes, so validate what matters
	Index   int             `json:"-"`       // its place in the run, from 0
}

// Decode decodes the payload into v, which is a pointer.
func (a *Action) Decode(v any) error {
	if err := json.Unmarshal(a.Payload, v); err != nil {
		return fmt.Errorf("decode payload: %w", err)
	}
	return nil
}

// Handler does what an action asks for.
type Handler func(ctx context.Context, a Action) error

// Typed returns a Handler that decodes the payload for h.
func Typed[T any](h func(ctx context.Context, payload T) error) Handler {
	return func(ctx context.Context, a Action) error {
		var payload T
		if err := a.Decode(&payload); err != nil {
			return err
		}
		return h(ctx, payload)
	}
}

// Registry maps types of actions to handlers. The zero value is empty and ready
// for use, also concurrently.
type Registry struct {
	mu       sync.RWMutex
	handlers map[string]Handler
}

// Register has actions of a type handled by h, in place of an earlier handler.
// It panics if h is nil.
func (r *Registry) Register(actionType string, h Handler) {
	if h == nil {
		panic("actions: the handler of " + actionType + " is nil")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handlers == nil {
		r.handlers = map[string]Handler{}
	}
	r.handlers[actionType] = h
}

func (r *Registry) handler(actionType string) (Handler, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	h, ok := r.handlers[actionType]
	return h, ok
}

// IsRegistered reports whether a type has a handler.
func (r *Registry) IsRegistered(actionType string) bool {
	_, ok := r.handler(actionType)
	return ok
}

// ActionTypes returns the types that have a handler, sorted.
func (r *Registry) ActionTypes() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Sorted(maps.Keys(r.handlers))
}

// Dispatch runs the handler of a's type and returns its error. Without one, it
// reports false.
func (r *Registry) Dispatch(ctx context.Context, a Action) (bool, error) {
	h, ok := r.handler(a.Type)
	if !ok {
		return false, nil
	}
	return true, h(ctx, a)
}

// Report is what became of the actions of one DispatchAll, each in their order.
type Report struct {
	Done    []Action // their handlers returned nil
	Failed  []Action // their handlers returned an error, or ctx ended before their turn
	Unknown []Action // no handler is registered
}

// system begins the types that the gateway itself carries out.
const system = "system."

// DispatchAll runs the handlers of all actions, one after another; one that
// fails does not keep the others back. The error joins theirs, with the place
// and type of each action. An unknown type is reported and is no error; the
// gateway's own ("system.…") are passed over unless they have a handler.
func (r *Registry) DispatchAll(ctx context.Context, all []Action) (Report, error) {
	var report Report
	var errs []error
	for _, a := range all {
		known, err := r.IsRegistered(a.Type), ctx.Err()
		if known && err == nil {
			known, err = r.Dispatch(ctx, a)
		}
		switch {
		case !known && strings.HasPrefix(a.Type, system):
		case !known:
			report.Unknown = append(report.Unknown, a)
		case err != nil:
			report.Failed = append(report.Failed, a)
			errs = append(errs, fmt.Errorf("action %d (%s): %w", a.Index, a.Type, err))
		default:
			report.Done = append(report.Done, a)
		}
	}
	return report, errors.Join(errs...)
}
