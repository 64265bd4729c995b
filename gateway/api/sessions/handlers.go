package sessions

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/idempotency"
	"wagent/gateway/api/wire"
)

// maxName is in characters.
const maxName = 255

func (h *API) list(c echo.Context) error {
	ctx := c.Request().Context()
	accounts, err := h.Accounts.Accounts(ctx)
	if err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	links, err := h.Links.Links(ctx)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	byAccount := make(map[gateway.AccountID]gateway.Link, len(links))
	for i := range links {
		byAccount[links[i].Account] = links[i]
	}
	out := []sessionBody{}
	for i := range accounts {
		link, linked := byAccount[accounts[i].ID]
		if !linked { // it is of another kind, or was made between the two
			continue
		}
		b, err := h.body(ctx, &session{account: accounts[i], link: link})
		if err != nil {
			return err
		}
		out = append(out, b)
	}
	return wire.List(c, out, len(out))
}

type createInput struct {
	Name wire.Nullable[string] `json:"name"`
}

func (h *API) create(c echo.Context) error {
	var in createInput
	if err := wire.ReadMember(c, "session", &in); err != nil {
		return err
	}
	p := wire.Problems{}
	switch {
	case strings.TrimSpace(in.Name.Value) == "":
		p.Add("name", "can't be blank")
	case utf8.RuneCountInString(in.Name.Value) > maxName:
		p.Add("name", fmt.Sprintf("must have at most %d characters", maxName))
	}
	if err := p.Err(); err != nil {
		return err
	}
	a := gateway.Account{
		ID: gateway.NewAccountID(), Kind: gateway.LinkedDevice, Name: in.Name.Value,
		Linked: gateway.DefaultLinked(), Takeover: gateway.DefaultTakeover,
	}
	if try := idempotency.ID(c); try != "" {
		a.ID = gateway.AccountIDOf(try)
	}
	if err := h.make(c.Request().Context(), a); err != nil {
		return err
	}
	h.changed()
	return h.answer(c, http.StatusCreated, a.ID)
}

// make makes what there is not yet of an account and its first pairing: an
// earlier try at the same request may have been cut short anywhere.
func (h *API) make(ctx context.Context, a gateway.Account) error {
	switch _, err := h.find(ctx, a.ID); {
	case gateway.KindOf(err) == gateway.NotFound:
		if err := h.Accounts.PutAccount(ctx, a); err != nil {
			return fmt.Errorf("create account %s: %w", a.ID, err)
		}
	case err != nil:
		return err
	}
	switch _, err := h.Pairings.Pairing(ctx, a.ID); {
	case gateway.KindOf(err) == gateway.NotFound:
		if _, err := h.Pairings.StartPairing(ctx, a.ID, gateway.ByQR, ""); err != nil {
			return fmt.Errorf("start pairing of account %s: %w", a.ID, err)
		}
	case err != nil:
		return fmt.Errorf("find pairing of account %s: %w", a.ID, err)
	}
	return nil
}

func (h *API) retrieve(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	return h.answer(c, http.StatusOK, a.ID)
}

func (h *API) delete(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	if err := h.Accounts.DeleteAccount(c.Request().Context(), a.ID); err != nil {
		return fmt.Errorf("delete account %s: %w", a.ID, err)
	}
	h.changed()
	return c.NoContent(http.StatusNoContent)
}

type pairInput struct {
	Method wire.Nullable[string] `json:"method" enum:"qr,code"`
	Phone  wire.Nullable[string] `json:"phone_number"`
}

// pair starts a pairing: by QR code, unless the body says otherwise.
func (h *API) pair(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	method, phone, err := readPairing(c)
	if err != nil {
		return err
	}
	if _, err := h.Pairings.StartPairing(c.Request().Context(), a.ID, method, phone); err != nil {
		return fmt.Errorf("start pairing of account %s: %w", a.ID, err)
	}
	h.changed()
	return h.answer(c, http.StatusCreated, a.ID)
}

func readPairing(c echo.Context) (gateway.PairingMethod, string, error) {
	body, err := wire.ReadObject(c)
	if err != nil {
		return "", "", err
	}
	var in pairInput
	if raw, ok := body["pairing"]; ok && string(raw) != "null" { // all in it is optional, and so is it
		fields, err := body.Member("pairing")
		if err != nil {
			return "", "", err
		}
		if err := fields.Into(&in); err != nil {
			return "", "", err
		}
	}
	p := wire.Problems{}
	method, phone := gateway.PairingMethod(in.Method.Value), ""
	switch method {
	case "", gateway.ByQR:
		method = gateway.ByQR
	case gateway.ByCode:
		var ok bool
		if phone, ok = wire.PhoneNumber(in.Phone.Value); in.Phone.Value == "" {
			p.Add("phone_number", "can't be blank where the method is code")
		} else if !ok {
			p.Add("phone_number", "must be a number in E.164 form")
		}
	default:
		p.Add("method", "must be qr or code")
	}
	return method, phone, p.Err()
}

// passkeyInput is the part of a PublicKeyCredential as JSON (WebAuthn, section
// 5.1) that tells it from anything else. The rest is WhatsApp's to judge.
type passkeyInput struct {
	ID       wire.Nullable[string]         `json:"id"`
	Response wire.Nullable[map[string]any] `json:"response"`
}

func (h *API) answerPasskey(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	body, err := wire.ReadObject(c)
	if err != nil {
		return err
	}
	fields, err := body.Member("passkey")
	if err != nil {
		return err
	}
	var in passkeyInput
	if err := fields.Into(&in); err != nil {
		return err
	}
	p := wire.Problems{}
	if in.ID.Value == "" {
		p.Add("id", "can't be blank")
	}
	if len(in.Response.Value) == 0 {
		p.Add("response", "can't be blank")
	}
	if err := p.Err(); err != nil {
		return err
	}
	if err := h.Person.AnswerPairing(c.Request().Context(), a.ID, body["passkey"]); err != nil {
		return fmt.Errorf("answer pairing of account %s: %w", a.ID, err)
	}
	h.changed()
	return h.answer(c, http.StatusOK, a.ID)
}

func (h *API) confirmPasskey(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	if err := h.Person.ConfirmPairing(c.Request().Context(), a.ID); err != nil {
		return fmt.Errorf("confirm pairing of account %s: %w", a.ID, err)
	}
	h.changed()
	return h.answer(c, http.StatusOK, a.ID)
}

// logout is refused where no device is linked: a wish that outlives the answer
// would unlink the next one.
func (h *API) logout(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	link, err := h.Links.Link(ctx, a.ID)
	if err != nil {
		return fmt.Errorf("find link of account %s: %w", a.ID, err)
	}
	if link.Device == "" {
		return &gateway.Error{Kind: gateway.Conflict, Msg: "the account is not linked to a phone"}
	}
	if err := h.Links.AskLogout(ctx, a.ID); err != nil {
		return fmt.Errorf("log account %s out: %w", a.ID, err)
	}
	h.changed()
	return h.answer(c, http.StatusAccepted, a.ID)
}

// account returns the linked device that the path names. One that was deleted,
// and an account of another kind, are not found.
func (h *API) account(c echo.Context) (gateway.Account, error) {
	s, ok := wire.PathID(c, "session")
	if !ok {
		return gateway.Account{}, wire.NotFound("session")
	}
	return h.find(c.Request().Context(), gateway.AccountID(s))
}

func (h *API) find(ctx context.Context, id gateway.AccountID) (gateway.Account, error) {
	accounts, err := h.Accounts.Accounts(ctx)
	if err != nil {
		return gateway.Account{}, fmt.Errorf("list accounts: %w", err)
	}
	i := slices.IndexFunc(accounts, func(a gateway.Account) bool { return a.ID == id && a.Kind == gateway.LinkedDevice })
	if i < 0 {
		return gateway.Account{}, wire.NotFound("session")
	}
	return accounts[i], nil
}

// answer reads the session again, as it is after the call.
func (h *API) answer(c echo.Context, status int, id gateway.AccountID) error {
	ctx := c.Request().Context()
	a, err := h.find(ctx, id)
	if err != nil {
		return err
	}
	link, err := h.Links.Link(ctx, id)
	if err != nil {
		return fmt.Errorf("find link of account %s: %w", id, err)
	}
	b, err := h.body(ctx, &session{account: a, link: link})
	if err != nil {
		return err
	}
	return wire.Data(c, status, b)
}

// body completes a session with its pairing.
func (h *API) body(ctx context.Context, s *session) (sessionBody, error) {
	p, err := h.Pairings.Pairing(ctx, s.account.ID)
	switch {
	case err == nil:
		s.pairing = &p
	case gateway.KindOf(err) != gateway.NotFound:
		return sessionBody{}, fmt.Errorf("find pairing of account %s: %w", s.account.ID, err)
	}
	return s.body(time.Now())
}
