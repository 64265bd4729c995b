package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"wagent/cmd/wagent/internal/bench/runs"
	"wagent/debounce/redistest"
	"wagent/gateway/store/storetest"
)

// fewRuns is a load that takes a moment.
var fewRuns = []string{"--rate", "20", "--latency", "50ms", "--concurrent", "20", "--conversations", "30", "--accounts", "2", "--warm", "1500ms", "--seconds", "1"}

// benched runs the built program, which plays the model too, with more flags, on
// servers that it is to leave as they were.
func benched(t *testing.T, args ...string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	server, database := redistest.Start(t), storetest.Postgres(t)
	args = append([]string{"bench", "runs", "--redis", "redis://" + server.Addr() + "/1", "--database", database}, args...)
	cmd := exec.CommandContext(t.Context(), path, append(args, fewRuns...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("bench runs: %v\n%s", err, stderr.String())
	}
	if info := server.Client().Info(t.Context(), "keyspace").Val(); strings.Contains(info, "keys=") {
		t.Errorf("keys are left: %s", info)
	}
	if n := schemas(t, database); n != 0 {
		t.Errorf("%d schemas are left", n)
	}
	return stdout.String()
}

func TestBenchRunsPrintsJSON(t *testing.T) {
	t.Parallel()
	out := benched(t, "--json")
	dec := json.NewDecoder(strings.NewReader(out))
	dec.DisallowUnknownFields()
	var r runs.Report
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r.Runs != 20 || r.Rate != 20 || r.Latency != 50 || r.InHand < 1 || r.PerSecond <= 0 || r.PerSecond > 40 {
		t.Errorf("it did not measure what it was told to:\n%s", out)
	}
	if o := r.Overhead; o.P50 <= 0 || o.P99 < o.P50 || o.P999 < o.P99 || o.Max < o.P999 {
		t.Errorf("no overhead is like this: %+v", o)
	}
	var most float64
	for _, p := range r.Phases {
		most += p.Max
		if p.Name != "window" && p.P50 <= 0 { // that one may begin before we know
			t.Errorf("the phase %s takes %v ms", p.Name, p.P50)
		}
	}
	if r.Overhead.Max > most+.001 {
		t.Errorf("a run's overhead is %v ms, and the longest phases together are %v ms", r.Overhead.Max, most)
	}
	s := r.Spent
	if s.Own <= 0 || s.PostgreSQL == nil || *s.PostgreSQL <= 0 || s.Redis <= 0 || s.Provider <= 0 || s.Transactions < 3 || s.Commands < 3 || s.Others == nil {
		t.Errorf("no run costs that: %s", out)
	}
}

// TestPageOfDispatch: its figures are this program's, and what it tells to run
// can be run.
func TestPageOfDispatch(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../dispatch/README.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	tellsHowToMeasure(t, page, "runs")
	_, figures, _ := strings.Cut(page, "```text\n")
	figures, _, _ = strings.Cut(figures, "```")
	if got, want := labels(figures), labels(benched(t)); got != want {
		t.Errorf("the page's figures have the labels\n%s\nwant\n%s", got, want)
	}
}

func TestBenchRunsSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	server, database := redistest.Start(t), storetest.Postgres(t)
	both := []string{"--redis", "redis://" + server.Addr(), "--database", database}
	gone := redistest.Start(t)
	gone.Stop()
	with := func(args ...string) []string { return append(args, both...) }
	tests := map[string]struct {
		args   []string
		status int
		says   string
	}{
		"no Redis":               {[]string{"--database", database}, exitUse, "--redis is missing"},
		"no database":            {[]string{"--redis", "redis://" + server.Addr()}, exitUse, "--database is missing"},
		"no rate":                {with("--rate", "0"), exitUse, "wagent: rate must be"},
		"too few at once":        {with("--concurrent", "1000"), exitUse, "wagent: concurrent must be more than 1000"},
		"customers who may not":  {with("--conversations", "1100"), exitUse, "before it has its answer"},
		"no time":                {with("--seconds", "0"), exitUse, "seconds must be positive"},
		"a Redis that is away":   {[]string{"--redis", "redis://" + gone.Addr(), "--database", database}, exitFailed, "can not be used"},
		"a database that is not": {[]string{"--redis", "redis://" + server.Addr(), "--database", "postgres://user:secret@127.0.0.1:1/x"}, exitFailed, "the database can not be used"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := try(t, append([]string{"bench", "runs"}, tt.args...)...)
			if status != tt.status || !strings.Contains(stderr, tt.says) || stdout != "" {
				t.Errorf("bench runs %v = %d, want %d and %q\n%s%s", tt.args, status, tt.status, tt.says, stdout, stderr)
			}
			if strings.Contains(stdout+stderr, "secret") {
				t.Errorf("it tells a password:\n%s%s", stdout, stderr)
			}
		})
	}
	if n := schemas(t, database); n != 0 {
		t.Errorf("%d schemas are left", n)
	}
}

// schemas counts what benches left in a database.
func schemas(t *testing.T, database string) (n int) {
	t.Helper()
	db, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'wagent_bench%'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
