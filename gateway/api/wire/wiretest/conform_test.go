package wiretest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const (
	pause     = `{"id":1,"phone_number":"+33612345678","reason":"manual","expires_at":"2026-01-02T03:04:05Z","resumed_at":null,"remaining_minutes":1,"created_at":null}`
	pausesURL = "/api/v1/business_accounts/acc_1/conversation_pauses"
)

// TestExchangesThatAreNotAsDescribed: the check that every other test leans on
// finds what is wrong, and nothing else.
func TestExchangesThatAreNotAsDescribed(t *testing.T) {
	c, err := newChecker()
	if err != nil {
		t.Fatal(err)
	}
	created := func(pause string) string { return `{"data":` + pause + `}` }
	for name, tt := range map[string]struct {
		method, path, asked string
		status              int
		answer              string
		want                string // in the error; empty: none
	}{
		"as described":                       {"POST", pausesURL, `{"phone_number":"+33612345678"}`, 201, created(pause), ""},
		"a member asked that is not known":   {"POST", pausesURL, `{"phone_number":"+33612345678","x":1}`, 201, created(pause), ""},
		"a refusal of what is not valid":     {"POST", pausesURL, `{"phone_number":[]}`, 422, `{"error":"x","details":{"phone_number":["x"]}}`, ""},
		"a route that is not there":          {"GET", "/api/v1/nothing", "", 404, `{"error":"Not found"}`, ""},
		"a method that is not there":         {"PATCH", pausesURL, "", 404, `{"error":"Not found"}`, ""},
		"a file":                             {"GET", "/api/v1/sessions/a/media/b", "", 200, "", ""},
		"a member answered that is too much": {"POST", pausesURL, `{"phone_number":"+33612345678"}`, 201, created(strings.Replace(pause, `{"id"`, `{"secret":1,"id"`, 1)), "secret"},
		"a member that is missing":           {"POST", pausesURL, `{"phone_number":"+33612345678"}`, 201, created(strings.Replace(pause, `"id":1,`, "", 1)), "id"},
		"a member of another type":           {"POST", pausesURL, `{"phone_number":"+33612345678"}`, 201, created(strings.Replace(pause, `"id":1`, `"id":"1"`, 1)), "want integer"},
		"a time that is none":                {"POST", pausesURL, `{"phone_number":"+33612345678"}`, 201, created(strings.Replace(pause, "T03", " 03", 1)), "date-time"},
		"null where there is none":           {"POST", pausesURL, `{"phone_number":"+33612345678"}`, 201, created(strings.Replace(pause, `"manual"`, "null", 1)), "reason"},
		"a status that is not described":     {"POST", pausesURL, `{"phone_number":"+33612345678"}`, 200, created(pause), "200"},
		"an error without its text":          {"GET", pausesURL, "", 500, `{}`, "error"},
		"a body taken that is not valid":     {"POST", pausesURL, `{"phone_number":7}`, 201, created(pause), "request: "},
		"a body taken that is missing":       {"POST", pausesURL, ``, 201, created(pause), "request: "},
		"a query taken that is missing":      {"GET", pausesURL + "/check", "", 200, `{"paused":false,"pause":null}`, "phone_number"},
		"a route that nobody described":      {"GET", "/api/v1/nothing", "", 200, `{}`, "operations.go"},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{"Content-Type": {"application/json"}}
			if strings.Contains(tt.path, "/media/") {
				h = http.Header{"Content-Type": {"image/png"}}
			}
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.asked))
			err := c.check(&exchange{request: r, asked: []byte(tt.asked), status: tt.status, header: h, answer: []byte(tt.answer)})
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want what names %q", err, tt.want)
			}
		})
	}
}
