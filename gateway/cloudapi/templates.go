package cloudapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"wagent/gateway"
)

// Bounds of reading templates. Meta lets a business account have 6,000, and
// hands out fewer at a time.
const (
	templatesPerPage = 100
	maxTemplatePages = 100
	maxTemplatePage  = 8 << 20 // bytes
	templateFields   = "id,name,language,category,status,components,rejected_reason"
)

// Templates manages the message templates of business accounts through the
// Graph API (WhatsApp Business Management API, "Message templates"). It is safe
// for concurrent use, and repeats nothing.
//
// Its errors are gateway.Errors, whose text holds no token. Invalid has Meta's
// own words in its Details, under "template". Ambiguous: nobody said whether the
// template was made. Unavailable and RateLimited: nothing was done, or it may be
// repeated. Unauthorized: a person has to mend the account.
type Templates struct{ channel *Channel }

// Templates returns what manages templates, with the channel's client and
// metrics.
func (c *Channel) Templates() *Templates { return &Templates{c} }

// ListTemplates returns all of the account's templates as Meta has them now.
// They have no ids of ours. Those that are being deleted are left out.
func (t *Templates) ListTemplates(ctx context.Context, a *gateway.Account) ([]gateway.Template, error) {
	return t.list(ctx, a, url.Values{})
}

func (t *Templates) list(ctx context.Context, a *gateway.Account, query url.Values) ([]gateway.Template, error) {
	query.Set("fields", templateFields)
	query.Set("limit", fmt.Sprint(templatesPerPage))
	var out []gateway.Template
	for range maxTemplatePages {
		page, err := t.ask(ctx, a, http.MethodGet, query, nil)
		if err != nil {
			return nil, err
		}
		data, ok := page["data"]
		if !ok {
			return nil, &gateway.Error{Kind: gateway.Unavailable, Msg: "the Graph API's answer is no list of templates"}
		}
		for _, raw := range listOf(data) {
			if one, ok := templateOf(a.ID, raw); ok {
				out = append(out, one)
			}
		}
		// The address of the next page is not followed: it carries the token.
		paging := page.object("paging")
		after := paging.object("cursors").text("after")
		if paging.text("next") == "" || after == "" {
			return out, nil
		}
		query.Set("after", after)
	}
	return nil, &gateway.Error{Kind: gateway.Unavailable, Msg: fmt.Sprintf(
		"Meta has more than %d pages of templates", maxTemplatePages)}
}

// templateOf reads a template of a list. It reports false for what is none, or
// is being deleted.
func templateOf(account gateway.AccountID, raw json.RawMessage) (gateway.Template, bool) {
	o := objectOf(raw)
	t := gateway.Template{
		Account: account, ExternalID: o.text("id"), Name: o.text("name"), Language: o.text("language"),
		Category: categoryOf(o.text("category")), Status: templateStatusOf(o.text("status")),
		Components: canonical(encode(o.list("components"))), Reason: plainReason(o.text("rejected_reason")),
	}
	return t, t.Name != "" && t.Language != "" && t.Status != gateway.TemplateDeleted
}

// templateStatusOf takes a status that came after this was written for one that
// can't be sent yet.
func templateStatusOf(s string) gateway.TemplateStatus {
	if known, ok := templateStatuses[strings.ToUpper(s)]; ok {
		return known
	}
	return gateway.TemplatePending
}

// newTemplate is the body of POST /{waba-id}/message_templates.
type newTemplate struct {
	Name       string                   `json:"name"`
	Language   string                   `json:"language"`
	Category   gateway.TemplateCategory `json:"category"`
	Format     string                   `json:"parameter_format,omitempty"`
	Components json.RawMessage          `json:"components"`
}

// CreateTemplate submits t, with its name, language, category and components,
// and sets Meta's id of it, its status and what Meta files it under. named says
// that its variables have names and not numbers.
func (t *Templates) CreateTemplate(ctx context.Context, a *gateway.Account, n *gateway.Template, named bool) error {
	what := newTemplate{Name: n.Name, Language: n.Language, Category: n.Category, Components: n.Components}
	if named {
		what.Format = "NAMED"
	}
	body, err := json.Marshal(what)
	if err != nil {
		return &gateway.Error{Kind: gateway.Invalid, Msg: "the template can't be encoded", Err: err}
	}
	answer, err := t.ask(ctx, a, http.MethodPost, url.Values{}, body)
	if err != nil {
		return err
	}
	n.ExternalID = answer.text("id")
	if n.ExternalID == "" {
		return &gateway.Error{Kind: gateway.Ambiguous, Msg: "the Graph API answered without a template's id"}
	}
	n.Status, n.Reason = templateStatusOf(answer.text("status")), ""
	if c := categoryOf(answer.text("category")); c != "" {
		n.Category = c
	}
	return nil
}

// DeleteTemplate deletes one template, of one language, at Meta. One that is not
// there is deleted.
func (t *Templates) DeleteTemplate(ctx context.Context, a *gateway.Account, gone *gateway.Template) error {
	query := url.Values{"name": {gone.Name}}
	if gone.ExternalID == "" {
		// By its name alone Meta would delete every language of it.
		return &gateway.Error{Kind: gateway.Conflict, Msg: "Meta's id of the template is not known: sync the templates first"}
	}
	query.Set("hsm_id", gone.ExternalID)
	_, err := t.ask(ctx, a, http.MethodDelete, query, nil)
	if gateway.KindOf(err) != gateway.Invalid {
		return err
	}
	// Meta has several errors for what is not there. It is asked instead.
	there, look := t.list(ctx, a, url.Values{"name": {gone.Name}})
	if look != nil {
		return err
	}
	for i := range there {
		if there[i].ExternalID == gone.ExternalID {
			return err
		}
	}
	return nil
}

// ask makes one request about the account's templates.
func (t *Templates) ask(ctx context.Context, a *gateway.Account, method string, query url.Values, body []byte) (object, error) {
	began := time.Now()
	answer, err := t.do(ctx, a, method, query, body)
	outcome := outcomeOK
	if err != nil {
		outcome = gateway.KindOf(err).String()
	}
	t.channel.metrics.requests.WithLabelValues(outcome).Inc()
	t.channel.metrics.seconds.Observe(time.Since(began).Seconds())
	t.channel.log.DebugContext(ctx, "graph request", "account", a.ID, "templates", method, "outcome", outcome, "took", time.Since(began))
	return answer, err
}

func (t *Templates) do(ctx context.Context, a *gateway.Account, method string, query url.Values, body []byte) (object, error) {
	if a.Cloud.AccessToken == "" || a.Cloud.WABAID == "" {
		return nil, &gateway.Error{Kind: gateway.Unauthorized, Msg: "the account has no access token or no waba_id"}
	}
	target := strings.TrimRight(a.Cloud.GraphURL, "/") + "/" + url.PathEscape(a.Cloud.WABAID) + "/message_templates"
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	g := &gate{}
	var open io.Reader = http.NoBody
	if body != nil {
		open = g.open(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, open)
	if err != nil {
		return nil, &gateway.Error{Kind: gateway.Invalid, Msg: "the account's graph_url is no URL"}
	}
	if body != nil {
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { g.reset(); return g.open(body), nil }
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+string(a.Cloud.AccessToken))
	req.Header.Set("Accept", "application/json")
	resp, err := t.channel.client.Do(req)
	if err != nil {
		return nil, harmless(method, lost(g, err))
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxTemplatePage))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, harmless(method, explained(a, b, answered(resp.StatusCode, resp.Header, b)))
	}
	if answer := objectOf(b); answer != nil {
		return answer, nil
	}
	return nil, harmless(method, &gateway.Error{Kind: gateway.Ambiguous, Msg: fmt.Sprintf("HTTP %d without an answer", resp.StatusCode), Err: err})
}

// harmless makes an end that nobody knows one that may be repeated, where
// repeating does no harm: it does but for making a template.
func harmless(method string, err error) error {
	if e, ok := errors.AsType[*gateway.Error](err); ok && e.Kind == gateway.Ambiguous && method != http.MethodPost {
		return &gateway.Error{Kind: gateway.Unavailable, Msg: e.Msg, RetryAfter: e.RetryAfter, Err: e.Err}
	}
	return err
}

// explained adds to an error what Meta says to whoever made the template. It may
// repeat the request, which is theirs, and is not logged.
func explained(a *gateway.Account, body []byte, err *gateway.Error) error {
	e := objectOf(body).object("error")
	if e.text("code") == "100" && err.Kind == gateway.Unauthorized {
		err.Msg = "Graph error 100: the waba_id does not exist, or the token does not reach it"
	}
	words := join(": ", e.text("error_user_title"), e.text("error_user_msg"))
	if words == "" {
		words = e.text("message")
	}
	if err.Kind == gateway.Invalid && words != "" {
		words = strings.ReplaceAll(words, string(a.Cloud.AccessToken), "***")
		err.Details = map[string][]string{"template": {cut(words, maxReason)}}
	}
	return err
}
