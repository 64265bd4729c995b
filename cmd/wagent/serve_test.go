package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"wagent/cmd/wagent/internal/config"
	"wagent/dispatch/llm/llmtest"
)

// try runs a command of the program inside this process.
func try(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	status = run(ctx, args, process{env: func(string) (string, bool) { return "", false }, stdout: &out, stderr: &errs})
	return status, out.String(), errs.String()
}

func TestCommandLine(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("listen: 127.0.0.1:8080\nlisen: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		args   []string
		status int
		says   string // on either stream
	}{
		"no arguments: help":                  {nil, exitDone, "Usage: wagent <command>"},
		"help":                                {[]string{"--help"}, exitDone, "serve"},
		"help of a command":                   {[]string{"serve", "--help"}, exitDone, "--config"},
		"an unknown command":                  {[]string{"sevre"}, exitUse, "sevre"},
		"an unknown flag":                     {[]string{"demo", "--kep"}, exitUse, "--kep"},
		"the version":                         {[]string{"version"}, exitDone, "wagent "},
		"a right configuration":               {[]string{"check", "../../configs/wagent.yaml"}, exitDone, "ok"},
		"a wrong configuration":               {[]string{"check", broken}, exitUse, "broken.yaml:2: lisen"},
		"serve refuses a wrong configuration": {[]string{"serve", "--config", broken}, exitUse, "did you mean listen"},
		"a missing configuration":             {[]string{"check", filepath.Join(t.TempDir(), "none.yaml")}, exitUse, "none.yaml"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := try(t, tt.args...)
			if status != tt.status || !strings.Contains(stdout+stderr, tt.says) {
				t.Errorf("wagent %s = %d, want %d and %q\n%s%s", strings.Join(tt.args, " "), status, tt.status, tt.says, stdout, stderr)
			}
		})
	}
}

func TestDemoShowsEverythingAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	status, stdout, stderr := try(t, "demo")
	if status != exitDone {
		t.Fatalf("demo = %d\n%s%s", status, stdout, stderr)
	}
	for _, line := range []string{
		"its window opens", "the window moves", "the window is due: 3 messages", "the output is valid",
		"room 204", "the run was given", "confirms action 0", "agent_run.actioned", "All of it happened",
	} {
		if !strings.Contains(stdout, line) {
			t.Errorf("the demo does not show %q:\n%s", line, stdout)
		}
	}
	if n := strings.Count(stdout, "the receiver verified its signature"); n != 7 {
		t.Errorf("%d deliveries were verified, want 7", n)
	}
	if stderr != "" {
		t.Errorf("the demo complains: %s", stderr)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the demo left %v behind, %v", left, err)
	}
}

// embedded is the built program in a directory of its own. Its configuration
// only names another port, which the machine may need for something else.
type embedded struct {
	*rig
	dir  string
	key  string
	said string // what it printed
}

func (e *embedded) start() {
	e.Helper()
	path, err := binary()
	if err != nil {
		e.Fatal(err)
	}
	var out lines
	cmd := exec.Command(path, "serve")
	cmd.Dir, cmd.Stdout, cmd.Stderr = e.dir, &out, &logWriter{t: e.T}
	if err := cmd.Start(); err != nil {
		e.Fatal(err)
	}
	e.proc = &replica{cmd: cmd, end: make(chan error, 1)}
	go func() { e.proc.end <- cmd.Wait() }()
	e.Cleanup(e.proc.kill)
	e.until("the server to listen", 20*time.Second, func() bool { return strings.Contains(out.String(), "listens on") })
	_, url, _ := strings.Cut(out.String(), "listens on ")
	e.proc.url, _, _ = strings.Cut(url, "\n")
	e.until("the server to be ready", 20*time.Second, func() bool {
		resp, err := http.Get(e.proc.url + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	e.said = out.String()
}

// write sends a text to the sandbox account, as the guest.
func (e *embedded) write(text string) {
	e.Helper()
	body, err := json.Marshal(map[string]any{"message": map[string]any{"from": guest, "text": text}})
	if err != nil {
		e.Fatal(err)
	}
	if code := e.api(http.MethodPost, "/api/v1/sandbox/acc_try/messages", body, nil); code != http.StatusCreated {
		e.Fatalf("writing to the sandbox = %d", code)
	}
}

func (e *embedded) replies() []string {
	e.Helper()
	var got struct {
		Data []struct{ Direction, Text, Status string }
	}
	e.api(http.MethodGet, "/api/v1/sandbox/acc_try/messages?phone_number=%2B15550001234", nil, &got)
	var out []string
	for _, m := range got.Data {
		if m.Direction == "outbound" && m.Status == "sent" {
			out = append(out, m.Text)
		}
	}
	return out
}

func (e *embedded) api(method, path string, body []byte, out any) int {
	e.Helper()
	req, err := http.NewRequestWithContext(e.Context(), method, e.proc.url+path, bytes.NewReader(body))
	if err != nil {
		e.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+e.key)
	resp, err := describedClient(e).Do(req)
	if err != nil {
		e.Fatal(err)
	}
	defer resp.Body.Close()
	if out != nil {
		if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
			e.Fatal(err)
		}
	}
	return resp.StatusCode
}

func TestServeWithoutConfiguration(t *testing.T) {
	e := &embedded{rig: &rig{T: t}, dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(e.dir, "configs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(e.dir, "configs", "wagent.yaml"), []byte("listen: 127.0.0.1:0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.start()
	_, key, ok := strings.Cut(strings.TrimSpace(e.said), "once): ")
	if !ok || !strings.HasPrefix(key, "wrb_live_") {
		t.Fatalf("serve printed %q, want an API key", e.said)
	}
	e.key = key

	// A second process keeps off the same data.
	path, _ := binary()
	second := exec.Command(path, "serve")
	second.Dir = e.dir
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "is in use by another wagent") {
		t.Errorf("a second serve: %v, %s", err, out)
	}

	e.write("hello")
	if err := e.proc.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-e.proc.end; err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	e.proc.end <- nil

	// The message waited in a window that was in memory; it is not lost.
	e.start()
	if strings.Contains(e.said, "wrb_live_") {
		t.Errorf("the key is printed again: %s", e.said)
	}
	e.until("the reply", 30*time.Second, func() bool { return len(e.replies()) == 1 })
	for _, name := range []string{"secret.key", "api.key"} {
		info, err := os.Stat(filepath.Join(e.dir, "data", name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// TestStopLetsTheRunInHandAnswer: a SIGTERM in the middle of a run.
func TestStopLetsTheRunInHandAnswer(t *testing.T) {
	g := newGate()
	r := newRig(t, true, func(q llmtest.Request) llmtest.Reply { g.pass(); return clean(q) })
	t.Cleanup(g.lift)
	r.say(ada, "one", "two")
	r.wait("the model to be asked", g.came)
	if err := r.proc.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r.until("the port to close", 10*time.Second, func() bool {
		resp, err := http.Get(r.proc.url + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err != nil
	})
	g.lift()
	if err := <-r.proc.end; err != nil {
		t.Errorf("the process ended with %v", err)
	}
	r.proc.end <- nil
	r.once("re: one two")
}

func TestWithoutAFileTheDefaultIsEmbedded(t *testing.T) {
	t.Chdir(t.TempDir())
	cfg, err := serveCommand{}.load(process{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Embedded(), cfg, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("serve without a file (-want +got):\n%s", diff)
	}
}

func TestDataDirKeepsItsKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first, made, err := once(path, func() string { return "a" })
	if err != nil || !made || first != "a" {
		t.Fatalf("once = %q, %v, %v", first, made, err)
	}
	second, made, err := once(path, func() string { return "b" })
	if err != nil || made || second != "a" {
		t.Errorf("once again = %q, %v, %v", second, made, err)
	}
}

// lines is a buffer that a process writes to while a test reads it.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
