package accounts

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"wagent/gateway"
	"wagent/gateway/api/wire"
)

// A connect's link is opened by people: a browser gets a page with a form, and
// everybody else the same in JSON. The page runs no script and loads nothing, and
// what was entered as a secret is not written back into it.

var (
	//go:embed page.html
	pageSource string
	//go:embed page.css
	pageStyle string

	pageTemplate = template.Must(template.New("page").Parse(pageSource))
	pagePolicy   = func() string {
		sum := sha256.Sum256([]byte(pageStyle))
		return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	}()
)

// page is what a browser is shown.
type page struct {
	Title, Text string
	Problem     string // with all that was entered; empty: none
	Until       string // the link works; empty: it does not
	Fields      []field
	Style       template.CSS
}

// A field is one of the form. Its name is the API's.
type field struct {
	Name, Label, Hint        string
	Required, Digits, Secret bool

	Value    string
	Problems []string
}

var formFields = []field{
	{Name: "business_name", Label: "Business", Hint: "Its name"},
	{Name: "display_name", Label: "Display name", Hint: "What customers see in WhatsApp"},
	{Name: "phone_number", Label: "Phone number", Hint: "With the country's code: +49151…"},
	{Name: "waba_id", Label: "WhatsApp Business Account ID", Hint: "Meta shows it in your app under WhatsApp, API setup", Required: true, Digits: true},
	{Name: "phone_number_id", Label: "Phone number ID", Hint: "In the same place", Required: true, Digits: true},
	{Name: "meta_access_token", Label: "Access token", Hint: "A system user's, which does not expire", Required: true, Secret: true},
	{Name: "app_secret", Label: "App secret", Hint: "In your app under App settings, Basic, unless the gateway has it: without it no message comes in", Secret: true},
	{Name: "verify_token", Label: "Verify token", Hint: "What you entered in Meta's webhook settings, unless the gateway has it", Secret: true},
}

var titles = map[string]string{
	statusPending:   "Connect your WhatsApp number",
	statusCompleted: "Your WhatsApp number is connected",
	statusExpired:   "This link has expired",
}

// people say the same as instructions, to people.
var people = map[string]string{
	statusPending:   "Your access token goes to this gateway and to nobody else.",
	statusCompleted: "There is nothing left to do: you may close this page.",
	statusExpired:   "Please ask for another link.",
}

// codes are the statuses of what is shown above a form, to be sent once more.
var codes = map[gateway.Kind]int{
	gateway.Invalid:     http.StatusUnprocessableEntity,
	gateway.RateLimited: http.StatusTooManyRequests,
	gateway.Unavailable: http.StatusServiceUnavailable,
}

// fromBrowser reports whether who asks wants a page.
func fromBrowser(c echo.Context) bool {
	return strings.Contains(c.Request().Header.Get(echo.HeaderAccept), echo.MIMETextHTML)
}

// show answers a browser with the page of a connect, and what is wrong with what
// was entered, if anything is.
func (h *API) show(c echo.Context, x *gateway.Connect, wrong error) error {
	status := statusOf(x)
	p := page{Title: titles[status], Text: people[status]}
	code := http.StatusOK
	var details map[string][]string
	if e, ok := errors.AsType[*gateway.Error](wrong); ok {
		code, p.Problem, details = codes[e.Kind], e.Msg, e.Details
	}
	if status == statusPending {
		p.Until = *wire.Stamp(x.ExpiresAt)
		p.Fields = slices.Clone(formFields)
		for i := range p.Fields {
			f := &p.Fields[i]
			f.Problems = details[f.Name]
			if !f.Secret {
				f.Value = c.Request().PostFormValue(f.Name)
			}
		}
	}
	return render(c, code, &p)
}

// showError answers a browser whose link leads nowhere, or whose connect was
// used up meanwhile.
func showError(c echo.Context, err error) error {
	switch gateway.KindOf(err) {
	case gateway.NotFound:
		return render(c, http.StatusNotFound, &page{Title: "There is no such link", Text: "Please look whether it is all there, or ask for another."})
	case gateway.Conflict:
		return render(c, http.StatusConflict, &page{Title: "This link does not work any more", Text: "It was used, or has expired: please ask for another."})
	default:
		return err
	}
}

func render(c echo.Context, code int, p *page) error {
	p.Style = template.CSS(pageStyle) //nolint:gosec // it is our own
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, p); err != nil {
		return fmt.Errorf("write the page of a connect: %w", err)
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentSecurityPolicy, pagePolicy)
	h.Set(echo.HeaderReferrerPolicy, "no-referrer")
	h.Set(echo.HeaderCacheControl, "no-store")
	h.Set(echo.HeaderXContentTypeOptions, "nosniff")
	return c.HTMLBlob(code, b.Bytes())
}

// formAsJSON makes the body that the API takes of a form that was sent; another
// body stays as it is.
func formAsJSON(c echo.Context) error {
	r := c.Request()
	kind, _, _ := mime.ParseMediaType(r.Header.Get(echo.HeaderContentType))
	if kind != echo.MIMEApplicationForm {
		return nil
	}
	if err := r.ParseForm(); err != nil {
		return wire.BadRequest("The form can't be read")
	}
	account := map[string]string{}
	for i := range formFields {
		if s := strings.TrimSpace(r.PostForm.Get(formFields[i].Name)); s != "" {
			account[formFields[i].Name] = s
		}
	}
	body, err := json.Marshal(map[string]any{"business_account": account})
	if err != nil {
		return fmt.Errorf("encode a form: %w", err)
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	return nil
}
