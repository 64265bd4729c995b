package cloudapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"wagent/gateway"
)

const (
	// checkTimeout bounds all that is asked about a new account.
	checkTimeout = 10 * time.Second
	// numbersPerPage and maxNumberPages bound how many numbers of a business account
	// are looked at; Meta lets most have 20.
	numbersPerPage = 100
	maxNumberPages = 20
)

// CheckAccount asks Meta whether the account's token reaches its number, and
// whether that belongs to its business account. Invalid: it does not, and Details
// names the field of the agents API that is wrong. Unavailable and RateLimited: Meta
// did not say. Its errors' texts hold no token.
func (c *Channel) CheckAccount(ctx context.Context, a *gateway.Account) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	// Of other things that have ids Meta says that they have no such field.
	number := url.PathEscape(a.Cloud.PhoneNumberID)
	if _, err := c.look(ctx, a, number, url.Values{"fields": {"id,display_phone_number"}}, "phone_number_id"); err != nil {
		return err
	}
	query := url.Values{"fields": {"id"}, "limit": {fmt.Sprint(numbersPerPage)}}
	for range maxNumberPages {
		page, err := c.look(ctx, a, url.PathEscape(a.Cloud.WABAID)+"/phone_numbers", query, "waba_id")
		if err != nil {
			return err
		}
		for _, raw := range page.list("data") {
			if objectOf(raw).text("id") == a.Cloud.PhoneNumberID {
				return nil
			}
		}
		after := page.object("paging").object("cursors").text("after")
		if page.object("paging").text("next") == "" || after == "" {
			break
		}
		query.Set("after", after)
	}
	return wrongField("phone_number_id", "is not a number of waba_id: Meta lists it under WhatsApp, API setup")
}

// look reads what Meta has at a path, and counts and logs the request. field is
// whose id the path has.
func (c *Channel) look(ctx context.Context, a *gateway.Account, path string, query url.Values, field string) (object, error) {
	began := time.Now()
	answer, err := c.read(ctx, a, path+"?"+query.Encode(), field)
	outcome := outcomeOK
	if err != nil {
		outcome = gateway.KindOf(err).String()
	}
	c.metrics.requests.WithLabelValues(outcome).Inc()
	c.metrics.seconds.Observe(time.Since(began).Seconds())
	c.log.DebugContext(ctx, "graph request", "account", a.ID, "checked", field, "outcome", outcome, "took", time.Since(began))
	return answer, err
}

func (c *Channel) read(ctx context.Context, a *gateway.Account, path, field string) (object, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(a.Cloud.GraphURL, "/")+"/"+path, http.NoBody)
	if err != nil {
		return nil, &gateway.Error{Kind: gateway.Invalid, Msg: "the account's graph_url is no URL"}
	}
	req.Header.Set("Authorization", "Bearer "+string(a.Cloud.AccessToken))
	req.Header.Set("Accept", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the outer one repeats the URL
		}
		return nil, unsaid("could not be reached", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, unfit(answered(resp.StatusCode, resp.Header, body), objectOf(body).object("error").text("code"), field)
	}
	if answer := objectOf(body); answer != nil {
		return answer, nil
	}
	return nil, unsaid("gave no answer that could be read", err)
}

// unsaid is for what leaves open whether the account is as it should be.
func unsaid(how string, err error) error {
	return &gateway.Error{
		Kind: gateway.Unavailable, Err: err,
		Msg: "Meta's Graph API " + how + ", so the account could not be checked: nothing was added, try again later",
	}
}

// unfit says which field of a new account an error of Graph's is about.
func unfit(err *gateway.Error, code, field string) error {
	switch {
	case err.Kind == gateway.RateLimited:
		return err
	case err.Kind == gateway.Unavailable || err.Kind == gateway.Ambiguous:
		return unsaid("did not answer", err)
	case code == "100" || code == "803" || code == "33":
		return wrongField(field, "does not exist, or meta_access_token does not reach it")
	case code == "190" || code == "0" || code == "":
		return wrongField("meta_access_token", "is not a token that Meta takes: it is wrong, or has expired")
	default:
		return wrongField("meta_access_token", "is not allowed to read "+field+
			" ("+err.Msg+"): it needs whatsapp_business_management and whatsapp_business_messaging")
	}
}

func wrongField(field, problem string) error {
	return &gateway.Error{Kind: gateway.Invalid, Msg: "Validation failed", Details: map[string][]string{field: {problem}}}
}
