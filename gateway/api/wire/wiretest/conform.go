package wiretest

import (
	"bytes"
	_ "embed" // for the document
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	verrors "github.com/pb33f/libopenapi-validator/errors"
)

// described is what the API is described as: a golden file, so that a change of
// the API is seen where it is reviewed, and so that a test of one part has it
// without importing the others.
//
//go:embed openapi.json
var described []byte

// regenerate is what to do when the golden file is not the document.
const regenerate = "go test ./gateway/api -run TestDocument -update"

// Golden holds a document against the one that exchanges are held against, or
// with -update makes it that one. It is for the test of the package that makes
// the document, gateway/api.
func Golden(t *testing.T, document []byte) {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, document, "", "\t"); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	if *update {
		if err := os.WriteFile("wire/wiretest/openapi.json", out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(out.Bytes(), described) {
		t.Errorf("the API is not as wire/wiretest/openapi.json says any more: run %s, and look at the difference", regenerate)
	}
}

// A checker holds exchanges against the document. What is answered must have no
// member that is not described; what is asked may, since it is passed over.
type checker struct{ requests, answers validator.Validator }

var newChecker = sync.OnceValues(func() (*checker, error) {
	requests, err := newValidator(described, config.WithoutSecurityValidation())
	if err != nil {
		return nil, err
	}
	var doc any
	if err := json.Unmarshal(described, &doc); err != nil {
		return nil, err
	}
	closeObjects(doc)
	closed, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	answers, err := newValidator(closed, config.WithFormatAssertions())
	if err != nil {
		return nil, err
	}
	return &checker{requests, answers}, nil
})

func newValidator(document []byte, options ...config.Option) (validator.Validator, error) {
	doc, err := libopenapi.NewDocument(document)
	if err != nil {
		return nil, err
	}
	v, errs := validator.NewValidator(doc, options...)
	return v, errors.Join(errs...)
}

// closeObjects has schemas take no members but those that they name. The
// validator's own strict mode does not take free objects either.
func closeObjects(node any) {
	switch node := node.(type) {
	case map[string]any:
		for _, child := range node {
			closeObjects(child)
		}
		if _, free := node["additionalProperties"]; !free && node["type"] == "object" && node["properties"] != nil {
			node["additionalProperties"] = false
		}
	case []any:
		for _, child := range node {
			closeObjects(child)
		}
	}
}

// An exchange is a request of the API and its answer.
type exchange struct {
	request *http.Request
	asked   []byte
	status  int
	header  http.Header
	answer  []byte
}

// check says in what an exchange is not as described. The answer has to be,
// whatever it is; the request, where it was answered with success.
func (c *checker) check(x *exchange) error {
	request := x.request.Clone(x.request.Context())
	request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(x.asked)), int64(len(x.asked))
	request.Header.Del("Content-Type")
	if len(x.asked) > 0 {
		request.Header.Set("Content-Type", "application/json") // bodies are read as JSON, whatever their type
	}
	answer := &http.Response{
		StatusCode: x.status, Header: http.Header{}, Request: request, Body: io.NopCloser(bytes.NewReader(x.answer)),
	}
	for _, name := range []string{"Content-Type", "Retry-After"} {
		if v := x.header.Get(name); v != "" {
			answer.Header.Set(name, v)
		}
	}
	var problems []string
	_, found := c.answers.ValidateHttpResponse(request, answer)
	for _, e := range found {
		if (e.IsPathMissingError() || e.IsOperationMissingError()) && (x.status == http.StatusNotFound || x.status == http.StatusUnauthorized) {
			return nil // there is no such route
		}
		problems = append(problems, "answer: "+say(e))
	}
	if len(problems) == 0 && x.status < 300 && decodable(x.asked) {
		request.Body = io.NopCloser(bytes.NewReader(x.asked))
		_, found := c.requests.ValidateHttpRequestSync(request)
		for _, e := range found {
			problems = append(problems, "request: "+say(e))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%s %s, answered with %d, is not as openapi.json says; if it is right, mend the operations.go of its package and run %s\n\t%s\n\trequest: %s\n\tanswer: %s",
		request.Method, request.URL, x.status, regenerate, strings.Join(problems, "\n\t"), cut(x.asked), cut(x.answer))
}

// decodable reports whether the validator can read a body. Its numbers are
// float64s; a handler that passes JSON on takes any.
func decodable(body []byte) bool {
	var v any
	return len(body) == 0 || json.Unmarshal(body, &v) == nil
}

// maxSaid keeps what is wrong with a long list readable.
const maxSaid = 10

func say(e *verrors.ValidationError) string {
	out := e.Message + ": " + e.Reason
	for i, s := range e.SchemaValidationErrors {
		if i == maxSaid {
			return out + "\n\t\t…"
		}
		out += fmt.Sprintf("\n\t\t%s: %s", s.FieldPath, s.Reason)
	}
	return out
}

func cut(b []byte) []byte { return b[:min(len(b), 2000)] }

// statusClientGone is wire's: nobody reads that answer.
const statusClientGone = 499

// undescribed is the name under which a request's context knows that it is.
const undescribed = "undescribed"

// Undescribed is the middleware of routes that in truth stand elsewhere than at
// /api/v1, and so are not in the document. It is only for stories to reach them.
func Undescribed(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Set(undescribed, true)
		return next(c)
	}
}

// conform holds each exchange with routes against the document, and has fail
// called with what is wrong.
func conform(fail func(error)) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			checker, err := newChecker()
			if err != nil {
				fail(err)
				return nil
			}
			var asked, answer bytes.Buffer
			r := c.Request()
			r.Body = &tee{r.Body, &asked}
			w := c.Response().Writer
			c.Response().Writer = &teeWriter{w, &answer}
			defer func() { c.Response().Writer = w }()
			if err := next(c); err != nil {
				c.Error(err)
			}
			x := &exchange{request: r, asked: asked.Bytes(), status: c.Response().Status, header: c.Response().Header(), answer: answer.Bytes()}
			if x.status == statusClientGone || c.Get(undescribed) != nil {
				return nil
			}
			if err := checker.check(x); err != nil {
				fail(err)
			}
			return nil
		}
	}
}

type tee struct {
	io.ReadCloser
	to *bytes.Buffer
}

func (t *tee) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	t.to.Write(b[:n])
	return n, err
}

type teeWriter struct {
	http.ResponseWriter
	to *bytes.Buffer
}

func (t *teeWriter) Write(b []byte) (int, error) {
	t.to.Write(b)
	return t.ResponseWriter.Write(b)
}

func (t *teeWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// Transport makes requests by another transport, and holds those of the API and
// their answers against the document. A nil next is [http.DefaultTransport]. It is
// made outside of a synctest bubble, and may be used in one.
func Transport(t testing.TB, next http.RoundTripper) http.RoundTripper {
	t.Helper()
	c, err := newChecker()
	if err != nil {
		t.Fatal(err)
	}
	if next == nil {
		next = http.DefaultTransport
	}
	return &transport{t: t, next: next, checker: c}
}

type transport struct {
	t       testing.TB
	next    http.RoundTripper
	checker *checker
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(r.URL.Path, "/api/v1/") {
		return t.next.RoundTrip(r)
	}
	var asked bytes.Buffer
	sent := r.Clone(r.Context())
	if r.Body != nil {
		sent.Body = &tee{r.Body, &asked}
	}
	resp, err := t.next.RoundTrip(sent)
	if err != nil {
		return resp, err
	}
	answer, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	x := &exchange{request: r, asked: asked.Bytes(), status: resp.StatusCode, header: resp.Header, answer: answer}
	if err := t.checker.check(x); err != nil {
		t.t.Error(err)
	}
	return resp, nil
}

// CloseIdleConnections is called by the client of the same name.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
