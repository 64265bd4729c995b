package whatsrb

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
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the answers into the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newServer serves the API of m over real HTTP, without a key.
func newServer(t *testing.T, m *memory) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(newEcho(m))
	t.Cleanup(func() { http.DefaultClient.CloseIdleConnections(); srv.Close() })
	return srv
}

func newEcho(m *memory) *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = ErrorHandler(slog.New(slog.DiscardHandler))
	m.api().Mount(e.Group("/api/v1"))
	return e
}

// TestContract plays each file of testdata against a server of its own. A file
// is a story: "# " says what is to be seen, "! " has the double do something,
// "> " is a request line or body, "< " is the answer. Ids and times are made
// stable: run_1 is the first run that was seen.
func TestContract(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("golden files: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
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

func play(t *testing.T, story string) string {
	t.Helper()
	m := newMemory()
	srv := newServer(t, m)
	names := &names{}
	var out strings.Builder
	var request []string
	flush := func() {
		if len(request) > 0 {
			out.WriteString(send(t, srv.URL, request, names))
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
		if cmd, ok := strings.CutPrefix(line, "! "); ok {
			command(t, m, cmd)
		}
		fmt.Fprintln(&out, line)
	}
	flush()
	return out.String()
}

func command(t *testing.T, m *memory, cmd string) {
	t.Helper()
	switch cmd {
	case "complete":
		m.complete(false)
	case "complete, to be confirmed":
		m.complete(true)
	case "fail":
		m.fail()
	case "declare":
		m.declare()
	default:
		t.Fatalf("unknown command %q", cmd)
	}
}

// send makes a request of its lines: method and path, then the body. Without a
// body it sends no bytes and no Content-Type, as the JS SDK does.
func send(t *testing.T, base string, lines []string, names *names) string {
	t.Helper()
	method, path, _ := strings.Cut(names.original(lines[0]), " ")
	body := names.original(strings.Join(lines[1:], "\n"))
	req, err := http.NewRequest(method, base+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
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
	text := fmt.Sprintf("%d", resp.StatusCode) + names.stable(out.String())
	return "< " + strings.ReplaceAll(text, "\n", "\n< ") + "\n"
}

// names maps ids to stable names and back.
type names struct{ seen []string }

var (
	idPattern   = regexp.MustCompile(`\b(agt_[0-9a-f]{32}|(run|msg)_[0-9a-z]{26})\b`)
	timePattern = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"`) // whole seconds and Z, or it is not replaced
)

func (n *names) stable(s string) string {
	s = timePattern.ReplaceAllString(s, `"(time)"`)
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
	counts := map[string]int{}
	for _, id := range n.seen {
		counts[id[:4]]++
		s = regexp.MustCompile(fmt.Sprintf(`\b%s%d\b`, id[:4], counts[id[:4]])).ReplaceAllString(s, id)
	}
	return s
}
