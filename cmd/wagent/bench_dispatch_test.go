package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"wagent/cmd/wagent/internal/bench/deliveries"
	"wagent/gateway/store/storetest"
)

// benchedDispatch runs the built program for a moment, with more flags.
func benchedDispatch(t *testing.T, args ...string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"bench", "dispatch", "--deliveries", "500", "--endpoints", "1,3", "--rate", "50", "--seconds", "1"}, args...)
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(cmd.Environ(), "TMPDIR="+t.TempDir())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("bench dispatch: %v\n%s", err, stderr.String())
	}
	return stdout.String()
}

func TestBenchDispatchPrintsJSON(t *testing.T) {
	t.Parallel()
	database := storetest.Postgres(t)
	out := benchedDispatch(t, "--database", database, "--pending", "3000", "--json")
	dec := json.NewDecoder(strings.NewReader(out))
	dec.DisallowUnknownFields()
	var r deliveries.Report
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if r.Deliveries != 500 || r.Rate != 50 || len(r.Throughput) != 2 || r.Throughput[1].Endpoints != 3 || len(r.Latency) != 2 || r.Backlog == nil || r.Backlog.Pending != 3000 {
		t.Errorf("it did not measure what it was told to:\n%s", out)
	}
	for _, x := range r.Throughput {
		if x.PerSecond <= 0 || x.Bare <= 0 || x.Loops <= 0 || x.Committed < x.PerSecond || x.OfBare != x.PerSecond/x.Bare || x.Twice != 0 {
			t.Errorf("no delivery goes like that: %+v", x)
		}
	}
	all := []deliveries.Quantiles{r.Latency[0].Quantiles, r.Latency[1].Quantiles, r.Backlog.Before, r.Backlog.Beside}
	for _, q := range all {
		if q.P50 <= 0 || q.P99 < q.P50 || q.P999 < q.P99 || q.Max < q.P999 {
			t.Errorf("no delivery takes that: %+v", q)
		}
	}
	if plan := strings.Join(r.Backlog.Plan, "\n"); !strings.Contains(plan, "deliveries_due") {
		t.Errorf("the plan is\n%s", plan)
	}
	if n := schemas(t, database); n != 0 {
		t.Errorf("%d schemas are left", n)
	}
}

func TestBenchDispatchPrintsATable(t *testing.T) {
	t.Parallel()
	out := benchedDispatch(t)
	for _, want := range []string{"SQLite", "500 deliveries", "bare loop/s", "commit to arrival", "50/s, ten of twelve endpoints", "one hangs, one refuses"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
}

// TestPageOfWebhooks: its figures are this program's, and what it tells to run can be
// run.
func TestPageOfWebhooks(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../dispatch/webhook/README.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	tellsHowToMeasure(t, page, "dispatch")
	var r deliveries.Report
	r.Throughput, r.Latency = make([]deliveries.Throughput, 3), []deliveries.Latency{{Name: "ten of twelve endpoints"}, {Name: "of the other two one hangs, one refuses"}}
	for i := range 2 {
		name := "SQLite"
		r.Database, r.Rate, r.Backlog = name, 1000, nil
		if i == 0 {
			name = "PostgreSQL"
			r.Database, r.Rate = name+" 15.18", 1500
			_, plan, _ := strings.Cut(page, "plan of what is due to an endpoint\n")
			plan, _, _ = strings.Cut(plan, "\n```")
			r.Backlog = &deliveries.Backlog{Plan: strings.Split(plan, "\n")}
		}
		var want bytes.Buffer
		if err := r.Print(&want); err != nil {
			t.Fatal(err)
		}
		_, figures, ok := strings.Cut(page, "```text\n"+name)
		figures, _, _ = strings.Cut(figures, "```")
		if got, want := labels(name+figures), labels(want.String()); got != want || !ok {
			t.Errorf("the page's figures have the labels\n%s\nwant\n%s", got, want)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^wagent deliveries (\S+).*$`).FindAllStringSubmatch(page, -1) {
		_, help, _ := try(t, "deliveries", m[1], "--help")
		for _, flag := range regexp.MustCompile(`--\w+`).FindAllString(m[0], -1) {
			if !strings.Contains(help, flag) {
				t.Errorf("%s: there is no %s", m[0], flag)
			}
		}
	}
}

func TestBenchDispatchSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	const away = "postgres://user:secret@127.0.0.1:1/x"
	for name, tt := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"no rate":                {[]string{"--rate", "0"}, exitUse, "rate must be between"},
		"no deliveries":          {[]string{"--deliveries", "0"}, exitUse, "deliveries must be between"},
		"no time":                {[]string{"--seconds", "0"}, exitUse, "seconds must be positive"},
		"a backlog of SQLite":    {[]string{"--pending", "10"}, exitUse, "pending needs a database"},
		"a database that is not": {[]string{"--database", away}, exitFailed, "the database can not be used"},
		"no endpoints":           {[]string{"--endpoints", "0"}, exitUse, "endpoints must be between"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := try(t, append([]string{"bench", "dispatch"}, tt.args...)...)
			if status != tt.status || !strings.Contains(stderr, tt.says) || stdout != "" || strings.Contains(stderr, "secret") {
				t.Errorf("bench dispatch %v = %d, want %d and %q\n%s%s", tt.args, status, tt.status, tt.says, stdout, stderr)
			}
		})
	}
}
