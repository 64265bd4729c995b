package accounts

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// connectBody is a connect as clients see it. The account is what was added, as
// long as it is in use: clients wait for it. Its id alone is ours, and stays.
type connectBody struct {
	ID        string       `json:"id"`
	URL       string       `json:"url"`
	Status    string       `json:"status" enum:"pending,completed,expired"`
	ExpiresAt *string      `json:"expires_at"`
	Account   *accountBody `json:"account"`
	AccountID *string      `json:"business_account_id"`
}

// The values of status.
const (
	statusPending   = "pending"
	statusCompleted = "completed"
	statusExpired   = "expired"
)

func (h *API) newConnectBody(c echo.Context, x *gateway.Connect) connectBody {
	base := h.URL
	if base == "" {
		base = c.Scheme() + "://" + c.Request().Host
	}
	return connectBody{
		ID: string(x.ID), URL: base + "/connect/" + string(x.ID), Status: statusOf(x), ExpiresAt: wire.Stamp(x.ExpiresAt),
		AccountID: wire.OrNull(string(x.Account)),
	}
}

func statusOf(x *gateway.Connect) string {
	switch {
	case x.Account != "":
		return statusCompleted
	case !time.Now().Before(x.ExpiresAt):
		return statusExpired
	default:
		return statusPending
	}
}

// connect begins one. Whatever the body holds is passed over, if it is an object.
func (h *API) connect(c echo.Context) error {
	if _, err := wire.ReadObject(c); err != nil {
		return err
	}
	now := time.Now()
	x := gateway.Connect{ID: gateway.NewConnectID(), ExpiresAt: now.Add(gateway.ConnectTTL), CreatedAt: now}
	if err := h.Connects.AddConnect(c.Request().Context(), x); err != nil {
		return fmt.Errorf("add connect: %w", err)
	}
	return wire.Data(c, http.StatusCreated, h.newConnectBody(c, &x))
}

func (h *API) retrieveConnect(c echo.Context) error {
	x, err := h.pathConnect(c)
	if err != nil {
		return err
	}
	b := h.newConnectBody(c, &x)
	if x.Account == "" {
		return wire.Data(c, http.StatusOK, b)
	}
	all, err := h.all(c)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(all, func(a gateway.Account) bool { return a.ID == x.Account }); i >= 0 {
		account := newAccountBody(&all[i])
		b.Account = &account
	}
	return wire.Data(c, http.StatusOK, b)
}

// askBody is what whoever was given the link reads there.
type askBody struct {
	Status       string  `json:"status"`
	ExpiresAt    *string `json:"expires_at"`
	Instructions string  `json:"instructions"`
}

// instructions say what to do where a connect is of a status.
var instructions = map[string]string{
	statusPending: `Connect your WhatsApp number: POST JSON to this address, ` +
		`{"business_account": {"waba_id": "…", "phone_number_id": "…", "meta_access_token": "…", ` +
		`"business_name": "…", "display_name": "…", "phone_number": "+…"}}. ` +
		`The first three are required; Meta shows them under WhatsApp, API setup. It works once.`,
	statusCompleted: "The number is connected. There is nothing left to do.",
	statusExpired:   "The link has expired: ask for another.",
}

func (h *API) askFor(c echo.Context) error {
	x, err := h.pathConnect(c)
	switch {
	case err != nil && fromBrowser(c):
		return showError(c, err)
	case err != nil:
		return err
	case fromBrowser(c):
		return h.show(c, &x, nil)
	}
	status := statusOf(&x)
	return wire.Data(c, http.StatusOK, askBody{Status: status, ExpiresAt: wire.Stamp(x.ExpiresAt), Instructions: instructions[status]})
}

// complete adds the account that was posted to a link. A browser is led back to
// the link, which shows what became of it.
func (h *API) complete(c echo.Context) error {
	x, err := h.pathConnect(c)
	if err == nil {
		if status := statusOf(&x); status != statusPending {
			err = &gateway.Error{Kind: gateway.Conflict, Msg: instructions[status]}
		}
	}
	if err == nil {
		err = formAsJSON(c)
	}
	var a gateway.Account
	if err == nil {
		a, err = h.add(c, x.ID)
	}
	switch {
	case err == nil && fromBrowser(c):
		return c.Redirect(http.StatusSeeOther, c.Request().URL.Path)
	case err == nil:
		return wire.Data(c, http.StatusCreated, newAccountBody(&a))
	case !fromBrowser(c):
		return err
	case codes[gateway.KindOf(err)] != 0:
		return h.show(c, &x, err)
	default:
		return showError(c, err)
	}
}

func (h *API) pathConnect(c echo.Context) (gateway.Connect, error) {
	s, ok := wire.PathID(c, "connect")
	if !ok {
		return gateway.Connect{}, wire.NotFound("connect")
	}
	x, err := h.Connects.Connect(c.Request().Context(), gateway.ConnectID(s))
	if err != nil {
		return x, fmt.Errorf("find connect: %w", err)
	}
	return x, nil
}
