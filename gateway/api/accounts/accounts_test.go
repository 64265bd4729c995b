package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"

	"wagent/gateway"
	"wagent/gateway/api/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is every part of the API, over slices. It follows the rules that the
// interfaces state.
type memory struct {
	mu       sync.Mutex
	accounts []gateway.Account
	connects []gateway.Connect
	wrote    time.Time // when +33612345678 wrote to acc_main last
}

func newMemory() *memory {
	return &memory{
		accounts: []gateway.Account{
			{
				ID: "acc_main", Kind: gateway.CloudAPI, Name: "Reception", Business: "Hotel", PhoneNumber: "+15550001111", Takeover: 90 * time.Minute,
				Cloud:    gateway.Cloud{PhoneNumberID: "1001", WABAID: "9001", AccessToken: "the token", AppSecret: "the app secret", VerifyToken: "verify"},
				Declared: true, CreatedAt: time.Now(),
			},
			{ID: "acc_phone", Kind: gateway.LinkedDevice, CreatedAt: time.Now()},
			{ID: "acc_try", Kind: gateway.Sandbox, CreatedAt: time.Now()},
		},
		wrote: time.Now().Add(-time.Hour),
	}
}

func (m *memory) api() *API {
	return &API{Accounts: m, Conversations: m, Connects: m, Apps: m, Meta: m, GraphURL: "https://graph.example.com/v23.0", URL: "https://wagent.example.com"}
}

// mount puts the links below the API, where the stories find them.
func (m *memory) mount(g *echo.Group) {
	h := m.api()
	h.Mount(g)
	h.MountLinks(g.Group("/connect", wiretest.Undescribed))
}

func (m *memory) Accounts(context.Context) ([]gateway.Account, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.accounts), nil
}

func (m *memory) AddCloudAccount(_ context.Context, a gateway.Account, through gateway.ConnectID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.accounts {
		if m.accounts[i].Cloud.PhoneNumberID == a.Cloud.PhoneNumberID {
			return &gateway.Error{Kind: gateway.Invalid, Msg: "Validation failed", Details: map[string][]string{"phone_number_id": {"has already been taken"}}}
		}
	}
	if i := slices.IndexFunc(m.connects, func(c gateway.Connect) bool { return c.ID == through }); i >= 0 {
		m.connects[i].Account = a.ID
	}
	m.accounts = append(m.accounts, a)
	return nil
}

// CheckAccount refuses the tokens that say why, and takes every other.
func (m *memory) CheckAccount(_ context.Context, a *gateway.Account) error {
	switch a.Cloud.AccessToken {
	case "a-token-of-another-number":
		return &gateway.Error{Kind: gateway.Invalid, Msg: "Validation failed", Details: map[string][]string{"phone_number_id": {"is not a number of waba_id"}}}
	case "a-token-while-meta-is-away":
		return &gateway.Error{Kind: gateway.Unavailable, Msg: "Meta's Graph API could not be reached"}
	case "a-token-that-was-checked-too-often":
		return &gateway.Error{Kind: gateway.RateLimited, Msg: "Meta: Too many calls"}
	case "a-token-at-which-the-gateway-breaks":
		return errors.New("broken")
	}
	return nil
}

func (m *memory) DeleteAccount(_ context.Context, id gateway.AccountID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.accounts, func(a gateway.Account) bool { return a.ID == id })
	if m.accounts[i].Declared {
		return &gateway.Error{Kind: gateway.Conflict, Msg: "account " + string(id) + " is declared in the configuration file: remove it there"}
	}
	m.accounts = slices.Delete(m.accounts, i, i+1)
	return nil
}

func (m *memory) ConversationWith(_ context.Context, account gateway.AccountID, peer gateway.Address) (gateway.Conversation, error) {
	switch {
	case account == "acc_main" && peer.Phone == "+33612345678":
		return gateway.Conversation{LastInboundAt: m.wrote}, nil
	case peer.Phone == "+33600000000": // we wrote to them, and they never did
		return gateway.Conversation{}, nil
	}
	return gateway.Conversation{}, missing("conversation")
}

func missing(what string) error { return &gateway.Error{Kind: gateway.NotFound, Msg: "no " + what} }

func (m *memory) AddConnect(_ context.Context, c gateway.Connect) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.connects = append(m.connects, c)
	return nil
}

func (m *memory) Connect(_ context.Context, id gateway.ConnectID) (gateway.Connect, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.connects {
		if c.ID == id {
			return c, nil
		}
	}
	return gateway.Connect{}, missing("connect")
}

// do is what a story can have the double do.
func (m *memory) do(command string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch command {
	case "an hour passes":
		for i := range m.connects {
			m.connects[i].ExpiresAt = m.connects[i].ExpiresAt.Add(-time.Hour)
		}
	case "the customer has not written for a day":
		m.wrote = time.Now().Add(-gateway.ServiceWindow)
	default:
		return false
	}
	return true
}

func TestContract(t *testing.T) {
	wiretest.Play(t, func() (func(*echo.Group), func(string) bool) {
		m := newMemory()
		return m.mount, m.do
	})
}

func TestValidateNamesTheMissingPart(t *testing.T) {
	wiretest.Parts(t, func() *API { return newMemory().api() })
	h := newMemory().api()
	h.GraphURL = ""
	if err := h.Validate(); err == nil || !strings.HasSuffix(err.Error(), "no GraphURL") {
		t.Errorf("without a GraphURL: %v", err)
	}
}

const posted = `{"business_account":{"waba_id":"9002","phone_number_id":"1002","business_name":" Bar ","display_name":"Counter",` +
	`"phone_number":"15550002222","meta_access_token":"EAAG-token"%s}}`

// request makes a call of the host.
func request(t *testing.T, h http.Handler, method, url, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestANewAccountHasWhatWasPosted(t *testing.T) {
	other := gateway.Account{ID: "acc_other", Kind: gateway.CloudAPI, Cloud: gateway.Cloud{PhoneNumberID: "1003", AppSecret: "another secret", VerifyToken: "verify"}}
	for name, tt := range map[string]struct {
		others         []gateway.Account
		fields         string
		secret, verify gateway.Secret
	}{
		"and the secrets of the others":  {nil, "", "the app secret", "verify"},
		"and its own secrets":            {nil, `,"app_secret":"s","verify_token":"v"`, "s", "v"},
		"and none that others differ in": {[]gateway.Account{other}, "", "", "verify"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			m.accounts = append(m.accounts, tt.others...)
			status, body := request(t, wiretest.Echo(m.mount), http.MethodPost, "/api/v1/business_accounts", fmt.Sprintf(posted, tt.fields))
			if status != http.StatusCreated {
				t.Fatalf("%d %s", status, body)
			}
			got := m.accounts[len(m.accounts)-1]
			if !strings.Contains(body, string(got.ID)) || got.CreatedAt.IsZero() {
				t.Errorf("%s is not of %+v", body, got)
			}
			for _, secret := range []string{"EAAG-token", string(tt.secret), "another secret"} {
				if secret != "" && strings.Contains(body, `"`+secret+`"`) {
					t.Errorf("the answer shows %q: %s", secret, body)
				}
			}
			got.ID, got.CreatedAt = "", time.Time{}
			if diff := cmp.Diff(gateway.Account{
				Kind: gateway.CloudAPI, Name: "Counter", Business: "Bar", PhoneNumber: "+15550002222", Takeover: gateway.DefaultTakeover,
				Cloud: gateway.Cloud{
					PhoneNumberID: "1002", WABAID: "9002", AccessToken: "EAAG-token", AppSecret: tt.secret, VerifyToken: tt.verify,
					GraphURL: "https://graph.example.com/v23.0",
				},
			}, got); diff != "" {
				t.Errorf("added (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAnAccountSaysWhatItLacks: one without an app secret could not tell Meta's
// words from anybody's, so it receives nothing, and is not connected.
func TestAnAccountSaysWhatItLacks(t *testing.T) {
	for name, tt := range map[string]struct {
		without func(*gateway.Account)
		lacks   []string
	}{
		"nothing":                      {func(*gateway.Account) {}, nil},
		"its app secret":               {func(a *gateway.Account) { a.Cloud.AppSecret = "" }, []string{"app_secret"}},
		"its token":                    {func(a *gateway.Account) { a.Cloud.AccessToken = "" }, []string{"meta_access_token"}},
		"all that it needs":            {func(a *gateway.Account) { a.Cloud = gateway.Cloud{} }, []string{"app_secret", "meta_access_token", "phone_number_id"}},
		"what a sandbox does not need": {func(a *gateway.Account) { a.Kind, a.Cloud = gateway.Sandbox, gateway.Cloud{} }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			tt.without(&m.accounts[0])
			_, body := request(t, wiretest.Echo(m.mount), http.MethodGet, "/api/v1/business_accounts/acc_main", "")
			var got struct {
				Data struct {
					Status    string
					Connected bool
					Details   map[string][]string
				}
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.lacks, slices.Sorted(maps.Keys(got.Data.Details))); diff != "" {
				t.Errorf("it lacks (-want +got):\n%s", diff)
			}
			if connected := tt.lacks == nil; got.Data.Connected != connected || (got.Data.Status == "active") != connected {
				t.Errorf("it is %s, connected %v", got.Data.Status, got.Data.Connected)
			}
		})
	}
	m := newMemory()
	m.accounts = nil
	status, body := request(t, wiretest.Echo(m.mount), http.MethodPost, "/api/v1/business_accounts", fmt.Sprintf(posted, ""))
	if status != http.StatusCreated || !strings.Contains(body, `"status":"pending"`) || !strings.Contains(body, `"details":{"app_secret":["is missing`) {
		t.Errorf("a new one without an app secret: %d %s", status, body)
	}
}

func TestALinkLeadsToWhereTheServerWasReached(t *testing.T) {
	h := newMemory().api()
	h.URL = ""
	status, body := request(t, wiretest.Echo(h.Mount), http.MethodPost, "https://gateway.example.com:8443/api/v1/business_accounts/connect", "")
	if status != http.StatusCreated || !strings.Contains(body, `"url":"https://gateway.example.com:8443/connect/con_`) {
		t.Errorf("%d %s", status, body)
	}
}

// away fails as the database does.
type away struct{ *memory }

var errAway = &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}

func (away) Accounts(context.Context) ([]gateway.Account, error) { return nil, errAway }

func (away) ConversationWith(context.Context, gateway.AccountID, gateway.Address) (gateway.Conversation, error) {
	return gateway.Conversation{}, errAway
}

func (away) Connect(context.Context, gateway.ConnectID) (gateway.Connect, error) {
	return gateway.Connect{}, errAway
}

// done has a connect that was completed.
func done() *memory {
	m := newMemory()
	m.connects = []gateway.Connect{{ID: "con_done", Account: "acc_main", ExpiresAt: time.Now()}}
	return m
}

func TestADatabaseThatIsAwayIsNotNobodyThere(t *testing.T) {
	for path, breakIt := range map[string]func(*API){
		"/business_accounts":                                         func(h *API) { h.Accounts = away{} },
		"/business_accounts/acc_main":                                func(h *API) { h.Accounts = away{} },
		"/business_accounts/acc_main/window?phone_number=336123":     func(h *API) { h.Accounts = away{} },
		"/business_accounts/acc_try/window?phone_number=33612345678": func(h *API) { h.Conversations = away{} },
		"/connects/con_x":                                            func(h *API) { h.Connects = away{} },
		"/connects/con_done":                                         func(h *API) { h.Accounts, h.Connects = away{}, done() },
	} {
		t.Run(path, func(t *testing.T) {
			h := newMemory().api()
			breakIt(h)
			status, body := request(t, wiretest.Echo(h.Mount), http.MethodGet, "/api/v1"+path, "")
			if diff := cmp.Diff(`503 {"error":"The database is away"}`, fmt.Sprint(status, " ", body)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestWhoWaitsForAnAccountGetsIt: the SDKs ask for a connect until it has an
// account, and make of that what they make of an account that they retrieve.
func TestWhoWaitsForAnAccountGetsIt(t *testing.T) {
	e := wiretest.Echo(done().mount)
	read := func(path string, into any) {
		t.Helper()
		status, body := request(t, e, http.MethodGet, "/api/v1"+path, "")
		if err := json.Unmarshal([]byte(body), into); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %s", path, status, body)
		}
	}
	var want struct{ Data map[string]any }
	read("/business_accounts/acc_main", &want)
	for _, path := range []string{"/connects/con_done", "/business_accounts/connects/con_done"} {
		var got struct {
			Data struct{ Account map[string]any }
		}
		read(path, &got)
		if diff := cmp.Diff(want.Data, got.Data.Account); diff != "" {
			t.Errorf("%s (-retrieved +got):\n%s", path, diff)
		}
	}
}

func TestANewAccountSendsThroughWhatTheOthersUse(t *testing.T) {
	const other = "https://proxy.example.com/v24.0"
	for name, tt := range map[string]struct {
		others []string
		want   string
	}{
		"there are none":      {nil, "https://graph.example.com/v23.0"},
		"they agree":          {[]string{other, other}, other},
		"they do not":         {[]string{other, "https://graph.example.com/v22.0"}, "https://graph.example.com/v23.0"},
		"one is of a sandbox": {[]string{other, ""}, other},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			m.accounts = nil
			for i, url := range tt.others {
				kind := gateway.CloudAPI
				if url == "" {
					kind = gateway.Sandbox
				}
				m.accounts = append(m.accounts, gateway.Account{ID: gateway.AccountID(fmt.Sprint("acc_", i)), Kind: kind, Cloud: gateway.Cloud{GraphURL: url}})
			}
			if code, body := request(t, wiretest.Echo(m.mount), http.MethodPost, "/api/v1/business_accounts", fmt.Sprintf(posted, "")); code != http.StatusCreated {
				t.Fatalf("%d %s", code, body)
			}
			if got := m.accounts[len(m.accounts)-1].Cloud.GraphURL; got != tt.want {
				t.Errorf("it sends through %s, want %s", got, tt.want)
			}
		})
	}
}
