package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"wagent/cmd/wagent/internal/config"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// keyWorld is a configuration with a data directory of its own, whose path is
// short enough for a socket.
func keyWorld(t *testing.T, more string) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "w") //nolint:usetesting // t.TempDir's may be longer than a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path = filepath.Join(dir, "wagent.yaml")
	text := "listen: 127.0.0.1:0\ndata_dir: " + dir + "/d\naccounts: [{id: acc_try, kind: sandbox}]\n" + more
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var printedKey = regexp.MustCompile(`^wrb_(live|test)_[a-z2-7]{26}\n$`)

// manage makes, lists and revokes keys with the commands, wherever the keys are.
// opens tells whether a key opens the API.
func manage(t *testing.T, config string, opens func(key string) bool) {
	key := func(args ...string) (int, string, string) {
		return try(t, append([]string{"key", args[0], "--config", config}, args[1:]...)...)
	}
	status, made, stderr := key("create", "--name", "shop", "--test", "--account", "acc_try", "--per-minute", "30", "--scope", "read")
	if status != exitDone || !printedKey.MatchString(made) || !strings.HasPrefix(made, "wrb_test_") || !strings.Contains(stderr, "printed this once") {
		t.Fatalf("create = %d\n%s%s", status, made, stderr)
	}
	if status, live, stderr := key("create", "--name", "till 2"); status != exitDone || !strings.HasPrefix(live, "wrb_live_") {
		t.Errorf("create = %d\n%s%s", status, live, stderr)
	}
	if !opens(strings.TrimSpace(made)) {
		t.Error("the key does not open the API")
	}
	status, list, _ := key("list")
	for _, row := range []string{
		`(?m)^ID +NAME +SCOPE +KIND +ACCOUNTS +PER MINUTE +CREATED +LAST USED +REVOKED +DECLARED$`,
		`(?m)^key_\S{26} +shop +read +test +acc_try +30 +\d{4}-\S+Z +- +- +no$`,
		`(?m)^key_\S{26} +till 2 +write +live +all +- +\d{4}-\S+Z +- +- +no$`,
		`(?m)^- +(first|ops) +admin +live +all +- +- +- +- +yes$`,
	} {
		if status != exitDone || !regexp.MustCompile(row).MatchString(list) {
			t.Errorf("list = %d without %s:\n%s", status, row, list)
		}
	}
	var keys []keyLine
	if _, out, _ := key("list", "--json"); json.Unmarshal([]byte(out), &keys) != nil || len(keys) != 3 || strings.Contains(out, strings.TrimSpace(made)) {
		t.Errorf("as JSON:\n%s", out)
	}
	for name, tt := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"a name that is taken":            {[]string{"create", "--name", "shop"}, exitFailed, "There is an API key of that name, or there was one"},
		"a name that is none":             {[]string{"create", "--name", "(local)"}, exitUse, "--name must be at most 64 letters"},
		"no name":                         {[]string{"create"}, exitUse, "--name"},
		"a scope that is none":            {[]string{"create", "--name", "x", "--scope", "owner"}, exitUse, "--scope must be one of"},
		"an account that is none":         {[]string{"create", "--name", "x", "--account", "acc_none"}, exitUse, `--account "acc_none" does not exist`},
		"no request in a minute":          {[]string{"create", "--name", "x", "--per-minute=-1"}, exitUse, "--per-minute must be between 1"},
		"revoking what there is not":      {[]string{"revoke", "nobody"}, exitFailed, "there is no API key of that id or name"},
		"revoking what the file declares": {[]string{"revoke", keys[0].Name}, exitFailed, "remove it there"},
		"revoking by name":                {[]string{"revoke", "shop"}, exitDone, "shop opens nothing any more"},
	} {
		if status, out, errs := key(tt.args...); status != tt.status || !strings.Contains(out+errs, tt.says) {
			t.Errorf("%s: %d\n%s%s", name, status, out, errs)
		}
	}
	if opens(strings.TrimSpace(made)) {
		t.Error("the key opens the API after it was revoked")
	}
	_, leaked, _ := key("create", "--name", "leaked")
	leaked = strings.TrimSpace(leaked)
	if _, out, errs := key("revoke", "wrb_live_"+strings.Repeat("a", 26)); strings.Contains(out+errs, "aaaa") {
		t.Errorf("a key that there is not is printed: %s%s", out, errs)
	}
	if status, out, errs := key("revoke", leaked); status != exitDone || strings.Contains(out+errs, leaked) || !strings.Contains(errs, "The key opens nothing any more") {
		t.Errorf("revoking by the key itself: %d\n%s%s", status, out, errs)
	}
	if opens(leaked) {
		t.Error("the key opens the API after it was revoked by itself")
	}
	if _, list, _ := key("list"); !regexp.MustCompile(`(?m)^key_\S{26} +shop .* \d{4}-\S+Z +no$`).MatchString(list) {
		t.Errorf("it is not listed as revoked:\n%s", list)
	}
}

// known asks the database itself whether it knows a key.
func known(t *testing.T, cfg store.Config, key string) bool {
	t.Helper()
	s, err := store.Open(t.Context(), cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.KeyByHash(t.Context(), hashOf(key))
	return err == nil
}

func TestKeysOfAnEmbeddedDatabaseThatNobodyServes(t *testing.T) {
	path := keyWorld(t, "secret_key: "+testSecretKey+"\n")
	status, _, stderr := try(t, "key", "list", "--config", path)
	if status != exitDone || !strings.Contains(stderr, "printed this once): wrb_live_") {
		t.Errorf("the first key is not told: %d %s", status, stderr)
	}
	manage(t, path, func(key string) bool {
		return known(t, store.Config{Path: filepath.Join(filepath.Dir(path), "d", "wagent.db"), Key: storetest.Key}, key)
	})
}

func TestKeysOfADatabaseThatReplicasShare(t *testing.T) {
	url := storetest.Postgres(t)
	path := keyWorld(t, fmt.Sprintf("secret_key: %s\ndatabase: {url: %q}\napi_keys: [{name: ops, key: key-of-the-key-test}]\n", testSecretKey, url))
	cfg, err := serveCommand{Config: path}.load(process{env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	s := storetest.At(t, store.Config{URL: url, Key: storetest.Key})
	if err := s.Declare(t.Context(), cfg.Accounts, nil, nil, cfg.GatewayKeys()); err != nil { // as a replica does
		t.Fatal(err)
	}
	manage(t, path, func(key string) bool { return known(t, store.Config{URL: url, Key: storetest.Key}, key) })
	es, total, err := s.Audit(t.Context(), 0, 9)
	if err != nil || total != 5 || es[0].Action != "wagent key revoke" || !strings.HasPrefix(es[0].Subject, "sha256:") || es[2].Subject != "shop" || es[4].Action != "wagent key create" {
		t.Errorf("the audit is %+v, %d, %v", es, total, err)
	}
}

func TestKeysOfARunningWagent(t *testing.T) {
	path := keyWorld(t, "")
	cfg, err := serveCommand{Config: path}.load(process{env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	a, stop := served(t, cfg, slog.New(slog.DiscardHandler))
	defer a.Close()
	client := &http.Client{Timeout: time.Minute}
	get := func(key, path string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.listener.Addr().String()+"/api/v1"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	manage(t, path, func(key string) bool { return get(key, "/agents") == http.StatusOK })
	if code := get(a.home.newKey, "/audit"); code != http.StatusOK {
		t.Errorf("the audit answers %d", code)
	}
	es, _, err := a.store.Audit(t.Context(), 0, 9)
	if err != nil || len(es) == 0 || es[0].Who != "(local)" {
		t.Errorf("the audit is %+v, %v", es, err)
	}
	stop()
	client.CloseIdleConnections()
	keys, err := a.store.APIKeys(t.Context())
	if err != nil || len(keys) != 4 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for _, k := range keys { // those that opened something
		if used := time.Since(k.LastUsedAt) < time.Minute; used != (k.Name == "shop" || k.Declared) {
			t.Errorf("%s was used at %v", k.Name, k.LastUsedAt)
		}
	}
}

// served runs a program in this process, on a port of its own, until stop.
func served(t *testing.T, cfg config.Config, log *slog.Logger) (a *app, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if a, err = build(t.Context(), cfg, host{listener: ln}, log); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	return a, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// testSecretKey is storetest.Key as the configuration has it.
var testSecretKey = base64.StdEncoding.EncodeToString(storetest.Key[:])

func hashOf(key string) [32]byte { return sha256.Sum256([]byte(key)) }
