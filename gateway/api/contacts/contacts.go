// Package contacts is /api/v1/contacts: who wrote to us, what they are filed
// under, and what agents remember of them, for people to read, correct and
// erase.
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
	"math"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

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
}

// People are the contacts.
type People interface {
	// Contact returns one, or an Error of kind NotFound.
	Contact(ctx context.Context, id gateway.ContactID) (gateway.Contact, error)
	// Contacts returns at most limit, newest first, and how many there are: of
	// all, or of those that a phone number means.
	Contacts(ctx context.Context, phone string, limit int) ([]gateway.Contact, int, error)
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

// maxListed is how many contacts are listed.
const maxListed = 1000

func (h *API) list(c echo.Context) error {
	phone := ""
	if given := c.QueryParam("phone_number"); given != "" {
		var ok bool
		if phone, ok = wire.PhoneNumber(given); !ok {
			return wire.BadRequest("phone_number must be a number in E.164 form")
		}
	}
	people, total, err := h.People.Contacts(c.Request().Context(), phone, maxListed)
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
	var in struct {
		Tags wire.Nullable[[]string] `json:"tags"`
	}
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

func (h *API) remember(c echo.Context) error {
	who, agent, err := h.pair(c)
	if err != nil {
		return err
	}
	body, err := wire.ReadObject(c)
	if err != nil {
		return err
	}
	var in struct {
		Text *string `json:"text"`
	}
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
