// Package windows is /api/v1/business_accounts/{id}/conversation_windows: what
// one conversation has otherwise than its agent of when messages are answered,
// and the command to answer now what waits there. A conversation is named by
// the customer's number; who has none, or is a group, is as the agent has it.
//
// It is ours, in the shape of the pauses beside it: WhatsRB Cloud has no such
// thing, and what is not known is refused. A setting that is null is the agent's.
// Times and sizes hold from the next message on: a window that is open keeps its
// own until then. on_new_message and max_supersedes hold at once, also for a run
// that is in hand: they are looked at when a newer message calls it back, and
// before it finishes. Nothing is kept here, so a crash leaves a call done or not
// done.
package windows

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// API serves the windows. All parts are required. The errors of its parts are
// [gateway.Error]s where a client is to learn of them.
type API struct {
	Conversations Conversations
	Agents        Agents
	Overrides     Overrides
	Answerer      Answerer
	Limits        gateway.AgentLimits // within which a window may be changed
}

// Conversations are the accounts' with their customers.
type Conversations interface {
	// Account returns one, or an Error of kind NotFound.
	Account(ctx context.Context, id gateway.AccountID) (gateway.Account, error)
	// ConversationWith returns the conversation with a peer, or an Error of
	// kind NotFound.
	ConversationWith(ctx context.Context, account gateway.AccountID, peer gateway.Address) (gateway.Conversation, error)
	// OpenConversation adds one if there was none yet. NotFound: the account
	// is not in use.
	OpenConversation(ctx context.Context, account gateway.AccountID, peer gateway.Address) (gateway.Conversation, error)
}

// Agents knows who answers an account.
type Agents interface {
	// DefaultAgent returns the agent whose settings hold where a conversation
	// has none, or an Error of kind NotFound.
	DefaultAgent(ctx context.Context, account gateway.AccountID) (gateway.Agent, error)
}

// Overrides keeps what conversations have otherwise.
type Overrides interface {
	// Windowing returns what one has, and what else counts for its window.
	Windowing(ctx context.Context, id gateway.ConversationID) (gateway.Windowing, error)
	// WindowOverrides returns at most limit of those of an account, newest
	// first, and how many there are.
	WindowOverrides(ctx context.Context, account gateway.AccountID, limit int) ([]gateway.PeerWindow, int, error)
	// PutWindowOverride sets one; the empty override is none.
	PutWindowOverride(ctx context.Context, id gateway.ConversationID, o gateway.WindowOverride) error
}

// Answerer brings forward what is to be answered.
type Answerer interface {
	// AnswerNow makes what waits in a conversation due at once and returns how
	// many messages that are: 0 if none does.
	AnswerNow(ctx context.Context, id gateway.ConversationID) (int, error)
}

// Validate says which part is missing.
func (h *API) Validate() error {
	switch {
	case h.Conversations == nil:
		return errors.New("windows: no Conversations")
	case h.Agents == nil:
		return errors.New("windows: no Agents")
	case h.Overrides == nil:
		return errors.New("windows: no Overrides")
	case h.Answerer == nil:
		return errors.New("windows: no Answerer")
	}
	return nil
}

// Mount registers the routes in a group that stands at /api/v1. The group's
// middleware authenticates, and limits bodies and times; errors are left to
// the server's error handler, which is to be [wire.ErrorHandler].
func (h *API) Mount(g *echo.Group) {
	const path = "/business_accounts/:account/conversation_windows"
	g.GET(path, h.list)
	g.GET(path+"/:phone", h.retrieve)
	g.PUT(path+"/:phone", h.replace)
	g.DELETE(path+"/:phone", h.remove)
	g.POST(path+"/:phone", h.answer)
}

// settings are those that a conversation may have otherwise. As a body, null
// and absent are the agent's.
type settings struct {
	Debounce      *int    `json:"debounce_seconds"`
	MaxWait       *int    `json:"max_wait_seconds"`
	MaxBatch      *int    `json:"max_batch_messages"`
	OnNewMessage  *string `json:"on_new_message" enum:"follow_up,supersede"`
	MaxSupersedes *int    `json:"max_supersedes"`
}

func newSettings(o *gateway.WindowOverride) settings {
	return settings{
		Debounce: seconds(o.Quiet), MaxWait: seconds(o.MaxWait), MaxBatch: o.MaxBatch,
		OnNewMessage: (*string)(o.OnNewMessage), MaxSupersedes: o.MaxSupersedes,
	}
}

func (s *settings) override() gateway.WindowOverride {
	return gateway.WindowOverride{
		Quiet: duration(s.Debounce), MaxWait: duration(s.MaxWait), MaxBatch: s.MaxBatch,
		OnNewMessage: (*gateway.NewMessagePolicy)(s.OnNewMessage), MaxSupersedes: s.MaxSupersedes,
	}
}

func seconds(d *time.Duration) *int {
	if d == nil {
		return nil
	}
	return new(int(*d / time.Second))
}

// duration keeps what a duration can't hold out of range instead of wrapping
// it around into it.
func duration(n *int) *time.Duration {
	if n == nil {
		return nil
	}
	return new(time.Duration(min(max(*n, -1), 1_000_000)) * time.Second)
}

// windowBody is a conversation's window as clients see it: what it has
// otherwise, and what holds. No agent of the account: nothing holds.
type windowBody struct {
	PhoneNumber *string `json:"phone_number"`
	settings
	Effective *settings `json:"effective"`
}

func newWindowBody(peer gateway.Address, o *gateway.WindowOverride, agent *gateway.Agent) windowBody {
	b := windowBody{PhoneNumber: wire.OrNull(peer.Phone), settings: newSettings(o)}
	if agent != nil {
		a := agent.With(o)
		all := newSettings(&gateway.WindowOverride{
			Quiet: &a.Quiet, MaxWait: &a.MaxWait, MaxBatch: &a.MaxBatch, OnNewMessage: &a.OnNewMessage, MaxSupersedes: &a.MaxSupersedes,
		})
		b.Effective = &all
	}
	return b
}

// maxListed is how many windows are listed.
const maxListed = 1000

func (h *API) list(c echo.Context) error {
	account, agent, err := h.account(c)
	if err != nil {
		return err
	}
	ws, total, err := h.Overrides.WindowOverrides(c.Request().Context(), account, maxListed)
	if err != nil {
		return fmt.Errorf("list windows of account %s: %w", account, err)
	}
	out := make([]windowBody, len(ws))
	for i := range ws {
		out[i] = newWindowBody(ws[i].Peer, &ws[i].WindowOverride, agent)
	}
	return wire.List(c, out, total)
}

func (h *API) retrieve(c echo.Context) error {
	conversation, agent, err := h.conversation(c)
	if err != nil {
		return err
	}
	x, err := h.Overrides.Windowing(c.Request().Context(), conversation.ID)
	if err != nil {
		return fmt.Errorf("find window of conversation %s: %w", conversation.ID, err)
	}
	return wire.Data(c, http.StatusOK, newWindowBody(conversation.Peer, &x.WindowOverride, agent))
}

// replace sets all settings: those that the body does not name are the agent's
// again. Whoever has not written yet may have a window, too, but gets no
// conversation where nothing is set.
func (h *API) replace(c echo.Context) error {
	account, agent, err := h.account(c)
	if err != nil {
		return err
	}
	phone, ok := phoneNumber(c)
	if !ok {
		return wire.NotFound("conversation")
	}
	body, err := wire.ReadObject(c)
	if err != nil {
		return err
	}
	var in settings
	if err := body.IntoAll(&in); err != nil {
		return err
	}
	o := in.override()
	if err := validate(h.Limits, agent, &o); err != nil {
		return err
	}
	ctx, peer := c.Request().Context(), gateway.Address{Phone: phone}
	nothing, find := o == gateway.WindowOverride{}, h.Conversations.OpenConversation
	if nothing {
		find = h.Conversations.ConversationWith
	}
	conversation, err := find(ctx, account, peer)
	switch {
	case nothing && gateway.KindOf(err) == gateway.NotFound:
		return wire.Data(c, http.StatusOK, newWindowBody(peer, &o, agent))
	case err != nil:
		return fmt.Errorf("find or open a conversation of account %s: %w", account, err)
	}
	if err := h.Overrides.PutWindowOverride(ctx, conversation.ID, o); err != nil {
		return fmt.Errorf("set window of conversation %s: %w", conversation.ID, err)
	}
	return wire.Data(c, http.StatusOK, newWindowBody(conversation.Peer, &o, agent))
}

// validate holds what the conversation will have against the agents' rules.
func validate(limits gateway.AgentLimits, agent *gateway.Agent, o *gateway.WindowOverride) error {
	if agent == nil {
		a := gateway.DefaultAgent()
		agent = &a
	}
	a := agent.With(o)
	return limits.ValidateWindow(&a)
}

func (h *API) remove(c echo.Context) error {
	conversation, agent, err := h.conversation(c)
	if err != nil {
		return err
	}
	var none gateway.WindowOverride
	if err := h.Overrides.PutWindowOverride(c.Request().Context(), conversation.ID, none); err != nil {
		return fmt.Errorf("reset window of conversation %s: %w", conversation.ID, err)
	}
	return wire.Data(c, http.StatusOK, newWindowBody(conversation.Peer, &none, agent))
}

// answerBody is how much is answered now. Messages is how many waited, if need be
// for a run in hand to be over; 0: there was nothing to answer. Those of a run
// that they superseded are answered with them, and not counted.
type answerBody struct {
	PhoneNumber *string `json:"phone_number"`
	Messages    int     `json:"messages"`
}

func (h *API) answer(c echo.Context) error {
	conversation, _, err := h.conversation(c)
	if err != nil {
		return err
	}
	n, err := h.Answerer.AnswerNow(c.Request().Context(), conversation.ID)
	if err != nil {
		return fmt.Errorf("answer conversation %s now: %w", conversation.ID, err)
	}
	return wire.Data(c, http.StatusAccepted, answerBody{wire.OrNull(conversation.Peer.Phone), n})
}

// account returns the account that the path names and its agent, nil if it has
// none.
func (h *API) account(c echo.Context) (gateway.AccountID, *gateway.Agent, error) {
	s, ok := wire.PathID(c, "account")
	if !ok {
		return "", nil, wire.NotFound("account")
	}
	ctx := c.Request().Context()
	a, err := h.Conversations.Account(ctx, gateway.AccountID(s))
	if err != nil {
		return "", nil, fmt.Errorf("find account %s: %w", s, err)
	}
	agent, err := h.Agents.DefaultAgent(ctx, a.ID)
	switch {
	case gateway.KindOf(err) == gateway.NotFound:
		return a.ID, nil, nil
	case err != nil:
		return "", nil, fmt.Errorf("find agent of account %s: %w", a.ID, err)
	}
	return a.ID, &agent, nil
}

// conversation returns the conversation that the path names.
func (h *API) conversation(c echo.Context) (gateway.Conversation, *gateway.Agent, error) {
	account, agent, err := h.account(c)
	if err != nil {
		return gateway.Conversation{}, nil, err
	}
	phone, ok := phoneNumber(c)
	if !ok {
		return gateway.Conversation{}, nil, wire.NotFound("conversation")
	}
	found, err := h.Conversations.ConversationWith(c.Request().Context(), account, gateway.Address{Phone: phone})
	if err != nil {
		return found, nil, fmt.Errorf("find a conversation of account %s: %w", account, err)
	}
	return found, agent, nil
}

func phoneNumber(c echo.Context) (string, bool) {
	s, ok := wire.PathID(c, "phone")
	if !ok {
		return "", false
	}
	return wire.PhoneNumber(s)
}
