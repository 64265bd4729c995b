package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
)

// TestContract plays what the contract says of every call, against the whole
// handler: keys and errors. The stories are as those of package wiretest, with the
// headers of a request between its first line and its body, and those of an
// answer that the contract names. The clock stands still.
func TestContract(t *testing.T) {
	const file = "testdata/transport.txt"
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var trouble error
		d := deps(func(context.Context) error { return trouble })
		ring := keyring{}
		for name, k := range map[string]gateway.APIKey{
			"wrb_live_ops": {Scope: gateway.ScopeAdmin}, "wrb_test_ops": {Scope: gateway.ScopeAdmin}, "wrb_live_reader": {Scope: gateway.ScopeRead},
			"wrb_live_shop": {Scope: gateway.ScopeWrite, Accounts: []gateway.AccountID{"acc_main"}}, "wrb_live_till": {Scope: gateway.ScopeRead, PerMinute: 1},
		} {
			k.Name, k.Hash = name, sha256.Sum256([]byte(name))
			ring[k.Hash] = k
		}
		d.Keys = ring
		h := newHandler(t, d)
		commands := map[string]error{
			"all is well":                      nil,
			"something breaks":                 fmt.Errorf("scan agent: %w", os.ErrInvalid),
			"the database is away":             &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away"},
			"the database is away for seconds": &gateway.Error{Kind: gateway.Unavailable, Msg: "The database is away", RetryAfter: 2500 * time.Millisecond},
		}
		got := tell(t, h, string(want), func(command string) {
			err, known := commands[command]
			if !known {
				t.Fatalf("unknown command %q", command)
			}
			trouble = err
		})
		if flag.Lookup("update").Value.String() == "true" { // wiretest's
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

var headerLine = regexp.MustCompile(`^[A-Z][A-Za-z-]*: `)

// tell returns the story with the answers that h gives now.
func tell(t *testing.T, h http.Handler, story string, do func(command string)) string {
	t.Helper()
	var out strings.Builder
	var asked []string
	for line := range strings.Lines(story + "\n") {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "> "); ok {
			asked = append(asked, rest)
		} else if len(asked) > 0 {
			out.WriteString(exchange(t, h, asked))
			asked = nil
		}
		if command, ok := strings.CutPrefix(line, "! "); ok {
			do(command)
		}
		if !strings.HasPrefix(line, "<") {
			fmt.Fprintln(&out, line)
		}
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// exchange returns the answer to a request, which is made of its lines.
func exchange(t *testing.T, h http.Handler, asked []string) string {
	t.Helper()
	method, path, _ := strings.Cut(asked[0], " ")
	headers, body := http.Header{}, asked[1:]
	for len(body) > 0 && headerLine.MatchString(body[0]) {
		name, value, _ := strings.Cut(body[0], ": ")
		headers.Set(name, value)
		body = body[1:]
	}
	r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(strings.Join(body, "\n")))
	r.Header = headers
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	out := fmt.Sprintln("<", w.Code)
	for _, name := range []string{"Content-Type", "Retry-After", "WWW-Authenticate"} {
		if value := w.Header().Get(name); value != "" {
			out += fmt.Sprintln("<", name+":", value)
		}
	}
	var answer bytes.Buffer
	if err := json.Indent(&answer, w.Body.Bytes(), "< ", "  "); err != nil {
		t.Errorf("%s: %v in %s", asked[0], err, w.Body)
	}
	return out + "< " + answer.String() + "\n"
}
