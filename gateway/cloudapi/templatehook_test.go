package cloudapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
	"wagent/gateway/cloudapi/graphtest"
)

var (
	templateTime = time.Now().Add(-time.Minute).Truncate(time.Second).UTC()
	greeting     = graphtest.Template{ID: "1689556908129832", Name: "greeting", Language: "en_US", Category: "UTILITY"}
)

func TestATemplatesStatusIsToldToEveryAccountThatHasIt(t *testing.T) {
	r := newRig(t)
	body := graphtest.Body(
		numberA.TemplateStatus(greeting, "APPROVED", "", templateTime),
		numberA.Entry(ann.Text("wamid.1", "hi")),
	)
	if a := r.post(t, body, graphtest.Sign(secretA, body)); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	want := gateway.TemplateUpdate{
		ExternalID: "1689556908129832", Name: "greeting", Language: "en_US", Category: gateway.TemplateUtility,
		Status: gateway.TemplateApproved, At: templateTime,
	}
	a, c := want, want
	a.Account, c.Account = "acc_a", "acc_c" // two numbers of one business account
	if diff := cmp.Diff([]gateway.TemplateUpdate{a, c}, r.store.told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"acc_a wamid.1"}, r.store.got()); diff != "" {
		t.Errorf("messages of the same POST (-want +got):\n%s", diff)
	}
}

func TestATemplatesStatusIsTakenOnlyUnderItsOwnSecret(t *testing.T) {
	for name, tt := range map[string]struct {
		number graphtest.Number
		secret string
	}{
		"signed with another account's secret": {numberA, secretB},
		"of a business account of nobody's":    {graphtest.Number{WABA: "9999"}, secretA},
		"of no business account":               {graphtest.Number{}, secretA},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			body := graphtest.Body(tt.number.TemplateStatus(greeting, "APPROVED", "", templateTime))
			if a := r.post(t, body, graphtest.Sign(tt.secret, body)); a.status != http.StatusOK {
				t.Errorf("%d %s: Meta would tell it again and again", a.status, a.body)
			}
			if len(r.store.told) > 0 {
				t.Errorf("told %+v", r.store.told)
			}
			if !strings.Contains(r.log.String(), "refused_changes=1") {
				t.Errorf("the log says nothing of it: %s", r.log)
			}
		})
	}
}

func TestATemplatesStatusIsSafeBeforeItIsAcknowledged(t *testing.T) {
	r := newRig(t)
	r.store.fail["templates"] = errors.New("disk full")
	body := graphtest.Body(numberA.TemplateStatus(greeting, "APPROVED", "", templateTime))
	if a := r.post(t, body, graphtest.Sign(secretA, body)); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestWhatMetaTellsOfATemplate(t *testing.T) {
	value := func(more string) string {
		return `{"message_template_id":1,"message_template_name":"n","message_template_language":"en"` + more + `}`
	}
	for name, tt := range map[string]struct {
		value  string
		status gateway.TemplateStatus // empty: it is not understood
		reason string
	}{
		"approved":          {value(`,"event":"APPROVED","reason":"NONE"`), gateway.TemplateApproved, ""},
		"flagged":           {value(`,"event":"FLAGGED"`), gateway.TemplateApproved, ""},
		"rejected":          {value(`,"event":"REJECTED","reason":"INVALID_FORMAT","rejection_info":{"reason":"A dangling variable"}`), gateway.TemplateRejected, "INVALID_FORMAT: A dangling variable"},
		"paused":            {value(`,"event":"PAUSED","reason":null,"other_info":{"title":"FIRST_PAUSE","description":"For 3 hours"}`), gateway.TemplatePaused, "FIRST_PAUSE: For 3 hours"},
		"disabled":          {value(`,"event":"DISABLED","reason":"ABUSIVE_CONTENT"`), gateway.TemplateDisabled, "ABUSIVE_CONTENT"},
		"pending":           {value(`,"event":"PENDING"`), gateway.TemplatePending, ""},
		"deleted":           {value(`,"event":"DELETED"`), gateway.TemplateDeleted, ""},
		"being deleted":     {value(`,"event":"PENDING_DELETION"`), gateway.TemplateDeleted, ""},
		"in lower case":     {value(`,"event":"approved"`), gateway.TemplateApproved, ""},
		"a long reason":     {value(`,"event":"REJECTED","reason":"` + strings.Repeat("é", 2000) + `"`), gateway.TemplateRejected, strings.Repeat("é", 1000)},
		"an unknown event":  {value(`,"event":"SOMETHING_NEW"`), "", ""},
		"an event of no":    {value(`,"event":7`), "", ""},
		"no name":           {`{"event":"APPROVED","message_template_language":"en"}`, "", ""},
		"no language":       {`{"event":"APPROVED","message_template_name":"n"}`, "", ""},
		"a name too long":   {`{"event":"APPROVED","message_template_name":"` + strings.Repeat("n", 513) + `","message_template_language":"en"}`, "", ""},
		"nothing":           {`{}`, "", ""},
		"a name of no type": {`{"event":"APPROVED","message_template_name":{},"message_template_language":"en"}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := change{field: templateField, value: objectOf(json.RawMessage(tt.value))}
			u, ok := c.template(time.Now())
			if ok != (tt.status != "") || ok && (u.Status != tt.status || u.Reason != tt.reason) {
				t.Errorf("%v, %q, %q, want %q, %q", ok, u.Status, u.Reason, tt.status, tt.reason)
			}
		})
	}
}
