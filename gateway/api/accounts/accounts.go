// Package accounts is /api/v1/business_accounts, in the shape of WhatsRB Cloud:
// the accounts on the Cloud API and in the sandbox, the service windows of their
// customers, and connects. Linked devices are in package sessions.
//
// Tokens and secrets are taken and never shown. Meta is asked whether the token of a
// new account reaches its number, and whether that is one of waba_id's, before it is
// added. An account is active, and connected, once it has what it needs to send and
// to receive; until then its details, which are ours, say what it lacks. What its number is rated Meta knows and we do not:
// quality_rating is null. Accounts change only in the configuration file, so
// updated_at is created_at; human_takeover_duration is in minutes.
//
// Ours are two members of a new account: app_secret, with which Meta signs what
// comes in, and verify_token. Where they are left out the account has those of
// the other accounts on the Cloud API, if these agree: they are the app's, and
// most have one. An account without an app secret sends, and receives nothing, since
// nobody could tell whose words a webhook brings: it is pending.
//
// The original's connect leads through a form of Meta's, which needs an app of
// Meta's own kind. Ours is a link to this server that works once, for an hour,
// and without an API key: whoever has it finds a form there, or, without a browser,
// reads what is asked for, and posts the new account to it as the API takes one. So a business can
// hand over its token to nobody but the gateway. The link is as good as a key to
// that one act, and its id is random for that reason.
//
// Nothing is kept here, so a crash leaves a call done or not done. A repetition
// under the same Idempotency-Key is answered with the account that the try before
// it added.
package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/wire"
)

// API serves the accounts. All parts are required. The errors of its parts are
// [gateway.Error]s where a client is to learn of them.
type API struct {
	Accounts      Accounts
	Conversations Conversations
	Connects      Connects
	Apps          Apps
	Meta          Meta
	// GraphURL is the Graph API that new accounts send through, unless the others
	// agree on another, with its version and without a trailing slash.
	GraphURL string
	// URL is where clients reach this server, without a trailing slash; empty: as
	// the request at hand did.
	URL string
}

// Accounts are those of every kind.
type Accounts interface {
	// Accounts returns those in use.
	Accounts(ctx context.Context) ([]gateway.Account, error)
	// AddCloudAccount adds one, and completes the connect that it came through ("":
	// none). Invalid: its number is taken. Conflict: the connect is no good any more.
	AddCloudAccount(ctx context.Context, a gateway.Account, through gateway.ConnectID) error
	// DeleteAccount takes one out of use. Conflict: it is in the configuration file.
	DeleteAccount(ctx context.Context, id gateway.AccountID) error
}

// Apps are Meta's, which accounts share.
type Apps interface {
	// Accounts returns the accounts in use, whoever asks: only the secrets of their
	// apps are looked at, and shown to nobody.
	Accounts(ctx context.Context) ([]gateway.Account, error)
}

// Meta is asked about new accounts.
type Meta interface {
	// CheckAccount returns an Error of kind Invalid, with the field in its Details,
	// where the account's token does not reach its number, or that is not of its
	// business account, and one of another kind where Meta does not say.
	CheckAccount(ctx context.Context, a *gateway.Account) error
}

// Conversations are the accounts' with their customers.
type Conversations interface {
	// ConversationWith returns the conversation with a peer, or an Error of
	// kind NotFound.
	ConversationWith(ctx context.Context, account gateway.AccountID, peer gateway.Address) (gateway.Conversation, error)
}

// Connects are leave to add an account.
type Connects interface {
	// AddConnect adds one.
	AddConnect(ctx context.Context, c gateway.Connect) error
	// Connect returns one, or an Error of kind NotFound.
	Connect(ctx context.Context, id gateway.ConnectID) (gateway.Connect, error)
}

// Validate says which part is missing.
func (h *API) Validate() error {
	switch {
	case h.Accounts == nil:
		return errors.New("accounts: no Accounts")
	case h.Conversations == nil:
		return errors.New("accounts: no Conversations")
	case h.Connects == nil:
		return errors.New("accounts: no Connects")
	case h.Apps == nil:
		return errors.New("accounts: no Apps")
	case h.Meta == nil:
		return errors.New("accounts: no Meta")
	case h.GraphURL == "":
		return errors.New("accounts: no GraphURL")
	}
	return nil
}

// Mount registers the routes in a group that stands at /api/v1. The group's
// middleware authenticates, and limits bodies and times; errors are left to
// the server's error handler, which is to be [wire.ErrorHandler].
func (h *API) Mount(g *echo.Group) {
	g.GET("/business_accounts", h.list)
	g.POST("/business_accounts", h.create)
	g.GET("/business_accounts/:account", h.retrieve)
	g.DELETE("/business_accounts/:account", h.delete)
	g.GET("/business_accounts/:account/window", h.window)

	g.POST("/business_accounts/connect", h.connect)
	g.GET("/connects/:connect", h.retrieveConnect)
	// The original's page can be read either way.
	g.GET("/business_accounts/connects/:connect", h.retrieveConnect)
}

// MountLinks registers the routes of connects in a group that stands at /connect.
// Its middleware limits bodies and times, and does not authenticate: the links do.
func (h *API) MountLinks(g *echo.Group) {
	g.GET("/:connect", h.askFor)
	g.POST("/:connect", h.complete)
}

// accountBody is an account as clients see it.
type accountBody struct {
	ID            string  `json:"id"`
	WABAID        *string `json:"waba_id"`
	BusinessName  *string `json:"business_name"`
	DisplayName   *string `json:"display_name"`
	PhoneNumber   *string `json:"phone_number"`
	PhoneNumberID *string `json:"phone_number_id"`
	Status        string  `json:"status" enum:"active,pending"`
	Quality       *string `json:"quality_rating"`
	Connected     bool    `json:"connected"`
	Takeover      int     `json:"human_takeover_duration"` // in minutes
	CreatedAt     *string `json:"created_at"`
	UpdatedAt     *string `json:"updated_at"`

	Details map[string][]string `json:"details,omitempty" description:"What an account lacks that is pending, by field"`
}

// lacks says what an account needs that it does not have, by the field that gives it.
func lacks(a *gateway.Account) map[string][]string {
	p := wire.Problems{}
	if a.Kind == gateway.Sandbox {
		return p
	}
	for _, need := range []struct{ field, value, why string }{
		{"phone_number_id", a.Cloud.PhoneNumberID, "nothing can be sent or received without it"},
		{"meta_access_token", string(a.Cloud.AccessToken), "nothing can be sent without it"},
		{"app_secret", string(a.Cloud.AppSecret), "messages are not received without it, since Meta's signature on them can't be verified"},
	} {
		if need.value == "" {
			p.Add(need.field, "is missing: "+need.why)
		}
	}
	return p
}

func newAccountBody(a *gateway.Account) accountBody {
	b := accountBody{
		ID: string(a.ID), WABAID: wire.OrNull(a.Cloud.WABAID), BusinessName: wire.OrNull(a.Business), DisplayName: wire.OrNull(a.Name),
		PhoneNumber: wire.OrNull(a.PhoneNumber), PhoneNumberID: wire.OrNull(a.Cloud.PhoneNumberID), Status: "pending",
		Details:  lacks(a),
		Takeover: int(a.Takeover.Minutes()), CreatedAt: wire.Stamp(a.CreatedAt), UpdatedAt: wire.Stamp(a.CreatedAt),
	}
	if len(b.Details) == 0 {
		b.Status, b.Connected = "active", true
	}
	return b
}

func (h *API) list(c echo.Context) error {
	all, err := h.all(c)
	if err != nil {
		return err
	}
	out := make([]accountBody, len(all))
	for i := range all {
		out[i] = newAccountBody(&all[i])
	}
	return wire.List(c, out, len(out))
}

func (h *API) create(c echo.Context) error {
	a, err := h.add(c, "")
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusCreated, newAccountBody(&a))
}

// add adds the account that the body describes, through a connect or by whoever
// has a key. One that an earlier try at the same request added is as it is.
func (h *API) add(c echo.Context, through gateway.ConnectID) (gateway.Account, error) {
	a, err := readAccount(c)
	if err != nil {
		return a, err
	}
	all, err := h.Apps.Accounts(c.Request().Context())
	if err != nil {
		return a, fmt.Errorf("list accounts: %w", err)
	}
	a.ID = gateway.NewAccountID()
	if try := idempotency.ID(c); try != "" {
		a.ID = gateway.AccountIDOf(try)
		if i := slices.IndexFunc(all, func(x gateway.Account) bool { return x.ID == a.ID }); i >= 0 {
			return all[i], nil
		}
	}
	share(&a, all)
	a.Kind, a.Takeover, a.CreatedAt = gateway.CloudAPI, gateway.DefaultTakeover, time.Now()
	a.Cloud.GraphURL = h.graphURL(all)
	if err := h.Meta.CheckAccount(c.Request().Context(), &a); err != nil {
		return a, fmt.Errorf("check account %s: %w", a.ID, err)
	}
	if err := h.Accounts.AddCloudAccount(c.Request().Context(), a, through); err != nil {
		return a, fmt.Errorf("add account %s: %w", a.ID, err)
	}
	return a, nil
}

// graphURL is the Graph API of the accounts that there are, if they agree: an
// operator may have named another version, or a proxy.
func (h *API) graphURL(others []gateway.Account) string {
	known := ""
	for i := range others {
		switch url := others[i].Cloud.GraphURL; {
		case others[i].Kind != gateway.CloudAPI || url == "":
		case known == "":
			known = url
		case known != url:
			return h.GraphURL
		}
	}
	return cmp.Or(known, h.GraphURL)
}

// share gives an account the secrets of the app that the others have, where it
// has none of its own and they agree.
func share(a *gateway.Account, others []gateway.Account) {
	for _, secret := range []func(*gateway.Cloud) *gateway.Secret{
		func(c *gateway.Cloud) *gateway.Secret { return &c.AppSecret },
		func(c *gateway.Cloud) *gateway.Secret { return &c.VerifyToken },
	} {
		known := map[gateway.Secret]bool{}
		for i := range others {
			known[*secret(&others[i].Cloud)] = true
		}
		delete(known, "")
		for s := range known {
			if own := secret(&a.Cloud); *own == "" && len(known) == 1 {
				*own = s
			}
		}
	}
}

func (h *API) retrieve(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusOK, newAccountBody(&a))
}

func (h *API) delete(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	if err := h.Accounts.DeleteAccount(c.Request().Context(), a.ID); err != nil {
		return fmt.Errorf("delete account %s: %w", a.ID, err)
	}
	return c.NoContent(http.StatusNoContent)
}

// windowBody is the time in which the Cloud API takes free-form messages to a
// customer. In the sandbox it binds nobody.
type windowBody struct {
	PhoneNumber   string  `json:"phone_number"`
	Open          bool    `json:"open"`
	LastInboundAt *string `json:"last_inbound_at"`
	ExpiresAt     *string `json:"expires_at"`
}

func (h *API) window(c echo.Context) error {
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
	conversation, err := h.Conversations.ConversationWith(c.Request().Context(), a.ID, gateway.Address{Phone: phone})
	if err != nil && gateway.KindOf(err) != gateway.NotFound {
		return fmt.Errorf("find a conversation of account %s: %w", a.ID, err)
	}
	b := windowBody{PhoneNumber: phone}
	if last := conversation.LastInboundAt; err == nil && !last.IsZero() {
		ends := last.Add(gateway.ServiceWindow)
		b.Open, b.LastInboundAt, b.ExpiresAt = time.Now().Before(ends), wire.Stamp(last), wire.Stamp(ends)
	}
	return wire.Data(c, http.StatusOK, b)
}

// all returns the accounts that are business accounts.
func (h *API) all(c echo.Context) ([]gateway.Account, error) {
	accounts, err := h.Accounts.Accounts(c.Request().Context())
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(accounts), func(a gateway.Account) bool { return a.Kind == gateway.LinkedDevice }), nil
}

// account returns the account that the path names. One that was deleted, and a
// linked device, are not found.
func (h *API) account(c echo.Context) (gateway.Account, error) {
	s, ok := wire.PathID(c, "account")
	if !ok {
		return gateway.Account{}, wire.NotFound("account")
	}
	all, err := h.all(c)
	if err != nil {
		return gateway.Account{}, err
	}
	i := slices.IndexFunc(all, func(a gateway.Account) bool { return a.ID == gateway.AccountID(s) })
	if i < 0 {
		return gateway.Account{}, wire.NotFound("account")
	}
	return all[i], nil
}
