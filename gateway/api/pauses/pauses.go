// Package pauses is /api/v1/business_accounts/{id}/conversation_pauses, in the
// shape of WhatsRB Cloud: a person keeps agents out of a conversation, and lets
// them in again. The account may be of any kind.
//
// Ours is that phone_number is null for a peer whose number WhatsApp does not
// tell, and for a group. Nothing is kept here, so a crash leaves a call done or
// not done.
package pauses

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// API serves the pauses. All parts are required. The errors of its parts are
// [gateway.Error]s where a client is to learn of them.
type API struct {
	Conversations Conversations
	Pauses        Pauses
	Editor        Editor
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

// Pauses reads pauses.
type Pauses interface {
	// Pauses returns at most limit of those of an account, newest first, and
	// how many there are: the active ones, or all of them.
	Pauses(ctx context.Context, account gateway.AccountID, includeExpired bool, limit int) ([]gateway.PausedPeer, int, error)
	// PauseByID returns one of an account's, or an Error of kind NotFound.
	PauseByID(ctx context.Context, account gateway.AccountID, id int64) (gateway.PausedPeer, error)
	// ActivePause returns the one that keeps agents out of the conversation
	// now, or an Error of kind NotFound.
	ActivePause(ctx context.Context, conversation gateway.ConversationID) (gateway.PausedPeer, error)
}

// Editor changes pauses.
type Editor interface {
	// PutPause pauses the conversation or extends its pause, which p becomes.
	PutPause(ctx context.Context, p *gateway.Pause) error
	// ResumePause ends one of an account's, or returns an Error of kind
	// NotFound. One that is over stays as it is.
	ResumePause(ctx context.Context, account gateway.AccountID, id int64) (gateway.PausedPeer, error)
}

// Validate says which part is missing.
func (h *API) Validate() error {
	switch {
	case h.Conversations == nil:
		return errors.New("pauses: no Conversations")
	case h.Pauses == nil:
		return errors.New("pauses: no Pauses")
	case h.Editor == nil:
		return errors.New("pauses: no Editor")
	}
	return nil
}

// Mount registers the routes in a group that stands at /api/v1. The group's
// middleware authenticates, and limits bodies and times; errors are left to
// the server's error handler, which is to be [wire.ErrorHandler].
func (h *API) Mount(g *echo.Group) {
	const path = "/business_accounts/:account/conversation_pauses"
	g.GET(path, h.list)
	g.POST(path, h.create)
	g.GET(path+"/check", h.check)
	g.GET(path+"/:pause", h.retrieve)
	g.DELETE(path+"/:pause", h.resume)
}

// pauseBody is a pause as clients see it. What remains is in whole minutes,
// rounded up, and none once it is over.
type pauseBody struct {
	ID          int64   `json:"id"`
	PhoneNumber *string `json:"phone_number"`
	Reason      string  `json:"reason" enum:"manual,outbound_detected,agent_proposed,run_failed"`
	ExpiresAt   *string `json:"expires_at"`
	ResumedAt   *string `json:"resumed_at"`
	Remaining   int     `json:"remaining_minutes"`
	CreatedAt   *string `json:"created_at"`
}

func newPauseBody(p *gateway.PausedPeer, now time.Time) pauseBody {
	b := pauseBody{
		ID: p.ID, PhoneNumber: wire.OrNull(p.Peer.Phone), Reason: string(p.Reason),
		ExpiresAt: wire.Stamp(p.ExpiresAt), ResumedAt: wire.Stamp(p.ResumedAt), CreatedAt: wire.Stamp(p.CreatedAt),
	}
	if p.ResumedAt.IsZero() {
		b.Remaining = int(math.Ceil(max(0, p.ExpiresAt.Sub(now).Minutes())))
	}
	return b
}

// maxListed is how many pauses are listed.
const maxListed = 1000

func (h *API) list(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	includeExpired := false
	if s := c.QueryParam("include_expired"); s != "" {
		if includeExpired, err = strconv.ParseBool(s); err != nil {
			return wire.BadRequest("include_expired must be true or false")
		}
	}
	ps, total, err := h.Pauses.Pauses(c.Request().Context(), a.ID, includeExpired, maxListed)
	if err != nil {
		return fmt.Errorf("list pauses of account %s: %w", a.ID, err)
	}
	now, out := time.Now(), make([]pauseBody, len(ps))
	for i := range ps {
		out[i] = newPauseBody(&ps[i], now)
	}
	return wire.List(c, out, total)
}

// maxMinutes is a week: what is to last longer is a setting of the account.
const maxMinutes = 7 * 24 * 60

type createInput struct {
	Phone   wire.Nullable[string] `json:"phone_number" description:"The customer's, in E.164 form"`
	Minutes *int                  `json:"duration_minutes" minimum:"1" maximum:"10080"`
}

func (h *API) create(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	phone, duration, err := readPause(c, &a)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	conversation, err := h.Conversations.OpenConversation(ctx, a.ID, gateway.Address{Phone: phone})
	if err != nil {
		return fmt.Errorf("open a conversation of account %s: %w", a.ID, err)
	}
	now := time.Now()
	p := gateway.PausedPeer{
		Pause: gateway.Pause{Conversation: conversation.ID, Reason: gateway.PauseManual, ExpiresAt: now.Add(duration), CreatedAt: now},
		Peer:  conversation.Peer,
	}
	if err := h.Editor.PutPause(ctx, &p.Pause); err != nil {
		return fmt.Errorf("pause conversation %s: %w", conversation.ID, err)
	}
	return wire.Data(c, http.StatusCreated, newPauseBody(&p, now))
}

// readPause returns whom to pause and for how long: as the body says, or as
// long as agents of the account keep out by themselves.
func readPause(c echo.Context, a *gateway.Account) (phone string, duration time.Duration, err error) {
	body, err := wire.ReadObject(c)
	if err != nil {
		return "", 0, err
	}
	var in createInput
	if err := body.Into(&in); err != nil {
		return "", 0, err
	}
	p := wire.Problems{}
	phone, ok := wire.PhoneNumber(in.Phone.Value)
	switch {
	case in.Phone.Value == "":
		p.Add("phone_number", "can't be blank")
	case !ok:
		p.Add("phone_number", "must be a number in E.164 form")
	}
	duration = a.Takeover
	if duration <= 0 {
		duration = gateway.DefaultTakeover
	}
	if m := in.Minutes; m != nil {
		if *m < 1 || *m > maxMinutes {
			p.Add("duration_minutes", fmt.Sprintf("must be between 1 and %d", maxMinutes))
		} else {
			duration = time.Duration(*m) * time.Minute
		}
	}
	return phone, duration, p.Err()
}

// checkBody has no envelope, as in the original.
type checkBody struct {
	Paused bool       `json:"paused"`
	Pause  *pauseBody `json:"pause"`
}

func (h *API) check(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	given := c.QueryParam("phone_number")
	if given == "" {
		return wire.BadRequest("Missing parameter: phone_number")
	}
	phone, ok := wire.PhoneNumber(given)
	if !ok {
		return wire.BadRequest("phone_number must be a number in E.164 form")
	}
	p, err := h.active(c.Request().Context(), a.ID, phone)
	switch {
	case gateway.KindOf(err) == gateway.NotFound:
		return wire.JSON(c, http.StatusOK, checkBody{})
	case err != nil:
		return err
	}
	b := newPauseBody(&p, time.Now())
	return wire.JSON(c, http.StatusOK, checkBody{Paused: true, Pause: &b})
}

func (h *API) active(ctx context.Context, account gateway.AccountID, phone string) (gateway.PausedPeer, error) {
	conversation, err := h.Conversations.ConversationWith(ctx, account, gateway.Address{Phone: phone})
	if err != nil {
		return gateway.PausedPeer{}, fmt.Errorf("find a conversation of account %s: %w", account, err)
	}
	p, err := h.Pauses.ActivePause(ctx, conversation.ID)
	if err != nil {
		return p, fmt.Errorf("find pause of conversation %s: %w", conversation.ID, err)
	}
	return p, nil
}

func (h *API) retrieve(c echo.Context) error {
	a, id, err := h.pause(c)
	if err != nil {
		return err
	}
	p, err := h.Pauses.PauseByID(c.Request().Context(), a, id)
	if err != nil {
		return fmt.Errorf("find pause %d: %w", id, err)
	}
	return wire.Data(c, http.StatusOK, newPauseBody(&p, time.Now()))
}

func (h *API) resume(c echo.Context) error {
	a, id, err := h.pause(c)
	if err != nil {
		return err
	}
	p, err := h.Editor.ResumePause(c.Request().Context(), a, id)
	if err != nil {
		return fmt.Errorf("end pause %d: %w", id, err)
	}
	return wire.Data(c, http.StatusOK, newPauseBody(&p, time.Now()))
}

// account returns the account that the path names.
func (h *API) account(c echo.Context) (gateway.Account, error) {
	s, ok := wire.PathID(c, "account")
	if !ok {
		return gateway.Account{}, wire.NotFound("account")
	}
	a, err := h.Conversations.Account(c.Request().Context(), gateway.AccountID(s))
	if err != nil {
		return a, fmt.Errorf("find account %s: %w", s, err)
	}
	return a, nil
}

// pause returns the numbers of the account and the pause that the path names.
func (h *API) pause(c echo.Context) (gateway.AccountID, int64, error) {
	a, err := h.account(c)
	if err != nil {
		return "", 0, err
	}
	s, _ := wire.PathID(c, "pause")
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return "", 0, wire.NotFound("pause")
	}
	return a.ID, id, nil
}
