package cloudapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

const waba = "9001"

// newTemplateGraph is a graph that knows the account's templates, too.
func newTemplateGraph(t *testing.T) (*graph, *Templates) {
	t.Helper()
	g := newGraph(t)
	g.AddBusiness(waba, token)
	g.account.Cloud.WABAID = waba
	return g, g.channel.Templates()
}

func order() gateway.Template {
	return gateway.Template{
		Account: "acc_a", Name: "order_confirm", Language: "en_US", Category: gateway.TemplateUtility,
		Components: json.RawMessage(`[{"type":"BODY","text":"` + private + ` {{1}}","example":{"body_text":[["A-1"]]}}]`),
	}
}

func TestATemplateIsMadeListedAndDeleted(t *testing.T) {
	g, ts := newTemplateGraph(t)
	made := order()
	if err := ts.CreateTemplate(t.Context(), &g.account, &made, false); err != nil {
		t.Fatal(err)
	}
	want := order()
	want.ExternalID, want.Status = g.Templates(waba)[0].ID, gateway.TemplatePending
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
	other := g.PutTemplate(waba, graphtest.Template{Name: "order_confirm", Language: "fr", Status: "REJECTED", Reason: "SCAM"})
	g.PutTemplate(waba, graphtest.Template{Name: "going", Language: "fr", Status: "PENDING_DELETION"})
	g.PutTemplate(waba, graphtest.Template{Name: "new", Language: "fr", Status: "SOMETHING_NEW", Category: "SOMETHING_NEW"})
	list, err := ts.ListTemplates(t.Context(), &g.account)
	if err != nil {
		t.Fatal(err)
	}
	body := json.RawMessage(`[{"text":"Hello","type":"BODY"}]`)
	if diff := cmp.Diff([]gateway.Template{
		want,
		{
			Account: "acc_a", ExternalID: other.ID, Name: "order_confirm", Language: "fr", Category: gateway.TemplateUtility,
			Status: gateway.TemplateRejected, Reason: "SCAM", Components: body,
		},
		{Account: "acc_a", ExternalID: "5004", Name: "new", Language: "fr", Status: gateway.TemplatePending, Components: body},
	}, list, sameJSON()); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	for range 2 { // one that is gone is deleted
		if err := ts.DeleteTemplate(t.Context(), &g.account, &made); err != nil {
			t.Fatal(err)
		}
	}
	if left := g.Templates(waba); len(left) != 3 || left[0].ID != other.ID {
		t.Errorf("left %+v", left)
	}
	if n := testutil.ToFloat64(g.channel.metrics.requests.WithLabelValues(outcomeOK)); n != 4 {
		t.Errorf("counted %v requests that went well", n)
	}
}

// sameJSON compares documents, not bytes.
func sameJSON() cmp.Option {
	return cmpopts.AcyclicTransformer("JSON", func(raw json.RawMessage) any {
		var v any
		if json.Unmarshal(raw, &v) != nil {
			return string(raw)
		}
		return v
	})
}

func TestVariablesMayHaveNames(t *testing.T) {
	g, ts := newTemplateGraph(t)
	for name, named := range map[string]bool{"with_names": true, "with_numbers": false} {
		one := order()
		one.Name = name
		if err := ts.CreateTemplate(t.Context(), &g.account, &one, named); err != nil {
			t.Fatal(err)
		}
	}
	for _, one := range g.Templates(waba) {
		if (one.Format == "NAMED") != (one.Name == "with_names") {
			t.Errorf("%s has the format %q", one.Name, one.Format)
		}
	}
}

func TestTemplatesAreReadPageByPage(t *testing.T) {
	g, ts := newTemplateGraph(t)
	for i := range 2*templatesPerPage + 1 {
		g.PutTemplate(waba, graphtest.Template{Name: fmt.Sprintf("t_%d", i), Language: "en"})
	}
	list, err := ts.ListTemplates(t.Context(), &g.account)
	if err != nil || len(list) != 2*templatesPerPage+1 || g.Requests() != 3 {
		t.Errorf("%d templates in %d requests, %v", len(list), g.Requests(), err)
	}
}

func TestAListWithoutAnEndIsGivenUp(t *testing.T) {
	requests := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		_, _ = w.Write([]byte(`{"data":[],"paging":{"cursors":{"after":"x"},"next":"https://example.com/"}}`))
	}))
	defer srv.Close()
	g, ts := newTemplateGraph(t)
	g.account.Cloud.GraphURL = srv.URL
	_, err := ts.ListTemplates(t.Context(), &g.account)
	check(t, err, gateway.Unavailable)
	if requests != maxTemplatePages {
		t.Errorf("%d requests", requests)
	}
}

func TestMetasWordsGoToWhoeverMadeTheTemplate(t *testing.T) {
	for name, tt := range map[string]struct {
		fault graphtest.Fault
		make  gateway.Template
		want  string
	}{
		"in its own words":         {graphtest.Fault{}, order(), "Content in this language already exists: There is already content of order_confirm in that language. Make a new template instead."},
		"in the error's message":   {graphtest.Fault{Code: 100, Message: "(#100) Param name is odd"}, order(), "(#100) Param name is odd"},
		"without the token":        {graphtest.Fault{Code: 132000, Message: "You sent " + token}, order(), "You sent ***"},
		"no more than can be read": {graphtest.Fault{Code: 100, Message: strings.Repeat("é", 5000)}, order(), strings.Repeat("é", maxReason)},
	} {
		t.Run(name, func(t *testing.T) {
			g, ts := newTemplateGraph(t)
			if tt.fault.Code != 0 {
				g.Fail(1, tt.fault)
			} else {
				g.PutTemplate(waba, graphtest.Template{Name: "order_confirm", Language: "en_US"})
			}
			e := check(t, ts.CreateTemplate(t.Context(), &g.account, &tt.make, false), gateway.Invalid)
			if diff := cmp.Diff(map[string][]string{"template": {tt.want}}, e.Details); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHowRequestsAboutTemplatesEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		fault              graphtest.Fault
		making, other      gateway.Kind // of an error
		account            func(*gateway.Account)
		withoutAnyRequests bool
	}{
		"a token that expired":          {fault: graphtest.Fault{Code: 190, Status: 401, Message: token}, making: gateway.Unauthorized, other: gateway.Unauthorized},
		"a token that does not reach":   {fault: graphtest.Fault{Code: 100, Subcode: 33}, making: gateway.Unauthorized, other: gateway.Unauthorized},
		"too many calls":                {fault: graphtest.Fault{Code: 80008, RetryAfter: "7"}, making: gateway.RateLimited, other: gateway.RateLimited},
		"Meta is away":                  {fault: graphtest.Fault{Code: 2, Status: 503}, making: gateway.Unavailable, other: gateway.Unavailable},
		"a 500 without a word":          {fault: graphtest.Fault{}, making: gateway.Ambiguous, other: gateway.Unavailable},
		"the connection cut":            {fault: graphtest.Fault{Cut: true}, making: gateway.Ambiguous, other: gateway.Unavailable},
		"an answer that is no JSON":     {fault: graphtest.Fault{Status: 200, Raw: "<html>"}, making: gateway.Ambiguous, other: gateway.Unavailable},
		"a redirect, not followed":      {fault: graphtest.Fault{Status: 302}, making: gateway.Unavailable, other: gateway.Unavailable},
		"an account without a token":    {account: func(a *gateway.Account) { a.Cloud.AccessToken = "" }, making: gateway.Unauthorized, other: gateway.Unauthorized, withoutAnyRequests: true},
		"an account without a business": {account: func(a *gateway.Account) { a.Cloud.WABAID = "" }, making: gateway.Unauthorized, other: gateway.Unauthorized, withoutAnyRequests: true},
		"a graph_url that is none":      {account: func(a *gateway.Account) { a.Cloud.GraphURL = ":" }, making: gateway.Invalid, other: gateway.Invalid, withoutAnyRequests: true},
	} {
		for what, do := range map[string]func(*Templates, *gateway.Account) error{
			"making": func(ts *Templates, a *gateway.Account) error {
				one := order()
				return ts.CreateTemplate(t.Context(), a, &one, false)
			},
			"listing": func(ts *Templates, a *gateway.Account) error {
				_, err := ts.ListTemplates(t.Context(), a)
				return err
			},
			"deleting": func(ts *Templates, a *gateway.Account) error {
				return ts.DeleteTemplate(t.Context(), a, &gateway.Template{Name: "x", ExternalID: "1"})
			},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				g, ts := newTemplateGraph(t)
				g.Fail(1, tt.fault)
				want := tt.other
				if what == "making" {
					want = tt.making
				}
				if tt.account != nil {
					tt.account(&g.account)
				}
				e := check(t, do(ts, &g.account), want)
				if (g.Requests() == 0) != tt.withoutAnyRequests {
					t.Errorf("%d requests", g.Requests())
				}
				if (e.RetryAfter != 0) != (tt.fault.RetryAfter != "") {
					t.Errorf("repeat after %v", e.RetryAfter)
				}
			})
		}
	}
}

func TestWhatMetaRefusesToDeleteIsNotDeleted(t *testing.T) {
	g, ts := newTemplateGraph(t)
	there := g.PutTemplate(waba, graphtest.Template{Name: "hello_world", Language: "en_US"})
	g.Fail(1, graphtest.Fault{Code: 100, Message: "sample templates can not be deleted"})
	err := ts.DeleteTemplate(t.Context(), &g.account, &gateway.Template{Name: "hello_world", ExternalID: there.ID})
	if e := check(t, err, gateway.Invalid); len(e.Details["template"]) != 1 {
		t.Errorf("details %v", e.Details)
	}
	g.Fail(1, graphtest.Fault{Code: 100, Message: "not now"})
	g.Fail(1, graphtest.Fault{Code: 2})
	check(t, ts.DeleteTemplate(t.Context(), &g.account, &gateway.Template{Name: "hello_world", ExternalID: there.ID}), gateway.Invalid)
	requests := g.Requests()
	check(t, ts.DeleteTemplate(t.Context(), &g.account, &gateway.Template{Name: "hello_world"}), gateway.Conflict)
	if g.Requests() != requests || len(g.Templates(waba)) != 1 {
		t.Error("without its id all of its languages would go")
	}
}
