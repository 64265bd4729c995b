package accounts

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/api/wire/wiretest"
)

// browse is what a browser makes of a link; a form is sent.
func browse(t *testing.T, m *memory, id string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	r := httptest.NewRequestWithContext(t.Context(), method, "/api/v1/connect/"+id, strings.NewReader(form.Encode()))
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	w := httptest.NewRecorder()
	wiretest.Echo(m.mount).ServeHTTP(w, r)
	return w
}

func (m *memory) pending(id gateway.ConnectID) *memory {
	m.connects = append(m.connects, gateway.Connect{ID: id, ExpiresAt: time.Now().Add(time.Hour), CreatedAt: time.Now()})
	return m
}

// holds fails unless a page has all of these in this order.
func holds(t *testing.T, page string, parts ...string) {
	t.Helper()
	rest := page
	for _, p := range parts {
		_, after, ok := strings.Cut(rest, p)
		if !ok {
			t.Fatalf("not there, or not in this order: %q\n%s", p, page)
		}
		rest = after
	}
}

func TestABrowserIsShownAForm(t *testing.T) {
	m := newMemory().pending("con_1")
	w := browse(t, m, "con_1", nil)
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	holds(t, w.Body.String(), "<h1>Connect your WhatsApp number</h1>", `name="waba_id"`, "required", `name="meta_access_token" type="password"`, "<button>", "Z</time>")
	for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script-src") {
		t.Errorf("policy %q", policy)
	}
}

func TestWhatIsWrongInTheFormStandsWhereItIs(t *testing.T) {
	m := newMemory().pending("con_1")
	w := browse(t, m, "con_1", url.Values{
		"business_name": {`"><script>alert(1)</script>`}, "waba_id": {"nine"}, "phone_number_id": {"1001"}, "meta_access_token": {"EAAG secret"},
	})
	if w.Code != http.StatusUnprocessableEntity {
		t.Errorf("status %d", w.Code)
	}
	page := w.Body.String()
	holds(t, page, "Validation failed", `value="&#34;&gt;&lt;script&gt;`, `value="nine"`, "must be the digits", `value="1001"`, `name="meta_access_token" type="password" value=""`, "without spaces")
	if strings.Contains(page, "EAAG") || strings.Contains(page, "<script") {
		t.Errorf("the page holds what it may not:\n%s", page)
	}
	if w := browse(t, m, "con_1", url.Values{"waba_id": {"9002"}, "phone_number_id": {"1001"}, "meta_access_token": {"EAAG"}}); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a number that is taken: %d", w.Code)
	} else {
		holds(t, w.Body.String(), `name="phone_number_id"`, "has already been taken")
	}
	if len(m.accounts) != len(newMemory().accounts) {
		t.Error("an account was added")
	}
}

func TestAFormThatMetaDoesNotTakeForNowCanBeSentAgain(t *testing.T) {
	for token, want := range map[string]struct {
		code int
		text string
	}{
		"a-token-while-meta-is-away":          {http.StatusServiceUnavailable, "could not be reached"},
		"a-token-that-was-checked-too-often":  {http.StatusTooManyRequests, "Too many calls"},
		"a-token-of-another-number":           {http.StatusUnprocessableEntity, "is not a number of waba_id"},
		"a-token-at-which-the-gateway-breaks": {http.StatusInternalServerError, "Internal error"}, // it says no more
	} {
		m := newMemory().pending("con_1")
		w := browse(t, m, "con_1", url.Values{"waba_id": {"9002"}, "phone_number_id": {"1002"}, "meta_access_token": {token}})
		kind := w.Header().Get("Content-Type")
		if w.Code != want.code || strings.HasPrefix(kind, "text/html") != (w.Code != http.StatusInternalServerError) {
			t.Errorf("%s: %d %s", token, w.Code, kind)
		}
		holds(t, w.Body.String(), want.text)
		if w.Code != http.StatusInternalServerError {
			holds(t, w.Body.String(), "<form", `value="9002"`, "<button>")
		}
	}
}

func TestAFormConnectsANumberOnce(t *testing.T) {
	m := newMemory().pending("con_1")
	form := url.Values{"waba_id": {" 9002 "}, "phone_number_id": {"1002"}, "meta_access_token": {"EAAG"}, "display_name": {"Counter"}, "phone_number": {""}}
	w := browse(t, m, "con_1", form)
	if to := w.Header().Get("Location"); w.Code != http.StatusSeeOther || to != "/api/v1/connect/con_1" {
		t.Fatalf("%d, to %q: %s", w.Code, to, w.Body)
	}
	added := m.accounts[len(m.accounts)-1]
	if added.Cloud.WABAID != "9002" || added.Cloud.PhoneNumberID != "1002" || added.Cloud.AccessToken != "EAAG" || added.Name != "Counter" || added.ID != m.connects[0].Account {
		t.Errorf("added %+v", added)
	}
	after := browse(t, m, "con_1", nil).Body.String()
	holds(t, after, "<h1>Your WhatsApp number is connected</h1>")
	if strings.Contains(after, "<form") {
		t.Error("the form is still there")
	}
	form.Set("phone_number_id", "1003")
	if w := browse(t, m, "con_1", form); w.Code != http.StatusConflict || len(m.accounts) != len(newMemory().accounts)+1 {
		t.Errorf("used again: %d, %d accounts", w.Code, len(m.accounts))
	}
}

func TestALinkThatLeadsNowhereSaysSo(t *testing.T) {
	m := newMemory().pending("con_1")
	m.do("an hour passes")
	holds(t, browse(t, m, "con_1", nil).Body.String(), "<h1>This link has expired</h1>")
	for _, form := range []url.Values{nil, {"waba_id": {"1"}}} {
		w := browse(t, m, "con_2", form)
		if w.Code != http.StatusNotFound {
			t.Errorf("status %d", w.Code)
		}
		holds(t, w.Body.String(), "<h1>There is no such link</h1>")
	}
}
