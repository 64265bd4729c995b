// Package contacts is /api/v1/contacts: who wrote to us, what they are filed
// under, which of their messages no agent answered and why, and what agents
// remember of them, for people to read, correct and erase.
//
// It is ours, in the shape of what stands beside it: WhatsRB Cloud has no such
// thing, and what is not known is refused. What an agent remembers is of two
// kinds. Its context is of the conversation that it is in, and ends by itself;
// its memory is of the contact, and stays until the agent or a person changes it.
// Neither is shown or changed but under the contact and the agent whose it is,
// which are of one account. Nothing is kept here, so a crash leaves a call done
// or not done; an erasure may be repeated.
package contacts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// API serves the contacts. All parts are required. The errors of its parts are
// [gateway.Error]s where a client is to learn of them.
type API struct {
	People   People
	Agents   Agents
	Memories Memories
	Contexts Contexts
	Messages Messages
}

// People are the contacts.
type People interface {
	// Contact returns one, or an Error of kind NotFound.
	Contact(ctx context.Context, id gateway.ContactID) (gateway.Contact, error)
	// Contacts returns at most limit, newest first, that come after one if that is
	// not empty, and how many there are: of all, or all of those that a phone number
	// means. NotFound: there is no such one any more.
	Contacts(ctx context.Context, phone string, after gateway.ContactID, limit int) ([]gateway.Contact, int, error)
	// SetContactTags replaces what a peer of an account is filed under, and
	// returns it as it is kept.
	SetContactTags(ctx context.Context, account gateway.AccountID, peer gateway.Address, tags []string) ([]string, error)
}

// Agents knows the agents.
type Agents interface {
	// Agent returns one, or an Error of kind NotFound.
	Agent(ctx context.Context, id gateway.AgentID) (gateway.Agent, error)
}

// Memories are what agents keep of contacts for good.
type Memories interface {
	// ContactMemory returns what an agent keeps of a contact, or an Error of kind
	// NotFound.
	ContactMemory(ctx context.Context, agent gateway.AgentID, contact gateway.ContactID) (gateway.ContactMemory, error)
	// PutContactMemory sets it, and its time; nothing of an empty text is kept.
	PutContactMemory(ctx context.Context, m *gateway.ContactMemory) error
}

// Contexts are what agents remember of conversations for a while.
type Contexts interface {
	// Context returns what an agent remembers of the conversation with a contact;
	// nil if that is nothing.
	Context(ctx context.Context, agent *gateway.Agent, contact *gateway.Contact) (*Context, error)
	// Forget erases it or, with an empty agent, every agent's, and what they keep
	// of the contact for good.
	Forget(ctx context.Context, contact gateway.ContactID, agent gateway.AgentID) error
}

// Messages are what contacts wrote.
type Messages interface {
	// Skipped returns at most limit that no run took, newest first.
	Skipped(ctx context.Context, contact *gateway.Contact, limit int) ([]gateway.Message, error)
}

// A Context is what an agent remembers of a conversation.
type Context struct {
	Summary     string // of its last run
	Earlier     string // the summary of turns that did not fit into the prompt; may be empty
	Intent      string // of its last run
	Actions     []gateway.OutputAction
	CompletedAt time.Time // when that run did
	ExpiresAt   time.Time
}

// Validate says which part is missing.
func (h *API) Validate() error {
	switch {
	case h.People == nil:
		return errors.New("contacts: no People")
	case h.Agents == nil:
		return errors.New("contacts: no Agents")
	case h.Memories == nil:
		return errors.New("contacts: no Memories")
	case h.Contexts == nil:
		return errors.New("contacts: no Contexts")
	case h.Messages == nil:
		return errors.New("contacts: no Messages")
	}
	return nil
}

// Mount registers the routes in a group that stands at /api/v1. The group's
// middleware authenticates, and limits bodies and times; errors are left to
// the server's error handler, which is to be [wire.ErrorHandler].
func (h *API) Mount(g *echo.Group) {
	const one = "/contacts/:contact"
	g.GET("/contacts", h.list)
	g.GET(one, h.retrieve)
	g.PATCH(one, h.update)
	g.GET(one+"/skipped", h.skipped)
	g.DELETE(one+"/context", h.forget)
	const agents = one + "/agents/:agent"
	g.GET(agents+"/context", h.context)
	g.DELETE(agents+"/context", h.forgetContext)
	g.GET(agents+"/memory", h.memory)
	g.PUT(agents+"/memory", h.remember)
	g.DELETE(agents+"/memory", h.forgetMemory)
}

// contactBody is a contact as clients see it: a person, or a group, which has no
// number.
type contactBody struct {
	ID          string   `json:"id"`
	Account     string   `json:"business_account_id"`
	PhoneNumber *string  `json:"phone_number"`
	Group       bool     `json:"group"`
	Name        *string  `json:"name"`
	Tags        []string `json:"tags"`
}

func newContactBody(c *gateway.Contact) contactBody {
	tags := c.Tags
	if tags == nil {
		tags = []string{}
	}
	return contactBody{
		ID: string(c.ID), Account: string(c.Account), PhoneNumber: wire.OrNull(c.Address.Phone),
		Group: c.Address.Group != "", Name: wire.OrNull(c.Name), Tags: tags,
	}
}

// maxListed is how many of anything are listed, unless a limit says fewer. The
// next contacts come after the last of those.
const maxListed = 1000

func limit(c echo.Context) (int, error) {
	s := c.QueryParam("limit")
	if s == "" {
		return maxListed, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxListed {
		return 0, wire.BadRequest(fmt.Sprintf("limit must be between 1 and %d", maxListed))
	}
	return n, nil
}

func (h *API) list(c echo.Context) error {
	most, err := limit(c)
	if err != nil {
		return err
	}
	phone := ""
	if given := c.QueryParam("phone_number"); given != "" {
		var ok bool
		if phone, ok = wire.PhoneNumber(given); !ok {
			return wire.BadRequest("phone_number must be a number in E.164 form")
		}
	}
	people, total, err := h.People.Contacts(c.Request().Context(), phone, gateway.ContactID(c.QueryParam("after")), most)
	if gateway.KindOf(err) == gateway.NotFound {
		return wire.BadRequest("after names no contact any more: begin anew")
	}
	if err != nil {
		return fmt.Errorf("list contacts: %w", err)
	}
	out := make([]contactBody, len(people))
	for i := range people {
		out[i] = newContactBody(&people[i])
	}
	return wire.List(c, out, total)
}

func (h *API) retrieve(c echo.Context) error {
	who, err := h.contact(c)
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusOK, newContactBody(&who))
}

type contactInput struct {
	Tags wire.Nullable[[]string] `json:"tags"`
}

// update sets what the body names. Null takes all tags away.
func (h *API) update(c echo.Context) error {
	who, err := h.contact(c)
	if err != nil {
		return err
	}
	body, err := wire.ReadObject(c)
	if err != nil {
		return err
	}
	var in contactInput
	if err := body.IntoAll(&in); err != nil {
		return err
	}
	if in.Tags.Set {
		if who.Tags, err = h.People.SetContactTags(c.Request().Context(), who.Account, who.Address, in.Tags.Value); err != nil {
			return fmt.Errorf("set tags of contact %s: %w", who.ID, err)
		}
	}
	return wire.Data(c, http.StatusOK, newContactBody(&who))
}

// skippedBody is a message that no run took, and why. Of one that was deleted for
// everybody there is no text.
type skippedBody struct {
	ID         string  `json:"id"`
	Type       string  `json:"type"`
	Text       string  `json:"text"`
	State      string  `json:"state"`
	Reason     string  `json:"reason"`
	ReceivedAt *string `json:"received_at"`
}

func (h *API) skipped(c echo.Context) error {
	most, err := limit(c)
	if err != nil {
		return err
	}
	who, err := h.contact(c)
	if err != nil {
		return err
	}
	ms, err := h.Messages.Skipped(c.Request().Context(), &who, most)
	if err != nil {
		return fmt.Errorf("list skipped messages of contact %s: %w", who.ID, err)
	}
	out := make([]skippedBody, len(ms))
	for i, m := range ms {
		out[i] = skippedBody{ID: string(m.ID), Type: string(m.Type), Text: m.Text, State: string(m.State), Reason: m.StateReason, ReceivedAt: wire.Stamp(m.ReceivedAt)}
		if !m.RevokedAt.IsZero() {
			out[i].Text = ""
		}
	}
	return wire.Data(c, http.StatusOK, out)
}

// contact returns the contact that the path names.
func (h *API) contact(c echo.Context) (gateway.Contact, error) {
	s, ok := wire.PathID(c, "contact")
	if !ok {
		return gateway.Contact{}, wire.NotFound("contact")
	}
	who, err := h.People.Contact(c.Request().Context(), gateway.ContactID(s))
	if err != nil {
		return who, fmt.Errorf("find contact %s: %w", s, err)
	}
	return who, nil
}

// pair returns the contact and the agent that the path names. They are of one
// account: there is nothing between others.
func (h *API) pair(c echo.Context) (gateway.Contact, gateway.Agent, error) {
	who, err := h.contact(c)
	if err != nil {
		return who, gateway.Agent{}, err
	}
	s, _ := wire.PathID(c, "agent")
	id, ok := gateway.ParseAgentID(s)
	if !ok {
		return who, gateway.Agent{}, wire.NotFound("agent")
	}
	agent, err := h.Agents.Agent(c.Request().Context(), id)
	if err != nil {
		return who, agent, fmt.Errorf("find agent %s: %w", id, err)
	}
	if agent.Account != who.Account {
		return who, agent, wire.NotFound("agent")
	}
	return who, agent, nil
}
