package api

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"

	"wagent/gateway"
	"wagent/gateway/api/access"
	"wagent/gateway/api/openapi"
	"wagent/gateway/api/wire/wiretest"
)

func TestDocumentIsTheOneThatExchangesAreHeldAgainst(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	wiretest.Golden(t, doc)
}

// TestDocumentHasEveryRoute: what can be called is described, and the other way
// round.
func TestDocumentHasEveryRoute(t *testing.T) {
	described := openapi.Routes(sections()...)
	var served []string
	for _, r := range newHandler(t, deps(nil)).(*echo.Echo).Routes() {
		if route := r.Method + " " + r.Path; r.Method != echo.RouteNotFound && strings.HasPrefix(r.Path, "/api/v1/") {
			served = append(served, route)
		}
	}
	if len(served) == 0 {
		t.Fatal("no routes")
	}
	for _, route := range served {
		if !slices.Contains(described, route) {
			t.Errorf("%s is not in /openapi.json: list it in the function Operations of the package that registers it, and that function in sections()", route)
		}
	}
	for _, route := range described {
		if !slices.Contains(served, route) {
			t.Errorf("%s is in /openapi.json but not registered: remove its operation, or register it in Mount", route)
		}
	}
}

// TestDocumentIsValidOpenAPI asks two validators that share no code: one holds the
// document against the schema that the OpenAPI Initiative publishes for 3.1, the
// other one against its own model, references and path parameters included.
func TestDocumentIsValidOpenAPI(t *testing.T) {
	doc := served(t)
	t.Run("pb33f/libopenapi-validator", func(t *testing.T) {
		parsed, err := libopenapi.NewDocument(doc)
		if err != nil {
			t.Fatal(err)
		}
		if got := parsed.GetVersion(); got != "3.1.0" {
			t.Errorf("it is of version %s", got)
		}
		v, errs := validator.NewValidator(parsed)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		_, problems := v.ValidateDocument()
		for _, p := range problems {
			t.Error(p)
		}
	})
	t.Run("getkin/kin-openapi", func(t *testing.T) {
		parsed, err := openapi3.NewLoader().LoadFromData(doc)
		if err != nil {
			t.Fatal(err)
		}
		if err := parsed.Validate(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestDocumentSaysHowCallsAreRefused asks each route for what never gets to its
// handler: with no key, with one of another account, and where it is a POST with an
// Idempotency-Key that is none, and with one and a body that is too large. do holds
// the answers against the document.
func TestDocumentSaysHowCallsAreRefused(t *testing.T) {
	ring := newKeyring()
	other := sha256.Sum256([]byte("other"))
	ring[other] = gateway.APIKey{Name: "other", Hash: other, Scope: gateway.ScopeAdmin, Accounts: []gateway.AccountID{"acc_try2"}}
	d := deps(nil)
	d.Keys = ring
	srv := newServer(t, d)
	ids := strings.NewReplacer(":account", "acc_main", ":session", "acc_main", ":agent", mainAgent.String(), ":contact", "ctc_main", ":", "")
	for i, route := range openapi.Routes(sections()...) {
		method, pattern, _ := strings.Cut(route, " ")
		path := ids.Replace(pattern)
		client := fmt.Sprint("203.0.113.", i%250+1) // one client is refused only so often
		refused := func(status int, body io.Reader, header ...string) {
			t.Helper()
			if resp, answer := do(t, srv, method, path, body, header...); resp.StatusCode != status {
				t.Errorf("%s %v: %d %s", route, header, resp.StatusCode, answer)
			}
		}
		refused(http.StatusUnauthorized, nil, "Authorization", "", "X-Forwarded-For", client)
		if rule, _ := access.RuleOf(method, pattern); rule.Bound == access.Nowhere || rule.Bound == access.ByPath {
			refused(http.StatusNotFound, nil, "Authorization", "Bearer other")
		}
		if method == http.MethodPost {
			refused(http.StatusBadRequest, nil, "Idempotency-Key", strings.Repeat("x", 256))
			refused(http.StatusRequestEntityTooLarge, strings.NewReader(strings.Repeat(" ", maxBody+1)), "Idempotency-Key", "x")
		}
	}
}

// served is the document as a client without a key gets it.
func served(t *testing.T) []byte {
	t.Helper()
	w := httptest.NewRecorder()
	newHandler(t, deps(nil)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openapi.json", http.NoBody))
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("GET /openapi.json: %d, %s", w.Code, w.Header().Get("Content-Type"))
	}
	return w.Body.Bytes()
}

func TestDocumentIsSentOnceToWhoKeepsIt(t *testing.T) {
	srv := newServer(t, deps(nil))
	first, body := do(t, srv, http.MethodGet, "/openapi.json", nil, "Authorization", "")
	if first.StatusCode != http.StatusOK || !strings.HasPrefix(first.Header.Get("Cache-Control"), "public, max-age=") {
		t.Fatalf("got %d, Cache-Control %q", first.StatusCode, first.Header.Get("Cache-Control"))
	}
	again, rest := do(t, srv, http.MethodGet, "/openapi.json", nil, "If-None-Match", first.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified || rest != "" {
		t.Errorf("asked for again: %d, %d bytes", again.StatusCode, len(rest))
	}
	if other, rest := do(t, srv, http.MethodGet, "/openapi.json", nil, "If-None-Match", `"other"`); other.StatusCode != http.StatusOK || rest != body {
		t.Errorf("with another ETag: %d, %d bytes", other.StatusCode, len(rest))
	}
	if head, rest := do(t, srv, http.MethodHead, "/openapi.json", nil); head.StatusCode != http.StatusOK || rest != "" {
		t.Errorf("HEAD: %d, %d bytes", head.StatusCode, len(rest))
	}
}

// TestDocsPageNeedsNothingFromElsewhere: its parts are served, its policy names its
// own scripts, and it names no other host.
func TestDocsPageNeedsNothingFromElsewhere(t *testing.T) {
	srv := newServer(t, deps(nil))
	page, html := do(t, srv, http.MethodGet, "/docs", nil, "Authorization", "")
	if page.StatusCode != http.StatusOK || page.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("GET /docs: %d, %s", page.StatusCode, page.Header.Get("Content-Type"))
	}
	policy := page.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self' 'sha256-", "connect-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q does not say %s", policy, want)
		}
	}
	if scripts, named := strings.Count(html, "<script>"), strings.Count(policy, "'sha256-"); scripts != named || scripts == 0 {
		t.Errorf("%d scripts stand in the page, the policy names %d", scripts, named)
	}
	parts := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(html, -1)
	if len(parts) < 4 {
		t.Errorf("the page has %d parts", len(parts))
	}
	for _, m := range parts {
		if !strings.HasPrefix(m[1], "/docs/") {
			t.Errorf("the page loads %s", m[1])
			continue
		}
		if part, body := do(t, srv, http.MethodGet, m[1], nil, "Authorization", ""); part.StatusCode != http.StatusOK || body == "" {
			t.Errorf("GET %s: %d, %d bytes", m[1], part.StatusCode, len(body))
		}
	}
	if !strings.Contains(html, `"swaggerJsonUrl":"/openapi.json"`) {
		t.Error("the page does not load /openapi.json")
	}
	if gone, _ := do(t, srv, http.MethodGet, "/docs/nothing.js", nil, "Authorization", ""); gone.StatusCode != http.StatusNotFound {
		t.Errorf("GET /docs/nothing.js: %d", gone.StatusCode)
	}
}
