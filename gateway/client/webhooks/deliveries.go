package webhooks

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"wagent/gateway/client/rest"
)

// The values of Delivery.State.
const (
	Pending   = "pending"   // it is still to be made
	Succeeded = "succeeded" // it was answered with 2xx
	Dead      = "dead"      // it was given up: Replay makes it again
)

// Delivery is one event on its way to one webhook.
type Delivery struct {
	ID             string          `json:"id"` // the webhook-id that the receiver sees
	WebhookID      int64           `json:"webhook_id"`
	Event          string          `json:"event"`
	State          string          `json:"state"`
	Attempts       int             `json:"attempts"` // how many were made
	RunID          string          `json:"run_id"`
	ActionIndex    *int            `json:"action_index"` // nil: it is not about an action
	ConversationID string          `json:"conversation_id"`
	LastStatus     int             `json:"last_status"` // 0: the last attempt was not answered
	LastError      string          `json:"last_error"`  // why it was not
	NextAttemptAt  time.Time       `json:"next_attempt_at"`
	CreatedAt      time.Time       `json:"created_at"`
	Body           json.RawMessage `json:"body"`        // what is sent; nil in lists
	Log            []Attempt       `json:"attempt_log"` // nil in lists
}

// Attempt is one try to deliver.
type Attempt struct {
	Number     int                `json:"number"` // from 1
	At         time.Time          `json:"at"`
	DurationMS int64              `json:"duration_ms"`
	Status     int                `json:"status"` // 0: it was not answered
	Error      string             `json:"error"`  // why it was not, by its phase
	Answer     string             `json:"answer"` // the first KiB
	Headers    map[string]string  `json:"headers"`
	Phases     map[string]float64 `json:"phases"` // dns_ms and so on, in milliseconds
}

// Filter limits a list of deliveries; what is zero does not.
type Filter struct {
	State string
	Event string
	RunID string
	Since time.Time // made no earlier
}

// fullPage is how many deliveries a page has at most.
const fullPage = 50

// Deliveries ranges over those of a webhook that pass the filter, newest first: it
// reads a page when the loop comes to it, so break where it is enough.
func (s *Service) Deliveries(ctx context.Context, id int64, f Filter) iter.Seq2[Delivery, error] {
	return rest.Pages(fullPage, func(before string) (rest.List[Delivery], error) {
		q := url.Values{"limit": {strconv.Itoa(fullPage)}}
		for name, value := range map[string]string{"state": f.State, "event": f.Event, "run_id": f.RunID, "before": before} {
			if value != "" {
				q.Set(name, value)
			}
		}
		if !f.Since.IsZero() {
			q.Set("since", f.Since.UTC().Format(time.RFC3339))
		}
		return rest.Many[Delivery](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: append(path(id), "deliveries"), Query: q})
	}, func(d *Delivery) string { return d.ID })
}

// Delivery returns one, with what it says and every attempt.
func (s *Service) Delivery(ctx context.Context, id int64, delivery string) (Delivery, error) {
	return rest.One[Delivery](ctx, s.rest, rest.Call{Method: http.MethodGet, Path: append(path(id), "deliveries", delivery)})
}

// Replay makes a delivery that ended again, with all the attempts that a new one has.
func (s *Service) Replay(ctx context.Context, id int64, delivery string) (Delivery, error) {
	return rest.One[Delivery](ctx, s.rest, rest.Call{Method: http.MethodPost, Path: append(path(id), "deliveries", delivery, "replay")})
}

// Replayed is how many dead letters are made again. More: the time for one call was
// over, and there may be others.
type Replayed struct {
	Replayed int  `json:"replayed"`
	More     bool `json:"more"`
}

// ReplayDead makes the dead letters of a webhook again that were made at a time or
// later.
func (s *Service) ReplayDead(ctx context.Context, id int64, since time.Time) (Replayed, error) {
	return rest.One[Replayed](ctx, s.rest, rest.Call{
		Method: http.MethodPost, Path: append(path(id), "deliveries", "replay"),
		In: map[string]any{"replay": map[string]string{"since": since.UTC().Format(time.RFC3339)}},
	})
}

// Test has a test delivered once, and returns how that ended, if it did within 15 s.
func (s *Service) Test(ctx context.Context, id int64) (Delivery, error) {
	return rest.One[Delivery](ctx, s.rest, rest.Call{Method: http.MethodPost, Path: append(path(id), "test")})
}

// Pause has what is to be delivered to a webhook wait, or go on. Nothing is given up
// meanwhile.
func (s *Service) Pause(ctx context.Context, id int64, paused bool) error {
	return s.rest.Do(ctx, rest.Call{
		Method: http.MethodPatch, Path: append(path(id), "settings"), In: map[string]any{"settings": map[string]bool{"paused": paused}},
	}, nil)
}
