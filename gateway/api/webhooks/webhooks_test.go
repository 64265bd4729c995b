package webhooks

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
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

// memory is every part of the API, over a slice. It follows the rules that the
// interfaces state.
type memory struct {
	mu    sync.Mutex
	hooks []gateway.Webhook // their number is their place, from 1; of one that was deleted, 0

	deliveries []gateway.Delivery
	attempts   []gateway.Attempt
	silent     bool // tests are not attempted
}

var secretPattern = regexp.MustCompile(`"secret":"whsec_[0-9A-Za-z+/]{43}="`)

func newMemory() *memory { return &memory{} }

func (m *memory) api() *API { return &API{Webhooks: m, Editor: m, Deliveries: m, Network: m} }

func (m *memory) Webhooks(context.Context) ([]gateway.Webhook, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.hooks), func(w gateway.Webhook) bool { return w.ID == 0 }), nil
}

func (m *memory) Webhook(_ context.Context, id int64) (gateway.Webhook, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if id < 1 || id > int64(len(m.hooks)) || m.hooks[id-1].ID == 0 {
		return gateway.Webhook{}, &gateway.Error{Kind: gateway.NotFound, Msg: "no webhook"}
	}
	return m.hooks[id-1], nil
}

func (m *memory) CreateWebhook(_ context.Context, w *gateway.Webhook) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	w.ID, w.CreatedAt, w.UpdatedAt = int64(len(m.hooks))+1, time.Now(), time.Now()
	m.hooks = append(m.hooks, *w)
	return nil
}

func (m *memory) ChangeWebhook(ctx context.Context, id int64, change func(*gateway.Webhook) error) (gateway.Webhook, error) {
	w, err := m.Webhook(ctx, id)
	if err == nil && w.Key != "" {
		err = &gateway.Error{Kind: gateway.Conflict, Msg: "The webhook is declared in the configuration file as " + w.Key + ": change it there"}
	}
	if err == nil {
		err = change(&w)
	}
	if err != nil {
		return w, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hooks[id-1] = w
	return w, nil
}

func (m *memory) DeleteWebhook(ctx context.Context, id int64) error {
	_, err := m.ChangeWebhook(ctx, id, func(w *gateway.Webhook) error { w.ID = 0; return nil })
	return err
}

func (m *memory) Allowed(_ context.Context, host string) bool { return host == "10.0.0.7" }

// do is what a story can have the double do.
func (m *memory) do(command string) bool {
	switch command {
	case "the configuration file declares a webhook":
		m.hooks = append(m.hooks, gateway.Webhook{
			ID: int64(len(m.hooks)) + 1, Key: "tickets", URL: "https://example.com/declared", Secret: "kept to itself", Active: true, CreatedAt: time.Now(),
			UpdatedAt: time.Now(),
		})
	case "the endpoint of the last webhook says that it is gone":
		m.hooks[len(m.hooks)-1].Disabled = "the endpoint answered 410 Gone"
	case "three actions were delivered to the last webhook, and the second was given up":
		m.deliver()
	default:
		return false
	}
	return true
}

// hidden mounts the routes so that secrets, which are random, read alike.
func hidden(mount func(*echo.Group)) func(*echo.Group) {
	return func(g *echo.Group) {
		g.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(c echo.Context) error {
				w := httptest.NewRecorder()
				inner := c.Response().Writer
				c.Response().Writer = w
				if err := next(c); err != nil {
					c.Response().Writer = inner
					return err
				}
				maps.Copy(inner.Header(), w.Header())
				inner.Header().Del(echo.HeaderContentLength)
				inner.WriteHeader(w.Code)
				_, err := inner.Write(secretPattern.ReplaceAll(w.Body.Bytes(), []byte(`"secret":"whsec_(32 bytes)"`)))
				return err
			}
		})
		mount(g)
	}
}

func TestContract(t *testing.T) {
	wiretest.Play(t, func() (func(*echo.Group), func(string) bool) {
		m := newMemory()
		return hidden(m.api().Mount), m.do
	})
}

// call makes a call and returns what it answers.
func call(t *testing.T, h *API, method, path, body string) (status int, data map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	wiretest.Echo(h.Mount).ServeHTTP(w, r)
	var answer struct{ Data map[string]any }
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%v in %s", err, w.Body)
		}
	}
	return w.Code, answer.Data
}

func TestEverySecretIsAnotherOf32RandomBytes(t *testing.T) {
	m := newMemory()
	seen := map[string]bool{}
	for range 3 {
		_, data := call(t, m.api(), http.MethodPost, "/webhooks", `{"webhook":{"url":"https://example.com/hook"}}`)
		_, rotated := call(t, m.api(), http.MethodPost, fmt.Sprintf("/webhooks/%v/rotate_secret", data["id"]), ``)
		for _, d := range []map[string]any{data, rotated} {
			secret, _ := d["secret"].(string)
			encoded, ok := strings.CutPrefix(secret, "whsec_")
			b, err := base64.StdEncoding.DecodeString(encoded)
			if !ok || err != nil || len(b) != 32 || seen[secret] {
				t.Errorf("the secret %q has %d bytes, %v, seen before: %v", secret, len(b), err, seen[secret])
			}
			seen[secret] = true
		}
	}
}

func TestTheOldSecretStaysGoodForADayAfterRotation(t *testing.T) {
	m := newMemory()
	_, created := call(t, m.api(), http.MethodPost, "/webhooks", `{"webhook":{"url":"https://example.com/hook"}}`)
	_, rotated := call(t, m.api(), http.MethodPost, "/webhooks/1/rotate_secret", ``)
	w := m.hooks[0]
	if string(w.PreviousSecret) != created["secret"] || string(w.Secret) != rotated["secret"] || w.Secret == w.PreviousSecret {
		t.Error("the secrets are not the new one and the one before it")
	}
	if left := time.Until(w.PreviousUntil); left < rotation-time.Minute || left > rotation {
		t.Errorf("the old secret is good for %v", left)
	}
}

func TestALongURLIsRefused(t *testing.T) {
	longest := "https://example.com/" + strings.Repeat("a", maxURL-len("https://example.com/"))
	for url, want := range map[string]int{longest: http.StatusCreated, longest + "a": http.StatusUnprocessableEntity} {
		if got, _ := call(t, newMemory().api(), http.MethodPost, "/webhooks", fmt.Sprintf(`{"webhook":{"url":%q}}`, url)); got != want {
			t.Errorf("%d bytes: %d, want %d", len(url), got, want)
		}
	}
}

// away fails as the database does.
type away struct{ *memory }

var errAway = &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"}

func (away) Webhooks(context.Context) ([]gateway.Webhook, error) { return nil, errAway }

func (away) CreateWebhook(context.Context, *gateway.Webhook) error { return errAway }

func TestADatabaseThatIsAwayIsNotNoWebhooks(t *testing.T) {
	h := &API{Webhooks: away{newMemory()}, Editor: away{newMemory()}, Deliveries: newMemory(), Network: newMemory()}
	for method, body := range map[string]string{http.MethodGet: "", http.MethodPost: `{"webhook":{"url":"https://example.com/hook"}}`} {
		w := httptest.NewRecorder()
		wiretest.Echo(h.Mount).ServeHTTP(w, httptest.NewRequest(method, "/api/v1/webhooks", strings.NewReader(body)))
		if diff := cmp.Diff(`503 {"error":"The database is away"}`, fmt.Sprint(w.Code, " ", w.Body)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", method, diff)
		}
	}
}

func TestValidateNamesTheMissingPart(t *testing.T) {
	wiretest.Parts(t, func() *API { return newMemory().api() })
}

func TestASecretThatReceiversStillHaveIsNotRotatedAway(t *testing.T) {
	m := newMemory()
	_, created := call(t, m.api(), http.MethodPost, "/webhooks", `{"webhook":{"url":"https://example.com/hook"}}`)
	rotate := func() int {
		code, _ := call(t, m.api(), http.MethodPost, "/webhooks/1/rotate_secret", ``)
		return code
	}
	if first, second := rotate(), rotate(); first != http.StatusOK || second != http.StatusConflict {
		t.Errorf("rotated with %d, then %d", first, second)
	}
	if string(m.hooks[0].PreviousSecret) != created["secret"] {
		t.Error("the secret in use is lost")
	}
	m.hooks[0].PreviousUntil = time.Now()
	if code := rotate(); code != http.StatusOK {
		t.Errorf("after its time: %d", code)
	}
}
