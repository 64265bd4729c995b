package templates

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/api/wire"
	"wagent/gateway/api/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	wiretest.Play(t, func() (func(*echo.Group), func(string) bool) {
		m := &memory{}
		return m.api().Mount, m.do
	})
}

func TestValidateNamesTheMissingPart(t *testing.T) {
	wiretest.Parts(t, (&memory{}).api)
}

// call makes a call, and returns the status and the body.
func call(ctx context.Context, h *API, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(ctx, method, "/api/v1/business_accounts/acc_main/templates"+path, strings.NewReader(body))
	wiretest.Echo(h.Mount).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

const simple = `{"template":{"name":"a","category":"UTILITY","language":"en","components":{"BODY":"Hello"}}}`

func TestWhatIsSubmittedIsWhatMetaTakes(t *testing.T) {
	for name, tt := range map[string]struct {
		template, want string
		named          bool
	}{
		"components by type, in the customer's order": {
			`"components":{"BUTTONS":{"buttons":[{"type":"QUICK_REPLY","text":"Yes"}]},"footer":"Bye","body":{"text":"Hello"},"HEADER":{"text":"Hi"}}`,
			`[{"type":"HEADER","format":"TEXT","text":"Hi"},{"type":"BODY","text":"Hello"},{"type":"FOOTER","text":"Bye"},{"type":"BUTTONS","buttons":[{"type":"QUICK_REPLY","text":"Yes"}]}]`, false,
		},
		"a list as it is": {
			`"components":[{"type":"body","text":"Hello","unknown":{"a":[1]}}]`,
			`[{"type":"BODY","text":"Hello","unknown":{"a":[1]}}]`, false,
		},
		"examples beside the components": {
			`"components":{"HEADER":"For {{1}}","BODY":"{{2}} and {{1}}, {{2}}"},"variable_examples":{"header":"Ann","BODY":["x","y"]}`,
			`[{"type":"HEADER","format":"TEXT","text":"For {{1}}","example":{"header_text":["Ann"]}},{"type":"BODY","text":"{{2}} and {{1}}, {{2}}","example":{"body_text":[["x","y"]]}}]`, false,
		},
		"examples of variables with names": {
			`"components":{"HEADER":"For {{who}}","BODY":"{{ b }} and {{a}}"},"variable_examples":{"HEADER":["Ann"],"BODY":["x","y"]}`,
			`[{"type":"HEADER","format":"TEXT","text":"For {{who}}","example":{"header_text_named_params":[{"param_name":"who","example":"Ann"}]}},` +
				`{"type":"BODY","text":"{{ b }} and {{a}}","example":{"body_text_named_params":[{"param_name":"b","example":"x"},{"param_name":"a","example":"y"}]}}]`, true,
		},
		"a file as the header": {
			`"header_type":"document","components":{"HEADER":{},"BODY":"Hello"},"variable_examples":{"HEADER":["4::aW"]}`,
			`[{"type":"HEADER","format":"DOCUMENT","example":{"header_handle":["4::aW"]}},{"type":"BODY","text":"Hello"}]`, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := &memory{}
			status, answer := call(t.Context(), m.api(), http.MethodPost, "", `{"template":{"name":"a","category":"UTILITY","language":"en",`+tt.template+`}}`)
			if status != http.StatusCreated {
				t.Fatalf("%d %s", status, answer)
			}
			if diff := cmp.Diff(json.RawMessage(tt.want), m.atMeta[0].Components, sameJSON()); diff != "" {
				t.Errorf("components (-want +got):\n%s", diff)
			}
			if m.names[0] != tt.named {
				t.Errorf("its variables have names: %v", m.names[0])
			}
		})
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

func TestATestFillsEveryPlace(t *testing.T) {
	const to = `"to":"+33600000001"`
	for name, tt := range map[string]struct {
		category           gateway.TemplateCategory // empty: UTILITY
		components         string
		body               string
		want, text, refuse string // refuse: what the answer says
	}{
		"nothing to fill": {components: `[{"type":"BODY","text":"Hello"},{"type":"FOOTER","text":"Bye"}]`, body: to, text: "Hello"},
		"variables of the header and of the body": {
			components: `[{"type":"HEADER","format":"TEXT","text":"For {{1}}"},{"type":"BODY","text":"{{2}}, {{1}}"}]`, body: to + `,"variables":["h","x","y"]`,
			want: `[{"type":"header","parameters":[{"type":"text","text":"h"}]},{"type":"body","parameters":[{"type":"text","text":"x"},{"type":"text","text":"y"}]}]`, text: "y, x",
		},
		"variables with names": {
			components: `[{"type":"BODY","text":"{{b}}, {{a}}","example":{"body_text_named_params":[{"param_name":"a","example":"1"},{"param_name":"b","example":"2"}]}}]`, body: to,
			want: `[{"type":"body","parameters":[{"type":"text","parameter_name":"b","text":"2"},{"type":"text","parameter_name":"a","text":"1"}]}]`, text: "2, 1",
		},
		"a picture": {
			components: `[{"type":"HEADER","format":"IMAGE","example":{"header_handle":["https://example.com/a"]}},{"type":"BODY","text":"Hello"}]`, body: to,
			want: `[{"type":"header","parameters":[{"type":"image","image":{"link":"https://example.com/a"}}]}]`, text: "Hello",
		},
		"a video": {
			components: `[{"type":"HEADER","format":"VIDEO","example":{"header_handle":["https://example.com/a"]}},{"type":"BODY","text":"Hello"}]`, body: to,
			want: `[{"type":"header","parameters":[{"type":"video","video":{"link":"https://example.com/a"}}]}]`, text: "Hello",
		},
		"a document": {
			components: `[{"type":"HEADER","format":"DOCUMENT","example":{"header_handle":["https://example.com/a"]}},{"type":"BODY","text":"Hello"}]`, body: to,
			want: `[{"type":"header","parameters":[{"type":"document","document":{"link":"https://example.com/a"}}]}]`, text: "Hello",
		},
		"addresses and a coupon": {
			components: `[{"type":"BODY","text":"Hello"},{"type":"BUTTONS","buttons":[{"type":"QUICK_REPLY","text":"a"},{"type":"URL","url":"https://example.com/a"},` +
				`{"type":"URL","url":"https://example.com/{{1}}","example":["https://example.com/summer"]},{"type":"COPY_CODE","example":"25OFF"}]}]`, body: to,
			want: `[{"type":"button","sub_type":"url","index":"2","parameters":[{"type":"text","text":"summer"}]},{"type":"button","sub_type":"copy_code","index":"3","parameters":[{"type":"coupon_code","coupon_code":"25OFF"}]}]`, text: "Hello",
		},
		"the code of an authentication": {
			category: gateway.TemplateAuthentication, components: `[{"type":"BODY","add_security_recommendation":true},{"type":"BUTTONS","buttons":[{"type":"OTP","otp_type":"COPY_CODE"}]}]`, body: to + `,"variables":["123456"]`,
			want: `[{"type":"body","parameters":[{"type":"text","text":"123456"}]},{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"123456"}]}]`,
		},
		"no code of an authentication":           {category: gateway.TemplateAuthentication, components: `[{"type":"BODY"}]`, body: to, refuse: "no examples for its body"},
		"no examples":                            {components: `[{"type":"BODY","text":"Hi {{1}}"}]`, body: to, refuse: "no examples for its body"},
		"too few variables":                      {components: `[{"type":"BODY","text":"Hi {{1}} {{2}}"}]`, body: to + `,"variables":["x"]`, refuse: "must be 2: 1, 2"},
		"variables for no place":                 {components: `[{"type":"BODY","text":"Hi"}]`, body: to + `,"variables":["x"]`, refuse: "must be 0"},
		"a picture without an address":           {components: `[{"type":"HEADER","format":"IMAGE","example":{"header_handle":["4::aW"]}},{"type":"BODY","text":"Hello"}]`, body: to, refuse: "can't fill the image of"},
		"a location":                             {components: `[{"type":"HEADER","format":"LOCATION"},{"type":"BODY","text":"Hello"}]`, body: to, refuse: "can't fill the location of"},
		"an address of a button without its end": {components: `[{"type":"BODY","text":"Hello"},{"type":"BUTTONS","buttons":[{"type":"URL","url":"https://example.com/{{1}}","example":["https://example.org/x"]}]}]`, body: to, refuse: "address of a button"},
		"a coupon without a code":                {components: `[{"type":"BODY","text":"Hello"},{"type":"BUTTONS","buttons":[{"type":"COPY_CODE"}]}]`, body: to, refuse: "code of a button"},
		"buttons that are none":                  {components: `[{"type":"BODY","text":"Hello"},{"type":"BUTTONS","buttons":7}]`, body: to, refuse: "can't fill the buttons"},
		"a carousel":                             {components: `[{"type":"BODY","text":"Hello"},{"type":"CAROUSEL","cards":[]}]`, body: to, refuse: "can't fill the carousel"},
		"an offer":                               {components: `[{"type":"BODY","text":"Hello"},{"type":"LIMITED_TIME_OFFER"}]`, body: to, refuse: "can't fill the limited_time_offer"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &memory{}
			one := gateway.Template{
				Account: "acc_main", Name: "a", Language: "en", Category: gateway.TemplateUtility, Status: gateway.TemplateApproved, Components: json.RawMessage(tt.components),
			}
			if tt.category != "" {
				one.Category = tt.category
			}
			m.put(&one)
			status, answer := call(t.Context(), m.api(), http.MethodPost, "/"+string(one.ID)+"/send_test", "{"+tt.body+"}")
			if tt.refuse != "" {
				if status < 400 || !strings.Contains(answer, tt.refuse) || len(m.sent) > 0 {
					t.Errorf("%d %s, sent %+v, want %q", status, answer, m.sent, tt.refuse)
				}
				return
			}
			if status != http.StatusCreated || len(m.sent) != 1 {
				t.Fatalf("%d %s, sent %+v", status, answer, m.sent)
			}
			content := `{"name":"a","language":"en"}`
			if tt.want != "" {
				content = `{"name":"a","language":"en","components":` + tt.want + "}"
			}
			want := gateway.Send{
				Account: "acc_main", To: gateway.Address{Phone: "+33600000001"}, Type: gateway.TypeTemplate, Text: tt.text, Content: json.RawMessage(content),
			}
			if diff := cmp.Diff(want, m.sent[0], sameJSON()); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheCloneOfTheLongestNameHasAnother(t *testing.T) {
	m := &memory{}
	one := gateway.Template{
		Account: "acc_main", Name: strings.Repeat("n", 512), Language: "en", Category: gateway.TemplateUtility, Components: json.RawMessage(`[{"type":"BODY","text":"x"}]`),
	}
	m.put(&one)
	for _, want := range []string{strings.Repeat("n", 500) + "_copy", strings.Repeat("n", 500) + "_copy_2"} {
		if status, answer := call(t.Context(), m.api(), http.MethodPost, "/"+string(one.ID)+"/clone", ""); status != http.StatusCreated || m.atMeta[len(m.atMeta)-1].Name != want {
			t.Errorf("%d %s", status, answer)
		}
	}
}

// leaves is a Meta whose client goes away while it answers.
type leaves struct {
	*memory
	leave func()
}

func (l leaves) CreateTemplate(ctx context.Context, a *gateway.Account, t *gateway.Template, named bool) error {
	defer l.leave()
	return l.memory.CreateTemplate(ctx, a, t, named)
}

func TestWhatWasMadeIsWrittenDownThoughTheClientLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := &memory{}
	h := m.api()
	h.Meta = leaves{m, cancel}
	if status, answer := call(ctx, h, http.MethodPost, "", simple); status != http.StatusCreated || len(m.known) != 1 {
		t.Errorf("%d %s, known %+v", status, answer, m.known)
	}
}

// away fails as the database does.
type away struct{ *memory }

var errAway = &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}

func (away) Accounts(context.Context) ([]gateway.Account, error) { return nil, errAway }

type unwritable struct{ *memory }

func (unwritable) PutTemplate(context.Context, *gateway.Template) error { return errAway }

func (unwritable) SyncTemplates(context.Context, gateway.AccountID, time.Time, []gateway.Template) error {
	return errAway
}

func (unwritable) RemoveTemplate(context.Context, gateway.AccountID, gateway.TemplateID) error {
	return errAway
}

func TestADatabaseThatIsAwayIsSaid(t *testing.T) {
	const says = `503 {"error":"The database is away"}`
	for name, tt := range map[string]struct {
		broken             func(*API, *memory)
		method, path, body string
		want               string
	}{
		"reading": {func(h *API, m *memory) { h.Templates = away{m} }, http.MethodGet, "", "", says},
		"making, which is done": {
			func(h *API, m *memory) { h.Editor = unwritable{m} }, http.MethodPost, "", simple,
			`502 {"error":"Meta made the template, which could not be kept here: a sync brings it"}`,
		},
		"syncing": {func(h *API, m *memory) { h.Editor = unwritable{m} }, http.MethodPost, "/sync", "", says},
		"removing": {func(h *API, m *memory) {
			m.known = []gateway.Template{{ID: "tpl_1", Account: "acc_main"}}
			h.Editor = unwritable{m}
		}, http.MethodDelete, "/tpl_1", "", says},
	} {
		t.Run(name, func(t *testing.T) {
			m := &memory{}
			h := m.api()
			tt.broken(h, m)
			status, answer := call(t.Context(), h, tt.method, tt.path, tt.body)
			if diff := cmp.Diff(tt.want, fmt.Sprint(status, " ", answer)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestTheBoundsOfATemplate(t *testing.T) {
	long := func(n int) string { return strings.Repeat("é", n) }
	for name, tt := range map[string]struct {
		template string
		want     string // empty: it is taken
	}{
		"the longest texts":         {`"components":{"HEADER":"` + long(60) + `","BODY":"` + long(1024) + `","FOOTER":"` + long(60) + `"}`, ""},
		"a header too long":         {`"components":{"HEADER":"` + long(61) + `","BODY":"x"}`, `HEADER has 61 characters, and may have 60`},
		"a body too long":           {`"components":{"BODY":"` + long(1025) + `"}`, `BODY has 1025 characters, and may have 1024`},
		"a footer too long":         {`"components":{"FOOTER":"` + long(61) + `","BODY":"x"}`, `FOOTER has 61 characters, and may have 60`},
		"variables of both kinds":   {`"components":{"BODY":"{{1}} {{a}}"},"variable_examples":{"BODY":["x","y"]}`, "variables with numbers and others with names"},
		"an entry without a type":   {`"components":[{"text":"x"}]`, "entry 1 has no type"},
		"an entry that is null":     {`"components":[null]`, "entry 1 has no type"},
		"a component that is null":  {`"components":{"BODY":null}`, "BODY must be an object"},
		"components that are null":  {`"components":null`, "can't be blank"},
		"no components in a list":   {`"components":[]`, "can't be blank"},
		"no components by type":     {`"components":{}`, "can't be blank"},
		"two forms of one type":     {`"components":{"BODY":"x","body":"y"}`, "has more than one BODY"},
		"a header without a format": {`"components":{"HEADER":{},"BODY":"x"}`, "HEADER must have a format"},
		"a header of a text, none":  {`"components":{"HEADER":{"format":"TEXT"},"BODY":"x"}`, "HEADER must have a text"},
		"a header of no format":     {`"components":{"HEADER":{"format":"SONG"},"BODY":"x"}`, "HEADER's format must be one of"},
		"a format but no header":    {`"header_type":"TEXT","components":{"BODY":"x"}`, "is for a template with a HEADER"},
		"a body without words":      {`"components":{"BODY":{}}`, "BODY must have a text"},
		"a body of Meta's":          {`"category":"AUTHENTICATION","components":{"BODY":{}}`, ""},
		"examples that are null":    {`"components":{"BODY":"x"},"variable_examples":null`, ""},
		"examples of a list each":   {`"components":{"BODY":"x"},"variable_examples":{"BODY":{}}`, "BODY must be a list of strings"},
	} {
		t.Run(name, func(t *testing.T) {
			template := `"name":"a","language":"en",` + tt.template
			if !strings.Contains(template, `"category"`) {
				template += `,"category":"UTILITY"`
			}
			status, answer := call(t.Context(), (&memory{}).api(), http.MethodPost, "", "{\"template\":{"+template+"}}")
			if (status == http.StatusCreated) != (tt.want == "") || !strings.Contains(answer, tt.want) {
				t.Errorf("%d %s, want %q", status, answer, tt.want)
			}
		})
	}
}

func TestAListSaysHowManyThereAre(t *testing.T) {
	m := &memory{}
	for i := range maxListed + 1 {
		m.known = append(m.known, gateway.Template{ID: "tpl_1", Account: "acc_main", Name: fmt.Sprint(i), Status: gateway.TemplatePending})
	}
	_, answer := call(t.Context(), m.api(), http.MethodGet, "", "")
	var body struct {
		Data []struct{ ID string }
		Meta struct{ Total int }
	}
	if err := json.Unmarshal([]byte(answer), &body); err != nil || len(body.Data) != maxListed || body.Meta.Total != maxListed+1 {
		t.Errorf("%d of %d templates, %v; want %d of %d", len(body.Data), body.Meta.Total, err, maxListed, maxListed+1)
	}
}

// FuzzTemplate looks for a body that panics, or that makes a template without a
// body.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{
		`{"name":"a","category":"UTILITY","language":"en","components":{"BODY":"Hello {{1}}"},"variable_examples":{"BODY":["x"]}}`,
		`{"components":[{"type":"HEADER","format":"IMAGE","example":{"header_handle":["x"]}},{"type":"BODY"}],"header_type":"IMAGE"}`,
		`{"components":[null,5],"variable_examples":5}`, `{"components":{"BODY":null},"variable_examples":{"BODY":null}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var o wire.Object
		if json.Unmarshal([]byte(s), &o) != nil {
			return
		}
		var in createInput
		if o.Into(&in) != nil {
			return
		}
		one, err := in.template("acc_main")
		if err != nil {
			if gateway.KindOf(err) != gateway.Invalid {
				t.Fatal(err)
			}
			return
		}
		if find(componentsOf(&one), bodyText) == nil {
			t.Fatalf("no body in %s", one.Components)
		}
		newTemplateBody(&one)
		if _, _, err := fill(&one, nil, wire.Problems{}); err != nil && gateway.KindOf(err) == gateway.Internal {
			t.Fatal(err)
		}
	})
}
