package contacts

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// memoryBody is what an agent keeps of a contact: an empty text where that is
// nothing. Limit is in characters; 0: the agent keeps nothing.
type memoryBody struct {
	AgentID   string  `json:"agent_id"`
	Text      string  `json:"text"`
	Limit     int     `json:"limit"`
	UpdatedAt *string `json:"updated_at"`
}

func newMemoryBody(agent *gateway.Agent, m *gateway.ContactMemory) memoryBody {
	b := memoryBody{AgentID: agent.ID.String(), Text: m.Text, Limit: agent.ContactMemory}
	if m.Text != "" {
		b.UpdatedAt = wire.Stamp(m.UpdatedAt)
	}
	return b
}

func (h *API) memory(c echo.Context) error {
	who, agent, err := h.pair(c)
	if err != nil {
		return err
	}
	m, err := h.Memories.ContactMemory(c.Request().Context(), agent.ID, who.ID)
	if err != nil && gateway.KindOf(err) != gateway.NotFound {
		return fmt.Errorf("find memory of contact %s: %w", who.ID, err)
	}
	return wire.Data(c, http.StatusOK, newMemoryBody(&agent, &m))
}

type memoryInput struct {
	Text *string `json:"text"`
}

func (h *API) remember(c echo.Context) error {
	who, agent, err := h.pair(c)
	if err != nil {
		return err
	}
	body, err := wire.ReadObject(c)
	if err != nil {
		return err
	}
	var in memoryInput
	if err := body.IntoAll(&in); err != nil {
		return err
	}
	p := wire.Problems{}
	switch {
	case in.Text == nil:
		p.Add("text", "can't be blank") // to empty it is DELETE's
	case agent.ContactMemory == 0:
		p.Add("text", "can't be kept: the agent's contact_memory_limit is 0")
	default:
		*in.Text = strings.TrimSpace(*in.Text)
		if n := utf8.RuneCountInString(*in.Text); n == 0 {
			p.Add("text", "can't be blank")
		} else if n > agent.ContactMemory {
			p.Add("text", fmt.Sprintf("must be at most %d characters", agent.ContactMemory))
		}
	}
	if err := p.Err(); err != nil {
		return err
	}
	return h.put(c, &agent, who.ID, *in.Text)
}

func (h *API) forgetMemory(c echo.Context) error {
	who, agent, err := h.pair(c)
	if err != nil {
		return err
	}
	return h.put(c, &agent, who.ID, "")
}

func (h *API) put(c echo.Context, agent *gateway.Agent, contact gateway.ContactID, text string) error {
	m := gateway.ContactMemory{Agent: agent.ID, Contact: contact, Text: text}
	if err := h.Memories.PutContactMemory(c.Request().Context(), &m); err != nil {
		return fmt.Errorf("set memory of contact %s: %w", contact, err)
	}
	return wire.Data(c, http.StatusOK, newMemoryBody(agent, &m))
}
