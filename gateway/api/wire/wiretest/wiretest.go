// Package wiretest plays stories against a part of the API: files that hold
// requests and the answers that a client is to see. Whatever it serves is held
// against the API's description, which package openapi makes: each answer has to be
// as described, and each request that is answered with success.
package wiretest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"wagent/gateway/api/wire"
)

var update = flag.Bool("update", false, "write the answers into the golden files")

// Echo serves what mount registers at /api/v1, without a key. It panics at an
// exchange that is not as described.
func Echo(mount func(*echo.Group)) *echo.Echo {
	return serve(mount, func(err error) { panic(err) })
}

func serve(mount func(*echo.Group), fail func(error)) *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = wire.ErrorHandler(slog.New(slog.DiscardHandler))
	e.Use(conform(fail))
	mount(e.Group("/api/v1"))
	return e
}

// Parts checks that a part of the API is whole as begin makes it, and that its
// Validate names each of its parts, which are its fields of an interface type,
// where that one is missing.
func Parts[T interface{ Validate() error }](t *testing.T, begin func() T) {
	t.Helper()
	if err := begin().Validate(); err != nil {
		t.Fatal(err)
	}
	parts := 0
	for _, field := range reflect.VisibleFields(reflect.TypeOf(begin()).Elem()) {
		if field.Type.Kind() != reflect.Interface {
			continue
		}
		parts++
		h := begin()
		reflect.ValueOf(h).Elem().FieldByIndex(field.Index).SetZero()
		if err := h.Validate(); err == nil || !strings.HasSuffix(err.Error(), "no "+field.Name) {
			t.Errorf("without %s: %v", field.Name, err)
		}
	}
	if parts == 0 {
		t.Error("it has no parts")
	}
}

// Play plays each file of testdata against a server of its own, over real
// HTTP. A file is a story: "# " says what is to be seen, "! " has the double
// do something, "> " is a request line or body, "< " is the answer. Ids, times
// and pictures are made stable: run_1 is the first run that was seen.
//
// begin makes the double: what mounts its routes, and what does the command
// behind "! ", or reports false if it knows no such command.
func Play(t *testing.T, begin func() (mount func(*echo.Group), do func(command string) bool)) {
	t.Helper()
	each(t, "testdata", func(t *testing.T) *player {
		mount, do := begin()
		srv := httptest.NewServer(serve(mount, func(err error) { t.Error(err) }))
		t.Cleanup(func() { http.DefaultClient.CloseIdleConnections(); srv.Close() })
		return &player{Server: &Server{Base: srv.URL, Do: do}, client: http.DefaultClient, names: &names{}}
	})
}

// A Server is a program that serves the API.
type Server struct {
	Base string // its URL, without a path
	Key  string // that requests bear; a command may change it
	// Do does the command behind "! ", in which ids are as they really are, or
	// reports false if it knows no such command.
	Do func(command string) bool
}

// PlayAt plays each file of dir, which is a story as Play has them, against the
// program that begin starts for it. What else differs from one time to another in
// a real program is made stable, too: durations, secrets, ports, ids of WhatsApp's
// and of requests, and days; (today) in a request is today.
func PlayAt(t *testing.T, dir string, begin func(t *testing.T) *Server) {
	t.Helper()
	each(t, dir, func(t *testing.T) *player {
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		return &player{Server: begin(t), client: &http.Client{Transport: Transport(t, transport)}, names: &names{real: true}}
	})
}

// A player plays one story.
type player struct {
	*Server
	client *http.Client
	names  *names
}

func each(t *testing.T, dir string, begin func(t *testing.T) *player) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("golden files: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := begin(t).play(t, string(want))
			if *update {
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
}

// play returns the story with the answers that are given now.
func (p *player) play(t *testing.T, story string) string {
	t.Helper()
	var out strings.Builder
	var request []string
	flush := func() {
		if len(request) > 0 {
			out.WriteString(p.send(t, request))
			request = nil
		}
	}
	for line := range strings.Lines(story) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "<") {
			continue
		}
		rest, asked := strings.CutPrefix(line, "> ")
		if !asked {
			flush()
		} else {
			request = append(request, rest)
		}
		if cmd, ok := strings.CutPrefix(line, "! "); ok && !p.Do(p.names.original(cmd)) {
			t.Fatalf("unknown command %q", cmd)
		}
		fmt.Fprintln(&out, line)
	}
	flush()
	return out.String()
}

// send makes a request of its lines: method and path, then the body. Without a
// body it sends no bytes and no Content-Type, as the JS SDK does.
func (p *player) send(t *testing.T, lines []string) string {
	t.Helper()
	method, path, _ := strings.Cut(p.names.original(lines[0]), " ")
	body := p.names.original(strings.Join(lines[1:], "\n"))
	req, err := http.NewRequestWithContext(t.Context(), method, p.Base+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if p.Key != "" {
		req.Header.Set("Authorization", "Bearer "+p.Key)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if len(answer) > 0 {
		if got := resp.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s %s: Content-Type is %q", method, path, got)
		}
		out.WriteByte('\n')
		if err := json.Indent(&out, answer, "", "  "); err != nil {
			t.Errorf("%s %s: %v in %q", method, path, err, answer)
		}
	}
	text := fmt.Sprintf("%d", resp.StatusCode) + p.names.stable(out.String())
	return "< " + strings.ReplaceAll(text, "\n", "\n< ") + "\n"
}

// names maps ids to stable names and back.
type names struct {
	seen []string
	real bool // of a program, and not of a double
}

var (
	idPattern   = regexp.MustCompile(`\b(agt_[0-9a-f]{32}|(run|msg|acc|key|tpl|con)_[0-9a-z]{26})\b`)
	timePattern = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"`) // whole seconds and Z, or it is not replaced
	keyPattern  = regexp.MustCompile(`"(wrb_(live|test)_)[0-9a-z]{26}"`)
	pngPattern  = regexp.MustCompile(`"data:image/png;base64,[0-9A-Za-z+/]+={0,2}"`)
)

// varying is what else differs in a real program. What has another form than here
// is not replaced, and shows.
var varying = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`("(?:latency_ms|duration_ms|avg_delivery_latency_ms)": )\d+\b`), `$1(milliseconds)`},
	{regexp.MustCompile(`("input_tokens": )[1-9]\d{2,3}\b`), `$1(a prompt's)`}, // which says what time it is
	{regexp.MustCompile(`("secret": "whsec_)[0-9A-Za-z+/]{32,}={0,2}"`), `$1(secret)"`},
	{regexp.MustCompile(`("wamid": "wamid\.)[0-9A-Z]{26}"`), `$1(id)"`},
	{regexp.MustCompile(`http://127\.0\.0\.1:\d+\b`), `http://127.0.0.1:(port)`},
	{regexp.MustCompile(`("request_id": ")[0-9A-Za-z]{26,32}"`), `$1(request)"`},
	{regexp.MustCompile(`("(?:from|to|period)": )"\d{4}-\d\d-\d\d"`), `$1"(day)"`},
	{regexp.MustCompile(`("period": )"\d{4}-\d\d"`), `$1"(month)"`},
}

func (n *names) stable(s string) string {
	s = keyPattern.ReplaceAllString(s, `"$1(secret)"`)
	s = pngPattern.ReplaceAllString(s, `"(picture)"`)
	s = timePattern.ReplaceAllString(s, `"(time)"`)
	if n.real {
		for _, v := range varying {
			s = v.pattern.ReplaceAllString(s, v.name)
		}
	}
	return idPattern.ReplaceAllStringFunc(s, func(id string) string {
		prefix, count := id[:4], 0
		for _, other := range n.seen {
			if strings.HasPrefix(other, prefix) {
				count++
			}
			if other == id {
				return fmt.Sprintf("%s%d", prefix, count)
			}
		}
		n.seen = append(n.seen, id)
		return fmt.Sprintf("%s%d", prefix, count+1)
	})
}

func (n *names) original(s string) string {
	if n.real {
		s = strings.ReplaceAll(s, "(today)", time.Now().UTC().Format(time.DateOnly))
	}
	counts := map[string]int{}
	for _, id := range n.seen {
		counts[id[:4]]++
		s = regexp.MustCompile(fmt.Sprintf(`\b%s%d\b`, id[:4], counts[id[:4]])).ReplaceAllString(s, id)
	}
	return s
}
