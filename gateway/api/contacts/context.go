package contacts

import (
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// contextBody is what an agent remembers of the conversation: nulls where that
// is nothing. What remains is in whole seconds, rounded up.
type contextBody struct {
	AgentID     string      `json:"agent_id"`
	Summary     *string     `json:"context_summary"`
	Earlier     *string     `json:"earlier_summary"`
	LastOutput  *outputBody `json:"last_agent_output"`
	CompletedAt *string     `json:"completed_at"`
	ExpiresAt   *string     `json:"expires_at"`
	Remaining   int         `json:"remaining_seconds"`
}

type outputBody struct {
	Intent  string       `json:"intent"`
	Actions []actionBody `json:"actions"`
}

type actionBody struct {
	Type    string         `json:"type"`
	Payload map[string]any `json:"payload"`
}

func newContextBody(agent gateway.AgentID, x *Context, now time.Time) contextBody {
	b := contextBody{AgentID: agent.String()}
	if x == nil || !x.ExpiresAt.After(now) {
		return b
	}
	last := &outputBody{Intent: x.Intent, Actions: make([]actionBody, len(x.Actions))}
	for i, a := range x.Actions {
		if a.Payload == nil {
			a.Payload = map[string]any{} // clients index it
		}
		last.Actions[i] = actionBody(a)
	}
	b.Summary, b.Earlier, b.LastOutput = wire.OrNull(x.Summary), wire.OrNull(x.Earlier), last
	b.CompletedAt, b.ExpiresAt = wire.Stamp(x.CompletedAt), wire.Stamp(x.ExpiresAt)
	b.Remaining = int(math.Ceil(x.ExpiresAt.Sub(now).Seconds()))
	return b
}

func (h *API) context(c echo.Context) error {
	who, agent, err := h.pair(c)
	if err != nil {
		return err
	}
	x, err := h.Contexts.Context(c.Request().Context(), &agent, &who)
	if err != nil {
		return fmt.Errorf("find context of contact %s: %w", who.ID, err)
	}
	return wire.Data(c, http.StatusOK, newContextBody(agent.ID, x, time.Now()))
}

func (h *API) forgetContext(c echo.Context) error {
	who, agent, err := h.pair(c)
	if err != nil {
		return err
	}
	if err := h.Contexts.Forget(c.Request().Context(), who.ID, agent.ID); err != nil {
		return fmt.Errorf("erase context of contact %s: %w", who.ID, err)
	}
	return c.NoContent(http.StatusNoContent)
}

// forget erases what agents remember of the contact in any way, of agents that
// were deleted too. Messages stay.
func (h *API) forget(c echo.Context) error {
	who, err := h.contact(c)
	if err != nil {
		return err
	}
	if err := h.Contexts.Forget(c.Request().Context(), who.ID, ""); err != nil {
		return fmt.Errorf("erase contexts of contact %s: %w", who.ID, err)
	}
	return c.NoContent(http.StatusNoContent)
}
