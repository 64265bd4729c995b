package whatsrb

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/wire"
)

// actionBody is an action of a run, and what became of it.
type actionBody struct {
	Index      int             `json:"index"`
	Type       string          `json:"type"`
	Payload    map[string]any  `json:"payload"`
	Status     string          `json:"status" enum:"auto,pending,confirmed,rejected,expired" description:"auto: nobody has to confirm it"`
	DecidedAt  *string         `json:"decided_at"`
	DecidedBy  *string         `json:"decided_by"`
	ExpiresAt  *string         `json:"expires_at" description:"When it is not to be confirmed any more"`
	Result     json.RawMessage `json:"result" description:"What came of it, as the webhook's endpoint answered; null: none did"`
	AnsweredBy *int64          `json:"answered_by" description:"The id of that webhook"`
	AnsweredAt *string         `json:"answered_at"`
}

func newActionBody(a *gateway.Action) actionBody {
	b := actionBody{
		Index: a.Index, Type: a.Type, Payload: a.Payload, Status: string(a.Status), DecidedAt: wire.Stamp(a.DecidedAt), DecidedBy: wire.OrNull(a.DecidedBy),
		ExpiresAt: wire.Stamp(a.ExpiresAt), Result: a.Result, AnsweredAt: wire.Stamp(a.AnsweredAt),
	}
	if b.Payload == nil {
		b.Payload = map[string]any{} // clients index it
	}
	if len(b.Result) == 0 {
		b.Result = json.RawMessage("null")
	}
	if a.AnsweredBy != 0 {
		b.AnsweredBy = &a.AnsweredBy
	}
	return b
}

func (h *API) listActions(c echo.Context) error {
	r, err := h.pathRun(c)
	if err != nil {
		return err
	}
	out := make([]actionBody, len(r.Actions))
	for i := range r.Actions {
		out[i] = newActionBody(&r.Actions[i])
	}
	return wire.List(c, out, len(out))
}

// decisionsInput is not wrapped: the contract's exception.
type decisionsInput struct {
	Actions []struct {
		Index  *int   `json:"index"`
		Status string `json:"status" enum:"confirmed,rejected"`
	} `json:"actions"`
}

// maxDecisions keeps the answer to a nonsensical batch readable.
const maxDecisions = 1000

func (h *API) decideActions(c echo.Context) error {
	agent, id, err := pathRunID(c)
	if err != nil {
		return err
	}
	body, err := wire.ReadObject(c)
	if err != nil {
		return err
	}
	var in decisionsInput
	if err := body.Into(&in); err != nil {
		return err
	}
	ds, err := in.decisions()
	if err != nil {
		return err
	}
	for i := range ds {
		ds[i].Request = idempotency.ID(c)
	}
	ctx := c.Request().Context()
	r, err := h.Runner.Decide(ctx, agent, id, ds, byAPI)
	if gateway.KindOf(err) == gateway.Conflict && idempotency.ID(c) != "" {
		// An earlier try at this request may have decided, and was not answered.
		if known, findErr := h.Runs.Run(ctx, agent, id); findErr == nil && decidedSo(&known, ds) {
			r, err = known, nil
		}
	}
	if err != nil {
		return fmt.Errorf("decide actions of run %s: %w", id, err)
	}
	return wire.Data(c, http.StatusOK, newRunBody(&r))
}

// byAPI is who decides over the API.
const byAPI = "api"

// decidedSo reports whether all was decided as ds has it, by the request of ds.
func decidedSo(r *gateway.Run, ds []gateway.Decision) bool {
	return !slices.ContainsFunc(ds, func(d gateway.Decision) bool {
		return d.Index >= len(r.Actions) || r.Actions[d.Index].Status != d.Status || r.Actions[d.Index].Request != d.Request
	})
}

func (in *decisionsInput) decisions() ([]gateway.Decision, error) {
	p := wire.Problems{}
	if len(in.Actions) == 0 {
		p.Add("actions", "can't be blank")
	}
	if len(in.Actions) > maxDecisions {
		p.Add("actions", fmt.Sprintf("must have at most %d entries", maxDecisions))
		return nil, p.Err()
	}
	ds := make([]gateway.Decision, 0, len(in.Actions))
	seen := map[int]bool{}
	for _, a := range in.Actions {
		status := gateway.ActionStatus(a.Status)
		switch {
		case a.Index == nil:
			p.Add("actions", "each entry needs an index")
			continue
		case *a.Index < 0:
			p.Add("actions", fmt.Sprintf("index %d must not be negative", *a.Index))
		case seen[*a.Index]:
			p.Add("actions", fmt.Sprintf("index %d stands there twice", *a.Index))
		case status != gateway.ActionConfirmed && status != gateway.ActionRejected:
			p.Add("actions", fmt.Sprintf("status of index %d must be confirmed or rejected", *a.Index))
		}
		seen[*a.Index] = true
		ds = append(ds, gateway.Decision{Index: *a.Index, Status: status})
	}
	return ds, p.Err()
}
