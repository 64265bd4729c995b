package webhooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// Deliveries is what was, and is to be, delivered to webhooks.
type Deliveries interface {
	// WebhookDeliveries returns those that f lets through, newest first, without their
	// bodies, and how many there are whatever Before and Limit say; it may stop to
	// count. NotFound: there is no such Before.
	WebhookDeliveries(ctx context.Context, f gateway.DeliveryFilter) ([]gateway.ListedDelivery, int, error)
	// WebhookDelivery returns one, with its body. NotFound: the webhook has none of
	// that id.
	WebhookDelivery(ctx context.Context, webhook int64, id gateway.DeliveryID) (gateway.Delivery, error)
	// Attempts returns those of a delivery, in their order.
	Attempts(ctx context.Context, id gateway.DeliveryID) ([]gateway.Attempt, error)
	// ReplayDelivery has one that ended made again. Conflict: it has not ended, its
	// webhook takes nothing, or what it said was erased.
	ReplayDelivery(ctx context.Context, webhook int64, id gateway.DeliveryID) error
	// ReplayDead has the dead letters made again that were made at a time or later,
	// and returns how many, beside an error too. Conflict: the webhook takes nothing.
	ReplayDead(ctx context.Context, webhook int64, since time.Time) (int, error)
	// TestWebhook has a test delivered, and returns its id. Conflict: the webhook takes
	// nothing now.
	TestWebhook(ctx context.Context, webhook int64) (gateway.DeliveryID, error)
}

// listed is how many deliveries a list shows.
const listed = 50

// deliveryBody is a delivery as clients see it.
type deliveryBody struct {
	ID           string  `json:"id"`
	WebhookID    int64   `json:"webhook_id"`
	Event        string  `json:"event"`
	State        string  `json:"state" enum:"pending,succeeded,dead"`
	Attempts     int     `json:"attempts" description:"How many were made"`
	RunID        *string `json:"run_id"`
	ActionIndex  *int    `json:"action_index" description:"Of an agent_action.dispatched: which of the run's actions"`
	Conversation *string `json:"conversation_id"`
	LastStatus   *int    `json:"last_status" description:"That the last attempt was answered with; null: it was not answered, or there was none"`
	LastError    *string `json:"last_error" description:"Why the last attempt was not answered, by its phase"`
	LastAt       *string `json:"last_attempt_at"`
	NextAt       *string `json:"next_attempt_at" description:"When the next attempt is due; null: there is none"`
	CreatedAt    *string `json:"created_at"`
}

func newDeliveryBody(d *gateway.Delivery, last *gateway.Attempt) deliveryBody {
	b := deliveryBody{
		ID: string(d.ID), WebhookID: d.Webhook, Event: d.Event, State: string(d.State), Attempts: d.Attempt,
		RunID: wire.OrNull(string(d.Run)), Conversation: wire.OrNull(string(d.Conversation)),
		LastStatus: orNone(last.StatusCode), LastError: wire.OrNull(last.Error), LastAt: wire.Stamp(last.At), CreatedAt: wire.Stamp(d.CreatedAt),
	}
	if d.Event == gateway.EventAction {
		b.ActionIndex = &d.Action
	}
	if d.State == gateway.DeliveryPending {
		b.NextAt = wire.Stamp(d.NextAt)
	}
	return b
}

// wholeDelivery is a delivery with what it says, and all of its attempts.
type wholeDelivery struct {
	deliveryBody
	Body   json.RawMessage `json:"body" description:"What is sent, byte for byte; null: it was erased"`
	Record []attemptBody   `json:"attempt_log" description:"The attempts, the first one first"`
}

type attemptBody struct {
	Number     int               `json:"number"`
	At         *string           `json:"at"`
	DurationMS int64             `json:"duration_ms"`
	Status     *int              `json:"status" description:"Null: it was not answered"`
	Error      *string           `json:"error" description:"Why there was no whole answer, by its phase: dns, connect, tls, first byte, body"`
	Answer     string            `json:"answer" description:"The first KiB of its body"`
	Headers    map[string]string `json:"headers" description:"Of the answer; what may be secret reads ***"`
	Phases     phasesBody        `json:"phases"`
}

// phasesBody is in milliseconds; 0 is a phase that there was not, or a short one.
type phasesBody struct {
	DNS       float64 `json:"dns_ms"`
	Connect   float64 `json:"connect_ms"`
	TLS       float64 `json:"tls_ms"`
	FirstByte float64 `json:"first_byte_ms" description:"From the request's first byte to the answer's"`
	Body      float64 `json:"body_ms"`
}

func newAttemptBody(a *gateway.Attempt) attemptBody {
	ms := func(d time.Duration) float64 {
		return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
	}
	headers := a.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	return attemptBody{
		Number: a.Number, At: wire.Stamp(a.At), DurationMS: a.Latency.Milliseconds(), Status: orNone(a.StatusCode), Error: wire.OrNull(a.Error),
		Answer: a.Answer, Headers: headers, Phases: phasesBody{ms(a.Phases.DNS), ms(a.Phases.Connect), ms(a.Phases.TLS), ms(a.Phases.FirstByte), ms(a.Phases.Body)},
	}
}

func (h *API) listDeliveries(c echo.Context) error {
	f, err := filter(c)
	if err != nil {
		return err
	}
	w, err := h.find(c)
	if err != nil {
		return err
	}
	f.Webhook = w.ID
	ds, total, err := h.Deliveries.WebhookDeliveries(c.Request().Context(), f)
	if err != nil {
		return fmt.Errorf("list deliveries of webhook %d: %w", w.ID, err)
	}
	out := make([]deliveryBody, len(ds))
	for i := range ds {
		out[i] = newDeliveryBody(&ds[i].Delivery, &ds[i].Last)
	}
	return wire.List(c, out, total)
}

// filter reads what a list is limited to.
func filter(c echo.Context) (f gateway.DeliveryFilter, err error) {
	f = gateway.DeliveryFilter{
		State: gateway.DeliveryState(c.QueryParam("state")), Event: c.QueryParam("event"), Run: gateway.RunID(c.QueryParam("run_id")),
		Before: gateway.DeliveryID(c.QueryParam("before")), Limit: listed,
	}
	if f.State != "" && f.State != gateway.DeliveryPending && f.State != gateway.DeliverySucceeded && f.State != gateway.DeliveryDead {
		return f, wire.BadRequest("state must be pending, succeeded or dead")
	}
	if s := c.QueryParam("since"); s != "" {
		if f.Since, err = time.Parse(time.RFC3339, s); err != nil {
			return f, wire.BadRequest("since must be a time such as 2026-11-27T08:00:00Z")
		}
	}
	if s := c.QueryParam("limit"); s != "" {
		if f.Limit, err = strconv.Atoi(s); err != nil || f.Limit < 1 || f.Limit > listed {
			return f, wire.BadRequest(fmt.Sprintf("limit must be between 1 and %d", listed))
		}
	}
	return f, nil
}

func (h *API) retrieveDelivery(c echo.Context) error {
	webhook, id, err := pathDelivery(c)
	if err != nil {
		return err
	}
	b, err := h.whole(c.Request().Context(), webhook, id)
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusOK, b)
}

// whole reads a delivery with its attempts.
func (h *API) whole(ctx context.Context, webhook int64, id gateway.DeliveryID) (wholeDelivery, error) {
	d, err := h.Deliveries.WebhookDelivery(ctx, webhook, id)
	if err != nil {
		return wholeDelivery{}, fmt.Errorf("find delivery %s: %w", id, err)
	}
	as, err := h.Deliveries.Attempts(ctx, id)
	if err != nil {
		return wholeDelivery{}, fmt.Errorf("list attempts of delivery %s: %w", id, err)
	}
	b := wholeDelivery{Body: d.Body, Record: make([]attemptBody, len(as))}
	if len(b.Body) == 0 {
		b.Body = json.RawMessage("null")
	}
	var last gateway.Attempt
	for i := range as {
		b.Record[i], last = newAttemptBody(&as[i]), as[i]
	}
	b.deliveryBody = newDeliveryBody(&d, &last)
	return b, nil
}

func (h *API) replay(c echo.Context) error {
	webhook, id, err := pathDelivery(c)
	if err != nil {
		return err
	}
	if err := h.Deliveries.ReplayDelivery(c.Request().Context(), webhook, id); err != nil {
		return fmt.Errorf("replay delivery %s: %w", id, err)
	}
	b, err := h.whole(c.Request().Context(), webhook, id)
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusOK, b)
}

// replayInput says which dead letters are replayed.
type replayInput struct {
	Since string `json:"since" description:"Those that were made at that time or later, such as 2026-11-27T08:00:00Z"`
}

type replayedBody struct {
	Replayed int  `json:"replayed"`
	More     bool `json:"more" description:"The time for one call was over, and there may be more: repeat it"`
}

// replayPatience is for how long one call replays.
const replayPatience = 20 * time.Second

func (h *API) replayDead(c echo.Context) error {
	w, err := h.find(c)
	if err != nil {
		return err
	}
	var in replayInput
	if err := wire.ReadMember(c, "replay", &in); err != nil {
		return err
	}
	since, err := time.Parse(time.RFC3339, in.Since)
	if err != nil {
		p := wire.Problems{}
		p.Add("since", "must be a time such as 2026-11-27T08:00:00Z")
		return p.Err()
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), replayPatience)
	defer cancel()
	n, err := h.Deliveries.ReplayDead(ctx, w.ID, since)
	more := n > 0 && err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded)
	if err != nil && !more {
		return fmt.Errorf("replay dead letters of webhook %d: %w", w.ID, err)
	}
	return wire.Data(c, http.StatusOK, replayedBody{n, more})
}

// How long a test waits for its attempt, and how often it looks.
const (
	testPatience = 15 * time.Second
	testEvery    = 100 * time.Millisecond
)

// test has a test delivered, and answers once it was attempted, or after a while.
func (h *API) test(c echo.Context) error {
	w, err := h.find(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	id, err := h.Deliveries.TestWebhook(ctx, w.ID)
	if err != nil {
		return fmt.Errorf("test webhook %d: %w", w.ID, err)
	}
	ticker := time.NewTicker(testEvery)
	defer ticker.Stop()
	for until := time.Now().Add(testPatience); ; {
		b, err := h.whole(ctx, w.ID, id)
		if err != nil {
			return err
		}
		if b.Attempts > 0 || !time.Now().Before(until) {
			return wire.Data(c, http.StatusOK, b)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the test of webhook %d: %w", w.ID, ctx.Err())
		}
	}
}

func pathDelivery(c echo.Context) (int64, gateway.DeliveryID, error) {
	webhook, err := pathID(c)
	if err != nil {
		return 0, "", err
	}
	id, ok := wire.PathID(c, "delivery")
	if !ok {
		return 0, "", wire.NotFound("delivery")
	}
	return webhook, gateway.DeliveryID(id), nil
}
