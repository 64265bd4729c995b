package openapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"
)

// maxAge is for how long a browser need not ask again.
const maxAge = "public, max-age=300"

// Handler serves a document. It may be kept for a while; asked for again, it is
// answered with 304 as long as it is the same.
func Handler(doc []byte) http.Handler {
	sum := sha256.Sum256(doc)
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", maxAge)
		h.Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(doc))
	})
}

// Docs serves a page to browse the document that stands at a URL of the same
// server, and the page's scripts, styles and pictures, which are in the binary. It
// is to be mounted at the path and all below it. The page loads nothing from
// elsewhere, and its policy lets it run no script but its own.
func Docs(path, document string) http.Handler {
	ui := v5emb.NewHandlerWithConfig(swgui.Config{
		Title: "wagent API", SwaggerJSON: document, BasePath: path,
		// A key that was entered stays in the page: it is not written down.
		SettingsUI: map[string]string{"persistAuthorization": "false", "tryItOutEnabled": "false", "docExpansion": `"list"`},
	})
	html := render(ui, path)
	policy := policyFor(html)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", maxAge)
		h.Set("Content-Security-Policy", policy)
		if strings.TrimSuffix(r.URL.Path, "/") != path {
			ui.ServeHTTP(w, r)
			return
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(html))
	})
}

// page is what a handler writes.
type page struct {
	bytes.Buffer
	header http.Header
}

func (p *page) Header() http.Header { return p.header }
func (p *page) WriteHeader(int)     {}

func render(h http.Handler, path string) []byte {
	p := &page{header: http.Header{}}
	h.ServeHTTP(p, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}})
	return p.Bytes()
}

// script is one that stands in the page itself.
var script = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// policyFor names the page's own scripts by their hash. Styles it writes as it
// goes, and its pictures stand in them.
func policyFor(html []byte) string {
	scripts := []string{"'self'"}
	for _, m := range script.FindAllSubmatch(html, -1) {
		sum := sha256.Sum256(m[1])
		scripts = append(scripts, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return fmt.Sprintf("default-src 'none'; script-src %s; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "+
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", strings.Join(scripts, " "))
}
