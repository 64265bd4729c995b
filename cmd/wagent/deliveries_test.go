package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wagent/gateway"
	"wagent/gateway/store"
	"wagent/gateway/store/storetest"
)

// lookingAfter is how deliveries are managed of a configuration.
func lookingAfter(t *testing.T, config string) func(args ...string) (int, string, string) {
	return func(args ...string) (int, string, string) {
		t.Helper()
		return try(t, append(append([]string{"deliveries"}, args...), "--config", config)...)
	}
}

// says fails unless a command ended with a status and printed all of this.
func says(t *testing.T, run func(args ...string) (int, string, string), status int, args string, patterns ...string) string {
	t.Helper()
	got, out, errs := run(strings.Fields(args)...)
	for _, p := range patterns {
		if got != status || !regexp.MustCompile(p).MatchString(out+errs) {
			t.Errorf("deliveries %s = %d, want %d and %s:\n%s%s", args, got, status, p, out, errs)
		}
	}
	return out
}

func TestDeliveriesOfARunningWagent(t *testing.T) {
	var refuses atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Token", "hidden")
		if refuses.Load() {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = w.Write([]byte("short and stout"))
	}))
	defer receiver.Close()
	path := keyWorld(t, fmt.Sprintf("webhook_delivery: {allow_addresses: [127.0.0.1], schedule: [100ms]}\n"+
		"webhooks: [{id: house, url: %q, secret: s, ordered: true, actions: [a.*.c]}]\n", receiver.URL+"/in?token=hidden"))
	cfg, err := serveCommand{Config: path}.load(process{env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	a, stop := served(t, cfg, slog.New(slog.DiscardHandler))
	defer a.Close()
	defer stop()
	run := lookingAfter(t, path)

	out := says(t, run, exitDone, "webhooks", `(?m)^ID +HOST +TAKES +ORDERED +STATE$`, `(?m)^1 +127\.0\.0\.1:\d+ +a\.\*\.c +true +on$`)
	if strings.Contains(out, "hidden") {
		t.Errorf("the URL's secret is shown:\n%s", out)
	}
	out = says(t, run, exitDone, "test 1", `delivery +del_\S+, succeeded`, `event +webhook\.test`, `attempt 1 +\S+Z after \d+ ms: 200; .*first_byte \d`, `X-Token: \*\*\*`, `"short and stout"`)
	id := regexp.MustCompile(`del_\S+`).FindString(out)
	id = strings.TrimSuffix(id, ",")
	says(t, run, exitDone, "list 1", `(?m)^ID +EVENT +STATE +ATTEMPTS +LAST +NEXT +CREATED$`, `(?m)^`+id+` +webhook\.test +succeeded +1 +200 +- +\S+Z$`)
	says(t, run, exitDone, "show 1 "+id, `body +\{"event":"webhook\.test"`)

	refuses.Store(true)
	says(t, run, exitDone, "test 1", `dead`, `attempt 1 .*: 418;`)
	says(t, run, exitDone, "webhooks", `fails since`)
	says(t, run, exitDone, "list 1 --state dead --since 1h --limit 1", `(?m)^del_\S+ +webhook\.test +dead +1 +418 `)
	refuses.Store(false)
	says(t, run, exitDone, "replay 1 --dead --since 1h", `^1 dead letters are delivered again\.\n$`)
	says(t, run, exitDone, "replay 1 "+id, `delivery +`+id)
	var all []deliveryLine
	until(t, "both to have arrived", func() bool {
		_, out, _ := run("list", "1", "--state", "succeeded", "--json")
		return json.Unmarshal([]byte(out), &all) == nil && len(all) == 2 && all[0].Attempts == 2 && all[1].Attempts == 2
	})

	says(t, run, exitDone, "pause 1", `until: wagent deliveries resume 1\n$`)
	says(t, run, exitDone, "webhooks", `paused`)
	says(t, run, exitFailed, "test 1", `The webhook is paused`)
	says(t, run, exitDone, "resume 1", `delivered to again`)
	says(t, run, exitDone, "test 1 --json", `"state": "succeeded"`)
	for _, args := range []string{"list 9", "show 1 del_none", "replay 1 del_none", "list 1 --before del_none", "test 9", "pause 9"} {
		says(t, run, exitFailed, args, `there is no such webhook or delivery`)
	}
	for args, want := range map[string]string{
		"list one": "webhook", "list": "expected", "list 1 --state lost": "--state must be one of", "list 1 --since yesterday": "--since must be a time",
		"list 1 --limit 0": "--limit must be positive", "replay 1": "name one delivery, or say --dead", "replay 1 --dead": "--dead needs --since",
		"replay 1 del_1 --dead --since 1h": "name one delivery, or say", "replay 1 del_1 --since 1h": "--since goes with --dead",
	} {
		says(t, run, exitUse, args, want)
	}
}

// until waits for something that other goroutines bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: it did not happen", what)
		}
		tick := time.NewTimer(10 * time.Millisecond)
		<-tick.C
	}
}

// Where replicas share a database, any of them delivers what a command asks for; where
// none runs, the next one that starts.
func TestDeliveriesOfADatabaseThatReplicasShare(t *testing.T) {
	t.Parallel()
	url := storetest.Postgres(t)
	path := keyWorld(t, fmt.Sprintf("secret_key: %s\ndatabase: {url: %q}\napi_keys: [{name: ops, key: key-of-the-key-test}]\n", testSecretKey, url))
	s := storetest.At(t, store.Config{URL: url, Key: storetest.Key})
	hook := gateway.Webhook{URL: "https://example.com/hook", Active: true}
	if err := s.CreateWebhook(t.Context(), &hook); err != nil {
		t.Fatal(err)
	}
	run := lookingAfter(t, path)
	out := says(t, run, exitDone, fmt.Sprintf("test %d", hook.ID), `pending`, `none yet; there are none while no wagent runs`)
	if id := regexp.MustCompile(`del_[a-z0-9]+`).FindString(out); id == "" {
		t.Errorf("no delivery is named:\n%s", out)
	} else {
		says(t, run, exitFailed, fmt.Sprintf("replay %d %s", hook.ID, id), `still being made`)
	}
	says(t, run, exitDone, fmt.Sprintf("list %d", hook.ID), `webhook\.test +pending +0 +- +\S+Z`)
	says(t, run, exitDone, fmt.Sprintf("pause %d", hook.ID), `resume`)
	if w, err := s.Webhook(t.Context(), hook.ID); err != nil || !w.Paused {
		t.Errorf("it is %+v, %v", w, err)
	}
	es, total, err := s.Audit(t.Context(), 0, 9)
	if err != nil || total != 3 || es[0].Who != "(local)" {
		t.Errorf("the audit is %+v, %d, %v", es, total, err)
	}
}

func TestDeliveriesOfAnEmbeddedDatabaseThatNobodyServes(t *testing.T) {
	path := keyWorld(t, "secret_key: "+testSecretKey+"\nwebhooks: [{id: house, url: \"https://example.com/in\", secret: s}]\n")
	run := lookingAfter(t, path)
	says(t, run, exitFailed, "webhooks", `no wagent has run on .*--config`)
	if status, _, stderr := try(t, "key", "list", "--config", path); status != exitDone { // which declares what the file says
		t.Fatal(stderr)
	}
	says(t, run, exitDone, "webhooks", `(?m)^1 +example\.com +all +false +on$`)
	says(t, run, exitDone, "pause 1", `resume`)
	says(t, run, exitDone, "webhooks", `paused`)
	says(t, run, exitDone, "list 1 --json", `^\[\]\n$`)
}
