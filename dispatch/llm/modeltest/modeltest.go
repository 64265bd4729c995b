// Package modeltest is the suite that every provider which is reached over HTTP
// passes: what its failures mean, what it does not say of them, and that nothing
// but its configuration decides whom it asks.
//
// It keeps no state. Each test has a server of its own.
package modeltest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"wagent/context/transcript"
	"wagent/dispatch/llm"
	"wagent/gateway"
)

// Name is what the provider under test is to be called, and Key is its key.
const (
	Name = "acme"
	Key  = "sk-Proj-Secret123"
)

// secret is what a customer wrote.
const secret = "my card number is 4111"

// A New makes the provider under test, called [Name], with a base URL that has
// no path. Its key is [Key], and its streams may be silent for so long; 0: as it
// has it.
type New func(baseURL string, client *http.Client, idle time.Duration) llm.Model

// A Suite is what a provider is to pass in one of the ways in which it can be
// asked. The words are those of the errors, after the name.
type Suite struct {
	New     New
	Hollow  string // of an answer in which there is nothing to read
	Empty   string // of one without a body; empty: that it is no JSON object
	Garbage string // of one that is garbage; empty: that it is no JSON object
}

// Run runs all tests but that of the environment, and the fuzzing.
func (s Suite) Run(t *testing.T) {
	t.Run("failures", s.failures)
	t.Run("too long", s.tooLong)
	t.Run("bodies", s.bodies)
	t.Run("filters", s.filters)
	t.Run("strangers", s.strangers)
	t.Run("absence", s.absence)
	t.Run("usage", s.usage)
}

// Request is what a model is asked here: a strict schema, and words that no
// error may repeat.
func Request() llm.Request {
	return llm.Request{
		Model: "m-1", System: "be kind", Strict: true, Temperature: 0.5, MaxTokens: 64,
		Schema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`),
		Turns: []transcript.Turn{
			{Role: transcript.User, Text: "hi"}, {Role: transcript.Assistant, Text: "hello"}, {Role: transcript.User, Text: secret},
		},
	}
}

// serve returns the model over real HTTP.
func serve(t *testing.T, h http.Handler, newModel New) llm.Model {
	t.Helper()
	return impatient(t, h, newModel, 0)
}

// impatient is serve with a model whose streams may be silent for so long.
func impatient(t *testing.T, h http.Handler, newModel New, idle time.Duration) llm.Model {
	t.Helper()
	srv := httptest.NewServer(h)
	client := srv.Client()
	t.Cleanup(func() { client.CloseIdleConnections(); srv.Close() })
	return newModel(srv.URL, client, idle)
}

// check checks an error, and that it repeats neither the key nor the customer.
func check(t *testing.T, err error, kind gateway.Kind, msg string) {
	t.Helper()
	e, ok := err.(*gateway.Error) //nolint:errorlint // the contract is the type itself
	if !ok {
		t.Fatalf("error = %T %v, want a gateway.Error", err, err)
	}
	if e.Kind != kind || e.Msg != msg {
		t.Errorf("error = %v %q, want %v %q", e.Kind, e.Msg, kind, msg)
	}
	for _, no := range []string{Key, secret} {
		if strings.Contains(err.Error(), no) {
			t.Errorf("error tells %q: %v", no, err)
		}
	}
}
