package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"wagent/cmd/wagent/internal/bench/api"
	"wagent/gateway/store/storetest"
)

// benchedAPI runs the built program for a moment, with more flags, on a database
// that it is to leave as it was.
func benchedAPI(t *testing.T, args ...string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	database := storetest.Postgres(t)
	args = append([]string{"bench", "api", "--database", database, "--agents", "12", "--runs", "1200", "--rate", "20", "--warm", "0s", "--seconds", "1"}, args...)
	cmd := exec.CommandContext(t.Context(), path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("bench api: %v\n%s", err, stderr.String())
	}
	if n := schemas(t, database); n != 0 {
		t.Errorf("%d schemas are left", n)
	}
	return stdout.String()
}

func TestBenchAPIPrintsJSON(t *testing.T) {
	t.Parallel()
	out := benchedAPI(t, "--json", "--rate", "700") // more calls than a key may make, unless it says otherwise
	dec := json.NewDecoder(strings.NewReader(out))
	dec.DisallowUnknownFields()
	var r api.Report
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r.Agents != 12 || r.Runs != 1200 || r.Rate != 700 || r.Seconds != 1 || r.ListBytes < 12*500 || len(r.Calls) != 4 {
		t.Errorf("it did not measure what it was told to:\n%s", out)
	}
	for _, c := range r.Calls {
		if c.N != 175 || c.P50 <= 0 || c.P99 < c.P50 || c.P999 < c.P99 || c.Max < c.P999 {
			t.Errorf("no call takes that: %+v", c)
		}
	}
}

func TestBenchAPIPrintsATable(t *testing.T) {
	t.Parallel()
	out := benchedAPI(t)
	for _, want := range []string{"12 agents", "1200 runs", "list agents", "retrieve agent", "list runs", "retrieve run", "p99.9"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
}

func TestBenchAPISaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	const away = "postgres://user:secret@127.0.0.1:1/x"
	tests := map[string]struct {
		args   []string
		status int
		says   string
	}{
		"no database":            {nil, exitUse, "--database is missing"},
		"no rate":                {[]string{"--database", away, "--rate", "0"}, exitUse, "wagent: rate must be"},
		"no agents":              {[]string{"--database", away, "--agents", "0"}, exitUse, "agents must be"},
		"fewer runs than agents": {[]string{"--database", away, "--runs", "10"}, exitUse, "runs must be"},
		"no time":                {[]string{"--database", away, "--seconds", "0"}, exitUse, "seconds must be positive"},
		"a database that is not": {[]string{"--database", away}, exitFailed, "the database can not be used"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := try(t, append([]string{"bench", "api"}, tt.args...)...)
			if status != tt.status || !strings.Contains(stderr, tt.says) || stdout != "" || strings.Contains(stderr, "secret") {
				t.Errorf("bench api %v = %d, want %d and %q\n%s%s", tt.args, status, tt.status, tt.says, stdout, stderr)
			}
		})
	}
}
