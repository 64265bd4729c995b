package graphtest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const goodTemplate = `{"name":"order_1","language":"en_US","category":"UTILITY","parameter_format":"POSITIONAL","components":[` +
	`{"type":"HEADER","format":"TEXT","text":"Your order"},{"type":"BODY","text":"Hi {{1}}","example":{"body_text":[["Ann"]]}},{"type":"FOOTER","text":"Bye"}]}`

func manage(t *testing.T, s *Server, method, path, body string, change func(*http.Request)) (int, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/v23.0/"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer token")
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestTemplatesAreMadeAsStrictlyAsAtMeta(t *testing.T) {
	sub := func(old, with string) string { return strings.Replace(goodTemplate, old, with, 1) }
	for name, tt := range map[string]struct {
		body   string
		change func(*http.Request)
		status int
		says   string
	}{
		"a good one is made":         {goodTemplate, nil, 200, `"status":"PENDING"`},
		"no token":                   {goodTemplate, func(r *http.Request) { r.Header.Del("Authorization") }, 401, `"code":190`},
		"another token":              {goodTemplate, func(r *http.Request) { r.Header.Set("Authorization", "Bearer other") }, 401, `"code":190`},
		"another business account":   {goodTemplate, func(r *http.Request) { r.URL.Path = "/v23.0/9002/message_templates" }, 400, `"error_subcode":33`},
		"another method":             {goodTemplate, func(r *http.Request) { r.Method = http.MethodPut }, 400, "Unsupported method"},
		"a form":                     {goodTemplate, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 400, "Content-Type"},
		"no JSON":                    {"hi", nil, 400, "Invalid parameter"},
		"an unknown field":           {sub(`"name"`, `"theme":"x","name"`), nil, 400, "theme"},
		"a name with capitals":       {sub("order_1", "Order"), nil, 400, "Param name"},
		"no language":                {sub("en_US", ""), nil, 400, "Param language"},
		"a category in lower case":   {sub("UTILITY", "utility"), nil, 400, "Param category"},
		"an unknown format":          {sub("POSITIONAL", "NUMBERED"), nil, 400, "parameter_format"},
		"no body":                    {sub(`"BODY"`, `"FOOTER"`), nil, 400, "BODY"},
		"an unknown component":       {sub(`"FOOTER"`, `"TAIL"`), nil, 400, "must be one of"},
		"a header without a format":  {sub(`"format":"TEXT",`, ""), nil, 400, "HEADER"},
		"a body without a text":      {sub(`Hi {{1}}`, ""), nil, 400, "BODY"},
		"a variable without example": {sub(`,"example":{"body_text":[["Ann"]]}`, ""), nil, 400, "2388043"},
		"media without an example":   {sub(`"TEXT"`, `"IMAGE"`), nil, 400, "2388043"},
	} {
		t.Run(name, func(t *testing.T) {
			s := New()
			s.AddBusiness("9001", "token")
			status, body := manage(t, s, http.MethodPost, "9001/message_templates", tt.body, tt.change)
			if status != tt.status || !strings.Contains(body, tt.says) {
				t.Errorf("%d %s, want %d and %s", status, body, tt.status, tt.says)
			}
			if made := len(s.Templates("9001")) == 1; made != (tt.status == 200) {
				t.Errorf("made: %v", made)
			}
		})
	}
}

func TestTemplatesAreThereUntilTheyAreDeleted(t *testing.T) {
	s := New()
	const edge = "9001/message_templates"
	en := s.PutTemplate("9001", Template{Name: "a", Language: "en"})
	s.PutTemplate("9001", Template{Name: "a", Language: "fr", Status: "REJECTED"})
	s.PutTemplate("9001", Template{Name: "b", Language: "en"})
	for _, step := range []struct {
		method, query, body string
		status              int
		says                string
	}{
		{http.MethodPost, "", strings.Replace(goodTemplate, "order_1", "b", 1), 200, `"id"`},
		{http.MethodPost, "", strings.Replace(goodTemplate, "order_1", "b", 1), 400, "2388024"},
		{http.MethodGet, "?fields=name,secret", "", 400, "secret"},
		{http.MethodGet, "?limit=none", "", 400, "limit"},
		{http.MethodGet, "?limit=2&fields=name,status", "", 200, `"next"`},
		{http.MethodGet, "?limit=2&fields=name,status", "", 200, `{"id":"5002","name":"a","status":"REJECTED"}`},
		{http.MethodGet, "?limit=2&after=2&fields=language", "", 200, `"data":[{"id":"5003","language":"en"},{"id":"5004","language":"en_US"}],"paging":{"cursors":{"after":"4","before":"2"}}`},
		{http.MethodGet, "?name=a&fields=name", "", 200, `"data":[{"id":"5001","name":"a"},{"id":"5002","name":"a"}]`},
		{http.MethodDelete, "", "", 400, "name is required"},
		{http.MethodDelete, "?name=a&hsm_id=" + en.ID, "", 200, `{"success":true}`},
		{http.MethodDelete, "?name=a&hsm_id=" + en.ID, "", 400, "not found"},
		{http.MethodDelete, "?name=b", "", 200, `{"success":true}`},
	} {
		status, body := manage(t, s, step.method, edge+step.query, step.body, nil)
		if status != step.status || !strings.Contains(body, step.says) {
			t.Errorf("%s %s: %d %s, want %d and %s", step.method, step.query, status, body, step.status, step.says)
		}
	}
	if left := s.Templates("9001"); len(left) != 1 || left[0].Language != "fr" {
		t.Errorf("left %+v", left)
	}
	if s.DropTemplates("9001", "a"); len(s.Templates("9001")) != 0 {
		t.Error("a dropped template is there")
	}
}

func TestFaultsEndRequestsAboutTemplates(t *testing.T) {
	s := New()
	s.Fail(1, Fault{Code: 80008})
	s.Fail(1, Fault{Status: 502, Take: true})
	for _, want := range []int{400, 502} {
		if status, body := manage(t, s, http.MethodPost, "9001/message_templates", goodTemplate, nil); status != want {
			t.Errorf("%d %s, want %d", status, body, want)
		}
	}
	if n := len(s.Templates("9001")); n != 1 || s.Requests() != 2 {
		t.Errorf("%d templates after %d requests", n, s.Requests())
	}
}

func TestATemplatesStatusIsToldAsMetaTellsIt(t *testing.T) {
	one := Template{ID: "1689556908129832", Name: "a", Language: "en", Category: "UTILITY"}
	got, err := json.Marshal(Number{WABA: "9001"}.TemplateStatus(one, "APPROVED", "", time.Unix(1700000000, 0)))
	const want = `{"changes":[{"field":"message_template_status_update","value":{"event":"APPROVED","message_template_category":"UTILITY",` +
		`"message_template_id":1689556908129832,"message_template_language":"en","message_template_name":"a","reason":"NONE"}}],"id":"9001","time":1700000000}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}
