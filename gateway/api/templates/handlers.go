package templates

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// maxListed is how many templates are listed.
const maxListed = 1000

var (
	statuses = []gateway.TemplateStatus{
		gateway.TemplatePending, gateway.TemplateApproved, gateway.TemplateRejected, gateway.TemplatePaused, gateway.TemplateDisabled,
	}
	categories = []gateway.TemplateCategory{gateway.TemplateMarketing, gateway.TemplateUtility, gateway.TemplateAuthentication}
)

func (h *API) list(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	f := gateway.TemplateFilter{
		Status:   gateway.TemplateStatus(strings.ToLower(c.QueryParam("status"))),
		Category: gateway.TemplateCategory(strings.ToUpper(c.QueryParam("category"))),
	}
	switch {
	case f.Status != "" && !slices.Contains(statuses, f.Status):
		return wire.BadRequest("status must be one of " + oneOf(statuses))
	case f.Category != "" && !slices.Contains(categories, f.Category):
		return wire.BadRequest("category must be one of " + oneOf(categories))
	}
	return h.answerList(c, a.ID, f)
}

func (h *API) answerList(c echo.Context, account gateway.AccountID, f gateway.TemplateFilter) error {
	ts, total, err := h.Templates.Templates(c.Request().Context(), account, f, maxListed)
	if err != nil {
		return fmt.Errorf("list templates of account %s: %w", account, err)
	}
	out := make([]templateBody, len(ts))
	for i := range ts {
		out[i] = newTemplateBody(&ts[i])
	}
	return wire.List(c, out, total)
}

func (h *API) create(c echo.Context) error {
	a, err := h.atMeta(c)
	if err != nil {
		return err
	}
	var in createInput
	if err := wire.ReadMember(c, "template", &in); err != nil {
		return err
	}
	t, err := in.template(a.ID)
	if err != nil {
		return err
	}
	return h.submit(c, &a, &t)
}

// submit makes t at Meta, and answers with it.
func (h *API) submit(c echo.Context, a *gateway.Account, t *gateway.Template) error {
	ctx := c.Request().Context()
	if err := h.Meta.CreateTemplate(ctx, a, t, named(componentsOf(t))); err != nil {
		return fmt.Errorf("make template %s of account %s: %w", t.Name, a.ID, refusal(err))
	}
	// It is there, whether its client still is or not.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordPatience)
	defer cancel()
	if err := h.Editor.PutTemplate(ctx, t); err != nil {
		// Not done, it would be done again, and Meta would refuse what is there.
		return &gateway.Error{
			Kind: gateway.Ambiguous, Err: fmt.Errorf("record template %s of account %s: %w", t.Name, a.ID, err),
			Msg: "Meta made the template, which could not be kept here: a sync brings it",
		}
	}
	return wire.Data(c, http.StatusCreated, newTemplateBody(t))
}

// recordPatience is how long what Meta did may take to be written down.
const recordPatience = 5 * time.Second

func (h *API) sync(c echo.Context) error {
	a, err := h.atMeta(c)
	if err != nil {
		return err
	}
	if _, err := wire.ReadObject(c); err != nil {
		return err
	}
	ctx, asOf := c.Request().Context(), time.Now()
	ts, err := h.Meta.ListTemplates(ctx, &a)
	if err != nil {
		return fmt.Errorf("list templates of account %s at Meta: %w", a.ID, refusal(err))
	}
	if err := h.Editor.SyncTemplates(ctx, a.ID, asOf, ts); err != nil {
		return fmt.Errorf("record templates of account %s: %w", a.ID, err)
	}
	return h.answerList(c, a.ID, gateway.TemplateFilter{})
}

func (h *API) retrieve(c echo.Context) error {
	a, err := h.account(c)
	if err != nil {
		return err
	}
	t, err := h.template(c, &a)
	if err != nil {
		return err
	}
	return wire.Data(c, http.StatusOK, newTemplateBody(&t))
}

func (h *API) remove(c echo.Context) error {
	a, err := h.atMeta(c)
	if err != nil {
		return err
	}
	t, err := h.template(c, &a)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	if err := h.Meta.DeleteTemplate(ctx, &a, &t); err != nil {
		return fmt.Errorf("delete template %s at Meta: %w", t.ID, refusal(err))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordPatience)
	defer cancel()
	if err := h.Editor.RemoveTemplate(ctx, a.ID, t.ID); err != nil {
		return fmt.Errorf("forget template %s: %w", t.ID, err)
	}
	return c.NoContent(http.StatusNoContent)
}

type cloneInput struct {
	Name     string `json:"name" description:"Empty: one that is free, such as the other template's with _copy"`
	Language string `json:"language" description:"Empty: the other template's"`
}

func (h *API) clone(c echo.Context) error {
	a, err := h.atMeta(c)
	if err != nil {
		return err
	}
	t, err := h.template(c, &a)
	if err != nil {
		return err
	}
	body, err := wire.ReadObject(c)
	if err != nil {
		return err
	}
	var in cloneInput
	if raw, ok := body["template"]; ok && string(raw) != "null" { // all in it is optional, and so is it
		fields, err := body.Member("template")
		if err != nil {
			return err
		}
		if err := fields.Into(&in); err != nil {
			return err
		}
	}
	if in.Name == "" {
		if in.Name, err = h.freeName(c.Request().Context(), &t); err != nil {
			return err
		}
	}
	if in.Language == "" {
		in.Language = t.Language
	}
	p := wire.Problems{}
	checkName(p, in.Name, in.Language)
	if err := p.Err(); err != nil {
		return err
	}
	if t.Components == nil {
		return unknownComponents(&t)
	}
	return h.submit(c, &a, &gateway.Template{
		Account: a.ID, Name: in.Name, Language: in.Language, Category: t.Category, Components: t.Components,
	})
}

func unknownComponents(t *gateway.Template) error {
	return &gateway.Error{Kind: gateway.Conflict, Msg: "The components of template " + t.Name + " are not known yet: sync the templates first"}
}

// copied is the end of the name of a clone.
var copied = regexp.MustCompile(`_copy(_\d+)?$`)

// freeName is the first of name_copy, name_copy_2 and so on that no template of
// the account has, in any language.
func (h *API) freeName(ctx context.Context, t *gateway.Template) (string, error) {
	ts, _, err := h.Templates.Templates(ctx, t.Account, gateway.TemplateFilter{}, manyNames)
	if err != nil {
		return "", fmt.Errorf("list templates of account %s: %w", t.Account, err)
	}
	taken := make(map[string]bool, len(ts))
	for i := range ts {
		taken[ts[i].Name] = true
	}
	base := copied.ReplaceAllString(t.Name, "")
	base = base[:min(len(base), maxBase)] + "_copy"
	name := base
	for n := 2; taken[name]; n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	return name, nil
}

// maxBase leaves of a name's 512 characters those that make it another.
const maxBase = 500

// manyNames is more than an account may have at Meta.
const manyNames = 20_000

// account returns the account that the path names, if it is in use.
func (h *API) account(c echo.Context) (gateway.Account, error) {
	s, ok := wire.PathID(c, "account")
	if !ok {
		return gateway.Account{}, wire.NotFound("account")
	}
	accounts, err := h.Templates.Accounts(c.Request().Context())
	if err != nil {
		return gateway.Account{}, fmt.Errorf("list accounts: %w", err)
	}
	for i := range accounts {
		if accounts[i].ID == gateway.AccountID(s) {
			return accounts[i], nil
		}
	}
	return gateway.Account{}, wire.NotFound("account")
}

// atMeta returns the account that the path names, if it can reach its
// templates.
func (h *API) atMeta(c echo.Context) (gateway.Account, error) {
	a, err := h.account(c)
	if err != nil {
		return a, err
	}
	var missing string
	switch {
	case a.Kind != gateway.CloudAPI:
		missing = "is not on Meta's Cloud API, and has no templates"
	case a.Cloud.AccessToken == "":
		missing = "has no access token for Meta's Cloud API"
	case a.Cloud.WABAID == "":
		missing = "has no waba_id, the id of its WhatsApp business account"
	default:
		return a, nil
	}
	return a, &gateway.Error{Kind: gateway.Conflict, Msg: fmt.Sprintf("Account %s %s", a.ID, missing)}
}

// template returns the template that the path names.
func (h *API) template(c echo.Context, a *gateway.Account) (gateway.Template, error) {
	s, ok := wire.PathID(c, "template")
	if !ok {
		return gateway.Template{}, wire.NotFound("template")
	}
	t, err := h.Templates.TemplateByID(c.Request().Context(), a.ID, gateway.TemplateID(s))
	if err != nil {
		return t, fmt.Errorf("find template %s: %w", s, err)
	}
	return t, nil
}

// refusal is what a client learns of an end at Meta. A token that Meta does not
// take is the account's: the client's own key is good.
func refusal(err error) error {
	e, ok := errors.AsType[*gateway.Error](err)
	if !ok {
		return err
	}
	switch e.Kind {
	case gateway.Unauthorized:
		return &gateway.Error{Kind: gateway.Conflict, Msg: "Meta does not let the account manage its templates (" + e.Msg + ")", Err: e.Err}
	case gateway.Ambiguous:
		return &gateway.Error{Kind: gateway.Ambiguous, Msg: "Meta may have made the template or not: sync the templates to see (" + e.Msg + ")", Err: e.Err}
	case gateway.Invalid:
		out := &gateway.Error{Kind: gateway.Invalid, Msg: "Validation failed", Details: e.Details, Err: err}
		if len(out.Details) == 0 {
			out.Details = map[string][]string{"template": {e.Msg}}
		}
		return out
	default:
		return err
	}
}

func oneOf[T ~string](all []T) string {
	words := make([]string, len(all))
	for i := range all {
		words[i] = string(all[i])
	}
	return strings.Join(words, ", ")
}
