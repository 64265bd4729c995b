package main

import (
	"encoding/json"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wagent/gateway"
)

// serveLocal serves h on the socket of a new data directory.
func serveLocal(t *testing.T, h http.Handler) (dir string, ln net.Listener) {
	t.Helper()
	dir, err := os.MkdirTemp("", "w") //nolint:usetesting // t.TempDir's may be longer than a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	ln, err = (&home{dir: dir}).listenLocal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return dir, ln
}

func TestSocketIsForItsOwnerAndGoesWithItsListener(t *testing.T) {
	dir, ln := serveLocal(t, http.NotFoundHandler())
	info, err := os.Stat(filepath.Join(dir, "wagent.sock"))
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	if _, ok := dialLocal(t.Context(), dir); !ok {
		t.Error("nobody listens on the socket")
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, ok := dialLocal(t.Context(), dir); ok {
		t.Error("somebody listens on a socket that is gone")
	}
}

func TestSocketThatADeadProcessLeftIsReplaced(t *testing.T) {
	t.Chdir(t.TempDir()) // so that the path is short enough
	dead, err := net.Listen("unix", "wagent.sock")
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := dialLocal(t.Context(), "."); ok {
		t.Fatal("the socket is not dead")
	}
	ln, err := (&home{dir: "."}).listenLocal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := dialLocal(t.Context(), "."); !ok {
		t.Error("nobody listens on the socket")
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
}

func TestSocketWithAPathThatIsTooLongIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := (&home{dir: dir}).listenLocal(t.Context()); err == nil || !strings.Contains(err.Error(), "set a shorter data_dir") {
		t.Errorf("listenLocal = %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The answers are those of /api/v1/sessions.
func TestNeighbour(t *testing.T) {
	type request struct{ Method, Path, Body string }
	var got []request
	answers := map[string]string{
		"POST /api/v1/sessions/acc_phone/pairing": `{"data":{"id":"acc_phone","phone_number":null,"link":{"state":"unpaired","reason":null},
			"pairing":{"method":"code","step":"wanted","qr":null,"code":null,"passkey_options":null,"error":null,"expires_at":null}}}`,
		"GET /api/v1/sessions/acc_phone": `{"data":{"id":"acc_phone","phone_number":"+491510000001","link":{"state":"disconnected","reason":"no network"},
			"pairing":{"method":"qr","step":"qr","qr":"2@x","code":"AB","passkey_options":{"challenge":"x"},"error":"old","expires_at":"2031-01-02T19:16:42.000Z"}}}`,
		"POST /api/v1/sessions/acc_phone/passkey": `{"data":{"link":{},"pairing":null}}`,
	}
	dir, _ := serveLocal(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, request{r.Method, r.URL.Path, string(body)})
		answer, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusConflict)
			answer = `{"error":"nobody waits for that"}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	client, ok := dialLocal(t.Context(), dir)
	if !ok {
		t.Fatal("nobody listens")
	}
	defer client.CloseIdleConnections()
	n := &neighbour{client: client, account: "acc_phone"}
	started, err := n.Start(t.Context(), gateway.ByCode, "+491510000001")
	if diff := cmp.Diff(gateway.Pairing{Method: gateway.ByCode, Step: gateway.StepWanted, Options: json.RawMessage("null")}, started); err != nil || diff != "" {
		t.Errorf("Start = %v (-want +got)\n%s", err, diff)
	}
	p, l, err := n.Watch(t.Context())
	want := gateway.Pairing{
		Method: gateway.ByQR, Step: gateway.StepQR, QR: "2@x", Code: "AB", Options: json.RawMessage(`{"challenge":"x"}`), Error: "old",
		ExpiresAt: time.Date(2031, 1, 2, 19, 16, 42, 0, time.UTC),
	}
	if diff := cmp.Diff(want, p); err != nil || diff != "" {
		t.Errorf("Watch = %v (-want +got)\n%s", err, diff)
	}
	if diff := cmp.Diff(gateway.Link{State: gateway.LinkDisconnected, Reason: "no network", Phone: "+491510000001"}, l); diff != "" {
		t.Errorf("Watch (-want +got)\n%s", diff)
	}
	if err := n.Answer(t.Context(), []byte(`{"id":"x"}`)); err != nil {
		t.Errorf("Answer = %v", err)
	}
	if err := n.Confirm(t.Context()); gateway.KindOf(err) != gateway.Conflict || err.Error() != "nobody waits for that" {
		t.Errorf("Confirm = %v", err)
	}
	asked := []request{
		{"POST", "/api/v1/sessions/acc_phone/pairing", `{"pairing":{"method":"code","phone_number":"+491510000001"}}`},
		{"GET", "/api/v1/sessions/acc_phone", ``},
		{"POST", "/api/v1/sessions/acc_phone/passkey", `{"passkey":{"id":"x"}}`},
		{"POST", "/api/v1/sessions/acc_phone/passkey/confirm", `{}`},
	}
	if diff := cmp.Diff(asked, got); diff != "" {
		t.Errorf("requests (-want +got)\n%s", diff)
	}
}
