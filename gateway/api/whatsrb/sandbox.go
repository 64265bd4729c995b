package whatsrb

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

const (
	// lastMessages is how many messages a list shows.
	lastMessages = 100
	// maxText is in characters: what the Cloud API takes in a text message.
	maxText = 4096
	// maxName is in characters.
	maxName = 255
)

// sandboxMessageBody is a message of a sandbox account. All types but text
// have their readable part, if any, as text.
type sandboxMessageBody struct {
	ID         string  `json:"id"`
	Direction  string  `json:"direction" enum:"inbound,outbound"` // inbound or outbound, as the customer's own phone would not say it
	Type       string  `json:"message_type"`
	Text       string  `json:"text"`
	Status     string  `json:"status"` // outbound: how far it got; inbound: what became of it
	RunID      *string `json:"run_id"`
	SentAt     *string `json:"sent_at"`
	ReceivedAt *string `json:"received_at"`
}

func newSandboxMessageBody(m *gateway.Message) sandboxMessageBody {
	b := sandboxMessageBody{
		ID: string(m.ID), Direction: "inbound", Type: string(m.Type), Text: m.Text, Status: string(m.State),
		RunID: wire.OrNull(string(m.Run)), SentAt: wire.Stamp(m.SentAt), ReceivedAt: wire.Stamp(m.ReceivedAt),
	}
	if m.Direction == gateway.Out {
		b.Direction, b.Status = "outbound", string(m.Status)
	}
	return b
}

func (h *API) listSandbox(c echo.Context) error {
	limit, err := limitParam(c, lastMessages)
	if err != nil {
		return err
	}
	phone := c.QueryParam("phone_number")
	if phone != "" {
		var ok bool
		if phone, ok = wire.PhoneNumber(phone); !ok {
			return wire.BadRequest("phone_number must be a number in E.164 form")
		}
	}
	id, err := h.pathSandbox(c)
	if err != nil {
		return err
	}
	messages, err := h.Sandbox.SandboxMessages(c.Request().Context(), id, phone, limit)
	if err != nil {
		return fmt.Errorf("list messages of sandbox account %s: %w", id, err)
	}
	out := make([]sandboxMessageBody, len(messages))
	for i := range messages {
		out[i] = newSandboxMessageBody(&messages[i])
	}
	return wire.List(c, out, len(out))
}

type injectInput struct {
	From wire.Nullable[string] `json:"from"`
	Name wire.Nullable[string] `json:"name"`
	Text wire.Nullable[string] `json:"text"`
}

// injectBody answers an injection. The id is the one that WhatsApp would have
// given the message.
type injectBody struct {
	ID      string `json:"id"`
	Outcome string `json:"outcome" description:"What became of the message"`
}

func (h *API) injectSandbox(c echo.Context) error {
	id, err := h.pathSandbox(c)
	if err != nil {
		return err
	}
	var in injectInput
	if err := wire.ReadMember(c, "message", &in); err != nil {
		return err
	}
	p := wire.Problems{}
	from, ok := wire.PhoneNumber(in.From.Value)
	if !ok {
		p.Add("from", "must be a number in E.164 form")
	}
	switch {
	case strings.TrimSpace(in.Text.Value) == "":
		p.Add("text", "can't be blank")
	case utf8.RuneCountInString(in.Text.Value) > maxText:
		p.Add("text", fmt.Sprintf("must have at most %d characters", maxText))
	}
	if utf8.RuneCountInString(in.Name.Value) > maxName {
		p.Add("name", fmt.Sprintf("must have at most %d characters", maxName))
	}
	if err := p.Err(); err != nil {
		return err
	}
	outcome, external, err := h.Sandbox.Inject(c.Request().Context(), id, from, in.Name.Value, in.Text.Value)
	if err != nil {
		return fmt.Errorf("inject into account %s: %w", id, err)
	}
	return wire.Data(c, http.StatusCreated, injectBody{ID: external, Outcome: string(outcome)})
}

// pathSandbox returns the sandbox account that the path names. A real account
// is not found: nobody may write messages into it in a customer's name.
func (h *API) pathSandbox(c echo.Context) (gateway.AccountID, error) {
	s, ok := wire.PathID(c, "account")
	if !ok {
		return "", wire.NotFound("account")
	}
	id := gateway.AccountID(s)
	a, err := h.Accounts.Account(c.Request().Context(), id)
	if err != nil {
		return "", fmt.Errorf("find account %s: %w", id, err)
	}
	if a.Kind != gateway.Sandbox {
		return "", wire.NotFound("sandbox account")
	}
	return id, nil
}
